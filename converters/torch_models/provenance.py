"""Where the values in a run of a model come from: which tensors hold data, and what Python reads of them.

    watch = Provenance(module, inputs)
    with watch:
        outputs = module(*inputs)
    watch.reads, watch.digests(outputs)

A tensor holds *data* where its values depend on an input's or on random numbers. Shapes, types, parameters, buffers and
constants are none. A *read* takes data out of the tensors, into a number, a bool, a list, an array or a text, where no
exporter's trace follows; what a script of TorchScript reads stays in the graph, and is none.

A *digest* says how a tensor was computed: two runs whose outputs have equal digests did the same operations in the same
order on the same constants, whatever the inputs' values were, so that a trace of one is a trace of the other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType, TracebackType
from typing import Any, Self
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from enginesmith.converters.torch_models.user_lines import source_line, user_frames

DATA, RANDOM, SIZED = 1, 2, 4
"""What a tensor's values depend on: an input's values, random numbers; and whether data decides on its size."""

NUMBERS = frozenset({"_local_scalar_dense", "item", "is_nonzero", "equal", "allclose"})
"""Operators that return a Python number or bool of their arguments' values."""
LEAKS = frozenset({"tolist", "numpy", "__array__", "__dlpack__", "untyped_storage", "storage", "_typed_storage"})
"""Methods that hand out values past the dispatcher."""
TEXTS = frozenset({"__repr__", "__str__", "__format__"})
MAKERS = frozenset({"tensor", "as_tensor", "asarray", "new_tensor"})
"""Functions that make a tensor of the numbers in a list, past the dispatcher."""
OF_SHAPE = frozenset({"zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like"})
OF_SHAPE |= {"new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"}
"""Operators that look at the shape and type of a tensor alone."""
EMPTY = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})
OVERWRITE = frozenset({"copy_", "zero_", "fill_", "normal_", "uniform_", "random_", "bernoulli_"})
SELECTS = frozenset({"nms", "masked_select", "nonzero"})

SIZES = frozenset({"__get__", "size", "numel", "__len__", "__iter__"})


@dataclass(frozen=True, eq=False)
class Read:
    """Data that Python took out of a tensor."""

    index: int
    """Of the run's reads."""
    what: str
    """`bool`, `number`, `list`, `array`, `text`, `tensor`."""
    value: Any
    file: str
    line: int
    instruction: int
    """With file and line, the place in the code."""
    frames: tuple[FrameType, ...] = field(repr=False)
    """The user's, innermost first."""
    codes: frozenset[CodeType] = field(repr=False)
    """Of all frames, torch's too."""

    @property
    def place(self) -> tuple[str, int, int]:
        return self.file, self.line, self.instruction

    @property
    def source(self) -> str:
        """`models.py:12: if x.sum() > 0:`"""
        return source_line(self.file, self.line)


@dataclass
class _Mark:
    """What is known of a storage."""

    reference: StorageWeakRef
    flags: int
    digest: int
    path: int
    """As the digest, without the numbers: what was done, whatever with."""
    call: int


class _Functions(TorchFunctionMode):
    """Sees Python's own calls, among them those that the dispatcher does not."""

    def __init__(self, watch: Provenance) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        return self.watch.function(func, args, kwargs or {})


class _Operators(TorchDispatchMode):
    supports_higher_order_operators = True

    def __init__(self, watch: Provenance) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch = watch

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        return self.watch.operator(func, args, kwargs or {})


