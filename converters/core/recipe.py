"""What the user asked for: one settings object. An option is stated here and nowhere else.

Flags of the command line, keys of a recipe file, variables of `make engine`, keywords of the Python API, the table in the
documentation and the JSON Schema all follow from the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from enginesmith.converters.core.quantities import BYTES, SECONDS, SHARES, quantity
from enginesmith.converters.core.samples import Pixels

Precision = Literal["fp32", "fp16", "bf16", "int8", "auto"]
FP32: Literal["fp32"] = "fp32"
AUTO: Precision = "auto"
INTEGERS: tuple[Precision, ...] = ("int8", AUTO)
"""Precisions that make graphs of integers."""
Rest = Literal["fp32", "fp16", "bf16"]
Method = Literal["minmax", "entropy", "percentile", "mse"]
HardwareCompatible = Literal["ampere+", "same-capability"]
Consistency = Literal["off", "quick", "full"]
OFF: Literal["off"] = "off"
FULL: Literal["full"] = "full"
Exporter = Literal["auto", "dynamo", "torchscript"]
Importance = Literal["l1", "l2", "bn", "random"]

TORCH = "PyTorch models"
TVM = "TVM modules"
TENSORRT = "TensorRT's engines"
LOWERED = "a lower precision (fp16, bf16, int8, auto), a pruning or a fine-tuning"
CALIBRATED = "a lower precision that is calibrated (fp16, int8, auto) or a fine-tuning"
PRUNED = "a pruning (--prune)"
LOWER = "a lower precision (--precision fp16, bf16, int8 or auto)"
INT8 = "int8 (--precision int8 or auto)"
"""Which builds take an option."""

LOW = "Precision"
TRAINING = "Fine-tuning"
BUILDER = "TensorRT's builder"
SEARCH = "Tuning of TVM modules"
"""Headings of the help."""

SAMPLES, MOST_SAMPLES = 3, 64
MOST_THREADS = 1024
LEAST_MEMORY = 0.1
"""GB: Python with onnx takes as much."""

UNITS: Mapping[str, tuple[Mapping[str, float], str]] = {
    "share": (SHARES, "0.5%"),
    "seconds": ({"": 1.0, **SECONDS}, "10m"),
    "bytes": ({"": 1.0, **BYTES}, "2GB"),
}
"""Amounts that may be written with a unit, each with an example."""


@dataclass(frozen=True)
class Shown:
    """How a field is shown as an option: the heading of the help that it stands under, and the amount that it takes with a
    unit (a key of `UNITS`), empty for none. `for_` says which builds take it, empty where all do: in another one it is
    refused, not ignored. `also` is a second name of the flag.
    """

    panel: str = ""
    amount: str = ""
    for_: str = ""
    also: str = ""


def option(
    default: Any, about: str, *, panel: str = "", amount: str = "", for_: str = "", also: str = "", **limits: Any
) -> Any:
    """A field of the recipe with its help. `limits` are pydantic's (`ge`, `gt`, `le`)."""
    extra = {"panel": panel, "amount": amount, "for_": for_, "also": also}
    return Field(default=default, description=about, json_schema_extra=extra, **limits)  # type: ignore[arg-type]


def shown(field: str) -> Shown:
    """How a field of the recipe is shown."""
    extra = Recipe.model_fields[field].json_schema_extra
    return Shown(**extra) if isinstance(extra, dict) else Shown()  # type: ignore[arg-type]


