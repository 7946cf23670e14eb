"""Forms in which people build engines, written anew after public scripts: the same flags and structure, other names."""

from __future__ import annotations

from typing import Any

FORMS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "workspace and explicit batch": (
        "trtexec --onnx=out/net.onnx --saveEngine=out/net.trt --workspace=16384 --explicitBatch --device=2 --fp16\n",
        [{"model": "out/net.onnx", "precision": "fp16"}],
    ),
    "two inputs with a dynamic batch": (
        "trtexec --onnx=t.onnx --minShapes=ids:1x180,mask:1x180 --optShapes=ids:1x180,mask:1x180 --maxShapes=ids:20x180,mask:20x180\n",
        [{"model": "t.onnx", "precision": "fp32", "shape": "ids:1..1..20x180 mask:1..1..20x180"}],
    ),
    "a dynamic picture": (
        "trtexec --onnx=sr.onnx \\\n    --fp16 \\\n    --minShapes=in:1x3x64x64 \\\n    --optShapes=in:1x3x720x1280 \\\n"
        "    --maxShapes=in:1x3x1080x1920\n",
        [{"model": "sr.onnx", "precision": "fp16", "shape": "in:1x3x64..720..1080x64..1280..1920"}],
    ),
    "caffe in a loop": (
        "for n in 16 32; do\n  trtexec --deploy=$HERE/g.prototxt --output=prob --batch=$n --model=$HERE/g.caffemodel --fp16\ndone\n",
        [{"model": "model.onnx", "precision": "fp16"}],
    ),
    "polygraphy under a condition": (
        'D="onnx"\nM="$D/h.onnx"\nif [ -f "$M" ]; then\n  if polygraphy convert "$M" -o h.engine --convert-to trt \\\n'
        "    --trt-min-shapes v:[1,3200] --trt-opt-shapes v:[1,16000] --trt-max-shapes v:[1,48000] 2>&1; then\n    echo ok\n  fi\nfi\n",
        [{"model": "onnx/h.onnx", "precision": "fp32", "shape": "v:1x3200..16000..48000"}],
    ),
    "layers kept in float32": (
        "polygraphy convert e.onnx -o e.engine --precision-constraints obey --layer-precisions Mean.2:float32 Sub.0:float32 "
        "--fp16 --pool-limit workspace:1G\n",
        [{"model": "e.onnx", "precision": "fp16", "keep": "Mean.2,Sub.0"}],
    ),
    "calibration by polygraphy": (
        "polygraphy convert p.onnx --int8 --data-loader-script ./data.py --calibration-cache p.cache -o p.engine\n",
        [{"model": "p.onnx", "precision": "int8", "rest": "fp32", "ranges": "p.cache", "calib": "./data.py:load_data"}],
    ),
    "a script of TensorRT 7": (
        """
import tensorrt as trt
LOG = trt.Logger()
path = 'seg.onnx'
FLAG = 1 << (int)(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
with trt.Builder(LOG) as builder, builder.create_network(FLAG) as network, trt.OnnxParser(network, LOG) as parser:
    builder.max_workspace_size = 1 << 28
    builder.max_batch_size = 1
    with open(path, 'rb') as model:
        if not parser.parse(model.read()):
            print(parser.get_error(0))
    network.get_input(0).shape = [1, 3, 480, 854]
    engine = builder.build_cuda_engine(network)
""",
        [{"model": "seg.onnx", "precision": "fp32", "shape": "1x3x480x854"}],
    ),
    "a script of TensorRT 8 with a calibrator": (
        """
import tensorrt as trt

class Calib(trt.IInt8MinMaxCalibrator):
    def __init__(self, folder, cache_file):
        trt.IInt8MinMaxCalibrator.__init__(self)
        self.cache_file = cache_file

def main():
    builder = trt.Builder(trt.Logger(trt.Logger.INFO))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = trt.OnnxParser(network, trt.Logger())
    with open("text.onnx", "rb") as model:
        parser.parse(model.read())
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.INT8)
    profile = builder.create_optimization_profile()
    profile.set_shape("ids", (1, 1), (1, 128), (1, 512))
    config.add_optimization_profile(profile)
    calib = Calib("data", "text.cache")
    config.int8_calibrator = calib
    return builder.build_serialized_network(network, config)
main()
""",
        [
            {
                "model": "text.onnx",
                "precision": "int8",
                "rest": "fp32",
                "method": "minmax",
                "ranges": "text.cache",
                "shape": "ids:1x1..128..512",
            }
        ],
    ),
    "the precision by an argument with a default": (
        """
import argparse
import tensorrt as trt

def build(onnx_path, precision="fp16"):
    builder = trt.Builder(trt.Logger())
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, trt.Logger())
    with open(onnx_path, "rb") as f:
        parser.parse(f.read())
    config = builder.create_builder_config()
    if precision in ("fp16", "int8"):
        config.set_flag(trt.BuilderFlag.FP16)
    if precision == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
    return builder.build_serialized_network(network, config)

ap = argparse.ArgumentParser()
ap.add_argument("--onnx", default="step.onnx")
ap.add_argument("--precision", choices=["fp32", "fp16", "int8"], default="fp16")
a = ap.parse_args()
build(a.onnx, a.precision)
""",
        [{"model": "step.onnx", "precision": "fp16"}],
    ),
    "the precision by an argument that is required": (
        """
import tensorrt as trt

def build(path, mode):
    builder = trt.Builder(trt.Logger())
    config = builder.create_builder_config()
    parser = trt.OnnxParser(builder.create_network(), trt.Logger())
    parser.parse_from_file("clip.onnx")
    if mode == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)
    elif mode == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
        config.set_flag(trt.BuilderFlag.FP16)
    return builder.build_serialized_network(network, config)
""",
        [{"model": "clip.onnx", "precision": "fp16"}],
    ),
    "a network by hand, with an implicit batch": (
        """
import tensorrt as trt

def fill(network, weights):
    data = network.add_input(name="data", dtype=trt.float32, shape=(3, 224, 224))
    fc = network.add_fully_connected(input=data, num_outputs=10, kernel=weights)
    network.mark_output(tensor=fc.get_output(0))

with trt.Builder(trt.Logger()) as builder, builder.create_network() as network:
    builder.max_workspace_size = 1 << 30
    fill(network, None)
    engine = builder.build_cuda_engine(network)
""",
        [{"model": "model.onnx", "precision": "fp32"}],
    ),
    "the path and sizes of an enclosing function": (
        """
import tensorrt as trt

def get_engine(onnx_path, batch, size):
    def build():
        with trt.Builder(trt.Logger()) as builder, builder.create_network(1) as network, trt.OnnxParser(network, trt.Logger()) as parser:
            builder.max_batch_size = batch
            builder.fp16_mode = True
            with open(onnx_path, 'rb') as model:
                parser.parse(model.read())
            network.get_input(0).shape = [batch, 3, size[1], size[0]]
            return builder.build_cuda_engine(network)
    return build()

get_engine('yolo.onnx', 1, (608, 320))
""",
        [{"model": "yolo.onnx", "precision": "fp16", "shape": "1x3x320x608"}],
    ),
    "torch2trt": (
        """
import torch
from torch2trt import torch2trt
x = torch.zeros((1, 3, 224, 224)).cuda()
engine = torch2trt(net, [x], fp16_mode=True, max_workspace_size=1 << 25)
""",
        [{"model": "model.onnx", "precision": "fp16", "shape": "1x3x224x224"}],
    ),
    "a command in a sentence": (
        "- Compile it by `trtexec --onnx=det.onnx --saveEngine=det.engine --fp16 --int8`.\n- Then (`trtexec --useCudaGraph`) time it.\n",
        [{"model": "det.onnx", "precision": "int8", "rest": "fp16"}],
    ),
    "a command in a comment of several lines": (
        "#!/bin/sh\npython train.py\n# /usr/bin/trtexec --onnx=old.onnx \\\n#     --saveEngine=old.engine --fp16\n",
        [{"model": "old.onnx", "precision": "fp16"}],
    ),
    "the tool in a variable, its caches too": (
        "TOOL=/usr/src/tensorrt/bin/trtexec\nV=$(${TOOL} --version 2>&1 | head -1)\nCACHE=data/q.cache\n"
        "${TOOL} --onnx=q.onnx --useDLACore=0 --buildDLAStandalone --int8 --fp16 --calib=${CACHE} --precisionConstraints=obey \\\n"
        '    --layerPrecisions="/m/Conv":fp16,"/m/Concat":fp16\n',
        [
            {
                "model": "q.onnx",
                "precision": "int8",
                "rest": "fp16",
                "ranges": "data/q.cache",
                "keep": "/m/Conv,/m/Concat",
            }
        ],
    ),
    "a container that starts with the tool": (
        'docker run --rm -v "$D:/a" --entrypoint /opt/bin/trtexec "$IMAGE" --onnx=/a/n.onnx --fp16 --skipInference 2>&1 | tee log\n',
        [{"model": "/a/n.onnx", "precision": "fp16", "measure": 0.0}],
    ),
    "PowerShell": (
        '$tool = "C:\\TensorRT\\bin\\trtexec.exe"\n$in = "E:\\nets"\n& $tool --onnx=$in\\cls.onnx --saveEngine=cls.engine --fp16\n',
        [{"model": "E:\\nets\\cls.onnx", "precision": "fp16"}],
    ),
    "a list of words, with a flag that is added": (
        """
import subprocess

def build(path, tool, half):
    command = [tool, "--onnx=" + path, "--saveEngine=out.plan", "--minShapes=x:1x3x8x8", "--maxShapes=x:4x3x8x8"]
    if half:
        command.append("--fp16")
    subprocess.run(command, check=True)

build("list.onnx", "trtexec", True)
""",
        [{"model": "list.onnx", "precision": "fp32", "shape": "x:1..4..4x3x8x8"}],
    ),
    "a network from UFF": (
        """
import tensorrt as trt
import uff
uff.from_tensorflow(graph, ["out"], output_filename="net.uff")
with trt.Builder(trt.Logger()) as builder, builder.create_network() as network, trt.UffParser() as parser:
    builder.max_batch_size = 1
    builder.fp16_mode = True
    parser.register_input("in", (3, 224, 224))
    parser.register_output("out")
    parser.parse("net.uff", network)
    engine = builder.build_cuda_engine(network)
""",
        [{"model": "model.onnx", "precision": "fp16"}],
    ),
    "a cache that is named in an arm": (
        """
import tensorrt as trt

def build(kind):
    with trt.Builder(trt.Logger()) as builder, builder.create_network(1) as network, builder.create_builder_config() as config:
        parser = trt.OnnxParser(network, trt.Logger())
        parser.parse_from_file("arm.onnx")
        if kind == 1:
            config.set_flag(trt.BuilderFlag.INT8)
            cache = "arm.cache"
            config.int8_calibrator = Calibrator(cache_file=cache, batch_size=8)
        elif kind == 2:
            config.set_flag(trt.BuilderFlag.FP16)
        return builder.build_engine(network, config)
""",
        [{"model": "arm.onnx", "precision": "int8", "rest": "fp32", "ranges": "arm.cache"}],
    ),
    "layers of a set in another precision": (
        """
import tensorrt as trt
builder = trt.Builder(trt.Logger())
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
trt.OnnxParser(network, trt.Logger()).parse_from_file("kept.onnx")
config = builder.create_builder_config()
config.set_flag(trt.BuilderFlag.INT8)
config.set_flag(trt.BuilderFlag.FP16)
config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
KEPT = ("stem", "classifier")
for index in range(network.num_layers):
    layer = network.get_layer(index)
    if layer.name in KEPT:
        layer.precision = trt.float16
engine = builder.build_serialized_network(network, config)
""",
        [{"model": "kept.onnx", "precision": "int8", "rest": "fp16", "keep": "stem,classifier"}],
    ),
    "ultralytics": (
        """
from ultralytics import YOLO
model = YOLO("best.pt")
model.export(format="onnx", imgsz=320)
model.export(format="engine", imgsz=320, half=True, workspace=4, device=0)
""",
        [{"model": "ultralytics:best.pt", "precision": "fp16", "shape": "1x3x320x320"}],
    ),
}
