"""trtexec's options: `--name` and `--name=value`, in any order."""

from __future__ import annotations

from enginesmith.compat.migrations.facts import Fact, facts
from enginesmith.compat.migrations.reading import Job, Unread

RUNS = "--loadEngine"
ABSENT = "it needs a value, and has none"
UNKNOWN = "\N{HORIZONTAL ELLIPSIS}"
"""Stands in a word for what only running would tell."""
NO_VALUE = "it takes no value"


def read(words: list[str], job: Job, unread: list[Unread]) -> None:
    """Add each option to the job; what is none goes to `unread`."""
    known = facts("trtexec")
    folded = {name.lower(): name for name in known}
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        fact = known.get(name)
        if fact is None:
            unread.append(Unread(job.line, word, _strange(name, folded)))
        elif fact.takes == "nothing":
            if equals:
                unread.append(Unread(job.line, word, NO_VALUE))
            else:
                job.add(job.line, word, fact)
        else:
            # trtexec wants `=`; many write a space, as other tools have it
            if not equals and left and not left[0].startswith("-"):
                value = left.pop(0)
            _valued(fact, name, value, job, unread)
    named = {part.fact.name for part in job.parts}
    has_model = (
        job.told("model")
        or job.told("foreign")
        or any(each.line == job.line and UNKNOWN in each.text for each in unread)
    )
    job.builds = bool(has_model) and "--help" not in named and not job.told("load")


def _valued(fact: Fact, name: str, value: str, job: Job, unread: list[Unread]) -> None:
    if value:
        job.add(job.line, f"{name}={value}", fact, value)
    else:
        unread.append(Unread(job.line, name, ABSENT))


def _strange(name: str, folded: dict[str, str]) -> str:
    if not name.startswith("-"):
        return "no option of trtexec"
    near = folded.get(name.lower()) or folded.get(f"-{name}".lower())
    return f"no option of any trtexec since 5.1; is it {near}?" if near else "no option of any trtexec since 5.1"
