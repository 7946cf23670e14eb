"""Polygraphy's subtools that build or run engines: options after the subtool's name, some of which take several words."""

from __future__ import annotations

from dataclasses import replace

from enginesmith.compat.migrations.facts import Fact, facts
from enginesmith.compat.migrations.reading import Job, Unread

SUBTOOLS = ("run", "convert", "debug", "inspect", "check", "surgeon", "template", "data", "plugin", "multi-device")
BUILD = ("run", "convert", "debug")
ENGINES = (".engine", ".plan", ".trt")
MODEL = "--onnx"
"""The fact of trtexec's that the model's own argument is."""
FUNCTION = "load_data"
"""What Polygraphy calls in a script of data, unless told otherwise."""


def known(word: str) -> bool:
    return word in SUBTOOLS


def read(words: list[str], job: Job, unread: list[Unread]) -> None:
    """Add each option to the job; what is none goes to `unread`."""
    subtool, *left = words
    if subtool not in BUILD:
        job.builds = False
        return
    if subtool == "debug" and left and not left[0].startswith("-"):
        left = left[1:]
    options = facts("polygraphy")
    model = ""
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        fact = options.get(name)
        if fact is not None:
            values = [value] if equals else _values(fact, left)
            if fact.takes == "nothing" and equals:
                unread.append(Unread(job.line, word, "it takes no value"))
            elif fact.takes != "nothing" and not values:
                unread.append(Unread(job.line, word, "it needs a value, and has none"))
            else:
                job.add(job.line, " ".join([name, *values]), fact, " ".join(values))
        elif not word.startswith("-") and not model:
            model = word
            script = word.endswith(".py")
            job.add(job.line, word, facts("trtexec")[MODEL], "" if script else word)
            if script:
                unread.append(Unread(job.line, word, "a script that makes the network: migrate it by itself"))
        else:
            unread.append(Unread(job.line, word, "no option of polygraphy run or convert"))
    loads = model.endswith(ENGINES) or "engine" in _of(job, "--model-type")
    runs_trt = subtool != "run" or any(part.fact.name == "--trt" for part in job.parts)
    job.builds = runs_trt and not loads
    _name_data(job)


def _values(fact: Fact, left: list[str]) -> list[str]:
    if fact.takes == "nothing":
        return []
    values: list[str] = []
    while left and not left[0].startswith("-") and (fact.takes == "values" or not values):
        values.append(left.pop(0))
    return values


def _of(job: Job, name: str) -> str:
    return next((part.value for part in job.parts if part.fact.name == name), "")


def _name_data(job: Job) -> None:
    """The function of a script of data, after its colon."""
    function = _of(job, "--data-loader-func-name") or FUNCTION
    for place, part in enumerate(job.parts):
        if part.said and part.said[0][0] == "data" and ":" not in part.value:
            said = (("data", f"{part.value}:{function}"),)
            job.parts[place] = replace(part, said=said)
