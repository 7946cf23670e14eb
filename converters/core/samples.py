"""The inputs that every comparison runs on, and what came out, as files.

They are kept in Polygraphy's own (`polygraphy run --load-inputs` takes them).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import BaseModel

from enginesmith.converters.core.inputs import InputSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from polygraphy.comparator import IterationResult, RunResults

Array: TypeAlias = "NDArray[np.generic]"
Feed: TypeAlias = "OrderedDict[str, Array]"
"""Input names to arrays, in the order of the model's inputs."""

INPUTS = "inputs.json"
RESULTS = "results.json"
EXACT = "exact.json"
"""The reference's results in float64, as far as it could be run so."""
MOVED = "moved.json"
"""Its results on inputs that are each moved by one rounding step, where it could not be run in float64."""
SHAKEN = "shaken.json"
"""Those of probes in float64 with every operator's result moved by one rounding step."""
TRIED = "tried.json"
"""What ONNX Runtime made of the exported graph on the ordinary samples, where the export was held against the model."""
WITNESS = "witness.json"
"""What a second witness says where it contradicts the reference."""
SAMPLES = "samples.json"


class Sample(BaseModel):
    """One input. `picture` is empty for random data."""

    name: str
    picture: str = ""
    own: bool = False
    """The user's, as it was given."""
    optimum: bool = True
    """At the optimum shape, the only one that a static engine takes where no more were listed."""
    listed: bool = False
    """At a shape that was asked for beside the optimum, which a static engine takes too."""
    probe: Literal["", "near", "far"] = ""
    """Made to show what ordinary inputs don't: with values of their size, or with such as float32 alone need take. No weights
    are set by it, and no range is measured on it."""


Pixels = Literal["unit", "imagenet", "bytes", "unknown"]
"""What a model takes pictures as: in 0..1, less ImageNet's mean and by its deviation, in 0..255; a file doesn't say."""


class SampleSet(BaseModel):
    """What `samples.json` holds; the arrays are in `inputs.json`, in the same order."""

    task: str
    pixels: Pixels = "unknown"
    specs: tuple[InputSpec, ...]
    samples: list[Sample]
    bound: tuple[str, ...] = ()
    """Inputs that the user's example shows to be of a kind, such as boxes: others than such have no meaning."""
    random_weights: bool = False
    """The model's weights are seeded: what a lower precision costs can't be seen on them."""
    own: Literal["fp32", "fp16", "bf16"] = "fp32"
    """The coarsest type that the model itself computes in: its results have that rounding, whatever the precision asked for."""
    baked: str = ""
    """What the export has fixed that the model decides by its data, as the user allowed: the graph is another function."""

    def ordinary(self) -> list[int]:
        """The samples that are no probes, which come first."""
        return [index for index, sample in enumerate(self.samples) if not sample.probe]

    def held(self, precision: str) -> list[int]:
        """The samples that a graph or an engine of this precision is held to: float32 to all, 16 bits not to the first one
        with far values, nor to those behind it; integers, which end where the data for the calibration did, to no probe.
        """
        if precision == "fp32" and self.own == "fp32":
            return list(range(len(self.samples)))
        if precision == "int8":
            return self.ordinary()
        return list(takewhile(lambda index: self.samples[index].probe != "far", range(len(self.samples))))

    def save(self, folder: Path, feeds: Sequence[Feed]) -> None:
        from polygraphy.json import save_json

        (folder / SAMPLES).write_text(self.model_dump_json(indent=1))
        save_json(list(feeds), str(folder / INPUTS))

    @classmethod
    def load(cls, folder: Path) -> tuple[SampleSet, list[Feed]]:
        from polygraphy.json import load_json

        return cls.model_validate_json((folder / SAMPLES).read_bytes()), load_json(str(folder / INPUTS))


TELLING = 0.1
"""Share of finite numbers that outputs must have, to be held against others."""


def telling(outputs: Mapping[str, Array]) -> bool:
    """Is there something finite among the outputs to be compared?"""
    import numpy as np

    floats = [array for array in outputs.values() if array.dtype.kind in "fc"]
    total = sum(array.size for array in floats)
    finite = sum(int(np.isfinite(array).sum()) for array in floats)
    return finite >= TELLING * total


def save_results(folder: Path, runner: str, outputs: Sequence[dict[str, Array]], file: str = RESULTS) -> None:
    """Write outputs that no Polygraphy runner made as Polygraphy's `RunResults`."""
    from polygraphy.comparator import IterationResult, RunResults

    results = RunResults()
    results.append((runner, [IterationResult(outputs=o, runtime=0.0, runner_name=runner) for o in outputs]))
    results.save(str(folder / file))


def load_results(folder: Path) -> RunResults:
    from polygraphy.comparator import RunResults

    return RunResults.load(str(folder / RESULTS))


def load_beside(folder: Path, file: str) -> list[IterationResult]:
    """`EXACT`, `MOVED`, `SHAKEN` or `WITNESS`: one for each sample, without the outputs that there is nothing to say of; none without
    such a file."""
    from polygraphy.comparator import RunResults

    return list(RunResults.load(str(folder / file))[0][1]) if (folder / file).exists() else []
