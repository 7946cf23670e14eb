"""Real pictures that ship with the package: detectors and classifiers are compared on them, the report draws on them.

Their sources and licences are in `LICENSES.md`. Random data would not do: a detector finds nothing in it to compare.
"""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NAMES = ("astronaut", "cat", "coffee", "camera", "rocket", "horse", "hubble", "brick")

_files = ExitStack()
atexit.register(_files.close)


def names() -> tuple[str, ...]:
    """All pictures, those with the most to recognise first: a caller that needs a few takes them from the front."""
    return _NAMES


@cache
def path(name: str) -> Path:
    """A file to read. It stays for the life of the process, also when the package is imported from a zip file."""
    if name not in _NAMES:
        raise ValueError(f"no picture {name!r}; there are {', '.join(_NAMES)}")
    return _files.enter_context(resources.as_file(resources.files(__name__) / f"{name}.jpg"))


def load(name: str, height: int, width: int) -> NDArray[np.uint8]:
    """The picture as RGB, uint8 [height, width, 3]; the same values on every call.

    It is scaled to cover the size asked for and cropped around its centre, so that nothing in it is distorted.
    """
    import numpy as np
    from PIL import Image, ImageOps

    if height < 1 or width < 1:
        raise ValueError(f"a picture can't be {height}x{width}")
    with Image.open(path(name)) as picture:
        fitted = ImageOps.fit(picture.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted, dtype=np.uint8).copy()