class Recipe(BaseModel):
    """A build. Every field is a flag of `enginesmith build`, and a key of a recipe file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=False)

    model: str = Field(
        description="Zoo name, torchvision:NAME, timm:NAME, hf:DIR, hf:ORG/NAME, ultralytics:NAME, file.py:factory, "
        "package.module:factory, or a .onnx, .pt2 or TorchScript file."
    )
    backend: str = option(
        "auto", "auto (all that this machine can build), tensorrt, tensorrt-rtx, tvm; several with commas."
    )
    target: str = option(
        "auto",
        "sm_89, native, x86-64-v3, x86-64-v4+vnni, an LLVM triple; with commas. Each goes to the backends that know it.",
    )
    platform: str = option(
        "",
        "Where the engine will run: jetpack=6.2, triton=26.07, nvcr=tensorrt:26.07; with commas. One that it can't load is "
        "refused, or told of where other engines are built too.",
        for_=TENSORRT,
        also="for",
    )
    precision: Precision = option(
        "fp32", "fp32, fp16, bf16, int8, written into the graph; auto for the fastest mix within --budget."
    )
    calib: str = option(
        "",
        "Calibration data: a folder, file.py:function, data.npz; the model's own or the shipped pictures where left out.",
        panel=LOW,
        for_=CALIBRATED,
    )
    eval: str = option(
        "", "Data to measure the accuracy on, in the same forms, with targets if any.", panel=LOW, for_=LOWERED
    )
    metric: str = option(
        "", "top1, map, miou, cosine or file.py:function; the task's own where left out.", panel=LOW, for_=LOWERED
    )
    budget: float | None = option(
        None, "Largest loss of the metric: 0.5% is half a point of 100.", panel=LOW, amount="share", ge=0, for_=LOWERED
    )
    time: float = option(
        900.0,
        "What a search may take, such as 10m; then the best mix so far is taken.",
        panel=LOW,
        amount="seconds",
        gt=0,
        for_="a search (--precision auto)",
    )
    examples: int = option(64, "Examples to calibrate on, at most.", panel=LOW, ge=1, for_=CALIBRATED)
    evaluated: int | None = option(
        None,
        "Examples to measure the accuracy on, at most: 500 of --eval, 32 of the shipped pictures.",
        panel=LOW,
        ge=1,
        for_=LOWERED,
    )
    rest: Rest | None = option(
        None,
        "With int8 or auto, what computes in no integers: fp32, fp16 or bf16; each engine's own where left out.",
        panel=LOW,
        for_=INT8,
    )
    method: Method = option("mse", "Calibration: minmax, entropy, percentile or mse.", panel=LOW, for_=INT8)
    ranges: Path | None = option(
        None,
        "A calibration cache of TensorRT: its ranges stand, and what it has none of is measured.",
        panel=LOW,
        for_=INT8,
    )
    keep: str = option(
        "",
        "With fp16 and bf16 these stay in float32; with int8 and auto these products aren't in int8: patterns of names or of "
        "operators, first, last, FROM..TO; with commas.",
        panel=LOW,
        for_=LOWER,
    )
    weight_only: bool = option(False, "int8 for weights alone.", panel=LOW, for_=INT8)
    equalize: bool = option(False, "Cross-layer equalization before int8.", panel=LOW, for_=INT8)
    correct_bias: bool = option(True, "Bias correction after int8.", panel=LOW, for_=INT8)
    low_io: bool = option(
        False, "Inputs and outputs in the lower type too, where nothing needs them in float32.", panel=LOW, for_=LOWERED
    )
    pixels: Pixels | None = option(
        None, "What pictures are fed as: unit (0..1), imagenet, bytes (0..255); the model's own where known.", panel=LOW
    )
    shape: str | None = option(
        None,
        "1x3x320x320, x:1..4..16x3x224x224 (min..opt..max), ids:1x128:int64; linked ids:1x{s=1..16..128} mask:1x{s+1}; "
        "values of integers n=1..30..500; several fixed ones with commas; the model's own where left out.",
    )
    weights: str | None = option(
        None, "pretrained, random (seeded), or a state dict's path; pretrained where the model has any.", for_=TORCH
    )
    finetune: str = option(
        "",
        "file.py:function that trains the model, for --qat, --sparse or --prune; none to prune alone; where left out the "
        "model learns from its own answers on --calib.",
        panel=TRAINING,
    )
    qat: bool = option(False, "Train with int8's rounding.", panel=TRAINING)
    sparse: bool = option(
        False, "2:4 sparse weights: pruned before the training, with the backend's kernels for them.", panel=TRAINING
    )
    prune: float | None = option(
        None,
        "Share of the channels to cut, such as 30%: whole filters, heads and neurons, of every group of layers that can lose "
        "them.",
        panel=TRAINING,
        amount="share",
        gt=0,
        lt=1,
    )
    importance: Importance = option(
        "l1",
        "Which channels go first: the least by l1, l2 (norm of the filter) or bn (BatchNorm's scale); random.",
        panel=TRAINING,
        for_=PRUNED,
    )
    trust: bool = option(False, "Unpickle weights, and run code that a model file carries.")
    stock: bool = option(False, "Keep a detector's own graph, with dynamic shapes and NonMaxSuppression.", for_=TORCH)
    proposals: int | None = option(
        None,
        "Proposals of a static two-stage detector; torchvision's own number where left out.",
        ge=1,
        le=2000,
        for_=TORCH,
    )
    exporter: Exporter = option("auto", "PyTorch's exporter: dynamo, torchscript; auto tries both.", for_=TORCH)
    allow_baked: bool = option(
        False,
        "Go on where the model decides by its data or keeps state, with what one run did: no engine is verified.",
    )
    opset: int = option(18, "ONNX opset to export to.", ge=11, le=23, for_=TORCH)
    simplify: bool = option(True, "Run the simplifier.")
    alter: str = option(
        "",
        "Changes to the graph that keep what it computes, where an engine of it is wrong, as bisect --diverges finds them: "
        "barrier:TENSOR, wide:NODE, NODE=REPAIR; with commas.",
    )
    repair: bool = option(True, "Repair what a backend refuses, and prove each repair; else report it only.")
    workarounds: bool = option(
        False, "Rewrite what the backend is known to compute wrongly, and prove it; else only warn of it."
    )
    workspace: float | None = option(
        None,
        "Memory that a kernel may use beside its inputs and outputs, such as 2GB; all of the GPU's where left out.",
        panel=BUILDER,
        amount="bytes",
        gt=0,
        for_=TENSORRT,
    )
    optimization_level: int | None = option(
        None, "0 for the fastest build to 5 for the fastest engine.", panel=BUILDER, ge=0, le=5, for_=TENSORRT
    )
    version_compatible: bool = option(False, "An engine that later versions load too.", panel=BUILDER, for_=TENSORRT)
    hardware_compatible: HardwareCompatible | None = option(
        None,
        "An engine for other GPUs too: ampere+ for all from Ampere on, same-capability for those of the same compute capability.",
        panel=BUILDER,
        for_=TENSORRT,
    )
    refittable: bool = option(False, "An engine whose weights can be exchanged.", panel=BUILDER, for_=TENSORRT)
    strip_plan: bool = option(
        False, "An engine without its weights, which are put in before it runs.", panel=BUILDER, for_=TENSORRT
    )
    weight_streaming: bool = option(
        False, "An engine whose weights may stay in the host's memory.", panel=BUILDER, for_=TENSORRT
    )
    timing_cache: Path | None = option(
        None, "File of kernels' times, read and written; in the store where left out.", panel=BUILDER, for_=TENSORRT
    )
    aux_streams: int | None = option(
        None, "Streams beside the main one that an engine may use, at most.", panel=BUILDER, ge=0, for_=TENSORRT
    )
    tf32: bool = option(True, "Products of float32 may round their factors to 10 bits.", panel=BUILDER, for_=TENSORRT)
    kernels: bool = option(True, "Kernels of our own in TVM modules; else TVM's lowering alone.", for_=TVM)
    winograd: bool = option(
        True, "Winograd's convolutions in TVM modules, where faster: they round more coarsely.", for_=TVM
    )
    tune: float = option(
        0.0, "Search for better schedules in TVM modules, such as 10m.", panel=SEARCH, amount="seconds", ge=0
    )
    tuners: str = option(
        "", "Machines to measure on: HOST:PORT/KEY of TVM's RPC tracker; this one where left out.", panel=SEARCH
    )
    tune_database: Path | None = option(
        None, "File of measurements, read and added to; in the store where left out.", panel=SEARCH
    )
    consistency: Consistency = option(
        "quick",
        "How each engine is held against itself: quick within the time that its samples take; full, however long it takes, "
        "and against one of the same graph built as plainly as there is; off.",
    )
    samples: str | Annotated[int, Field(ge=1, le=MOST_SAMPLES)] = option(
        SAMPLES,
        "How many inputs every comparison runs on, 64 at most, or your own: data.npz, or a folder; one is then run a second "
        "time, and probes show what they don't.",
    )
    seed: int = option(0, "Of random weights and inputs.", ge=0, le=2**32 - 1)
    threads: int = option(0, "Threads of CPU runs, and of the tuning; 0 for all cores.", ge=0, le=MOST_THREADS)
    jobs: int = option(
        0,
        "Stages side by side where none needs the other; 0: by cores and memory. What takes times runs alone.",
        ge=0,
        le=MOST_THREADS,
    )
    measure: float = option(10.0, "Seconds to time an engine for; 0 for not at all.", ge=0)
    timeout: float = option(3600.0, "Seconds that one stage may take.", gt=0)
    memory: float = option(0.0, "GB that one stage may use, 0.1 at least; 0 for 90 % of the machine's.", ge=0)
    keep_going: bool = option(False, "Go on after a mismatch, and record it.")
    out: Path | None = option(None, "Folder of the results; build/MODEL/PRECISION where left out.")

    @field_validator("*", mode="before")
    @classmethod
    def _readable(cls, value: object) -> object:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("it has a NUL character")
        return value

    @field_validator("memory")
    @classmethod
    def _enough(cls, value: float) -> float:
        if 0 < value < LEAST_MEMORY:
            raise ValueError(f"no stage runs in so little; give {LEAST_MEMORY} at least, in GB")
        return value

    @field_validator("samples", mode="before")
    @classmethod
    def _count_or_place(cls, value: object) -> object:
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, str) and not value.strip().lstrip("+-").isdigit():
            if not value:
                raise ValueError("give a number, or a file of your own")
            return value
        count = int(value) if isinstance(value, str) else value
        if not isinstance(count, int) or not 1 <= count <= MOST_SAMPLES:
            raise ValueError(f"give 1 to {MOST_SAMPLES}, or a file of your own")
        return count

    @field_validator("budget", "time", "tune", "prune", "workspace", mode="before")
    @classmethod
    def _amount(cls, value: object, info: ValidationInfo) -> object:
        name = info.field_name or ""
        return quantity(value, *UNITS[shown(name).amount], name) if isinstance(value, str) else value
