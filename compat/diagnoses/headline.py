"""The errors that no diagnosis knows: which of them decides, whose it is, at which step, and what to look at next."""

from __future__ import annotations

import re
from collections import deque
from typing import Literal

from pydantic import BaseModel

from enginesmith.compat.diagnoses.events import Event, read_event, step_of
from enginesmith.compat.diagnoses.families import Reading, read_family
from enginesmith.compat.diagnoses.lines import Line
from enginesmith.compat.diagnoses.place import Place, find_place
from enginesmith.compat.diagnoses.symptoms import looks_wrong
from enginesmith.compat.diagnoses.values import meanings

FIRST, LAST = 12, 4
"""Unknown lines that are kept, from the beginning and from the end."""
AFTER_DUMP = 12
"""Lines between what a network refuses and what the parser says then: it dumps the node."""
AFTER_HEADER = 3
"""Lines after a symptom in which the tool says why."""
SHOWN = 600
"""Characters of a line that are quoted."""
_CALLERS = ("Python", "Ultralytics")
"""Who says after a tool's symptom only that its call failed."""
_LOOKUPS = ("KeyError", "AttributeError", "IndexError", "StopIteration", "ImportError", "ModuleNotFoundError")
"""Exceptions that a program handles by raising one that says more."""


_LAYER = re.compile(r"\[(?:[A-Z]\w+)\]: |Error Code \d+:|\bI[A-Z]\w+Layer\b")
"""Marks of a network's own error, against what the parser prints."""
Rank = Literal["cause", "assertion", "symptom"]
"""How sure it is that what is known is the cause: an assertion of the parser may follow from what the network refused."""


class Quote(BaseModel):
    """A line of the log. `number` counts from 1."""

    number: int
    text: str


class Headline(BaseModel):
    """An error that no diagnosis knows, in its tool's form. What the line doesn't say is empty."""

    line: Quote
    tool: str
    step: str
    kind: str
    message: str
    op: str
    node: str
    look: str
    """What to look at next."""
    where: str = ""
    """The file and the function of a traceback that raised it."""
    meanings: list[str]
    reading: Reading | None = None
    """What the sentence says, where it is of a family that all tools share."""


class _Unknown:
    def __init__(self, line: Line, event: Event, place: Place, where: str) -> None:
        self.quote, self.event, self.place, self.where = quote(line), event, place, where
        self.full = line.text
        self.shown = line.text
        """Without the lines that go on with it."""

    def extend(self, text: str) -> None:
        """Take a line that goes on with this one, and the place that it may name."""
        self.full = f"{self.full.rstrip()} {text.strip()}"
        self.place = find_place(text, Place(), self.place)

    def reading(self) -> Reading | None:
        whole = read_event(self.full) if self.full != self.shown else self.event
        return read_family(self.event.message, self.shown, whole.message, self.full)

    def explains(self) -> bool:
        reading = self.reading()
        return reading is not None and not reading.symptom


class Unknowns:
    """Collects the lines that look like errors. Memory is bounded: the first ones and the last ones are kept."""

    def __init__(self) -> None:
        self._first: list[_Unknown] = []
        self._latest: deque[_Unknown] = deque(maxlen=LAST)
        self._weak: list[_Unknown] = []
        self._latest_weak: deque[_Unknown] = deque(maxlen=LAST)
        self._seen: set[int] = set()

    def read(self, line: Line, kind: str, announced: Place, where: str = "") -> None:
        """Keep a line that no diagnosis knows, where it is an error, or speaks of one; `where` is what raised it."""
        if line.text.startswith("During handling of the above exception"):
            if self._first and self._first[-1].event.kind.rpartition(".")[2] in _LOOKUPS:
                self._first.pop()
        elif kind == "error":
            self._keep(line, announced, self._first, self._latest, where)
        elif kind != "warning" and looks_wrong(line.text):
            self._keep(line, announced, self._weak, self._latest_weak, where)

    def extend(self, line: Line, number: int) -> None:
        """A line goes on with the error in the line `number`."""
        for kept in (self._first, self._latest):
            if kept and kept[-1].quote.number == number:
                kept[-1].extend(line.text)

    def _keep(self, line: Line, announced: Place, first: list[_Unknown], latest: deque[_Unknown], where: str) -> None:
        shape = hash(re.sub(r"\d+", "0", line.text[:SHOWN]))
        full = len(first) >= FIRST
        if shape in self._seen:
            return
        if not full:
            self._seen.add(shape)
        place = find_place(line.text, announced)
        event = read_event(line.text)
        if where and not event.tool:
            name, _, said = line.text.partition(": ")
            event = Event("Python", name, said or line.text)
        (latest if full else first).append(_Unknown(line, event, place, where))

    def headline(self, known: int | None, rank: Rank, passed: int) -> Headline | None:
        """The error that decides, where the best that is known, in the line `known`, may be only what came of it.

        Against a symptom only a tool's own error counts that comes before it, or right after it as its reason; against an
        assertion of TensorRT's parser only the network's own error right before it. Lines that only speak of an error count
        after the last success (line `passed`).
        """
        if rank == "cause":
            return None
        if known is not None and rank == "assertion":
            refused = (
                it
                for it in self._first
                if it.event.tool == "TensorRT" and known - AFTER_DUMP <= it.quote.number < known
            )
            return _headline(next((it for it in refused if _LAYER.search(it.full)), None))
        if known is not None:
            near = [it for it in self._first if it.event.tool and it.quote.number <= known + AFTER_HEADER]
            return _headline(
                next((it for it in near if it.event.tool not in _CALLERS or it.quote.number < known), None)
            )
        told = [it for it in self._first if it.event.tool] or self._first
        told = told or [it for it in self._weak if it.quote.number > passed]
        # the first that a family reads: what is said before it in words of the tool's own explains less
        return _headline(next((it for it in told if it.explains()), next(iter(told), None)))

    def quotes(self, *, weak: bool, passed: int) -> list[Quote]:
        """The errors; or, where `weak`, and there is none, the lines after the last success that speak of one."""
        strong = [it.quote for it in (*self._first, *self._latest)]
        if strong or not weak:
            return strong
        return [it.quote for it in (*self._weak, *self._latest_weak) if it.quote.number > passed]


def quote(line: Line) -> Quote:
    return Quote(number=line.number, text=line.text[:SHOWN])


def _headline(unknown: _Unknown | None) -> Headline | None:
    if unknown is None:
        return None
    step, look = step_of(unknown.full)
    if not step and unknown.where:
        step, look = step_of(unknown.where)
    return Headline(
        line=unknown.quote,
        tool=unknown.event.tool,
        step=step,
        kind=unknown.event.kind,
        message=unknown.event.message[:SHOWN],
        op=unknown.place.op,
        node=unknown.place.node,
        look=look,
        where=unknown.where,
        meanings=meanings(unknown.full),
        reading=unknown.reading(),
    )
