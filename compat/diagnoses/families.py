"""What a sentence says that no diagnosis knows: families of messages that all tools share, explained by their variable parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from enginesmith.compat.diagnoses.conditions import in_words, is_prose, sentence_in
from enginesmith.compat.tables import read_table

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_PART = re.compile(r"\{(\w+)\}")
_ASSERTED = re.compile(r"[Aa]ssertion (?:failed|error): (?P<said>[^`'\"(].{4,300}?)(?: \(/.{1,300}\))?$")
_CHECKED = re.compile(r"Check failed: .{1,300}? is false: ?(?:: )?(?P<said>[A-Za-z].{7,300})$")
"""TVM's condition, and the sentence that it has for its reader."""
_QUOTES = " \t'\"`"


class Reading(BaseModel):
    """A sentence, read. `details` are its variable parts."""

    family: str
    cause: str
    remedy: str
    details: dict[str, str]
    symptom: bool = False
    """Another error of the same log explains more."""


class Family(BaseModel):
    """A kind of message, whoever prints it. Its texts are filled with the groups of the expression that matched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z]+(-[a-z]+)*$")
    match: tuple[str, ...] = Field(min_length=1)
    """Regular expressions; the first that is found counts. Those of a class of words are written with groups."""
    cause: str
    """`{name}` is a group; what stands in brackets is left out where one of its groups says nothing."""
    remedy: str
    example: str
    symptom: bool = False
    """It says that something is not there, or broke down, but not why."""

    def read(self, message: str) -> Reading | None:
        """Read the sentence, or None where it is of another family."""
        for pattern in self.match:
            if found := _compiled(pattern).search(message):
                details = {name: value.strip(_QUOTES) for name, value in found.groupdict().items() if value}
                details = {name: value for name, value in details.items() if value}
                if condition := details.get("condition"):
                    details |= _asked(condition)
                return Reading(
                    family=self.id,
                    cause=fill(self.cause, details),
                    remedy=fill(self.remedy, details),
                    details=details,
                    symptom=self.symptom,
                )
        return None


def _prose(message: str) -> str:
    """The sentence that an assertion gives in the place of its condition; empty where it gives none."""
    if checked := _CHECKED.search(message):
        return checked["said"]
    found = _ASSERTED.search(message)
    return found["said"] if found and is_prose(found["said"]) else ""


def _asked(condition: str) -> dict[str, str]:
    """What a condition asks for, and the sentence that it holds for its reader."""
    said = {"asks": in_words(condition), "why": sentence_in(condition)}
    return {name: text for name, text in said.items() if text}


def fill(text: str, details: Mapping[str, str]) -> str:
    """A text with its parts in their places; brackets around a part that isn't known go with it."""

    def optional(found: re.Match[str]) -> str:
        return found[1] if all(name in details for name in _PART.findall(found[1])) else ""

    return _PART.sub(lambda found: details.get(found[1], "it"), _OPTIONAL.sub(optional, text))


def read_family(*messages: str) -> Reading | None:
    """Read the first of the messages that a family knows, a symptom only where none says more; of several families the
    first counts. A sentence that a condition holds for its reader says more than the condition."""
    symptom: Reading | None = None
    for message in messages:
        said = sentence_in(message) or _prose(message)
        for text in (said, message) if said else (message,):
            if reading := next((it for family in families() if (it := family.read(text))), None):
                if not reading.symptom:
                    return reading
                symptom = symptom or reading
                break  # the condition around a sentence says less than the sentence
    return symptom


@cache
def families() -> tuple[Family, ...]:
    """In the order in which they are tried."""
    return tuple(TypeAdapter(list[Family]).validate_python(read_table(__package__, "families")["families"]))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
