"""A folder of pictures, with labels by subfolder or by COCO's annotations, or of arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Pixels, SampleSet
from enginesmith.converters.data.datasets import array_files, coco
from enginesmith.converters.data.datasets.base import Item, Role, Source, drawn
from enginesmith.converters.data.datasets.location import ARRAYS, CLASSES, files_in, is_coco, read_json
from enginesmith.converters.data.datasets.pictures import is_picture, picture_input, read_picture


def open_folder(folder: Path, samples: SampleSet, role: Role, limit: int, seed: int) -> Source:
    """`limit` files, drawn with `seed`. Raises UserError for a folder without any."""
    files = files_in(folder)
    if not files:
        raise UserError(f"{folder} is empty; put pictures or .npy or .npz files into it")
    found = [path for path in files if is_picture(path)]
    arrays = [path for path in files if path.suffix in ARRAYS]
    if found and arrays:
        raise UserError(f"{folder} has {len(found)} pictures and {len(arrays)} files of arrays; keep one kind in it")
    if arrays:
        return array_files.ArrayFolder(folder, sorted(drawn(arrays, role, limit, seed)), samples.specs, samples.task)
    if not found:
        kinds = ", ".join(sorted({path.suffix or path.name for path in files})[:5])
        raise UserError(f"{folder} has no pictures and no .npy or .npz files, only {kinds}")
    spec = picture_input(samples.specs, folder)
    targets: Mapping[Path, Any] = {}
    boxed = samples.task == "detection"
    if role == "evaluation":
        boxes = _annotated(folder, files, found) if samples.task != "classification" else {}
        targets = boxes or ({} if boxed else _classes(folder, found))
        boxed = boxed or bool(boxes)
    chosen = sorted(drawn(sorted(targets) if targets else found, role, limit, seed))
    return PictureFolder(folder, chosen, targets, spec, samples.pixels, stretch=boxed)


class PictureFolder(Source):
    """The target of a picture is its class, or its boxes and labels, or None."""

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        targets: Mapping[Path, Any],
        spec: InputSpec,
        pixels: Pixels,
        *,
        stretch: bool,
    ) -> None:
        self.name = f"pictures of {folder.name}"
        self.files = files
        self.targets = targets
        self.spec = spec
        self.pixels = pixels
        self.stretch = stretch

    def __iter__(self) -> Iterator[Item]:
        for path in self.files:
            row, across, down = read_picture(path, self.spec, self.pixels, stretch=self.stretch)
            target = self.targets.get(path)
            if isinstance(target, coco.Boxes):
                target = target.scaled(across, down)
            yield Item(str(path), {self.spec.name: row}, target)


def _annotated(folder: Path, files: Sequence[Path], pictures: Sequence[Path]) -> dict[Path, coco.Boxes]:
    """Boxes by picture from the COCO file of the folder; nothing where there is none. Raises UserError."""
    found = [(path, content) for path in files if path.suffix == ".json" and is_coco(content := read_json(path))]
    if len(found) > 1:
        raise UserError(f"{folder} has {len(found)} annotation files: {', '.join(p.name for p, _ in found)}; keep one")
    return coco.read_boxes(*found[0], pictures) if found else {}


def _classes(folder: Path, pictures: Sequence[Path]) -> dict[Path, int]:
    """Class numbers by picture: one subfolder each, in sorted order (torchvision's ImageFolder) or in that of
    classes.txt, one name a line. Nothing where all lie in one folder. Raises UserError where the order can't be told.
    """
    by_folder: dict[str, list[Path]] = {}
    for path in pictures:
        parts = path.relative_to(folder).parts
        by_folder.setdefault(parts[0] if len(parts) > 1 else "", []).append(path)
    listed = _listed(folder / CLASSES)
    if len(by_folder) < 2 and not (listed and "" not in by_folder):
        return {}
    if "" in by_folder:
        raise UserError(
            f"{folder} has {len(by_folder[''])} pictures beside its subfolders {', '.join(sorted(by_folder)[1:4])}; "
            "put each picture into the subfolder of its class, or all into one folder"
        )
    names = listed or sorted(by_folder)
    unknown = sorted(set(by_folder) - set(names))
    if unknown:
        raise UserError(f"{folder / CLASSES} doesn't list the subfolder {unknown[0]!r}; give all classes, one a line")
    if not listed and all(name.isdigit() for name in names) and any(int(n) != i for i, n in enumerate(names)):
        raise UserError(
            f"{folder} has the subfolders {', '.join(names[:4])}, whose order as classes can't be told from their names; "
            f"add {CLASSES}, the subfolder of each class of the model on a line, in the model's order"
        )
    return {path: names.index(name) for name, paths in by_folder.items() for path in paths}


def _listed(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines()] if path.is_file() else []
