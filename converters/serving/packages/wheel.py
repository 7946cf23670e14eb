"""An installable package: `load()` gives the engine, whose call is typed."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
import zipfile
from pathlib import Path

from enginesmith.converters.core.inputs import written
from enginesmith.converters.graphs.comparison import ONNXRUNTIME
from enginesmith.converters.serving.packages.parts import Parts

ENGINE = {"tvm": "engine/module.so", "onnxruntime": "engine/model.onnx"}
VERSION = "1.0"
INIT = '''\
"""{title}"""

from pathlib import Path
from typing import Dict, Optional

import numpy as np
from numpy.typing import NDArray

from {name} import runner


class Model:
    """{signature}"""

    def __init__(self, threads: Optional[int] = None) -> None:
        self._engine = runner.Engine(Path(__file__).parent, threads)

    def __call__(self, {parameters}) -> Dict[str, "NDArray[np.generic]"]:
        """Outputs by name. Raises ValueError for inputs that don't fit; nothing is cast."""
        return self._engine({{{feed}}})


def load(threads: Optional[int] = None) -> Model:
    """The engine, ready to run; `threads` bounds those of its kernels."""
    return Model(threads)
'''
USAGE = """\
    pip install {wheel}

    import {name}
    model = {name}.load()
    outputs = model({call})
"""


def write(parts: Parts, folder: Path) -> None:
    """The wheel, and beside it the engine and the sample that it was made with."""
    # compiled code is for one machine; what is in a graph is for all
    tag = "py3-none-any" if parts.backend == ONNXRUNTIME else "py3-none-linux_x86_64"
    wheel = f"{parts.name}-{VERSION}-{tag}.whl"
    parts.put_engine(folder)
    parts.put_sample(folder, "*.npz")
    inputs = [each.name for each in parts.sampled.open]
    names = [f"input_{place}" if not name.isidentifier() else name for place, name in enumerate(inputs)]
    call = ", ".join(names)
    with tempfile.TemporaryDirectory(prefix="enginesmith-") as scratch:
        module = Path(scratch) / parts.name
        module.mkdir()
        parts.put_python(module)
        for left in ("check.py", "sample"):
            path = module / left
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        taken = written({each.name: each.shape for each in parts.sampled.open})
        given = written({each.name: each.shape for each in parts.sampled.outputs})
        (module / "__init__.py").write_text(
            INIT.format(
                title=_docstring(f"{parts.record.name} for {parts.backend} {parts.record.target}".strip()),
                signature=_docstring(f"From {taken} to {given}"),
                name=parts.name,
                parameters=", ".join(f'{name}: "NDArray[np.generic]"' for name in names),
                feed=", ".join(f"{inner!r}: {name}" for inner, name in zip(inputs, names, strict=True)),
            )
        )
        (module / "py.typed").touch()
        _zip(Path(scratch), folder / wheel, parts, tag)
    (folder / "README.md").write_text(parts.readme(USAGE.format(wheel=wheel, name=parts.name, call=call)))


def _zip(root: Path, wheel: Path, parts: Parts, tag: str) -> None:
    info = f"{parts.name}-{VERSION}.dist-info"
    texts = {
        f"{info}/METADATA": "\n".join(
            [
                "Metadata-Version: 2.1",
                f"Name: {parts.name}",
                f"Version: {VERSION}",
                f"Summary: {_docstring(parts.record.model)}",
                "Requires-Python: >=3.8",
                *(f"Requires-Dist: {each}" for each in parts.requirements),
                "",
            ]
        ).encode(),
        f"{info}/WHEEL": (
            f"Wheel-Version: 1.0\nGenerator: enginesmith\nRoot-Is-Purelib: {str(tag.endswith('any')).lower()}\nTag: {tag}\n"
        ).encode(),
    }
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    lines = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [
            *((path.relative_to(root).as_posix(), path.read_bytes()) for path in files),
            *texts.items(),
        ]:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(content)}")
        archive.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,", ""]))


def _docstring(text: str) -> str:
    return " ".join(text.replace("\\", "/").replace('"', "'").split())
