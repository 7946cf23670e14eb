"""A model repository for NVIDIA's Triton Inference Server: a TVM module through the Python backend, a graph through ONNX
Runtime's, a plan of TensorRT as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.records import TensorInfo
from enginesmith.converters.serving.packages.parts import FILES, TVM, Parts

ENGINE = {
    "tvm": "models/{name}/1/engine/module.so",
    "onnxruntime": "models/{name}/1/model.onnx",
    "tensorrt": "models/{name}/1/model.plan",
}
DTYPES = {"float16": "FP16", "float32": "FP32", "float64": "FP64", "bool": "BOOL"} | {
    f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
"""Numpy's names to Triton's."""
USAGE = """\
    tritonserver --model-repository=$PWD/models            # in {image}

{python}`sample/` has a request's inputs with the outputs that it should get.
"""
PYTHON = """\
The server's Python must have the numpy that its Python backend was built for (before 2 where that is older); everything else
that the model runs with lies in its folder. Where its process is killed, requests get an error until it is loaded again: start
the server with `--model-control-mode=explicit --load-model=*`, and POST `v2/repository/models/{name}/unload`, then `.../load`.

"""


def write(parts: Parts, folder: Path) -> None:
    """Raises UserError for a type that Triton has no name for."""
    model = folder / "models" / parts.name
    version = model / "1"
    version.mkdir(parents=True)
    if parts.backend == TVM:
        parts.put_engine(version)
        parts.put_runtime(version)
        shutil.copyfile(FILES / "tvm_runner.py", version / "runner.py")
        shutil.copyfile(FILES / "triton_model.py", version / "model.py")
    elif parts.backend == "tensorrt":
        shutil.copyfile(parts.engine, version / "model.plan")
    else:
        parts.put_graph(version)
    (model / "config.pbtxt").write_text("\n".join(_config(parts)) + "\n")
    parts.put_sample(folder, "*.npz")
    image = parts.image or "nvcr.io/nvidia/tritonserver"
    (folder / "README.md").write_text(
        parts.readme(USAGE.format(image=image, python=PYTHON.format(name=parts.name) if parts.backend == TVM else ""))
    )


def _config(parts: Parts) -> Iterator[str]:
    """A batch that is open is Triton's own, which it may gather requests for; else shapes are stated whole."""
    inputs, outputs = parts.sampled.open, parts.sampled.outputs
    batched = bool(inputs) and all(each.shape and each.shape[0] == "?" for each in inputs)
    batched = batched and all(each.shape for each in outputs)
    kind = {TVM: 'backend: "python"', "tensorrt": 'platform: "tensorrt_plan"'}
    yield f'name: "{parts.name}"'
    yield kind.get(parts.backend, 'backend: "onnxruntime"')
    yield f"max_batch_size: {MOST_BATCH if batched else 0}"
    yield from _tensors("input", inputs, batched)
    yield from _tensors("output", _opened(inputs, outputs), batched)
    yield "version_policy: { latest: { num_versions: 1 } }"
    yield f"instance_group [ {{ count: 1, kind: {'KIND_GPU' if parts.backend == 'tensorrt' else 'KIND_CPU'} }} ]"
    if batched:
        yield "dynamic_batching { }"
    yield "model_warmup ["
    yield f'  {{ name: "first", batch_size: {1 if batched else 0}'
    for each in parts.sampled.inputs:
        dims = ", ".join(map(str, each.shape[1:] if batched else each.shape))
        yield f'    inputs {{ key: "{_text(each.name)}" value: {{ data_type: TYPE_{_dtype(each)} dims: [ {dims} ] zero_data: true }} }}'
    yield "  }"
    yield "]"


MOST_BATCH = 64
"""Rows that a server may gather."""


def _opened(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> list[TensorInfo]:
    """Outputs' sizes are those of the sample; where an input's size is open, any of theirs may be."""
    if all(isinstance(size, int) for each in inputs for size in each.shape):
        return list(outputs)
    return [each.model_copy(update={"shape": ["?"] * len(each.shape)}) for each in outputs]


def _tensors(kind: str, tensors: Sequence[TensorInfo], batched: bool) -> Iterator[str]:
    for each in tensors:
        shape = each.shape[1:] if batched else each.shape
        # a scalar has no size to state, and Triton wants one
        dims = ", ".join("-1" if isinstance(size, str) else str(size) for size in shape) or "1"
        reshape = "" if shape else " reshape: { shape: [ ] }"
        yield f'{kind} [ {{ name: "{_text(each.name)}" data_type: TYPE_{_dtype(each)} dims: [ {dims} ]{reshape} }} ]'


def _dtype(tensor: TensorInfo) -> str:
    if tensor.dtype not in DTYPES:
        raise UserError(f"Triton has no {tensor.dtype}, which {tensor.name} is")
    return DTYPES[tensor.dtype]


def _text(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
