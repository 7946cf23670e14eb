"""The first real cause in a log."""

from __future__ import annotations

import codecs
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import cast

from enginesmith.compat.diagnoses import Explanation, explain_log
from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.job.consultation import Consultation, consult

HEAD = 8192
"""Bytes by which a log is told from a binary file."""


class Explained(Explanation):
    """An explanation, and what the model at hand says about it."""

    consultation: Consultation | None = None


def explain(
    log: str | Path | BufferedReader,
    name: str = "",
    *,
    model: str | Path | None = None,
    for_: str = "",
    fix: str | Path | None = None,
) -> Explained:
    """Find the first real cause in a log of torch.onnx, ONNX Runtime, TensorRT, TVM and the tools around them.

        cause = enginesmith.explain("build.log").cause
        cause = enginesmith.explain(str(error)).cause

    `log` is a file, an open binary stream, or the text itself: of a single line that names a file, it is that file.
    `name` is what to call it in an error. The explanation's `cause` is None where no diagnosis knows one; its `headline` is
    the error then. With a `model`, an ONNX file, the node that the log names is looked up in it, the rules of the backend
    that the log is of (or of `for_`) are run, and the repair that applies is tried, and written into the file `fix`.

    Raises UserError where there is no text to read, or the model can't be read.
    """
    if model is None and (fix is not None or for_):
        raise UserError("--fix and --for are about a model: give --model too")
    explained = Explained(**dict(_read(log, name)))
    if model is not None:
        explained.consultation = consult(explained, Path(model), for_, None if fix is None else Path(fix))
    return explained


def _read(log: str | Path | BufferedReader, name: str) -> Explanation:
    if isinstance(log, str) and not _names_a_file(log):
        return _explain(BufferedReader(BytesIO(log.encode(errors="replace"))), name or "the log")
    if not isinstance(log, str | Path):
        return _explain(log, name or "the log")
    try:
        with Path(log).open("rb") as stream:
            return _explain(stream, name or str(log))
    except OSError as error:
        raise UserError(f"can't read {name or log}: {error.strerror}") from None


def _names_a_file(text: str) -> bool:
    try:
        return "\n" not in text and Path(text).is_file()
    except (OSError, ValueError):  # too long, or with a zero
        return False


def _explain(stream: BufferedReader, name: str) -> Explanation:
    if is_binary(stream.peek(HEAD)[:HEAD]):
        raise UserError(
            f"{name} is not a text log; for a model use `enginesmith doctor`, for a compressed log unpack it first"
        )
    explanation = explain_log(cast(BytesIO, stream))
    if not explanation.lines:
        raise UserError(f"{name} is empty; tools write their errors to the other stream: redirect with 2>&1")
    return explanation


def is_binary(head: bytes) -> bool:
    """Whether a file that begins with these bytes is no text: it has zeros, or more than one control character in 20."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    controls = sum(byte < 32 and byte not in b"\t\n\r\x1b\b\f" for byte in head)
    return b"\0" in head or controls * 20 > len(head)
