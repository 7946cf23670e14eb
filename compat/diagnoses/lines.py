"""The lines of a log as a reader sees them: without colours, time stamps and progress bars, in bounded memory."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

LONGEST = 4000
"""Characters of a line that are kept."""
BLOCK = 1 << 20
"""Bytes read at a time."""

_COLOURS = re.compile(
    r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|[\x00-\x08\x0b-\x1f\x7f]"
)
_PREFIX = re.compile(
    r"""^(?:(?:
      \[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?   # ISO date and time
    | \[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\]                                         # trtexec
    | \[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]                                            # TVM
    | [EWIVF]\d{4}\ \d\d:\d\d:\d\d\.\d+\ +\d+\ [^\]\s]{1,200}:\d+\](?:\ \[\d+/\d+\])?   # torch, glog
    | \d+:\d\d:\d\d\.\d{9}\ +\d+\ +0x[0-9a-f]+(?=\ +(?:ERROR|WARN|INFO|DEBUG|FIXME|LOG|TRACE)\b)\ *   # GStreamer
    )(?:\ -\ |\ |$|(?<=\ ))
    | [\w.-]{1,60}\ {1,20}\|\                                                       # docker compose
    )""",
    re.VERBOSE,
)
PREFIXES = 3
"""That a line may have: one from a container, one from a logger, one from the tool."""
_GLOG_LEVEL = re.compile(r"^([EWF])\d{4} \d\d:\d\d:\d\d\.\d+ ")


class Line(NamedTuple):
    """`number` counts from 1; `text` is the line without its prefix; `level` is what the prefix says of it: E, W, F or nothing.
    A line that is `fresh` has a logger's prefix, and goes on with no line before it."""

    number: int
    text: str
    level: str = ""
    fresh: bool = False


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    """The lines of a log. What a carriage return overwrote is a line of its own, with the same number.

    Bytes that are no text are replaced; UTF-16 is known by its mark. Lines are cut at `LONGEST` characters.
    """
    for number, text in enumerate(_split(stream), 1):
        for part in text.split("\r"):
            if line := clean(number, part):
                yield line


def clean(number: int, text: str) -> Line | None:
    """None where nothing is left to read."""
    if not text.isprintable():
        text = _COLOURS.sub("", text)
    level, fresh = "", False
    for _ in range(PREFIXES):
        if (found := _PREFIX.match(text)) is None:
            break
        level = level or (match[1] if (match := _GLOG_LEVEL.match(text)) else "")
        fresh = fresh or not found[0].endswith("|")
        text = text[found.end() :]
    text = text.rstrip()
    return Line(number, text, level, fresh) if text else None


def _split(stream: BinaryIO) -> Iterator[str]:
    block = stream.read(BLOCK)
    coding = "utf-16" if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    decoder = codecs.getincrementaldecoder(coding)(errors="replace")
    rest = ""
    while block:
        *lines, rest = (rest + decoder.decode(block)).split("\n")
        for line in lines:
            yield _cut(line)
        # a line that does not end: its first part is kept, and with it what a carriage return wrote last
        rest = rest if len(rest) <= 2 * BLOCK else rest[:LONGEST] + "\r" + rest[-LONGEST:].rpartition("\r")[2]
        block = stream.read(BLOCK)
    rest += decoder.decode(b"", final=True)
    if rest:
        yield _cut(rest)


def _cut(line: str) -> str:
    if len(line) <= LONGEST:
        return line
    return "\r".join(part[:LONGEST] for part in line.split("\r"))
