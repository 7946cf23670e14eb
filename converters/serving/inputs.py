"""Files as inputs of an engine: pictures, folders of them, .npz and .npy."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Feed, Pixels
from enginesmith.converters.data.datasets import npz
from enginesmith.converters.data.datasets.location import ARRAYS, files_in
from enginesmith.converters.data.datasets.pictures import is_picture, picture_input, read_picture


@dataclass(frozen=True)
class Given:
    """One call of an engine. `picture` is the file that fills the input, if one does, scaled by `across` and `down`; it stands
    in every row of a batch.
    """

    name: str
    feed: Feed
    picture: Path | None = None
    across: float = 1.0
    down: float = 1.0


def read(paths: Sequence[Path], specs: Sequence[InputSpec], pixels: Pixels | None, *, stretch: bool) -> Iterator[Given]:
    """A call for each file, those of folders in their order. `pixels` is what pictures are fed as; `stretch` keeps all of them,
    as boxes need.

    Raises UserError for what is none of these, and for what doesn't fit.
    """
    seen: Counter[str] = Counter()
    for path in paths:
        seen[path.stem] += 1
        name = path.stem if seen[path.stem] == 1 else f"{path.stem}-{seen[path.stem]}"
        if path.suffix in ARRAYS:
            yield Given(name, _arrays(path, specs))
        else:
            yield _picture(path, name, specs, pixels, stretch)


def listed(paths: Sequence[Path]) -> list[Path]:
    """The files, and those of folders. Raises UserError where there is none, or one of no use."""
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"no file or folder {path}")
        found = files_in(path) if path.is_dir() else [path]
        found = [each for each in found if each == path or each.suffix in ARRAYS or is_picture(each)]
        if not found:
            raise UserError(f"{path} has no pictures and no .npy or .npz files in it")
        files += found
    for file in files:
        if file.suffix not in ARRAYS and not is_picture(file):
            raise UserError(f"{file} is no picture, and no .npz or .npy: give one of these, or a folder of them")
    return files


def _picture(path: Path, name: str, specs: Sequence[InputSpec], pixels: Pixels | None, stretch: bool) -> Given:
    import numpy as np

    spec = picture_input(specs, path)
    if (pixels is None or pixels == "unknown") and spec.dtype != "uint8":
        raise UserError(
            "nothing says what the model takes pictures as: give --pixels unit (0..1), imagenet or bytes (0..255)"
        )
    row, across, down = read_picture(path, spec, pixels or "bytes", stretch=stretch)
    batch = np.repeat(row[None], spec.dims[0].opt, axis=0)
    return Given(name, OrderedDict({spec.name: batch}), path, across, down)


def _arrays(path: Path, specs: Sequence[InputSpec]) -> Feed:
    """All inputs, by their names; those of a file with one array need none. Nothing is cast."""
    names = list(npz.headers(path))
    if len(names) == len(specs) == 1:
        feed = OrderedDict({specs[0].name: npz.whole(path, names[0])})
    else:
        missing = [spec.name for spec in specs if spec.name not in names]
        unknown = [name for name in names if name not in {spec.name for spec in specs}]
        if missing or unknown:
            what = [f"lacks {', '.join(missing)}"] if missing else []
            what += [f"has {', '.join(unknown)}, which it doesn't take"] if unknown else []
            raise UserError(f"{path} {' and '.join(what)}; the inputs are {', '.join(spec.name for spec in specs)}")
        feed = OrderedDict((spec.name, npz.whole(path, spec.name)) for spec in specs)
    for spec in specs:
        check(spec, str(feed[spec.name].dtype), feed[spec.name].shape, str(path))
    return feed


def check(spec: InputSpec, dtype: str, shape: Sequence[int], where: str) -> None:
    """Raises UserError for an array that an input doesn't take."""
    wanted = "x".join("?" if dim.dynamic else str(dim.opt) for dim in spec.dims) or "scalar"
    found = "x".join(map(str, shape)) or "scalar"
    if dtype != spec.dtype:
        raise UserError(f"{where}: {spec.name} is {dtype}, and the engine takes {spec.dtype}")
    if len(shape) != len(spec.dims) or any(not d.min <= n <= d.max for d, n in zip(spec.dims, shape, strict=True)):
        raise UserError(f"{where}: {spec.name} is {found}, and the engine takes {wanted}")
