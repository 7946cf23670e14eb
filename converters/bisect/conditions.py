"""What it means that a model fails, in words: `build on tensorrt-rtx`, `differs between onnxruntime and tvm by 1e-3`,
`inconsistent on tvm`.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, Literal

from pydantic import BaseModel

from enginesmith.converters.backends import BACKENDS, get_backend
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.graphs.tolerances import TOLERANCES

COMMAND = "command:"
REFERENCES = ("onnxruntime", "reference")
"""What runs a model as it is, for `differs`. `reference` is `onnx.reference`."""


class Condition(BaseModel, frozen=True):
    """One parsed condition; which fields count depends on `kind`.

    A tensor differs where |found - expected| > `scale` * max|expected| + `relative` * |expected|.
    """

    text: str
    kind: Literal["parse", "build", "load", "run", "check", "differs", "inconsistent", "command"]
    backend: str = ""
    target: str = ""
    expected: str = ""
    found: str = ""
    scale: float = 0.0
    relative: float = 0.0
    command: str = ""

    @property
    def needs_sizes(self) -> bool:
        """Whether it can only be asked of a model whose inputs have sizes."""
        return self.kind in ("build", "run", "differs", "inconsistent")


def parse_condition(text: str, target: str = "auto") -> Condition:
    """The condition that `text` says. `target` is what a backend builds for.

    Raises UserError with the nearest conditions.
    """
    stripped = text.strip()
    if stripped.lower().startswith(COMMAND):
        return _command(stripped[len(COMMAND) :].strip())
    words = " ".join(stripped.lower().split())
    if words == "check":
        return Condition(text=words, kind="check")
    if match := re.fullmatch(r"(load|run) in onnxruntime", words):
        return Condition.model_validate({"text": words, "kind": match[1]})
    if match := re.fullmatch(r"(parse|build) on (\S+)", words):
        fields = _backend(match[2], target)
        return Condition.model_validate({"text": words, "kind": match[1], **fields})
    if match := re.fullmatch(r"inconsistent on (\S+)", words):
        return _inconsistent(words, match[1], target)
    if match := re.fullmatch(r"differs between (\S+) and (\S+)(?: by (\S+))?", words):
        return _differs(words, match[1], match[2], match[3], target)
    raise _unknown(words)


def _command(command: str) -> Condition:
    if "{}" not in command:
        raise UserError(
            f"the condition {COMMAND} needs {{}} where the model's path goes, as in '{COMMAND} mytool {{}}'"
        )
    return Condition(text=f"{COMMAND} {command}", kind="command", command=command)


def _backend(name: str, target: str) -> dict[str, Any]:
    backend = get_backend(name)
    if reason := backend.available():
        raise UserError(f"backend {name} can't be asked here: {reason}")
    return {"backend": name, "target": backend.resolve_target(target)}


def _inconsistent(text: str, found: str, target: str) -> Condition:
    if found not in runners():
        raise _unknown(text)
    fields = {} if found in REFERENCES else _backend(found, target)
    if fields and (reason := get_backend(found).runnable(fields["target"])):
        raise UserError(f"{text!r} can't be asked here: an engine for {fields['target']} doesn't run ({reason})")
    return Condition(text=text, kind="inconsistent", found=found, **fields)


def _differs(text: str, expected: str, found: str, by: str | None, target: str) -> Condition:
    for side in (expected, found):
        if side not in sides():
            raise _unknown(text)
    if expected == found:
        raise UserError(f"{expected} can't differ from itself")
    engines = [side for side in (expected, found) if side not in REFERENCES]
    if len(engines) > 1:
        raise UserError(f"{text!r}: one of the two must be {' or '.join(REFERENCES)}")
    scale, relative = TOLERANCES["fp32"].scale, TOLERANCES["fp32"].relative
    if by is not None:
        try:
            scale = relative = float(by)
        except ValueError:
            raise UserError(f"{by!r} is no tolerance; write a number, as in 'by 1e-3'") from None
        if not 0 <= scale < float("inf"):
            raise UserError(f"{by} is no tolerance; it must be 0 or more")
    fields = _backend(engines[0], target) if engines else {}
    return Condition(
        text=text, kind="differs", expected=expected, found=found, scale=scale, relative=relative, **fields
    )


def sides() -> tuple[str, ...]:
    """What can run a model here: REFERENCES, and the backends whose engines run on a CPU."""
    return (*REFERENCES, *(name for name, backend in BACKENDS.items() if not backend.gpu))


def runners() -> tuple[str, ...]:
    """What may be asked whether it contradicts itself. Not onnx's evaluator, which has no state."""
    return ("onnxruntime", *BACKENDS)


def forms() -> list[str]:
    """Every condition that there is, but for tolerances and commands."""
    pairs = [(a, b) for a in sides() for b in sides() if a != b and (a in REFERENCES or b in REFERENCES)]
    return [
        *(f"{verb} on {backend}" for verb in ("build", "parse") for backend in reversed([*BACKENDS])),
        *(f"{verb} in onnxruntime" for verb in ("load", "run")),
        "check",
        *(f"inconsistent on {side}" for side in sides() if side in runners()),
        *(f"differs between {a} and {b}" for a, b in pairs),
    ]


def _unknown(words: str) -> UserError:
    near = difflib.get_close_matches(re.sub(r" by \S+$", "", words), forms(), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(repr(form) for form in near)}?" if near else f"write {_grammar()}"
    return UserError(f"unknown condition {words!r}; {hint}")


def _grammar() -> str:
    backends = "|".join(BACKENDS)
    return (
        f"'parse on {backends}', 'build on …', 'load in onnxruntime', 'run in onnxruntime', 'check', "
        f"'inconsistent on {'|'.join(runners())}', "
        f"'differs between {'|'.join(sides())} and … [by TOLERANCE]', or '{COMMAND} CMD {{}}'"
    )
