"""Reads a log, and finds the first real cause in it."""

from __future__ import annotations

import re
from io import BytesIO
from typing import BinaryIO, NamedTuple

from pydantic import BaseModel

from enginesmith.compat.diagnoses.diagnosis import Diagnosis
from enginesmith.compat.diagnoses.events import read_event
from enginesmith.compat.diagnoses.families import Reading, read_family
from enginesmith.compat.diagnoses.headline import SHOWN, Headline, Quote, Rank, Unknowns, quote
from enginesmith.compat.diagnoses.lines import LONGEST, Line, read_lines
from enginesmith.compat.diagnoses.place import Announcements, Place, complete, number_of, place_of
from enginesmith.compat.diagnoses.registry import diagnoses, matcher
from enginesmith.compat.diagnoses.symptoms import CASCADE, Tracebacks, is_success, severity
from enginesmith.compat.diagnoses.tools import Tools
from enginesmith.compat.diagnoses.values import meanings, older

AFTER = 12
"""Lines after a message in which its node may be named."""
CLOSE = 8
"""Lines before a message that says what failed, in which the failure stands."""
OTHERS = 4
"""Lines with the same symptom that are kept."""
GOES_ON = 5
"""Lines after an error that may go on with its sentence."""
SUCCESSES = 8
"""Lines of success that are kept."""
CODED = re.compile(r"\[\d{1,2}\] \S")
"""How the parser gives its reason, below the node that it announces."""
ASSERTION = re.compile(r"Assertion failed: |UNSUPPORTED_NODE|INVALID_NODE")
"""How TensorRT's parser refuses a node."""
VERBOSE = "[V] "
"""Level of TensorRT's lines that only tell what it does; there may be millions."""


class Hit(BaseModel):
    """A diagnosis, and where the log has it first. `count` is how often it has it."""

    id: str
    tool: str
    cause: str
    remedy: str
    repair: str | None
    links: list[str]
    generic: bool
    warning: bool = False
    """The log has no error; the tool only warned of this."""
    line: Quote
    op: str = ""
    node: str = ""
    details: dict[str, str] = {}
    """What else the message names: the expression's groups; `reason` where an error after it says why."""
    meanings: list[str] = []
    """What its codes mean, and which of two versions is the older one."""
    reading: Reading | None = None
    """What a symptom's reason says, where it is of a family that all tools share."""
    count: int = 1


class Explanation(BaseModel):
    """What a log says."""

    tools: list[str]
    """In the order in which the log names them."""
    tensorrt: str = ""
    """TensorRT's version, where the log tells it."""
    cause: Hit | None
    """The first real cause."""
    headline: Headline | None
    """The error that decides, where no diagnosis knows one that explains it."""
    before: Quote | None
    """What a tool said last, before the error, to have gone well."""
    passed: Quote | None
    """What a tool said, after the error, to have gone well nevertheless."""
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
        self.last = line.number
        self.demoted = kind == "warning" and diagnosis.level == "error"
        self.loud = kind == "error" and diagnosis.level == "warning"
        self.place = place_of(match, line.text, announced)
        self.details = {k: v.strip() for k, v in match.groupdict().items() if v and k not in ("op", "node")}
        if not self.place.node and (index := number_of(line.text)):
            self.details["node number"] = index
        self.meanings = meanings(line.text)
        self.count = 1
        self.others: list[_Found] = []
        """The same in other lines, one of which may say more."""

    @property
    def is_error(self) -> bool:
        return self.diagnosis.level == "error" and not self.demoted

    def again(self, other: _Found) -> None:
        """The same is said again, perhaps with the place, as at the end of a traceback."""
        self.count += 1
        self.last = other.line.number
        if len(self.others) < OTHERS:
            self.others.append(other)
        if not self.place.op or not self.place.node:
            self.place = Place(self.place.op or other.place.op, self.place.node or other.place.node)
        self.details = other.details | self.details
        self.meanings += [meaning for meaning in other.meanings if meaning not in self.meanings]

    def hit(self) -> Hit:
        diagnosis = self.diagnosis
        versions = older(self.details, diagnosis.sides)
        told, reading = self._told() if diagnosis.generic else (self, None)
        said = read_event(told.line.text).message
        if diagnosis.generic and not diagnosis.header and said != told.line.text:
            self.details.setdefault("reason", said[:SHOWN])
        return Hit(
            id=diagnosis.id,
            tool=diagnosis.tool,
            cause=diagnosis.cause,
            remedy=diagnosis.remedy,
            repair=diagnosis.repair,
            links=list(diagnosis.urls),
            generic=diagnosis.generic,
            warning=not (self.is_error or self.loud),
            line=quote(told.line),
            op=self.place.op,
            node=self.place.node,
            details=self.details,
            meanings=[*self.meanings, *([versions] if versions else [])],
            reading=reading,
            count=self.count,
        )

    def _told(self) -> tuple[_Found, Reading | None]:
        """Of the lines that have this symptom the one that explains most, and what it says."""
        readings = [(found, read_family(*found._reasons())) for found in (self, *self.others)]
        explained = next((it for it in readings if it[1] is not None and not it[1].symptom), None)
        return explained or next((it for it in readings if it[1] is not None), readings[0])

    def _reasons(self) -> list[str]:
        """What a symptom's line says, or the error that follows a line which only announces one."""
        reason = self.details.get("reason", "")
        if self.diagnosis.header:
            return [reason] if reason else []
        event = read_event(self.line.text)
        error = f"{self.details['error']}: {reason}" if "error" in self.details else ""
        if "code" in self.details:
            return [error, reason]  # the code of the last frame stands in the line too, and is no sentence
        whole = f"{event.kind}: {event.message}" if event.tool == "Python" else ""
        return [text for text in (event.message, error, whole, reason) if text]


