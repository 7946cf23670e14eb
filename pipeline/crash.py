"""Our own bugs: the traceback goes into a file, one line to the terminal."""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path

from enginesmith.pipeline import __version__


def report_crash(error: BaseException) -> str:
    """Write the traceback to a file; returns the line to show."""
    text = "".join(traceback.format_exception(error))
    with tempfile.NamedTemporaryFile("w", prefix="enginesmith-crash-", suffix=".txt", delete=False) as file:
        file.write(f"enginesmith {__version__}\n{' '.join(sys.argv)}\n\n{text}")
    summary = " ".join(str(error).split())[:200]
    return f"enginesmith: a bug: {type(error).__name__}: {summary}; please report it with {Path(file.name)}"
