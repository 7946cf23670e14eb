"""What ends a command: one line to the terminal, and for our own bugs the traceback in a file."""

from __future__ import annotations

import errno
import sys
import tempfile
import traceback
from pathlib import Path

from typer.exceptions import TyperException

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.secrets import redacted
from enginesmith.pipeline import __version__


def explain(error: Exception) -> tuple[str, int]:
    """The line to show, and the exit status."""
    if isinstance(error, UserError):
        return str(error), 2
    if isinstance(error, ConversionError):
        return str(error), 1
    if isinstance(error, TyperException):
        return _usage(error), 2
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"the path is longer than the system takes: {error.filename}", 2
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space left on the disk of {error.filename or 'the results'}; free some, or give another --out", 1
    return report_crash(error), 3


def _usage(error: TyperException) -> str:
    """What the command line's parser says; empty where it has shown the help instead."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""
    what = error.format_message().strip().rstrip(".")
    return f"{what[:1].lower()}{what[1:]}; `{context.command_path} -h` says what there is" if context else what


def report_crash(error: BaseException) -> str:
    """Write the traceback to a file; returns the line to show."""
    text = "".join(traceback.format_exception(error))
    with tempfile.NamedTemporaryFile("w", prefix="enginesmith-crash-", suffix=".txt", delete=False) as file:
        file.write(redacted(f"enginesmith {__version__}\n{' '.join(sys.argv)}\n\n{text}"))
    summary = redacted(" ".join(str(error).split()))[:200]
    return f"a bug: {type(error).__name__}: {summary}; please report it with {Path(file.name)}"
