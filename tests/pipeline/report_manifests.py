"""Manifests as builds write them, for the tests of the report."""

from __future__ import annotations

from typing import Any

from enginesmith.compat.findings import Finding
from enginesmith.converters.core.comparisons import (
    ClassMatch,
    Comparison,
    DetectionMatch,
    Detections,
    Histogram,
    OutputDifference,
    SampleComparison,
)
from enginesmith.converters.core.facts import ComparedFacts, Facts, GraphFacts, JudgedFacts, ModelFacts
from enginesmith.converters.core.records import Attempt, Latency, Lowering, TensorInfo, Weights
from enginesmith.converters.precision.facts import LoweredFacts
from enginesmith.converters.stages.measure import MeasureFacts
from enginesmith.converters.stages.search import SearchFacts
from enginesmith.converters.stages.tune import TuneFacts
from enginesmith.pipeline.job.manifest import EngineRecord, MachineRecord, Manifest, ModelRecord, StageRecord

PICTURES = ("astronaut", "cat", "coffee", "camera")
MACHINE = MachineRecord(
    cpu="Intel Xeon Platinum 8488C",
    cores=2,
    memory_gb=16,
    gpu="",
    os="Debian GNU/Linux 12",
    python="3.11.2",
)
OPS = {"Conv": 64, "Relu": 49, "Add": 31, "Constant": 212, "Shape": 58, "Gather": 61, "Reshape": 34, "Concat": 40}
OPS |= {"Unsqueeze": 66, "Cast": 52, "Slice": 23, "Mul": 29, "NonMaxSuppression": 6, "TopK": 6, "RoiAlign": 4}
SIMPLE = {"Conv": 64, "Relu": 49, "Add": 25, "Gather": 31, "Reshape": 20, "Concat": 18, "Mul": 22, "TopK": 6}
SIMPLE |= {"NonMaxSuppression": 6, "RoiAlign": 4, "Slice": 12, "Cast": 9}


