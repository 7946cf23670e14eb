"""What the user asked for: one settings object, from flags, from a YAML file, or from both."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from enginesmith.converters.errors import UserError
from enginesmith.converters.precision.int8.options import Int8Options, Method
from enginesmith.converters.precision.mix import Rest
from enginesmith.converters.samples import Pixels
from enginesmith.pipeline.quantities import SECONDS, SHARES, quantity

Precision = Literal["fp32", "fp16", "bf16", "int8", "auto"]
Exporter = Literal["auto", "dynamo", "torchscript"]


class Recipe(BaseModel):
    """A build. Every field is a flag of `enginesmith build`, and a key of a recipe file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str
    """Zoo name, torchvision:NAME, timm:NAME, file.py:factory, package.module:factory, or a model file."""
    backend: str = "auto"
    """`auto` (all that this machine can build), or backends with commas."""
    target: str = "auto"
    """Compute capabilities (`sm_89`), `native` or an LLVM triple, with commas; each goes to the backends that know it."""
    precision: Precision = "fp32"
    """Precision of the graph, written into it as Cast and Q/DQ nodes; `auto` searches for the fastest mix within `budget`."""
    calib: str = ""
    """Calibration data: a folder, `file.py:function`, `data.npz`; the pictures shipped with the package where left out."""
    eval: str = ""
    """Data to measure the accuracy on, in the same forms, with targets if there are any."""
    metric: str = ""
    """`top1`, `map`, `cosine` or `file.py:function`; the task's own where left out."""
    budget: float | None = Field(default=None, ge=0)
    """Largest loss of the metric: `0.5%` is half a point of 100."""
    time: float = Field(default=900.0, gt=0)
    """Seconds that a search may take (`10m`); then the best mix so far is taken."""
    examples: int = Field(default=64, ge=1)
    """Examples to calibrate on, at most."""
    evaluated: int | None = Field(default=None, ge=1)
    """Examples to measure the accuracy on, at most: 500 of `eval`, 32 of the pictures shipped with the package."""
    rest: Rest | None = None
    """With `int8`: what computes in no integers. Where left out `fp16`, and `fp32` for engines that compute in no less."""
    method: Method = Int8Options().method
    """How calibration cuts the range of an activation."""
    keep: str = ""
    """Products that int8 leaves alone: patterns of node names, `first`, `last`, with commas."""
    weight_only: bool = False
    """int8 for weights alone."""
    equalize: bool = Int8Options().equalize
    """Cross-layer equalization before int8."""
    correct_bias: bool = Int8Options().correct_bias
    """Bias correction after int8."""
    low_io: bool = False
    """Inputs and outputs in the lower type too, where nothing needs them in float32."""
    pixels: Pixels | None = None
    """What pictures are fed as: `unit` 0..1, `imagenet`, `bytes` 0..255; the model's own where it is known."""
    shape: str | None = None
    """Shapes of the inputs (`x:1..4..16x3x224x224`); the model's own default where left out."""
    weights: str | None = None
    """`pretrained`, `random` (seeded), or a state dict's path; by default pretrained where the model has any."""
    finetune: str = ""
    """`file.py:function` that trains the model that it is given, for `qat` or `sparse`; where left out the model learns from
    itself on `calib`; `none`: not at all."""
    qat: bool = False
    """Train with int8's rounding."""
    sparse: bool = False
    """Prune the weights to 2:4 before the training, and use the backend's kernels for such weights."""
    trust: bool = False
    """Unpickle weights and run code that a model file carries."""
    stock: bool = False
    """Keep a detector's own graph, with its dynamic shapes and NonMaxSuppression nodes."""
    proposals: int | None = Field(default=None, ge=1, le=2000)
    """Proposals that a static two-stage detector keeps; torchvision's own number where left out."""
    exporter: Exporter = "auto"
    """PyTorch's exporter: `auto` tries dynamo, then TorchScript."""
    opset: int = Field(default=18, ge=11, le=23)
    """ONNX opset to export to."""
    simplify: bool = True
    """Run the simplifier."""
    repair: bool = True
    """Repair what a backend refuses, and prove each repair; otherwise report it only."""
    kernels: bool = True
    """Kernels of our own in TVM modules; otherwise everything is TVM's lowering."""
    winograd: bool = True
    """Winograd's algorithm among them, where it is faster; it rounds more coarsely than a direct convolution."""
    tune: float = Field(default=0.0, ge=0)
    """Seconds to search for better schedules of the kernels in TVM modules (`10m`); 0: no search."""
    tuners: str = ""
    """Machines to measure on for `tune`, at a tracker of TVM's RPC: `HOST:PORT/KEY`; this machine where left out."""
    tune_database: Path | None = None
    """File of what `tune` has measured, read and added to; one in the store where left out."""
    samples: int = Field(default=3, ge=1, le=64)
    """Inputs that every comparison runs on; one is then run a second time."""
    seed: int = Field(default=0, ge=0)
    """Of random weights and inputs."""
    threads: int = Field(default=0, ge=0)
    """Threads of CPU runs; 0 takes all cores."""
    jobs: int = Field(default=0, ge=0)
    """Stages that run side by side where none needs the other; 0: as many as there are cores, and memory for."""
    measure: float = Field(default=10.0, ge=0)
    """Seconds to spend on timing an engine; 0 skips it."""
    timeout: float = Field(default=3600.0, gt=0)
    """Seconds that one stage may take."""
    memory: float = Field(default=0.0, ge=0)
    """GB that one stage may use; 0 stands for 90 % of the machine's."""
    keep_going: bool = False
    """Go on after a mismatch, and record it."""
    out: Path | None = None
    """Folder of the results; `build/MODEL/PRECISION` where left out."""

    @field_validator("budget", mode="before")
    @classmethod
    def _share(cls, value: object) -> object:
        return quantity(value, SHARES, "0.5%", "budget") if isinstance(value, str) else value

    @field_validator("time", "tune", mode="before")
    @classmethod
    def _seconds(cls, value: object, info: ValidationInfo) -> object:
        name = info.field_name or ""
        return quantity(value, {"": 1.0, **SECONDS}, "10m", name) if isinstance(value, str) else value

    @property
    def int8(self) -> Int8Options:
        keep = tuple(filter(None, self.keep.replace(" ", "").split(",")))
        return Int8Options(
            method=self.method,
            keep=keep,
            weight_only=self.weight_only,
            equalize=self.equalize,
            correct_bias=self.correct_bias,
        )


def make_recipe(flags: dict[str, Any], file: Path | None = None) -> Recipe:
    """A recipe from a file's keys with the given flags over them. Raises UserError, naming the field."""
    values = {**(_read(file) if file else {}), **flags}
    if "model" not in values:
        raise UserError("no model; give one (`enginesmith build frcnn`), or a recipe with `model:` (-f recipe.yaml)")
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(field, Recipe.model_fields, n=1)
            raise UserError(
                f"unknown key {field!r} in the recipe" + (f"; did you mean {near[0]!r}?" if near else "")
            ) from None
        if field == "precision":
            raise UserError(_refused_precision(first["input"])) from None
        raise UserError(f"{field} = {first['input']!r}: {first['msg']}") from None


def _refused_precision(given: object) -> str:
    known = get_args(Precision)
    near = difflib.get_close_matches(str(given).lower(), known, n=1)
    return f"precision = {given!r} is not known; " + (
        f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text())
    except OSError as error:
        raise UserError(f"can't read the recipe {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"the recipe {file} is no YAML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"the recipe {file} must be a mapping such as `model: frcnn`")
    return values