class _Open(NamedTuple):
    """An error whose sentence may go on: what was said so far, and the last line of it."""

    line: Line
    last: int


class _Reader:
    """Takes the lines one by one. Of each diagnosis the first place is kept, so that memory is bounded by their number."""

    def __init__(self) -> None:
        self._known = diagnoses()
        self._tracebacks = Tracebacks()
        self._tools = Tools()
        self._announced = Announcements()
        self._unknowns = Unknowns()
        self._found: dict[tuple[str, bool], _Found] = {}
        self._last: _Found | None = None
        self._open: _Open | None = None
        self._errors = False
        self._successes: list[Quote] = []
        self._number = 0

    def read(self, line: Line) -> None:
        self._number = line.number
        self._tools.read(line.text)
        if self._tracebacks.is_frame(line.text):
            self._errors = True
            return
        kind = severity(line)
        self._announced.read(line.number, line.text)
        coded = CODED.match(line.text) and (self._announced.near(line.number).op or self._announced.parsed(line.number))
        if not kind and (coded or self._tracebacks.ended):
            kind = "error"
        found = self._match(line, kind)
        if found is None and (whole := self._tracebacks.completed(line.text)):
            line = line._replace(text=whole)
            found = self._match(line, kind)
        self._errors |= kind == "error"
        if found is None and self._goes_on(line, kind):
            return
        self._open = _Open(line, line.number) if found is None and kind == "error" else None
        if found is not None:
            self._add(found)
        else:
            self._read_unknown(line, kind)

    def _goes_on(self, line: Line, kind: str) -> bool:
        """Whether a line belongs to the error before it, which no diagnosis knows by its first line. Together they may be known."""
        above = self._open
        if above is None or kind or line.fresh or line.number > above.last + 1 or is_success(line.text):
            return False
        if line.number > above.line.number + GOES_ON or len(above.line.text) > LONGEST // 2:
            return False
        whole = above.line._replace(text=f"{above.line.text.rstrip()} {line.text.strip()}")
        self._unknowns.extend(line, above.line.number)
        self._open = _Open(whole, line.number)
        if found := self._match(whole, "error"):
            self._open = None
            self._add(found)
        return True

    def _add(self, found: _Found) -> None:
        known = self._found.setdefault((found.diagnosis.id, found.is_error), found)
        if known is not found:
            known.again(found)
            return
        if self._last is not None and self._last.diagnosis.header and found.is_error:
            self._last.details.setdefault("reason", read_event(found.line.text).message)
        self._last = found

    def _read_unknown(self, line: Line, kind: str) -> None:
        last = self._last
        if last is not None and line.number - last.line.number <= AFTER:
            complete(last.place, line.text)
        if kind != "error" and is_success(line.text):
            self._success(quote(line))
        elif not CASCADE.search(line.text):
            if kind == "error" and last is not None and last.diagnosis.header:
                last.details.setdefault("reason", read_event(line.text).message)
            where = self._tracebacks.where if self._tracebacks.ended else ""
            self._unknowns.read(line, kind, self._announced.near(line.number), where)

    def _success(self, said: Quote) -> None:
        """The first and the last one: what went well before an error, and what after it."""
        if len(self._successes) > SUCCESSES:
            self._successes.pop(SUCCESSES // 2)
        self._successes.append(said)

    def _match(self, line: Line, kind: str) -> _Found | None:
        if VERBOSE in line.text or (found := matcher().find(line.text)) is None:
            return None
        return _Found(*found, line, self._announced.near(line.number), kind)

    def explanation(self) -> Explanation:
        hits = list(self._found.values())
        errors = [hit for hit in hits if hit.is_error and not hit.diagnosis.generic]
        symptoms = [hit for hit in hits if hit.is_error and hit.diagnosis.generic]
        cause = self._cause(errors, [hit for hit in hits if hit.demoted], symptoms)
        cause = cause or next((hit for hit in hits if hit.loud), None)
        for hit in hits:
            if file := self._tracebacks.shadowing(hit.details.get("module", "")):
                hit.meanings.append(
                    f"{file} of the traceback has the module's name, and is imported in its place: rename it"
                )
        origin = self._origin(cause, hits)
        passed = self._successes[-1].number if self._successes else 0
        headline = self._unknowns.headline(origin.line.number if origin else None, _rank(origin), passed)
        if headline is not None:
            origin = None
        elif origin is None:
            origin = self._warned(hits, passed)
        first = origin.line.number if origin else headline.line.number if headline else self._number + 1
        rest = [hit for hit in (errors or symptoms) if hit is not origin]
        warnings = [hit for hit in hits if not hit.is_error and hit is not origin]
        ids = {hit.diagnosis.id for hit in (*rest, origin) if hit is not None}
        return Explanation(
            tools=self._tools.found,
            tensorrt=self._tools.tensorrt,
            cause=origin.hit() if origin else None,
            headline=headline,
            before=next((said for said in reversed(self._successes) if said.number < first), None),
            passed=next((said for said in self._successes if said.number > first), None),
            further=[hit.hit() for hit in rest],
            warnings=[hit.hit() for hit in warnings if hit.diagnosis.id not in ids],
            unknown=self._unknowns.quotes(weak=origin is None and not rest, passed=passed),
            lines=self._number,
        )

    def _cause(self, errors: list[_Found], demoted: list[_Found], symptoms: list[_Found]) -> _Found | None:
        """The first specific error; or else, where the log ends in an error, what a tool had only warned of; or else the
        symptom that the files have first: they go from the inside out."""
        if errors:
            return errors[0]
        if demoted and self._errors:
            return next((hit for hit in demoted if not hit.diagnosis.generic), demoted[0])
        return min(symptoms, key=lambda hit: self._known.index(hit.diagnosis), default=None)

    def _warned(self, hits: list[_Found], passed: int) -> _Found | None:
        """Of a log without an error the warning, after the last success, that tells what went wrong."""
        if self._errors or self._unknowns.quotes(weak=True, passed=passed):
            return None
        told = (hit for hit in hits if hit.line.number > passed)
        return next((hit for hit in told if hit.diagnosis.alone), None)

    def _origin(self, cause: _Found | None, hits: list[_Found]) -> _Found | None:
        """The message that says where this one comes from: an earlier one that leads to it, or one right after it that
        says what failed."""
        if cause is None:
            return None
        number = cause.line.number
        led = [hit for hit in hits if cause.diagnosis.id in hit.diagnosis.leads_to and hit.line.number <= number]
        told = [
            hit
            for hit in hits
            if cause.diagnosis.id in hit.diagnosis.explains and 0 <= hit.line.number - number <= CLOSE
        ]
        origin = max(led, key=lambda hit: min(hit.last, number), default=told[0] if told else None)
        if origin is None:
            after = [hit for hit in hits if hit.diagnosis.id in cause.diagnosis.leads_to and hit.line.number >= number]
            if after and not cause.place.node:
                cause.place = Place(cause.place.op or after[0].place.op, after[0].place.node)
            return cause
        origin.place = Place(origin.place.op or cause.place.op, origin.place.node or cause.place.node)
        return origin


def _rank(known: _Found | None) -> Rank:
    if known is None or known.diagnosis.generic:
        return "symptom"
    return "assertion" if ASSERTION.search(known.line.text) else "cause"
