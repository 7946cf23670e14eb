"""Shell scripts, and files with commands in them: the commands that build engines, with the variables that they use.

Nothing is run. A variable has the value that a literal assignment before gave it, or its default (`${1:-8}`); of a loop's values
the first is taken; what a command's output would be is not known, and its option is told as not read where that matters.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from enginesmith.compat.migrations import onnx2trt, polygraphy, trtexec
from enginesmith.compat.migrations.reading import Job, Reading, Unread
from enginesmith.compat.migrations.trtexec import UNKNOWN

TOOLS = {"trtexec": trtexec.read, "polygraphy": polygraphy.read, "onnx2trt": onnx2trt.read}
"""The command's own name, without folder and `.exe`, and what reads its words."""
NAMES = re.compile(r"(?:[\w./\\:~${}-]*[/\\])?(trtexec|polygraphy|onnx2trt)(?:\.exe)?", re.IGNORECASE)
"""A word that is such a command."""
OTHER_VARIABLE = re.compile(r"\$\{[^{}]*\}|\$[@*#\d!?]")
QUOTED = re.compile(r"`([^`]+)`|\$\(([^()]+)\)")
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?[-=]([^{}]*))?\}|(\w+))")
ASSIGNMENT = re.compile(r"\$?(?:export\s+|readonly\s+|local\s+|set\s+|ENV\s+|ARG\s+)?([A-Za-z_]\w*)\s*[:?]?=\s*(.*)")
LOOP = re.compile(r"for\s+(\w+)\s+in\s+(.+?)\s*(?:;|$)")
OPERATOR = re.compile(r"[;|&<>()]+")
NESTED = re.compile(r"\$\([^()]*\)|`[^`]*`")
OWN = ("--onnx=", "--saveEngine=", "--loadEngine=")
"""Options that a command is known for trtexec by, where its name is not known."""
FENCE = "```"
PROMPT = re.compile(r"^\s*(?:!\s*|[=*-]*[$>]\s+|\w+@[\w.-]+:\S*[$#]\s+|-\s+|RUN\s+|CMD\s+|@|[A-Z]:\\[^>]*>\s*)")


@dataclass
class _Line:
    number: int
    text: str


@dataclass
class _Variables:
    values: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    """Of a loop's variable, the values that were not taken."""

    def fill(self, text: str) -> str:
        """With the values of what is known; UNKNOWN for the rest."""

        def one(found: re.Match[str]) -> str:
            name = found[1] or found[3]
            default = self.fill(found[2]) if found[2] else UNKNOWN
            return self.values.get(name, default)

        return OTHER_VARIABLE.sub(UNKNOWN, VARIABLE.sub(one, NESTED.sub(UNKNOWN, text)))


def read(text: str, reading: Reading, first: int = 1, variables: _Variables | None = None) -> None:
    """Add the jobs of all commands in a text whose first line has the number `first`, and what was not read of them."""
    variables = variables or _Variables()
    commented: list[str] = []
    depth = 0
    for line in _lines(text, first):
        stripped = line.text.strip()
        if stripped.startswith(("#", "//", "REM ", "rem ", "::")):
            inner = stripped.lstrip("#/ ")
            if NAMES.search(inner) and " -" in inner:
                commented += [""] * (line.number - 1 - len(commented)) + [inner]
            continue
        if loop := LOOP.search(stripped):
            _loop(loop, variables)
        _read_commands(line, variables, reading)
        depth += bool(re.match(r"(if|case)\b", stripped)) - bool(re.match(r"(fi|esac)\b", stripped))
        if assigned := ASSIGNMENT.fullmatch(stripped.removesuffix(";")):
            _assign(assigned, variables, under_condition=depth > 0)
    if not reading.jobs and commented:  # of nothing else: what it was built by
        read("\n".join(commented), reading, 1, variables)


def read_words(words: list[str], line: int, reading: Reading, others: Mapping[str, str] | None = None) -> bool:
    """Add the job of a command that is in words already. False where none of them is a command that is known."""
    named = any(NAMES.fullmatch(word) for word in words)
    for place, word in enumerate(words):
        rest = words[place + 1 :]
        found = NAMES.fullmatch(word)
        if found is None and (named or place or UNKNOWN not in word or not _of_trtexec(rest)):
            continue
        name = found[1].lower() if found else "trtexec"
        if name == "polygraphy" and not (rest and polygraphy.known(rest[0])):
            continue
        if name != "polygraphy" and not any(each.startswith("-") or UNKNOWN in each for each in rest):  # a sentence
            continue
        rest = [_trimmed(each) for each in rest]
        job = Job(tool=name, line=line, text=shlex.join([word, *rest]))
        TOOLS[name](rest, job, reading.unread)
        for variable, left in (others or {}).items():
            reading.unread.append(Unread(line, f"${variable}", f"one value is taken; it has others: {left}"))
        reading.jobs.append(job)
        return True
    return False


