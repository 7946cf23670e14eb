"""The recipe's fields as options of a command: name, type, default, help and heading are the field's."""

from __future__ import annotations

import difflib
import inspect
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import typer

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Recipe, shown

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
File = Annotated[Path | None, typer.Option("--file", "-f", help="YAML recipe; flags go over it.")]
Store = Annotated[
    str | None, typer.Option(help="Artifact store: a folder or an fsspec URL.", envvar="ENGINESMITH_STORE")
]
JUnit = Annotated[Path | None, typer.Option(help="Write JUnit's XML here, for CI.")]
Sarif = Annotated[Path | None, typer.Option(help="Write the findings as SARIF 2.1.0 here, for code scanning.")]
Engine = Annotated[
    Path,
    typer.Argument(help="A build's output folder, an engine's file, or an .onnx file, which runs in ONNX Runtime."),
]
OfBackend = Annotated[
    str,
    typer.Option(
        "--backend", help="Which of a build's engines: tvm, tensorrt-rtx, tensorrt; onnxruntime for its graph."
    ),
]
PicturesAs = Annotated[
    str | None,
    typer.Option("--pixels", help="What pictures are fed as, where the build doesn't say: unit, imagenet, bytes."),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of a CPU engine; all cores where left out.")]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds that it may take.")]
Trust = Annotated[bool, typer.Option("--trust", help="Run an engine that was not built on this machine.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the tools' own logs.")]

GIVEN = "ENGINESMITH_GIVEN"
"""Environment variable with the names of those that make was given."""
FLAGS = "FLAGS"
MAKES_OWN = (FLAGS, "PYTHON", "EXTRA", "DEV", "VENV")
"""Variables of the Makefile that are no options."""
OURS = "ENGINESMITH_"
"""Start of the names of our own environment variables."""
Command = Callable[..., None]


def takes(*fields: str, **about: str) -> Callable[[Command], Command]:
    """Give a command these options of the recipe, all without any named. It gets those that were given as its first argument,
    by the fields' names. `about` is help that fits the command better than the field's own.
    """
    names = fields or tuple(Recipe.model_fields)

    def decorate(command: Command) -> Command:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [*(_parameter(name, about.get(name, "")) for name in names), *own]

        def run(**values: Any) -> None:
            given = {name: values.pop(name) for name in names}
            command({name: value for name, value in given.items() if value is not None}, **values)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameter(name: str, about: str) -> inspect.Parameter:
    """A flag: its default is not given, so that a recipe's file can say something else."""
    field = Recipe.model_fields[name]
    about = about or field.description or ""
    kind: Any
    if name == "model":
        kind = Annotated[str | None, typer.Argument(help=about)]
    else:
        flag = f"--{name.replace('_', '-')}"
        both = f"{flag}/--no-{flag.removeprefix('--')}" if field.annotation is bool else flag
        flags = [both, *([f"--{also}"] if (also := shown(name).also) else [])]
        default = _default(name)
        kind = Annotated[
            _type(name) | None,
            typer.Option(
                *flags, help=f"{about} [{default}]" if default else about, rich_help_panel=shown(name).panel or None
            ),
        ]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _type(name: str) -> Any:
    """What a flag is read as; the recipe validates it."""
    kind = Recipe.model_fields[name].annotation
    if get_origin(kind) is UnionType or isinstance(kind, UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    return kind if kind in (bool, int, float, Path) and not shown(name).amount else str


def _default(name: str) -> str:
    """As it is told to people; empty where the help says it, or nothing is the default."""
    default = Recipe.model_fields[name].default
    if isinstance(default, bool):
        return "" if name == "model" or not default else "yes"
    return (
        "" if default is None or default in ("", 0) else f"{default:g}" if isinstance(default, float) else str(default)
    )


def one_of(value: str | None, kind: Any, option: str) -> Any:
    """One of the words of a `Literal`, or None. Raises UserError."""
    words = get_args(kind)
    if value is not None and value not in words:
        raise UserError(f"--{option} is {value!r}; one of {', '.join(words)}")
    return value


def readable(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """The command line; after `--make` with the words of make's variable FLAGS. Raises UserError for what is no text."""
    for argument in arguments:
        if not _is_text(argument):
            raise UserError(f"{argument!r} is no UTF-8; rename the file")
    if "--make" not in arguments:
        return list(arguments)
    try:
        return [*arguments, *shlex.split(environment.get(FLAGS, ""))]
    except ValueError as error:
        raise UserError(f"FLAGS = {environment[FLAGS]!r} can't be split into words: {error}") from None


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def from_make(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The options that were given to make on its command line, as `MODEL=frcnn KEEP_GOING=1`, by the fields' names. The
    values come by the environment: neither make nor a shell reads them. Raises UserError for a name that no option has.
    """
    fields = {name.upper(): name for name in Recipe.model_fields}
    given = environment.get(GIVEN, "").split()
    for name in given:
        if name not in fields and name not in MAKES_OWN and not name.startswith(OURS):
            near = difflib.get_close_matches(name, fields, n=1)
            meant = f"did you mean {near[0]}?" if near else "flags are given as FLAGS='--flag ...'"
            raise UserError(f"make engine knows no {name}; {meant}")
    return {fields[name]: environment[name] for name in given if name in fields and environment.get(name)}


def table() -> str:
    """All options as a Markdown table: what docs/options.md shows."""
    rows = ["| option | what | default |", "|---|---|---|"]
    for name, field in Recipe.model_fields.items():
        if name != "model":
            told = (field.description or "").replace("|", "\\|")
            rows.append(f"| `{name.replace('_', '-')}` | {told} | {_default(name)} |")
    return "\n".join(rows) + "\n"
