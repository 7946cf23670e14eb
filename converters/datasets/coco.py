"""Annotations in COCO's object detection format (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enginesmith.converters.errors import UserError


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


def read_boxes(file: Path, content: Mapping[str, Any], pictures: Sequence[Path]) -> dict[Path, Boxes]:
    """Boxes by picture, for those of the annotated pictures that are here; a picture without any has empty lists.

    A picture is found by its `file_name` below the folder of the annotations, or by the name alone. Raises UserError.
    """
    by_name: dict[str, list[Path]] = {}
    for path in pictures:
        by_name.setdefault(path.name, []).append(path)
    places: dict[Any, Path] = {}
    found: dict[Path, Boxes] = {}
    for image in _entries(content, "images", ("id", "file_name"), file):
        place = _find(file.parent / image["file_name"], by_name)
        if place is not None:
            places[image["id"]] = place
            found[place] = Boxes([], [], [])
    if not found:
        raise UserError(f"{file} annotates none of the {len(pictures)} pictures; its file_name must be their names")
    for entry in _entries(content, "annotations", ("image_id", "category_id", "bbox"), file):
        if entry["image_id"] not in places:
            continue
        try:
            left, top, width, height = map(float, entry["bbox"])
            label = int(entry["category_id"])
        except (TypeError, ValueError):
            raise UserError(
                f"{file}: the annotation {entry.get('id', '')} has bbox {entry['bbox']!r} and category_id "
                f"{entry['category_id']!r}; wanted are [x, y, width, height] and a number"
            ) from None
        if width > 0 and height > 0:
            boxes = found[places[entry["image_id"]]]
            boxes.boxes.append([left, top, left + width, top + height])
            boxes.labels.append(label)
            boxes.crowd.append(bool(entry.get("iscrowd", 0)))
    if not any(boxes.boxes for boxes in found.values()):
        raise UserError(f"{file} has no boxes for the {len(found)} pictures that are here")
    return found


def _find(path: Path, by_name: Mapping[str, list[Path]]) -> Path | None:
    same = by_name.get(path.name, [])
    return path if path in same else (same[0] if len(same) == 1 else None)


def _entries(content: Mapping[str, Any], key: str, wanted: Sequence[str], file: Path) -> list[dict[str, Any]]:
    entries: list[Any] = content[key]
    for number, entry in enumerate(entries):
        missing = [name for name in wanted if not isinstance(entry, dict) or name not in entry]
        if missing:
            raise UserError(f"{file}: {key}[{number}] has no {' and no '.join(missing)}: this is not COCO's format")
    return entries
