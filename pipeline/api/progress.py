"""Events of a build as they come: a live line per stage on a terminal, plain lines elsewhere and in a notebook."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from enginesmith.pipeline.job.events import Event, Listener

MARKS = {
    "built": ("✓", "green"),
    "cached": ("✓", "cyan"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
    "not run": ("○", "yellow"),
}


class Progress:
    """A listener that shows events as they come. Use it as a context manager around the build."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._total = 0
        self._quiet = quiet
        self._done = 0
        self._stage = ""
        self._text = ""
        self._fraction: float | None = None
        self._started = 0.0
        self._spinner = Spinner("dots")
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(self, console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        if self._quiet:
            return
        if event.event == "plan":
            self._total = event.total
        elif event.event == "start":
            self._stage, self._text, self._fraction, self._started = event.stage, "", None, time.monotonic()
            if self._live is None:
                self._console.print(f"[{self._done + 1}/{self._total}] {event.stage} ...", highlight=False)
        elif event.event in ("progress", "waiting"):
            self._text, self._fraction = event.text, event.fraction
            if event.event == "waiting" and self._live is None:
                self._console.print(f"    {escape(event.text)}", highlight=False)
        elif event.event == "warning":
            self._console.print(f"  [yellow]![/] {escape(event.text)}", highlight=False)
        elif event.event in MARKS:
            self._finished(event)

    def _finished(self, event: Event) -> None:
        self._done += 1
        mark, colour = MARKS[event.event]
        seconds = (
            f"{time.monotonic() - self._started:6.1f} s" if event.event in ("built", "failed") else f"{event.event:>8}"
        )
        self._console.print(
            f"[{colour}]{mark}[/] {event.stage:<34} [dim]{seconds}[/]  {escape(event.text)}",
            highlight=False,
        )
        self._stage = ""

    def __rich__(self) -> RenderableType:
        if not self._stage:
            return Text("")
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1.0, completed=self._fraction, width=20) if self._fraction is not None else Text("")
        row.add_row(
            self._spinner,
            Text(f"{self._stage:<34}"),
            Text(f"{time.monotonic() - self._started:6.1f} s", style="dim"),
            bar,
            Text(self._text, style="dim", overflow="ellipsis", no_wrap=True),
        )
        return Group(row)


@contextmanager
def listening(progress: bool | Listener | None) -> Iterator[Listener]:
    """Whom to tell: a function of the user's, the terminal or the notebook where it is True, nobody else."""
    if progress is True:
        with Progress(Console()) as shown:
            yield shown
    else:
        yield progress or (lambda event: None)