def _trimmed(word: str) -> str:
    """Without what closes the sentence or the call around a command."""
    return word.rstrip("),;:'\"") if word.count(")") > word.count("(") or word.startswith("--") else word


def _of_trtexec(words: list[str]) -> bool:
    """Are there options that only trtexec has, whatever the command is called?"""
    return any(word.startswith(OWN) for word in words)


def _read_commands(line: _Line, variables: _Variables, reading: Reading) -> None:
    """Each command of a line, up to an operator of the shell."""
    unnamed = line.text.lstrip(" \t\"'").startswith("$") and any(option in line.text for option in OWN)
    if not (unnamed or NAMES.search(line.text) or _called_by_variable(line.text, variables)):
        return
    for quoted in QUOTED.finditer(line.text):
        inner = quoted[1] or quoted[2]
        if NAMES.search(inner) and " -" in inner:
            read(inner, reading, line.number, variables)
    used = {found[1] or found[3] for found in VARIABLE.finditer(line.text)}
    others = {name: left for name, left in variables.others.items() if name in used}
    text = variables.fill(PROMPT.sub("", line.text, count=1))
    try:
        words = _split(text)
    except ValueError as error:
        if NAMES.search(text) and "--" in text:
            reading.unread.append(Unread(line.number, text.strip(), f"it can't be split into words: {error}"))
        return
    for command in _commands(words):
        if not read_words(command, line.number, reading, others):
            for word in command:  # bash -c "trtexec ..."
                if " -" in word and NAMES.search(word):
                    read(word, reading, line.number, variables)


def _called_by_variable(text: str, variables: _Variables) -> bool:
    return any(
        NAMES.fullmatch(variables.values.get(found[1] or found[3], "")) is not None for found in VARIABLE.finditer(text)
    )


def _split(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";|&<>")
    lexer.whitespace_split = True
    lexer.commenters = "#" if re.search(r"\s#\s", text) else ""
    if re.search(r"\w:\\|\\bin\\", text):  # a Windows path
        lexer.escape = ""
    return list(lexer)


def _commands(words: list[str]) -> Iterator[list[str]]:
    """Words up to each operator; what is read from, written to is no word of the command."""
    command: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif OPERATOR.fullmatch(word):
            if word[0] in "<>":
                skip = True
                if command and command[-1] in ("1", "2"):
                    command.pop()
            elif word in ("&>", ">&", "&>>"):
                skip = True
            else:
                yield command
                command = []
        else:
            command.append(word)
    yield command


def _assign(assigned: re.Match[str], variables: _Variables, *, under_condition: bool) -> None:
    """A name and its literal value: an array has its first one. Under a condition the value before is another one that it has."""
    name, raw = assigned[1], assigned[2].strip()
    raw = raw[1:-1] if raw.startswith("(") and raw.endswith(")") else raw
    try:
        words = shlex.split(variables.fill(raw), comments=True)
    except ValueError:
        return
    more = [found for found in map(ASSIGNMENT.fullmatch, words[1:]) if found]
    if more and len(more) == len(words) - 1:  # local a=1 b=2
        for found in more:
            _set(found[1], found[2], variables, under_condition=under_condition)
        words = words[:1]
    value = " ".join(words) if raw.startswith(('"', "'")) else (words[0] if words else "")
    _set(name, value, variables, under_condition=under_condition)


def _set(name: str, value: str, variables: _Variables, *, under_condition: bool) -> None:
    before = variables.values.get(name)
    variables.values[name] = value
    variables.others.pop(name, None)
    if under_condition and before is not None and before != value:
        variables.others[name] = before or "nothing"


def _loop(loop: re.Match[str], variables: _Variables) -> None:
    try:
        first, *others = shlex.split(variables.fill(loop[2])) or [""]
    except ValueError:
        return
    variables.values[loop[1]] = first
    if others:
        variables.others[loop[1]] = ", ".join(others)


def _lines(text: str, first: int) -> Iterator[_Line]:
    """Lines, with those that go on in the next one joined; a fence's are lines like others."""
    joined, start = "", 0
    for number, raw in enumerate(text.splitlines(), first):
        line = raw.rstrip()
        if joined.lstrip().startswith("#"):
            line = line.lstrip(" \t#")  # a comment of several lines
        start = start or number
        if line.endswith(("\\", " ^", " `")) and not line.endswith(FENCE):
            joined += line[:-1] + " "
            continue
        yield _Line(start, joined + line)
        joined, start = "", 0
    if joined:
        yield _Line(start, joined)