def histogram(largest: int, values: int = 4800) -> Histogram:
    """Values spread over the decades below `10**largest`."""
    return Histogram(
        edges=[0.0, *(10.0**e for e in range(-10, 4))],
        counts=[values // 2] + [values // (3 * 9 ** (largest - e)) if e <= largest else 0 for e in range(-9, 4)],
    )


def difference(name: str, exponent: int, factor: float = 1.0, tolerance: float = 1e-3) -> OutputDifference:
    worst = factor * 8.3 * 10.0 ** (exponent - 1)
    return OutputDifference(
        name=name,
        max_abs=worst,
        mean_abs=worst / 40,
        max_rel=worst / 3,
        tolerance_abs=tolerance,
        tolerance_rel=1e-3,
        passed=worst <= tolerance,
        histogram=histogram(exponent),
    )


def detections(picture: str, shift: float) -> Detections:
    number = PICTURES.index(picture)
    boxes = [[30 + 12 * number + shift, 40, 190 + shift, 300], [150, 60 + 10 * number, 290 + shift, 220 + shift]]
    boxes += [[8, 8, 70 + shift, 90]]
    return Detections(boxes=boxes, scores=[0.98, 0.87 - shift / 100, 0.51], labels=[1, 17 + number, 47])


def detector_samples(exponent: int, shift: float, tolerance: float) -> list[SampleComparison]:
    samples = []
    for number, picture in enumerate(PICTURES):
        outputs = [
            difference("boxes", exponent + 2, 1 + number / 3, tolerance * 100),
            difference("scores", exponent, 1 + number / 5, tolerance),
        ]
        outputs.append(
            OutputDifference(
                name="labels",
                max_abs=0,
                mean_abs=0,
                max_rel=0,
                tolerance_abs=0,
                tolerance_rel=0,
                passed=True,
                histogram=Histogram(edges=histogram(0).edges, counts=[100] + [0] * 13),
            )
        )
        samples.append(
            SampleComparison(
                sample=picture,
                picture=picture,
                shapes={"images": [1, 3, 320, 320]},
                outputs=outputs,
                detections=DetectionMatch(
                    expected=3, found=3, matched=3, worst_iou=0.9987, worst_score_difference=8e-4, passed=True
                ),
                passed=True,
                drawn=detections(picture, shift),
                drawn_expected=detections(picture, 0),
            )
        )
    return samples


class _ComparedModel(ModelFacts, ComparedFacts):
    pass


class _Repaired(GraphFacts, ComparedFacts):
    pass


def recorded(**fields: Any) -> StageRecord:
    """A stage's record, with what its facts hold given beside the rest."""
    told = {name: fields.pop(name) for name in [*fields] if name not in StageRecord.model_fields}
    if fields["stage"] == "export" and told:
        told |= {"weights": Weights(origin="random", detail="seed 0"), "task": "detection"}
    if fields["stage"] == "precision" and told:
        none: dict[str, int] = {}
        told.setdefault("lowering", Lowering(dtype="float16", nodes_by_dtype=none, products_by_dtype=none, casts=34,
                                             weights_before=0, weights_after=0))  # fmt: skip
    kinds = (
        Facts,
        GraphFacts,
        ComparedFacts,
        _Repaired,
        ModelFacts,
        _ComparedModel,
        LoweredFacts,
        MeasureFacts,
        TuneFacts,
        JudgedFacts,
        SearchFacts,
    )
    kind = next(kind for kind in kinds if told.keys() <= kind.model_fields.keys())
    return StageRecord(**fields, facts=kind(**told))


def detector(gpu: bool = False) -> Manifest:
    """Faster R-CNN on a machine without a GPU: TVM ran and was compared, TensorRT was built only."""
    tools = {"torch": "2.9.1", "onnx": "1.19.1"}

    def stage(id: str, seconds: float, **more: object) -> StageRecord:
        kind, *engine = id.split()
        fields: dict[str, object] = {"id": id, "stage": kind, "status": "built", "key": f"{kind}-1f0a77c2"}
        fields |= {"seconds": seconds, "peak_memory_mb": 210 + 15 * seconds, "log": f"logs/{id}.log"}
        if len(engine) == 2:
            fields |= {"backend": engine[0], "target": engine[1]}
        return recorded(**(fields | more))

    def compared(expected: str, found: str, exponent: int, shift: float, tolerance: float = 1e-3) -> Comparison:
        samples = detector_samples(exponent, shift, tolerance)
        return Comparison(expected=expected, found=found, verdict="pass", samples=samples)

    latency = Latency(engine_ms=141.2, onnxruntime_ms=258.9, runs=50, threads=2, load_before=0.3, load_after=1.9)
    dynamic = Finding(
        severity="warning",
        op="NonMaxSuppression",
        node="/roi_heads/NonMaxSuppression_2",
        backend="tensorrt",
        versions="10.x",
        message="The number of boxes is only known at run time; the layer runs outside fused kernels.",
        remedy="Use the plugin EfficientNMS if a fixed number of boxes will do.",
    )
    repaired = Finding(
        severity="info",
        op="Resize",
        node="/transform/Resize",
        backend="tensorrt",
        versions=">=10.0",
        message="Mode `cubic` with `align_corners` was rewritten.",
        repair_id="resize-cubic",
    )
    stages = [
        stage("source", 6.1, tools={"torch": "2.9.1", "torchvision": "0.24.1"}, note="torchvision detection model"),
        stage(
            "export",
            48.7,
            needs={"model": "source"},
            nodes=sum(OPS.values()),
            ops=OPS,
            tools=tools | {"onnxscript": "0.5.6"},
            attempts=[
                Attempt(tool="dynamo", seconds=31.2, error="Unsupported: data-dependent branch in nms\n  at roi.py:84"),
                Attempt(tool="torchscript", seconds=17.1),
            ],
            note="torchscript exporter",
            warnings=["The dynamo exporter failed; the TorchScript exporter was used."],
        ),
        stage("compare export", 9.5, needs={"expected": "source", "candidate": "export"}, tools={"onnxruntime": "1.22.1"},
              comparison=compared("PyTorch", "ONNX Runtime", -5, 0)),
        stage("simplify", 3.2, status="cached", needs={"graph": "export"}, nodes=sum(SIMPLE.values()), ops=SIMPLE,
              tools={"onnxsim": "0.4.36"}, note="onnxsim"),
        stage("precision", 2.4, needs={"graph": "simplify"}, nodes=sum(SIMPLE.values()) + 34,
              ops=SIMPLE | {"Cast": 43}, note="fp16, 7 nodes kept in fp32"),
        stage("compare precision", 6.0, needs={"expected": "compare export", "candidate": "precision"},
              comparison=compared("ONNX Runtime", "ONNX Runtime", -3, 1.5, 2e-2)),
        stage("compile tvm native", 184.6, needs={"graph": "precision"},
              tools={"apache-tvm": "0.27.0"}),
        stage("compile tensorrt sm_89", 96.3, needs={"graph": "precision"}, findings=[repaired, dynamic],
              tools={"tensorrt": "10.13.3"}, note="1 repair"),
        stage("compare tvm native", 14.9, needs={"expected": "compare precision", "candidate": "compile tvm native"},
              comparison=compared("ONNX Runtime", "tvm", -3, 4, 2e-2)),
        stage("compare tensorrt sm_89", 0, status="not run", error="no GPU on this machine", peak_memory_mb=0,
              needs={"expected": "compare precision", "candidate": "compile tensorrt sm_89"}),
        stage("measure tvm native", 33.0, needs={"engine": "compile tvm native", "graph": "precision"}, latency=latency),
        stage("package", 0.8, needs={"a": "compile tvm native", "b": "compile tensorrt sm_89"}),
    ]  # fmt: skip
    engines = [
        EngineRecord(backend="tvm", target="native", path="engines/tvm-native/model.so", size=84_213_776,
                     sha256="4be1" * 16, layers=318, layers_by_dtype={"float16": 281, "float32": 37},
                     details={"tuning": "none", "target": "llvm -mcpu=sapphirerapids"}, verified="yes", latency=latency),
        EngineRecord(backend="tensorrt", target="sm_89", path="engines/tensorrt-sm_89.engine", size=86_912_004,
                     sha256="90aa" * 16, layers=174, layers_by_dtype={"float16": 151, "float32": 19, "int32": 4},
                     verified="not run", verified_reason="no GPU on this machine"),
    ]  # fmt: skip
    if gpu:
        slow = latency.model_copy(update={"engine_ms": 3.11, "onnxruntime_ms": 1.52, "load_before": 2.6})
        engines[1] = engines[1].model_copy(update={"verified": "yes", "verified_reason": "", "latency": slow})
    return Manifest(
        enginesmith="0.1.0",
        created="2026-03-14T09:26:53Z",
        command=["enginesmith", "build", "frcnn", "--precision", "fp16", "--backend", "tvm,tensorrt"],
        recipe={"model": "frcnn", "precision": "fp16", "backends": ["tvm", "tensorrt"], "samples": 4},
        precision="fp16",
        success=True,
        seconds=402.4,
        machine=MACHINE,
        model=ModelRecord(
            spec="frcnn",
            name="fasterrcnn_resnet50_fpn_v2",
            task="detection",
            weights=Weights(origin="random", detail="seed 0; no network to fetch COCO_V1", sha256="77d0" * 16),
            inputs=[TensorInfo(name="images", dtype="float32", shape=["batch", 3, 320, 320])],
            outputs=[TensorInfo(name="boxes", dtype="float32", shape=["n", 4])],
        ),
        stages=stages,
        engines=engines,
        warnings=["No GPU on this machine: TensorRT engines were built and not run."],
    )


def failure() -> Manifest:
    """A classifier whose graph TensorRT refuses: findings, a failed stage, and stages that were skipped for it."""
    classes = [
        SampleComparison(
            sample=f"random {number}",
            shapes={"x": [8, 3, 224, 224]},
            outputs=[difference("logits", -4, 1 + number)],
            classes=ClassMatch(top1=1.0 if number else 0.875, top5=1.0, passed=True),
            passed=True,
        )
        for number in range(3)
    ]
    findings = [
        Finding(severity="error", op="com.microsoft::FusedMatMul", node="/head/FusedMatMul", backend="tensorrt-rtx",
                versions="1.3", message="No importer registered for op: FusedMatMul.",
                remedy="Export without ONNX Runtime's fusions.", repair_id="unfuse-matmul"),
        Finding(severity="error", op="Einsum", node="/blocks.3/attn/Einsum", backend="tensorrt-rtx", versions="1.3",
                message="Ellipsis in the equation is not supported."),
        Finding(severity="warning", op="Cast", node="", backend="tensorrt-rtx", versions="1.3",
                message="int64 weights are narrowed to int32."),
    ]  # fmt: skip
    error = (
        "2 nodes are refused by tensorrt-rtx 1.3\n"
        "[E] ModelImporter.cpp:949: While parsing node number 412 [FusedMatMul -> \"/head/out\"]\n"
        "[E] assertion failed: (a < b) && creator"
    )  # fmt: skip
    skipped = [
        recorded(id=f"{name} tensorrt-rtx sm_120", stage=name, status="skipped", needs={need: "compile tensorrt-rtx sm_120"},
                 error="compile failed")
        for name, need in (("compare", "candidate"), ("measure", "engine"))
    ]  # fmt: skip
    base = detector()
    return base.model_copy(
        update={
            "model": base.model.model_copy(
                update={
                    "name": "vit_tiny",
                    "spec": "timm:vit_tiny_patch16_224",
                    "task": "classification",
                    "weights": Weights(origin="pretrained", detail="timm augreg_in21k_ft_in1k"),
                }
            ),
            "precision": "fp32",
            "command": ["enginesmith", "build", "timm:vit_tiny_patch16_224", "--backend", "tensorrt-rtx"],
            "recipe": {"model": "timm:vit_tiny_patch16_224", "backends": ["tensorrt-rtx"]},
            "success": False,
            "seconds": 71.9,
            "engines": [],
            "warnings": [],
            "stages": [
                recorded(id="source", stage="source", status="cached", seconds=3.3),
                recorded(id="export", stage="export", status="built", seconds=22.4, needs={"model": "source"},
                            nodes=412, ops={"MatMul": 96, "Add": 121, "Einsum": 12},
                            comparison=Comparison(expected="PyTorch", found="ONNX Runtime", verdict="pass",
                                                  samples=classes)),
                recorded(id="compile tensorrt-rtx sm_120", stage="compile", status="failed", seconds=11.2,
                            backend="tensorrt-rtx", target="sm_120", needs={"graph": "export"}, findings=findings, error=error,
                            remedy="Apply the repair unfuse-matmul: enginesmith doctor model.onnx --repair",
                            log="/build/vit/logs/compile tensorrt-rtx sm_120.log"),
                *skipped,
            ],
        }
    )  # fmt: skip


def minimal() -> Manifest:
    """The least that a manifest can hold."""
    return Manifest(
        enginesmith="0.1.0",
        created="2026-03-14T09:26:53Z",
        command=[],
        recipe={},
        precision="fp32",
        success=True,
        seconds=0,
        machine=MACHINE,
        model=ModelRecord(spec="m.onnx", name="m", task=""),
        stages=[],
    )


def large() -> Manifest:
    """Many backends, outputs and samples."""
    base = detector()
    stages = list(base.stages)
    finding = next(found for stage in stages for found in stage.facts.findings)
    for number in range(20):
        copies = [difference(f"output {i}", -6 + i % 4) for i in range(16)]
        samples = [sample.model_copy(update={"outputs": copies}) for sample in detector_samples(-5, number, 1e-3)] * 4
        stages.append(
            recorded(
                id=f"compare backend-{number}",
                stage="compare",
                status="built",
                seconds=number,
                needs={"found": "precision"},
                findings=[finding] * 60,
                ops={f"Op{i}": i + number for i in range(90)},
                comparison=Comparison(expected="x", found=f"backend {number}", verdict="pass", samples=samples),
            )
        )
    return base.model_copy(update={"stages": stages, "engines": base.engines * 6})
