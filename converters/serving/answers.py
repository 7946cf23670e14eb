"""What an engine's outputs say: tensors in figures, classes and boxes with their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from enginesmith.converters.core.samples import Array
from enginesmith.converters.graphs.matching import pictures_of

if TYPE_CHECKING:
    from enginesmith.converters.serving.inputs import Given

MOST_VALUES = 1000
"""Elements of a tensor that are told one by one."""
BOXES = {"boxes", "scores", "labels"}
"""Names of a detector's outputs."""


class Tensor(BaseModel):
    """`low` and `high` are of its finite elements; `values` is the whole of a small one, NaN and infinities as text."""

    name: str
    dtype: str
    shape: list[int]
    low: float | None
    high: float | None
    values: list[object] | None = None


class Ranked(BaseModel):
    """A class. `share` is its score where those are shares, else their softmax."""

    index: int
    name: str
    share: float


class Box(BaseModel):
    """In pixels of the picture as it was given: left, top, right, bottom."""

    index: int
    name: str
    score: float
    sides: tuple[float, float, float, float]


class Answer(BaseModel):
    """Of one call. `seconds` are those within the engine; `saved` the files that were written of it."""

    input: str
    seconds: float
    outputs: list[Tensor]
    classes: list[Ranked] = []
    boxes: list[Box] = []
    saved: list[str] = []


def tensor(name: str, array: Array) -> Tensor:
    import numpy as np

    finite = array[np.isfinite(array)] if array.dtype.kind in "fc" else array
    real = finite.size and array.dtype.kind in "fiub"
    return Tensor(
        name=name,
        dtype=str(array.dtype),
        shape=list(array.shape),
        low=float(finite.min()) if real else None,
        high=float(finite.max()) if real else None,
        values=[_plain(value) for value in array.ravel().tolist()] if array.size <= MOST_VALUES else None,
    )


def ranking(outputs: Mapping[str, Array], names: Sequence[str], count: int) -> list[Ranked]:
    """The best classes of the first row, best first; none where the outputs are no scores of classes: one [N, C] of floats."""
    import numpy as np

    arrays = [array for array in outputs.values() if array.ndim == 2 and array.dtype.kind == "f" and array.shape[1] > 1]
    if len(arrays) != 1 or not len(arrays[0]) or outputs.keys() >= BOXES:
        return []
    scores = arrays[0][0].astype(np.float64)
    if not ((scores >= 0).all() and abs(scores.sum() - 1) < 1e-2):
        scores = np.exp(scores - scores.max())
        scores /= scores.sum()
    best = np.argsort(-scores, kind="stable")[:count]
    return [Ranked(index=int(i), name=_name(names, int(i)), share=float(scores[i])) for i in best]


def boxes(outputs: Mapping[str, Array], given: Given, names: Sequence[str], least: float) -> list[Box]:
    """Those of the first picture that score `least` or more, best first; none where the outputs are no detector's."""
    if not outputs.keys() >= BOXES:
        return []
    first = pictures_of(outputs)[0]
    across, down = given.across, given.down
    return [
        Box(
            index=int(label),
            name=_name(names, int(label)),
            score=float(score),
            sides=(x1 / across, y1 / down, x2 / across, y2 / down),
        )
        for (x1, y1, x2, y2), score, label in zip(first.boxes.tolist(), first.scores, first.labels, strict=True)
        if score >= least
    ]


def draw(picture: Path, found: Sequence[Box], into: Path) -> None:
    """The picture with its boxes, as PNG."""
    from PIL import Image, ImageDraw

    with Image.open(picture) as opened:
        drawn = opened.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    width = max(1, min(drawn.size) // 200)
    for box in reversed(found):  # the best on top
        colour = f"hsl({box.index * 67 % 360}, 90%, 45%)"
        pen.rectangle(box.sides, outline=colour, width=width)
        label = f"{box.name or box.index} {box.score:.2f}"
        place = pen.textbbox((box.sides[0], box.sides[1]), label)
        pen.rectangle(place, fill=colour)
        pen.text((box.sides[0], box.sides[1]), label, fill="white")
    drawn.save(into)


def _name(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else ""


def _plain(value: object) -> object:
    """As JSON has it."""
    import math

    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float) else str(value)
