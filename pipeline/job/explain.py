"""Why a stage failed, by what its tool said."""

from __future__ import annotations

from pathlib import Path

from enginesmith.compat.diagnoses import Hit, diagnose, explain_log

TAIL = 1 << 16
"""Bytes at the end of a stage's log in which its failure is looked for."""


def explain_failure(message: str, log: Path) -> Hit | None:
    """What is behind a stage's failure: by its message, or else by a specific error at the end of its log."""
    if hit := diagnose(message).cause:
        return hit
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - TAIL))
            hit = explain_log(stream).cause
    except OSError:  # no log: the message is all there is
        return None
    return hit if hit is not None and not hit.generic else None