class Provenance:
    """Follows data through calls of `module`. `forced` maps the index of a read to the value that Python is given instead."""

    def __init__(self, module: nn.Module) -> None:
        self.warnings: Sequence[Any] | None = None
        """While TorchScript traces, its warnings so far: sizes are tensors then, and it follows all that it doesn't warn of."""
        self.reads: list[Read] = []
        self.forced: Mapping[int, Any] = {}
        self.sized = False
        """Was the size of a tensor asked for on which data decides?"""
        self.random: list[str] = []
        """Places that draw random numbers, as `Read.source`."""
        self.written: dict[str, Tensor] = {}
        """What parameters and buffers were before the run wrote them."""
        self._writes: dict[str, int] = {}
        """How often a parameter or a buffer was written since it was put back."""
        self._marks: dict[int, _Mark] = {}
        self._constants: dict[int, tuple[StorageWeakRef, int]] = {}
        self._functions: list[tuple[str, int]] = []
        """The calls of Python's that are under way, and how many warnings there were before each."""
        self._quiet = 0
        self._call = 0
        self._weights: dict[int, tuple[str, Tensor]] = {}
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if (key := _key(tensor)) is not None:
                self._weights[key] = (name, tensor)
        self._modes: tuple[Any, ...] = (_Functions(self), _Operators(self))

    def begin(self, inputs: Iterable[Tensor], forced: Mapping[int, Any] | None = None) -> None:
        """Before each call. Data of earlier calls is known as such from then on."""
        self.forced = forced or {}
        self.reads, self.random, self.sized = [], [], False
        self._call += 1
        self._constants.clear()
        self._marks = {key: mark for key, mark in self._marks.items() if not mark.reference.expired()}
        for index, tensor in enumerate(inputs):
            self._mark(tensor, DATA, hash(("input", index)), hash(("input", index)))

    def __enter__(self) -> Self:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(kind, error, at)

    def digest(self, outputs: Iterable[Tensor]) -> tuple[int, int]:
        """How these were computed, with the numbers that went in and without them."""
        found = [self._digest(tensor) for tensor in outputs]
        return hash(tuple(exact for exact, _ in found)), hash(tuple(path for _, path in found))

    def flags(self, values: Any) -> int:
        """Of all tensors in a nested value."""
        found = 0
        for tensor in _tensors(values):
            mark = self._marks.get(_key(tensor) or 0)
            found |= mark.flags if mark else 0
        return found

    def restore(self) -> None:
        """Give parameters and buffers back what the run wrote over."""
        for name, tensor in self._weights.values():
            if name in self.written:
                with torch.no_grad():
                    tensor.data.copy_(self.written[name])
        self.written.clear()
        self._writes.clear()

    def function(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        name = getattr(func, "__name__", "")
        script = isinstance(func, torch._ops.OpOverload)
        self._functions.append(("script" if script else name, len(self.warnings or ())))
        self._quiet += name in TEXTS
        try:
            result = func(*args, **kwargs)
        finally:
            self._functions.pop()
            self._quiet -= name in TEXTS
        if name in SIZES and not self._quiet:
            with _untraced():
                return self._size(name, args[0], result) if self.flags(args[:1]) & SIZED else result
        if name in LEAKS | TEXTS | MAKERS or "copy" in name:
            with _untraced():
                return self._leak(name, args, kwargs, result)
        return result

    def _leak(self, name: str, args: Any, kwargs: Any, result: Any) -> Any:
        """What a function returns that hands out values past the dispatcher."""
        flags = self.flags((args, kwargs))
        if not flags & (DATA | RANDOM) or self._quiet:
            return result
        if name in MAKERS:
            # A given tensor is handed on, cast or copied by operators, which a trace follows.
            return result if self.flags(result) else self._read("tensor", result)
        if name in TEXTS:
            return self._read("text", result)
        if name in LEAKS:
            kind = "storage" if "storage" in name else "list" if name == "tolist" else "array"
            return self._read(kind, result)
        if isinstance(result, Tensor) and not self.flags(result):  # a deep copy
            self._mark(result, flags, *self._digest(args[0]))
        return result

    def _size(self, name: str, tensor: Tensor, result: Any) -> Any:
        """A size that data decides on: a tensor while TorchScript traces, but for `len` and loops."""
        self.sized = True
        if self.warnings is None:
            return result
        if name == "__len__" and isinstance(result, int):
            return self._read("number", result)
        if name == "__iter__":
            return iter(self._read("loop", list(result)))
        for size in _tensors(list(result) if isinstance(result, torch.Size) else result):
            exact, path = self._digest(tensor)
            self._mark(size, DATA, hash((name, exact)), hash((name, path)))
        return result

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """What is done here is none of the model's: a script's operators come with Python's functions still watched."""
        self._quiet += 1
        try:
            with _untraced():
                yield
        finally:
            self._quiet -= 1

    def operator(self, func: Any, args: Any, kwargs: Any) -> Any:
        name = getattr(func, "__name__", "").partition(".")[0]
        tags = getattr(func, "tags", ())
        inputs = list(_tensors((args, kwargs)))
        with self._looking():
            known = [mark for tensor in inputs if (mark := self._marks.get(_key(tensor) or 0))]
        flags = 0
        for mark in known:
            flags |= mark.flags
        if name in OF_SHAPE and not flags & SIZED:
            flags, known = 0, []
        if torch.Tag.nondeterministic_seeded in tags and _draws(func, args, kwargs):
            flags |= RANDOM
            self.random.append(_source())
        if name in NUMBERS:
            result = func(*args, **kwargs)
            return self._read(self._kind(result), result) if flags and self._leaves() else result
        with self._looking():
            written = _written(func, args, kwargs)
            exact, path = self._described(name, args, kwargs, written) if flags or known else (0, 0)
            self._keep(written)
        result = func(*args, **kwargs)
        with self._looking():
            self._label(name, tags, result, inputs, written, flags, exact, path, marked=bool(known) or bool(flags))
        return result

    def _label(
        self,
        name: str,
        tags: Any,
        result: Any,
        inputs: list[Tensor],
        written: list[Tensor],
        flags: int,
        exact: int,
        path: int,
        *,
        marked: bool,
    ) -> None:
        """Mark what an operator has made and written."""
        given = {_key(tensor) for tensor in inputs}
        selects = torch.Tag.dynamic_output_shape in tags or name in SELECTS
        if name == "index":
            selects = any(tensor.dtype in (torch.bool, torch.uint8) for tensor in inputs[1:])
        for index, tensor in enumerate(_tensors(result)):
            if _key(tensor) in given:
                continue  # a view, or written
            sized = SIZED if flags & (SIZED | DATA if selects else SIZED) and tensor.dim() else 0
            if marked:
                self._mark(tensor, flags & ~SIZED | sized, hash((exact, index)), hash((path, index)))
            elif name in EMPTY:
                self._mark(tensor, 0, hash("empty"), hash("empty"))
        for index, tensor in enumerate(written):
            key = _key(tensor)
            before = self._marks.get(key or 0)
            self._constants.pop(key or 0, None)
            if marked or before:
                kept = before.flags if before and not _whole(name, tensor) else 0
                sized = before.flags & SIZED if before else 0
                self._mark(tensor, (flags | kept) & ~SIZED | sized, hash((exact, "w", index)), hash((path, "w", index)))

    def _described(self, name: str, args: Any, kwargs: Any, written: list[Tensor]) -> tuple[int, int]:
        """An operator and its arguments, as digests. What is written over as a whole does not count."""
        over = {id(tensor) for tensor in written if _whole(name, tensor)}

        def both(value: Any) -> tuple[Any, Any]:
            if isinstance(value, Tensor):
                return (0, 0) if id(value) in over else self._digest(value)
            if isinstance(value, (list, tuple)):
                parts = [both(part) for part in value]
                return hash(tuple(exact for exact, _ in parts)), hash(tuple(path for _, path in parts))
            if isinstance(value, (bool, int, float, complex)):
                return repr(value), 0
            if callable(value):
                return getattr(value, "code", type(value).__name__), 0
            return (type(value).__name__, 0) if isinstance(value, torch.Generator) else (repr(value), repr(value))

        parts = [both(value) for value in (*args, *(kwargs[key] for key in sorted(kwargs)))]
        return hash((name, *(exact for exact, _ in parts))), hash((name, *(path for _, path in parts)))

    def _digest(self, tensor: Tensor) -> tuple[int, int]:
        key = _key(tensor)
        form: tuple[Any, ...] = (tensor.dtype,)
        if tensor.layout == torch.strided:
            form = (tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        mark = self._marks.get(key or 0)
        if mark is not None:
            stale = "stale" if mark.call < self._call and mark.flags else ""
            return hash((mark.digest, stale, *form)), hash((mark.path, stale, len(tensor.shape)))
        if key in self._weights and key is not None:
            name, _ = self._weights[key]
            return hash((name, self._writes.get(name, 0), *form)), hash((name, len(tensor.shape)))
        return hash((self._content(tensor, key), *form)), hash(len(tensor.shape))

    def _content(self, tensor: Tensor, key: int | None) -> int:
        if key is None:
            return 0
        if key not in self._constants:
            with torch.utils._python_dispatch._disable_current_modes(), torch._C.DisableTorchFunctionSubclass():
                storage = tensor.untyped_storage()
                held = torch.empty(0, dtype=torch.uint8).set_(storage) if storage.device.type == "cpu" else None
                data = held.numpy().data if held is not None else b""
                self._constants[key] = (StorageWeakRef(storage), crc32(data))
        return self._constants[key][1]

    def _mark(self, tensor: Tensor, flags: int, exact: int, path: int) -> None:
        key = _key(tensor)
        if key is None:
            return
        with torch._C.DisableTorchFunctionSubclass():
            reference = StorageWeakRef(tensor.untyped_storage())
        self._marks[key] = _Mark(reference, flags, exact, path, self._call)

    def _keep(self, written: list[Tensor]) -> None:
        """Before an operator writes a parameter or a buffer."""
        for tensor in written:
            name, weight = self._weights.get(_key(tensor) or 0, ("", tensor))
            if name and name not in self.written:
                self.written[name] = weight.detach().clone()
            if name:
                self._writes[name] = self._writes.get(name, 0) + 1

    def _leaves(self) -> bool:
        """Does a number that an operator returns go to Python, and not to a script, a text, or a trace that follows it?"""
        name, warnings = self._functions[-1] if self._functions else ("script", 0)  # Python's own are seen as functions
        followed = self.warnings is not None and len(self.warnings) == warnings and name != "__index__"
        return name != "script" and not self._quiet and not followed

    def _kind(self, value: Any) -> str:
        name = self._functions[-1][0] if self._functions else ""
        return "bool" if isinstance(value, bool) or name == "__bool__" else "number"

    def _read(self, what: str, value: Any) -> Any:
        frames = tuple(user_frames())
        file, line, instruction = ("", 0, 0)
        if frames:
            file, line, instruction = frames[0].f_code.co_filename, frames[0].f_lineno, frames[0].f_lasti
        index = len(self.reads)
        self.reads.append(Read(index, what, value, file, line, instruction, frames, frozenset(_codes())))
        return self.forced.get(index, value)


def _codes() -> Iterator[CodeType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


@contextmanager
def _untraced() -> Iterator[None]:
    """For a look at tensors that is no part of a trace of TorchScript's."""
    state: Any = torch._C._get_tracing_state()
    put: Any = torch._C._set_tracing_state  # type: ignore[attr-defined]
    try:
        put(None)
    except RuntimeError:  # within an operator that hides its parts from the trace
        state = None
    try:
        yield
    finally:
        if state is not None:
            put(state)


def _source() -> str:
    frame = next(user_frames(), None)
    return "" if frame is None else source_line(frame.f_code.co_filename, frame.f_lineno)


def _tensors(values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _key(tensor: Tensor) -> int | None:
    """Of its storage; None where it has none of its own."""
    with torch._C.DisableTorchFunctionSubclass():
        try:
            return int(tensor.untyped_storage()._cdata)
        except (NotImplementedError, RuntimeError):  # sparse, or of a library's own
            return None


def _whole(name: str, tensor: Tensor) -> bool:
    """Does the operator overwrite all of the tensor's storage?"""
    with torch._C.DisableTorchFunctionSubclass():
        whole = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
    return name in OVERWRITE and whole


def _draws(func: Any, args: Any, kwargs: Any) -> bool:
    """Does an operator that may draw random numbers do so? Attention does not without dropout, random slopes and dropout itself
    not in inference; where nothing is said of it, as of `native_dropout`, it is training."""
    for place, argument in enumerate(func._schema.arguments):
        if argument.name in ("dropout_p", "training", "train"):
            given = args[place] if place < len(args) else kwargs.get(argument.name, argument.default_value)
            return given is None or bool(given)
    return True


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    schema = getattr(func, "_schema", None)
    if schema is None or not schema.is_mutable:
        return []
    found = []
    for index, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = kwargs.get(argument.name, args[index] if index < len(args) else None)
            found += list(_tensors(value))
    return found
