"""What an export would freeze: decisions and numbers that Python takes from a model's data, while a graph has but the side
that was traced.

Whether a read of data matters is tried: the model runs again, and Python is given another value in its place. Where the
outputs are then computed otherwise, the graph depends on the value. Where they are not, or the model raises an error by
itself, it was a check, a log or a count, and any trace is right. So it is where the value is the size of an input, and the model
fails with every other one: no input of these sizes has another.
"""

from __future__ import annotations

import dis
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch._export.utils import _compiling_state_context

from enginesmith.converters.core.errors import first_line
from enginesmith.converters.core.facts import Doubt
from enginesmith.converters.torch_models.literals import literals, words
from enginesmith.converters.torch_models.outputs import flatten
from enginesmith.converters.torch_models.provenance import RANDOM, Provenance, Read
from enginesmith.converters.torch_models.repeated import remembers
from enginesmith.converters.torch_models.state import State
from enginesmith.converters.torch_models.user_lines import is_tools

SECONDS = 30.0
"""That the search for a read's effect may take."""
TRIED = (1, -1, 2, -2, 100, -100, 10_000, -10_000, 10**6, -(10**6))
"""Numbers that Python is given in place of those that it read, beside the constants of the code around."""
DECIDES = ("bool",)
FOLLOWS = "dynamo"
"""The exporter that follows numbers into the graph, and refuses what it can't follow."""
REMEDY = (
    "write torch.where or torch.cond in its place, or put it into a function under torch.jit.script; "
    "or take one side for all inputs with --exporter torchscript --allow-baked: then no engine is verified"
)
CHECKS = ("_assert", "_check", "_check_with", "_check_value", "_check_index", "_check_type", "_check_not_implemented")
"""torch's functions that raise an error where a condition does not hold."""

STATELESS = (
    "make it an input and an output of the model, or a tensor of a fixed shape, which becomes both by itself; "
    "or keep what one run did with --allow-baked: then no engine is verified"
)


@dataclass(frozen=True)
class Frozen:
    """Something that a trace of the model freezes. `way`: it decides which operations are done, and not only a number in
    them, which an exporter may follow."""

    source: str
    what: str
    way: bool

    @property
    def told(self) -> str:
        return f"Python takes a {self.what} from the model's data ({self.source})"


@dataclass
class Examination:
    """What was found in a model's runs."""

    frozen: list[Frozen] = field(default_factory=list)
    random: list[str] = field(default_factory=list)
    """Places that draw random numbers which the answer depends on."""
    remembers: str = ""
    """Why the answer depends on more than the inputs."""
    exported: list[Frozen] | None = None
    """What is frozen where the model knows that it is exported, and leaves out what only speeds it up; None for the same."""
    sizes: list[Frozen] = field(default_factory=list)
    """What TorchScript's exporter alone freezes, of tensors on whose size data decides."""

    unseen: str = ""
    """Why the model could not be watched, though it runs."""

    @property
    def remedy(self) -> str:
        return STATELESS if self.remembers else REMEDY

    def baked(self, tool: str) -> str:
        """What that exporter would bake into the graph; empty for nothing."""
        if self.remembers:
            return f"{self.remembers}; an engine keeps no state"
        known = self.exported if tool == FOLLOWS and self.exported is not None else self.frozen
        frozen = [found for found in known if found.way or tool != FOLLOWS]
        frozen += self.sizes if tool != FOLLOWS else []
        if not frozen:
            return ""
        more = f" (and {len(frozen) - 1} more)" if len(frozen) > 1 else ""
        return f"{frozen[0].told}{more}, and a graph has what one run did"

    def doubt(self, tool: str) -> Doubt | None:
        """Why no engine of that exporter's graph may be verified."""
        if baked := self.baked(tool):
            return Doubt(verified="no", reason=f"baked in: {baked}")
        if self.unseen and tool != FOLLOWS:
            return Doubt(verified="no", reason=f"what the trace baked in could not be seen ({self.unseen})")
        if self.random:
            places = "; ".join(self.random[:3])
            return Doubt(verified="no", reason=f"the answer depends on random numbers ({places})")
        return None


def examine(module: nn.Module, inputs: Sequence[Tensor]) -> Examination:
    """What an export of the module would freeze; it is run on these inputs, and is afterwards as it was."""
    return Examiner(module, inputs).examine()


@dataclass
class _Run:
    digest: int = 0
    path: int = 0
    outputs: Sequence[Tensor] = ()
    flags: int = 0
    reads: Sequence[Read] = ()
    random: Sequence[str] = ()
    sized: bool = False
    drawn: bool = False
    """From Python's or NumPy's own generator."""
    error: Exception | None = None


