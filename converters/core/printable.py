"""Text from elsewhere (names, messages, paths) as a terminal may get it: what is no printable character is shown as an
escape, and not sent.
"""

from __future__ import annotations

import re
from typing import Any

LAYOUT = "\n\t"
"""What a text of several lines is laid out by."""
LONGEST = 160
"""Characters of one word that a line shows."""
LINE = 1200
"""Characters of a line, at most."""


def printable(text: str, keep: str = "") -> str:
    r"""Every character that isn't printable as its escape: `\x1b`, `\n`, `\u202e`, `\udc80`. `keep` are let through.

    That is Python's own line between the two: controls of ASCII and Latin-1, marks that turn or hide text, separators other
    than the space, halves of surrogate pairs, unassigned ones.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in keep else _escape(sign) for sign in text)


def one_line(text: str) -> str:
    """Printable, on one line, and of a length to be read: the middle of long words is left out, then that of the line."""
    text = " ".join(printable(text, LAYOUT).split())
    text = re.sub(rf"\S{{{LONGEST + 1},}}", lambda word: _shortened(word[0], LONGEST), text)
    return _shortened(text, LINE)


def printable_values(value: Any) -> Any:
    """The same JSON value with all its texts printable; they may have several lines."""
    if isinstance(value, str):
        return printable(value, LAYOUT)
    if isinstance(value, dict):
        return {printable_values(key): printable_values(each) for key, each in value.items()}
    return [printable_values(each) for each in value] if isinstance(value, list | tuple) else value


def printable_json(text: str) -> str:
    """JSON of any writer: what a terminal might obey is written as JSON's own escapes."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == "\n" else _json_escape(sign) for sign in text)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def _json_escape(sign: str) -> str:
    encoded = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{encoded[at] << 8 | encoded[at + 1]:04x}" for at in range(0, len(encoded), 2))


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most * 2 // 3]}…{text[-(most // 3) :]}"
