"""Picture files as a model's input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Array, Pixels
from enginesmith.converters.data.picture_inputs import as_input, frame, takes_pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image


class Scaled(NamedTuple):
    """A picture as one row, and by what it was scaled."""

    row: Array
    """[C, H, W] or [H, W, C] in the input's dtype, as the model takes it."""
    across: float
    down: float


def is_picture(path: Path) -> bool:
    """Whether Pillow opens files with such a name."""
    from PIL import Image

    return Image.registered_extensions().get(path.suffix.lower()) in Image.OPEN


def picture_input(specs: Sequence[InputSpec], folder: Path) -> InputSpec:
    """The one input that pictures go to. Raises UserError where there is none, or another beside it."""
    others = [spec for spec in specs if not takes_pictures(spec)]
    if len(specs) == 1 and not others:
        return specs[0]
    listed = ", ".join(f"{spec.name} {spec.dtype} {list(spec.opt)}" for spec in others or specs)
    raise UserError(
        f"{folder} has pictures, and the model's inputs {listed} take none; give a data.npz or file.py:function"
    )


def read_picture(path: Path, spec: InputSpec, pixels: Pixels, *, stretch: bool) -> Scaled:
    """Scaled to the input's size. `stretch` keeps all of it, as boxes need; else it keeps its aspect and the centre.

    Turned by no EXIF tag, as torchvision's datasets read pictures too. Raises UserError for a file that is none.
    """
    import numpy as np
    from PIL import Image, ImageOps

    axes = frame(spec)
    assert axes is not None
    height, width = axes.height, axes.width
    picture = _open(path)
    across, down = width / picture.width, height / picture.height
    if stretch:
        fitted = picture.resize((width, height), Image.Resampling.BICUBIC)
    else:
        fitted = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
    unit = np.asarray(fitted, np.float32)[None] / 255
    return Scaled(as_input(unit, spec, pixels)[0], across, down)


def _open(path: Path) -> Image:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode.startswith(("I", "F")):
                raise UserError(f"{path} has {picture.mode} pixels, more than 8 bits; save it with 8 bits a channel")
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} can't be read as a picture: {first_line(error)}; repair it or take it out") from None
