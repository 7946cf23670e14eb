"""Data on disk, and the samples of the model that it is for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from enginesmith.converters.core.samples import Pixels, SampleSet
from enginesmith.converters.data.datasets import Dataset, Role, open_dataset
from enginesmith.pipeline.job.shapes import parse_shapes


def samples(shape: str = "x:1x3x32x32", task: str = "tensor", pixels: Pixels = "unknown") -> SampleSet:
    return SampleSet(task=task, pixels=pixels, specs=parse_shapes(shape), samples=[])


def opened(
    spec: str | Path,
    model: SampleSet | None = None,
    role: Role = "evaluation",
    limit: int = 64,
    seed: int = 0,
) -> Dataset:
    return open_dataset(str(spec), model or samples(), role=role, limit=limit, seed=seed)


def feeds(dataset: Dataset) -> list[dict[str, np.ndarray]]:
    return [dict(example.feed) for example in dataset]


def targets(dataset: Dataset) -> list[Any]:
    return [example.target for example in dataset]


def picture(path: Path, colour: Sequence[int] | int = 128, size: tuple[int, int] = (40, 32)) -> Path:
    """One of a single colour; `size` is width, height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(
        "L" if isinstance(colour, int) else "RGB", size, colour if isinstance(colour, int) else tuple(colour)
    ).save(path)
    return path


def code(folder: Path, body: str, name: str = "data_of_test") -> str:
    """`file.py:load` of a file with this body."""
    path = folder / f"{name}.py"
    path.write_text(f"import numpy as np\n{body}\n")
    return f"{path}:load"


def coco(folder: Path, boxes: Mapping[str, Sequence[tuple[int, Sequence[float]]]], **extra: Any) -> Path:
    """An annotation file: label and [x, y, width, height] by picture."""
    content = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(boxes)],
        "annotations": [
            {"id": 10 * number + index, "image_id": number, "category_id": label, "bbox": list(box)} | extra
            for number, entries in enumerate(boxes.values())
            for index, (label, box) in enumerate(entries)
        ],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path
