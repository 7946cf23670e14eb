"""What the parts of a command or a script ask for together, as a recipe of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from enginesmith.compat.migrations import calibration_cache, sizes
from enginesmith.compat.migrations.python_values import TYPES
from enginesmith.compat.migrations.reading import Job, Part
from enginesmith.compat.migrations.trtexec import UNKNOWN
from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.job.shapes import parse_shapes

PLACEHOLDER = "model.onnx"
"""In the place of a model that is not known."""
HALVES = ("fp16", "bf16")
NARROW = ("fp8", "int4", "fp4")
"""Precisions that no recipe has."""
Parse = Callable[[str], dict[str, sizes.Dims]]


class Asked:
    """What a job's parts ask for together."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder
        self.notes: list[str] = []

    def recipe(self) -> dict[str, Any]:
        made: dict[str, Any] = {"model": self._model(), "backend": "tensorrt", **self._precision()}
        if shape := self._shape():
            made["shape"] = shape
        sparse = self.job.told("sparse")[-1:]
        if sparse and (how := sparse[0].lower()) in ("enable", "force"):
            made["sparse"] = True
            if how == "force":
                self.notes.append(
                    "--sparsity=force overwrote the weights; `sparse` prunes PyTorch models and trains them"
                )
        self._numbers(made)
        return made

    def _model(self) -> str:
        found = list(dict.fromkeys(filter(None, self.job.told("model"))))
        if foreign := [value for value in self.job.told("foreign") if value]:
            self.notes.append(f"{foreign[0]} is no ONNX file: export its network, and name that file in `model`")
        elif self.job.told("foreign"):
            self.notes.append("the network is no ONNX file: export it, and name that file in `model`")
        elif not found:
            self.notes.append("which model it builds is not known: name it in `model`")
        if len(found) > 1:
            self.notes.append(f"it has several models, and the recipe the first; the others: {', '.join(found[1:])}")
        name = found[0] if found else PLACEHOLDER
        if UNKNOWN in name:
            self.notes.append(f"only running it would tell all of the model's name: {name}")
        return name

    def _precision(self) -> dict[str, Any]:
        chosen = self._chosen()
        told = set(chosen)
        for narrow in [each for each in NARROW if each in told]:
            self.notes.append(
                f"{narrow}: no recipe asks for it; bring a graph with Q/DQ nodes of it, and leave `precision` out"
            )
        half = next((each for each in HALVES if each in told), "")
        if set(HALVES) <= told:
            self.notes.append("fp16 and bf16 together left the choice to TensorRT: the recipe has fp16")
        if "best" in told:
            self.notes.append(
                "`auto` searches the fastest mix on data: name it in `calib` and `eval`, and the loss in `budget`"
            )
            return {"precision": "auto", **self._calibration(), **self._kept("auto")}
        if "int8" in told:
            self.notes.append(
                "a graph that has Q/DQ nodes already is built as it is: leave `precision` and what is of int8 out"
            )
            return {"precision": "int8", "rest": half or "fp32", **self._calibration(), **self._kept("int8")}
        if half:
            return {"precision": half, **self._kept(half)}
        asked = any(said == ("precision", "int8") for part in self.job.parts for said in part.said)
        if (self.job.told("cache") or self.job.told("calibrator")) and not asked:
            self.notes.append("it has a calibrator or its cache, and does not ask for int8: both had no effect")
        if self.job.told("layers"):
            self.notes.append("types of single layers had no effect without a lower precision")
        return {"precision": "fp32"}

    def _chosen(self) -> list[str]:
        """Precisions that hold together: of those that exclude each other, as arms of one `if` do, the first."""
        chosen: list[str] = []
        before: list[Part] = []
        for part in self.job.parts:
            for key, value in part.said:
                if key != "precision" or not value:
                    continue
                if not part.taken:
                    self.notes.append(f"{value} where {part.where}, which by its own defaults is not so")
                elif any(part.excludes(other) for other in before):
                    if value in chosen:
                        continue
                    self.notes.append(f"{value} in another case: where {part.where}")
                else:
                    if part.where and not part.sure:
                        self.notes.append(f"{value} where {part.where}; the recipe takes it so")
                    before.append(part)
                    chosen.append(value)
        self.notes = list(dict.fromkeys(self.notes))
        return chosen

    def _calibration(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        methods = [value for value in self.job.told("calibrator") if value]
        if methods:
            made["method"] = _method(methods[-1])
        if caches := self.job.told("cache"):
            made["ranges"] = caches[-1]
            made |= self._cache(caches[-1])
        if data := self.job.told("data"):
            made["calib"] = data[-1]
        elif methods or self.job.told("calibrator") or not caches:
            self.notes.append("name the data that it calibrated on in `calib`: a folder, file.py:function or data.npz")
        return made

    def _cache(self, name: str) -> dict[str, Any]:
        """What the cache itself says, where it is here."""
        path = self.folder / name
        if not path.is_file():
            self.notes.append(f"the calibration cache {name} is not here: the build reads it from where it is started")
            return {}
        try:
            cache = calibration_cache.parse(path.read_bytes())
        except (OSError, ValueError) as error:
            self.notes.append(f"{name} can't be taken over: {error}")
            return {}
        release = f" of TensorRT {cache.version}" if cache.version else ""
        self.notes.append(
            f"{name} has ranges of {len(cache.scales)} tensors, by {cache.algorithm or 'an unknown way'}{release}"
        )
        return {"method": cache.method} if cache.method else {}

    def _kept(self, precision: str) -> dict[str, Any]:
        """Layers that had a type above the one that is asked for."""
        patterns, unnamed = [], False
        for text in self.job.told("layers"):
            for word in text.replace(" ", ",").split(","):
                name, _, kind = word.rpartition(":")
                wide = TYPES.get(kind.split("+")[0], kind)
                above = wide == "fp32" if precision in HALVES else wide in ("fp32", *HALVES)
                if above and name and name != "*":
                    patterns.append(name)
                unnamed |= above and not name
        if unnamed:
            self.notes.append(
                "it gives layers a higher precision, and which they are only running it would tell: name them in `keep`"
            )
        if patterns and not self.job.told("constraints") and self.job.tool in ("trtexec", "polygraphy"):
            self.notes.append(
                "without precision constraints TensorRT was free to ignore the types of layers; `keep` holds"
            )
        return {"keep": ",".join(dict.fromkeys(patterns))} if patterns else {}

    def _shape(self) -> str:
        parse: Parse = _parse_bracketed if self.job.tool == "polygraphy" else sizes.parse
        shapes = [text for text in self.job.told("profile") if text]
        try:
            low, best, high = (self._merged(parse, side) for side in ("min", "opt", "max"))
            text = sizes.written(sizes.merge(low, best, high))
            if text:
                shapes.insert(0, text)
            joined = self._first_profile(shapes)
            if joined:
                parse_shapes(joined)
        except (ValueError, UserError) as error:
            self.notes.append(f"its sizes are not taken over: {error}")
            return ""
        self._batch(joined)
        return joined

    def _merged(self, parse: Parse, side: str) -> dict[str, sizes.Dims]:
        """The first that is said of each input; others are of further profiles."""
        found: dict[str, sizes.Dims] = {}
        for text in self.job.told(side):
            for name, dims in parse(text).items():
                if found.setdefault(name, dims) != dims:
                    self.notes.append(f"an engine has one profile; another one's {side} it has: {text}")
        return found

    def _first_profile(self, shapes: list[str]) -> str:
        """Sizes of all inputs; of a second profile of an input nothing, which is told."""
        by_name: dict[str, str] = {}
        for text in (word for shape in shapes for word in shape.split()):
            name = text.rpartition(":")[0] if ":" in text else text.partition("=")[0] if "=" in text else ""
            if by_name.setdefault(name, text) != text:
                self.notes.append(f"an engine has one profile; another one it has: {text}")
        if len(by_name) > 1 and "" in by_name:
            nameless = by_name.pop("")
            self.notes.append(f"which input has the sizes {nameless} is not known: add it to `shape` with its name")
        return " ".join(by_name.values())

    def _batch(self, shape: str) -> None:
        batches = [value for value in self.job.told("batch") if value.isdigit()]
        largest = max(map(int, batches), default=0)
        if largest > 1 and ".." not in shape:
            nothing = any(part.fact.name.startswith("OnnxParser.") for part in self.job.parts)
            self.notes.append(
                f"a batch of up to {largest}: give `shape` with it, such as x:1..{largest}..{largest}x3x224x224"
                + (" (max_batch_size has no effect on an ONNX file)" if nothing else "")
            )
        elif "implicit" in {key for part in self.job.parts for key, _ in part.said} and not shape:
            self.notes.append("its network had no dimension for the batch: `shape` has one, the first")

    def _numbers(self, made: dict[str, Any]) -> None:
        for key in ("seed", "opset"):
            if (told := self.job.told(key)) and told[-1].isdigit():
                made[key] = int(told[-1])
        if seconds := self.job.told("measure"):
            try:
                made["measure"] = max(float(seconds[-1]), 0.0)
            except ValueError:
                self.notes.append(f"--duration={seconds[-1]} is no number of seconds")
        if "untimed" in {key for part in self.job.parts if part.taken for key, _ in part.said}:
            made["measure"] = 0.0


def _parse_bracketed(text: str) -> dict[str, sizes.Dims]:
    return sizes.parse_bracketed(text.split())


def _method(text: str) -> str:
    lowered = text.lower()
    if "minmax" in lowered:
        return "minmax"
    return "percentile" if "legacy" in lowered or lowered == "percentile" else "entropy"
