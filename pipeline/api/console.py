"""Where everything is said: on a terminal, in a file or a pipe, in a notebook.

Names come from models, files and backends. None of their characters reaches the terminal as a command, and none of their
brackets is markup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich import markup
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from enginesmith.converters.core.printable import LAYOUT, printable, printable_json

WIDTH = 160
"""Of a file or a pipe, which has none of its own: one that a table fits in."""


class SafeConsole(Console):
    """Shows control characters, and sends none but its own."""

    def render_str(self, text: str, **how: Any) -> Text:
        """Escaped before the layout, which counts characters."""
        return super().render_str(printable(text, LAYOUT), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is left, of texts that were made elsewhere."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text, LAYOUT), segment.style)


def open_console(*, stderr: bool = False, width: int = WIDTH) -> SafeConsole:
    """`width` is that of what is no terminal."""
    console = SafeConsole(stderr=stderr)
    return console if console.is_terminal else SafeConsole(stderr=stderr, width=width)


def escape(text: str) -> str:
    """A name or a message within markup: on one line, its brackets as they are."""
    return markup.escape(printable(text))


def say(text: str, *, stderr: bool = False) -> None:
    """A line without markup."""
    print(printable(text, LAYOUT), file=sys.stderr if stderr else sys.stdout)


def print_json(text: str) -> None:
    """JSON for programs, which a terminal survives too."""
    print(printable_json(text))
