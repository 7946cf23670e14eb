"""Files of any kind that are read here: Python scripts, notebooks, and text with commands in it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from enginesmith.compat.migrations import python_script, shell
from enginesmith.compat.migrations.reading import Reading

PYTHON, NOTEBOOK = ".py", ".ipynb"
MAGIC = ("!", "%")
"""Starts of a notebook's lines that are no Python."""


def read(text: str, suffix: str, given: Sequence[str] = ()) -> Reading:
    """What a file's text holds; `given` are the words that follow its name where it is called. Raises ValueError for a script or
    a notebook that is none.
    """
    reading = Reading()
    if suffix == NOTEBOOK:
        script, commands = _cells(text)
        _python(script, reading, given)
        shell.read(commands, reading)
    elif suffix == PYTHON or (text.startswith("#!") and "python" in text.partition("\n")[0]):
        _python(text, reading, given)
    else:
        shell.read(text, reading)
    if not reading.jobs and suffix == PYTHON:
        shell.read(text, reading)  # what its comments and docstrings say
    return reading


def read_words(words: list[str]) -> Reading:
    """A command line that the user's own shell has split."""
    reading = Reading()
    shell.read_words(words, 1, reading)
    return reading


def _python(text: str, reading: Reading, given: Sequence[str]) -> None:
    try:
        python_script.read(text, reading, given)
    except (SyntaxError, ValueError) as error:  # ValueError: a NUL
        line = getattr(error, "lineno", None)
        raise ValueError(f"line {line} is no Python 3: {getattr(error, 'msg', error)}") from None
    except (RecursionError, MemoryError):
        raise ValueError("it is nested too deep to be read") from None


def _cells(text: str) -> tuple[str, str]:
    """A notebook's Python, and its commands, each on the line where its cell has it when all are put together."""
    try:
        cells = json.loads(text)["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        raise ValueError("it is no notebook: there are no cells in it") from None
    lines = [line for source in sources for line in source.splitlines()]
    foreign = [line.lstrip().startswith(MAGIC) for line in lines]
    script = [
        " " * (len(line) - len(line.lstrip())) + "pass" if other else line
        for line, other in zip(lines, foreign, strict=True)
    ]
    commands = [line.lstrip()[1:] if other else "" for line, other in zip(lines, foreign, strict=True)]
    return "\n".join(script), "\n".join(commands)
