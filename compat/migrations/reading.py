"""What was read of a command or a script: its parts, and what could not be read."""

from __future__ import annotations

from dataclasses import dataclass, field

from enginesmith.compat.migrations.facts import Fact

QUOTES = ("'", '"')


@dataclass(frozen=True)
class Part:
    """One option, or one use of an API. `value` is as it was written; `said` is what it sets, by meaning (`facts.MEANINGS`)."""

    line: int
    text: str
    fact: Fact
    value: str = ""
    said: tuple[tuple[str, str], ...] = ()
    where: str = ""
    """The condition that it stands under."""
    taken: bool = True
    """False where the script's own defaults say that the condition does not hold."""
    arms: tuple[tuple[str, bool], ...] = ()
    """The tests of the conditions, and which of their arms."""
    sure: bool = True
    """True where nothing but the script's text decides that it is taken."""

    def excludes(self, other: Part) -> bool:
        """Do they stand in different arms of one condition?"""
        return any((test, not arm) in other.arms for test, arm in self.arms) or any(
            _differ(one, another) for one, holds in self.arms if holds for another, too in other.arms if too
        )


def _differ(one: str, other: str) -> bool:
    """Is it `x == 'a'` and `x == 'b'`?"""
    (left, equal, right), (name, too, value) = one.partition(" == "), other.partition(" == ")
    literal = right[:1] in QUOTES and value[:1] in QUOTES and " " not in right + value
    return bool(equal and too) and literal and left == name and right != value


@dataclass(frozen=True)
class Unread:
    """Something that was not understood: `reason` is a clause, such as `no option of trtexec`."""

    line: int
    text: str
    reason: str


@dataclass
class Job:
    """What one command or script does. `tool` is one of `facts.TOOLS`; `builds` is False where it only runs what is there."""

    tool: str
    line: int
    text: str
    parts: list[Part] = field(default_factory=list)
    builds: bool = True
    same: int = 0
    """Uses of an API that are the same in TensorRT 11, and set nothing."""

    def add(self, line: int, text: str, fact: Fact, value: str = "", **more: object) -> None:
        """Take in a part: what it sets is the fact's meaning, with the value where the fact has none of its own."""
        said = fact.means_value
        pairs = () if said is None else ((said[0], said[1] or value),)
        self.parts.append(Part(line, text, fact, value, **{"said": pairs, **more}))  # type: ignore[arg-type]

    def told(self, meaning: str) -> list[str]:
        """All values of a meaning, of the parts that are taken, in their order."""
        return [value for part in self.parts if part.taken for key, value in part.said if key == meaning]


@dataclass
class Reading:
    """All jobs of a file, and what was not read of it."""

    jobs: list[Job] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
