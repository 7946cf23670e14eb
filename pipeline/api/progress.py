"""Events of a build as they come: a live line per stage on a terminal, plain lines elsewhere and in a notebook."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from enginesmith.converters.core.printable import printable
from enginesmith.pipeline.api.console import SafeConsole, escape
from enginesmith.pipeline.job.events import Event, Listener

MARKS = {
    "built": ("✓", "green"),
    "cached": ("✓", "cyan"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
    "not run": ("○", "yellow"),
}


@dataclass
class _Running:
    """A stage that is at work, and the last that it said."""

    text: str = ""
    fraction: float | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> str:
        return f"{time.monotonic() - self.started:6.1f} s"


class Progress:
    """A listener that shows events as they come. Use it as a context manager around the build."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._total = 0
        self._quiet = quiet
        self._begun = 0
        self._running: dict[str, _Running] = {}
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
            self._begun += 1
            self._running[event.stage] = _Running()
            if self._live is None:
                self._console.print(f"[{self._begun}/{self._total}] {escape(event.stage)} ...", highlight=False)
        elif event.event in ("progress", "waiting"):
            running = self._running[event.stage]
            running.text, running.fraction = event.text, event.fraction
            if event.event == "waiting" and self._live is None:
                self._console.print(f"    {self._whose(event)}{escape(event.text)}", highlight=False)
        elif event.event == "warning":
            self._console.print(f"  [yellow]![/] {self._whose(event)}{escape(event.text)}", highlight=False)
        elif event.event in MARKS:
            self._finished(event)

    def _whose(self, event: Event) -> str:
        return f"{escape(event.stage)}: " if len(self._running) > 1 else ""

    def _finished(self, event: Event) -> None:
        mark, colour = MARKS[event.event]
        running = self._running.pop(event.stage, None)
        if running is None:
            self._begun += 1
        took = running.seconds if running and event.event in ("built", "failed") else f"{event.event:>8}"
        self._console.print(
            f"[{colour}]{mark}[/] {escape(event.stage):<34} [dim]{took}[/]  {escape(event.text)}",
            highlight=False,
        )

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for stage, running in list(self._running.items()):
            fraction = running.fraction
            bar = ProgressBar(total=1.0, completed=fraction, width=20) if fraction is not None else Text("")
            table.add_row(
                self._spinner,
                Text(f"{printable(stage):<34}"),
                Text(running.seconds, style="dim"),
                bar,
                Text(printable(running.text), style="dim", overflow="ellipsis", no_wrap=True),
            )
        return table


@contextmanager
def listening(progress: bool | Listener | None) -> Iterator[Listener]:
    """Whom to tell: a function of the user's, the terminal or the notebook where it is True, nobody else."""
    if progress is True:
        with Progress(SafeConsole()) as shown:
            yield shown
    else:
        yield progress or (lambda event: None)
