"""Reads a log, and finds the first real cause in it."""

from __future__ import annotations

import re
from collections import deque
from io import BytesIO
from typing import BinaryIO

from pydantic import BaseModel

from enginesmith.compat.diagnoses.diagnosis import Diagnosis
from enginesmith.compat.diagnoses.lines import Line, read_lines
from enginesmith.compat.diagnoses.place import Announcements, Place, complete, place_of
from enginesmith.compat.diagnoses.registry import diagnoses, matcher
from enginesmith.compat.diagnoses.symptoms import CASCADE, Tracebacks, severity
from enginesmith.compat.diagnoses.tools import Tools

AFTER = 12
"""Lines after a message in which its node may be named."""
FIRST, LAST = 12, 4
"""Unknown lines that are kept, from the beginning and from the end."""
VERBOSE = "[V] "
"""Level of TensorRT's lines that only tell what it does; there may be millions."""
SHOWN = 600
"""Characters of a line that are quoted."""


class Quote(BaseModel):
    """A line of the log. `number` counts from 1."""

    number: int
    text: str


class Hit(BaseModel):
    """A diagnosis, and where the log has it first. `count` is how often it has it."""

    id: str
    tool: str
    cause: str
    remedy: str
    repair: str | None
    links: list[str]
    generic: bool
    line: Quote
    op: str = ""
    node: str = ""
    details: dict[str, str] = {}
    """What else the message names: the expression's groups."""
    count: int = 1


class Explanation(BaseModel):
    """What a log says."""

    tools: list[str]
    """In the order in which the log names them."""
    cause: Hit | None
    """The first real cause."""
    further: list[Hit]
    """Other errors that are known, in the log's order: independent causes, or what came of the first."""
    warnings: list[Hit]
    unknown: list[Quote]
    """Lines that look decisive, and that no diagnosis knows."""
    lines: int


def diagnose(text: str) -> Explanation:
    """Explain a message or a log that is in memory."""
    return explain_log(BytesIO(text.encode(errors="replace")))


def explain_log(stream: BinaryIO) -> Explanation:
    """Explain a log of any size. Memory stays bounded."""
    reader = _Reader()
    for line in read_lines(stream):
        reader.read(line)
    return reader.explanation()


class _Found:
    """A diagnosis while the log is read. `demoted`: the tool itself called it a warning;
    `loud`: it called a warning an error."""

    def __init__(self, diagnosis: Diagnosis, match: re.Match[str], line: Line, announced: Place, kind: str) -> None:
        self.diagnosis = diagnosis
        self.line = line
        self.demoted = kind == "warning" and diagnosis.level == "error"
        self.loud = kind == "error" and diagnosis.level == "warning"
        self.place = place_of(match, line.text, announced)
        self.details = {k: v.strip() for k, v in match.groupdict().items() if v and k not in ("op", "node")}
        self.count = 1

    @property
    def is_error(self) -> bool:
        return self.diagnosis.level == "error" and not self.demoted

    def hit(self) -> Hit:
        diagnosis = self.diagnosis
        return Hit(
            id=diagnosis.id,
            tool=diagnosis.tool,
            cause=diagnosis.cause,
            remedy=diagnosis.remedy,
            repair=diagnosis.repair,
            links=list(diagnosis.urls),
            generic=diagnosis.generic,
            line=_quote(self.line),
            op=self.place.op,
            node=self.place.node,
            details=self.details,
            count=self.count,
        )


class _Reader:
    """Takes the lines one by one. Of each diagnosis the first place is kept, so that memory is bounded by their number."""

    def __init__(self) -> None:
        self._known = diagnoses()
        self._tracebacks = Tracebacks()
        self._tools = Tools()
        self._announced = Announcements()
        self._found: dict[tuple[str, bool], _Found] = {}
        self._last: _Found | None = None
        self._errors = False
        self._seen: set[int] = set()
        self._first: list[Quote] = []
        self._latest: deque[Quote] = deque(maxlen=LAST)
        self._number = 0

    def read(self, line: Line) -> None:
        self._number = line.number
        self._tools.read(line.text)
        if self._tracebacks.is_frame(line.text):
            self._errors = True
            return
        kind = severity(line)
        self._announced.read(line.number, line.text)
        found = self._match(line, kind)
        self._errors |= kind == "error"
        if found is None:
            if self._last is not None and line.number - self._last.line.number <= AFTER:
                complete(self._last.place, line.text)
            if kind == "error" and not CASCADE.search(line.text):
                self._keep(line)
            return
        known = self._found.get(found_key := (found.diagnosis.id, found.is_error))
        if known is None:
            self._found[found_key] = self._last = found
        else:
            known.count += 1
            if not known.place.op or not known.place.node:  # said again with the place, as at the end of a traceback
                known.place = Place(known.place.op or found.place.op, known.place.node or found.place.node)

    def _match(self, line: Line, kind: str) -> _Found | None:
        if VERBOSE in line.text or (found := matcher().find(line.text)) is None:
            return None
        return _Found(*found, line, self._announced.near(line.number), kind)

    def _keep(self, line: Line) -> None:
        shape = hash(re.sub(r"\d+", "0", line.text[:SHOWN]))
        if len(self._first) < FIRST:
            if shape not in self._seen:
                self._seen.add(shape)
                self._first.append(_quote(line))
        elif shape not in self._seen:
            self._latest.append(_quote(line))

    def explanation(self) -> Explanation:
        hits = list(self._found.values())
        errors = [hit for hit in hits if hit.is_error and not hit.diagnosis.generic]
        symptoms = [hit for hit in hits if hit.is_error and hit.diagnosis.generic]
        cause = self._cause(errors, [hit for hit in hits if hit.demoted], symptoms)
        cause = cause or next((hit for hit in hits if hit.loud), None)
        origin = self._origin(cause, hits)
        rest = [hit for hit in (errors or symptoms) if hit is not origin]
        warnings = [hit for hit in hits if not hit.is_error and hit is not origin]
        ids = {hit.diagnosis.id for hit in (*rest, origin) if hit is not None}
        return Explanation(
            tools=self._tools.found,
            cause=origin.hit() if origin else None,
            further=[hit.hit() for hit in rest],
            warnings=[hit.hit() for hit in warnings if hit.diagnosis.id not in ids],
            unknown=[*self._first, *self._latest],
            lines=self._number,
        )

    def _cause(self, errors: list[_Found], demoted: list[_Found], symptoms: list[_Found]) -> _Found | None:
        """The first specific error; or else, where the log ends in an error, what a tool had only warned of; or else the
        symptom that the files have first: they go from the inside out."""
        if errors:
            return errors[0]
        if demoted and self._errors:
            return demoted[0]
        return min(symptoms, key=lambda hit: self._known.index(hit.diagnosis), default=None)

    def _origin(self, cause: _Found | None, hits: list[_Found]) -> _Found | None:
        """The earlier message that leads to this one, where there is one."""
        if cause is None:
            return None
        for hit in hits:
            if cause.diagnosis.id in hit.diagnosis.leads_to and hit.line.number <= cause.line.number:
                return hit
        return cause


def _quote(line: Line) -> Quote:
    return Quote(number=line.number, text=line.text[:SHOWN])
