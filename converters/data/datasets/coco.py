"""Annotations in COCO's object detection format (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from enginesmith.converters.core.errors import UserError


@dataclass(frozen=True)
class Boxes:
    """What is on one picture: boxes x1 y1 x2 y2 in its pixels, COCO's own category numbers, and which boxes are crowds."""

    boxes: list[list[float]]
    labels: list[int]
    crowd: list[bool]

    def scaled(self, across: float, down: float) -> dict[str, Any]:
        """As a target for the metric, in the pixels of the scaled picture: float32 [K, 4], int64 [K], bool [K]."""
        import numpy as np

        boxes = np.array(self.boxes, np.float32).reshape(-1, 4) * np.array([across, down] * 2, np.float32)
        return {"boxes": boxes, "labels": np.array(self.labels, np.int64), "crowd": np.array(self.crowd, bool)}


class Picture(BaseModel):
    id: int | str
    file_name: str


class Annotation(BaseModel):
    image_id: int | str
    category_id: int = Field(ge=0, lt=2**31)
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    """Left, top, width, height."""
    iscrowd: bool = False


class Content(BaseModel):
    """What is read of a file in COCO's format."""

    images: list[Picture]
    annotations: list[Annotation]


def read_boxes(file: Path, content: object, pictures: Sequence[Path]) -> dict[Path, Boxes]:
    """Boxes by picture, for those of the annotated pictures that are here; a picture without any has empty lists.

    A picture is found by its `file_name` below the folder of the annotations, or by the name alone. Raises UserError.
    """
    try:
        known = Content.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{file} isn't in COCO's format: {place}: {first['msg']}, got {first['input']!r:.80}") from None
    by_name: dict[str, list[Path]] = {}
    for path in pictures:
        by_name.setdefault(path.name, []).append(path)
    places = {picture.id: _find(file.parent / picture.file_name, by_name) for picture in known.images}
    found = {place: Boxes([], [], []) for place in places.values() if place is not None}
    if not found:
        raise UserError(f"{file} annotates none of the {len(pictures)} pictures; its file_name must be their names")
    for annotation in known.annotations:
        left, top, width, height = annotation.bbox
        here = places.get(annotation.image_id)
        if here is not None and width > 0 and height > 0:
            found[here].boxes.append([left, top, left + width, top + height])
            found[here].labels.append(annotation.category_id)
            found[here].crowd.append(annotation.iscrowd)
    if not any(boxes.boxes for boxes in found.values()):
        raise UserError(f"{file} has no boxes for the {len(found)} pictures that are here")
    return found


def _find(path: Path, by_name: Mapping[str, list[Path]]) -> Path | None:
    same = by_name.get(path.name, [])
    return path if path in same else (same[0] if len(same) == 1 else None)
