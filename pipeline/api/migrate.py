"""What a build of another tool is in TensorRT 11, and as a recipe of ours."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from enginesmith.compat.migrations import documents
from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.job.migrate import Migration
from enginesmith.pipeline.job.migrate import migrate as migrated

LARGEST = 4_000_000
"""Bytes of a script."""
PYTHONS = ("python", "python3")


def migrate(source: str | Path | Sequence[str]) -> Migration:
    """Read a command line, a script or a notebook; nothing of it is run.

        migration = enginesmith.migrate("trtexec --onnx=model.onnx --fp16 --maxShapes=x:8x3x224x224")
        migration = enginesmith.migrate("build.py")
        print(migration.jobs[0].yaml)

    `source` is a file (Python, a notebook, or any text with commands of trtexec, polygraphy or onnx2trt), a command, or its
    words: of `python build.py --fp16` the words after the script's name count as given to it.

    Raises UserError for what can't be read, and where nothing of TensorRT is in it.
    """
    if isinstance(source, Path):
        return _file(source, [])
    words = [source] if isinstance(source, str) else list(source)
    script = words[1:] if words and Path(words[0]).name in PYTHONS else words
    if script and (len(words) == 1 or script[0].endswith(".py")) and Path(script[0]).is_file():
        return _file(Path(script[0]), script[1:])
    if len(words) == 1:
        if " " not in words[0].strip():
            raise UserError(
                f"no file {words[0]!r}; give a script's file, or a command: trtexec --onnx=model.onnx --fp16"
            )
        return migrated(documents.read(words[0], ""), "the command", Path())
    return migrated(documents.read_words(words), shlex.join(words[:2]), Path())


def _file(path: Path, given: list[str]) -> Migration:
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
    if len(data) > LARGEST:
        raise UserError(f"{path} is no script: it has more than {LARGEST // 1_000_000} MB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text; for an engine use the script that built it") from None
    try:
        reading = documents.read(text, path.suffix.lower(), given)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return migrated(reading, str(path), path.parent)