class Examiner:
    """Runs a model again and again on the same inputs."""

    def __init__(self, module: nn.Module, inputs: Sequence[Tensor], seconds: float = SECONDS) -> None:
        self.module, self.inputs = module, inputs
        self.watch = Provenance(module)
        self.state = State(module)
        self.traced = False
        self.exporting = False
        """Does the model believe that `torch.export` traces it, as `torch.compiler.is_exporting` says?"""
        self.end = time.monotonic() + seconds

    def examine(self) -> Examination:
        generators = (random.getstate(), np.random.get_state(), torch.get_rng_state())
        try:
            return self._examine()
        finally:
            self.fresh()
            random.setstate(generators[0])
            np.random.set_state(generators[1])
            torch.set_rng_state(generators[2])

    def _examine(self) -> Examination:
        base = self.run({})
        if base.error is not None:
            return Examination(unseen=first_line(base.error))
        found = Examination()
        found.random = [*dict.fromkeys(base.random)] if base.flags & RANDOM else []
        if base.drawn:
            found.random.append("Python's or NumPy's own generator")
        found.frozen = list(dict.fromkeys(self._frozen(base)))
        if found.frozen:
            found.exported = self._frozen_in_export()
        natural = {read.index: read.value for read in base.reads}
        if natural:
            self.fresh()
        found.remembers = remembers(
            self.module,
            lambda inputs: self.call(natural, inputs),
            self.fresh,
            self.inputs,
            base=None if natural else base,
        )
        if base.sized:
            self.traced = True
            base = self.run({})
            found.sizes = list(dict.fromkeys(self._frozen(base)))
            found.unseen = first_line(base.error) if base.error else ""
        return found

    def _frozen_in_export(self) -> list[Frozen] | None:
        """Many models look for a mask that hides nothing, but not while they are exported; None where this can't be seen."""
        self.exporting = True
        try:
            base = self.run({})
            return list(dict.fromkeys(self._frozen(base))) if base.error is None else None
        finally:
            self.exporting = False

    def fresh(self) -> None:
        """Put the model's state back to what it was at first."""
        self.state.restore()
        self.watch.restore()

    def run(self, forced: Mapping[int, Any]) -> _Run:
        """A call on the examiner's inputs, of a fresh model."""
        self.fresh()
        return self.call(forced, [tensor.clone() for tensor in self.inputs])

    def call(self, forced: Mapping[int, Any], inputs: Sequence[Tensor]) -> _Run:
        self.watch.begin(inputs, forced)
        run = _Run()
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        before = _generators()
        try:
            tensors = self._traced(inputs) if self.traced else self._called(inputs)
            run.digest, run.path = self.watch.digest(tensors)
            run.flags = self.watch.flags(tensors)
            run.outputs = [tensor.clone() for tensor in tensors]
        except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
            run.error = error
        run.reads, run.random, run.sized = self.watch.reads, self.watch.random, self.watch.sized
        run.drawn = _generators() != before
        return run

    def _called(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        exporting = _compiling_state_context() if self.exporting else nullcontext()
        with torch.no_grad(), self.watch, exporting:
            return flatten(self.module(*inputs))[1]

    def _traced(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The same while TorchScript traces, which makes tensors of sizes."""
        made: list[Tensor] = []

        def forward(*arguments: Tensor) -> tuple[Tensor, ...]:
            made[:] = flatten(self.module(*arguments))[1]
            return tuple(made)

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            self.watch.warnings = told
            try:
                with torch.no_grad(), self.watch:
                    torch.jit.trace(forward, tuple(inputs), check_trace=False)
            finally:
                self.watch.warnings = None
        return made

    def _is_size(self, read: Read) -> bool:
        """Is it a number that an input has as a size, such as the largest of the lengths in a padded batch?"""
        sizes = {size for tensor in self.inputs for size in tensor.shape if size > 1}
        return read.what == "number" and read.value in sizes

    def _frozen(self, base: _Run) -> Iterator[Frozen]:
        seen: set[tuple[str, int, int]] = set()
        waiting: list[tuple[dict[int, Any], _Run, Read]] = []

        def ask(forced: dict[int, Any], run: _Run, after: int) -> None:
            """The first and the last read of each place that was not asked for yet."""
            new = [read for read in run.reads if read.index > after and read.place not in seen]
            first = {read.place: read for read in reversed(new)}
            last = {read.place: read for read in new}
            waiting.extend((forced, run, read) for read in dict.fromkeys((*first.values(), *last.values())))
            seen.update(first)

        ask({}, base, -1)
        while waiting:
            forced, run, read = waiting.pop(0)
            effect = "none"
            is_size = self._is_size(read)  # then it may be that no other number fits
            for value in alternatives(read):
                if time.monotonic() > self.end:
                    effect, is_size = "way", False
                    break
                other = {**forced, read.index: value}
                tried = self.run(other)
                effect = max(effect, _effect(run, tried, read, value), key=("none", "value", "way").index)
                is_size = is_size and tried.error is not None
                if effect == "way" and not is_size:
                    break
                if tried.error is None:
                    ask(other, tried, read.index)
            if effect != "none" and not is_size:
                yield Frozen(read.source, read.what, read.what in DECIDES or effect == "way")


def _generators() -> tuple[Any, ...]:
    """The state of Python's and NumPy's own generators, to be compared."""
    numpy: Any = np.random.get_state()
    return random.getstate(), numpy[1].tobytes(), *numpy[2:]


def _effect(run: _Run, tried: _Run, read: Read, value: Any) -> Literal["none", "value", "way"]:
    """What another value did to the way in which the outputs are computed."""
    if tried.error is None:
        if tried.digest == run.digest:
            return "none"
        return "value" if tried.path == run.path else "way"
    if isinstance(value, float) and not np.isfinite(value):
        return "none"  # int(nan) fails, whatever it is for
    if _refused(tried.error, read):
        return "none"
    raising = _raising(tried.error)
    if raising is None:  # an operator ended the run: `torch.arange` of a negative number
        return "value" if type(tried.error) is RuntimeError else "way"
    return "none" if raising.co_name in CHECKS or raising in read.codes else "way"


def _raising(error: Exception) -> CodeType | None:
    """The code whose statement `raise` or `assert` ended the run; None where an operation failed."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    if at is None:
        return None
    code = at.tb_frame.f_code
    explicit = any(
        one.offset == at.tb_lasti and one.opname in ("RAISE_VARARGS", "RERAISE") for one in dis.get_instructions(code)
    )
    return code if explicit else None


def _refused(error: Exception, read: Read) -> bool:
    """Did the operator that read the value itself end the run, as `one_hot` does for a class that it was not told of?"""
    at, last = error.__traceback__, None
    while at is not None:
        last, at = (last if is_tools(at.tb_frame) else at), at.tb_next
    if last is None or not read.frames:
        return False
    return (last.tb_frame.f_code, last.tb_lasti) == (read.frames[0].f_code, read.instruction)


def alternatives(read: Read) -> Iterator[Any]:
    """Other values than the one that was read, of its kind."""
    value = read.value
    if read.what == "bool":
        yield type(value)(not value)
    elif read.what == "number":
        yield from dict.fromkeys(number for number in _numbers(value, read) if number != value)
    elif read.what == "list":
        yield from (_mapped(value, change) for change in _changes(read))
    elif read.what == "array":
        for change in _changes(read):
            array = np.array(np.vectorize(change, otypes=[value.dtype])(value)) if value.size else value.copy()
            array.flags.writeable = False  # what is written into it would be lost
            yield array
    elif read.what == "loop":
        yield value[:-1]
        yield [*value, *value[-1:]]
    elif read.what == "tensor":
        yield value + 1 if value.dtype != torch.bool else ~value
    elif read.what == "text":
        for text in ("?", *words(frame.f_code for frame in read.frames[:4])):
            yield from (text, f"{value}{text}", f"{text}{value}")
    else:
        yield value


def _numbers(value: Any, read: Read) -> Iterator[Any]:
    kind = type(value)
    yield kind(value + 1)
    yield kind(value - 1)
    yield kind(0)
    yield kind(-value)
    for constant in _literals(read):
        yield from (kind(constant), kind(constant + 1), kind(constant - 1))
    yield from (kind(number) for number in TRIED)
    if kind is float:
        yield from (1e9, -1e9, float("nan"))


def _changes(read: Read) -> Iterator[Callable[[Any], Any]]:
    yield lambda value: not value if isinstance(value, bool) else value + 1
    yield lambda value: not value if isinstance(value, bool) else -value
    for constant in (0, *_literals(read)):
        yield lambda value, constant=constant: type(value)(constant)  # type: ignore[misc]


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    return [_mapped(part, change) for part in value] if isinstance(value, list) else change(value)


def _literals(read: Read) -> list[float]:
    """Numbers of the code around a read, and those among the attributes of `self`."""
    frames = read.frames[:4]
    return literals(
        [
            *(frame.f_code for frame in frames),
            *(vars(s) for f in frames if hasattr(s := f.f_locals.get("self"), "__dict__")),
        ]
    )
