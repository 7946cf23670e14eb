"""An engine that a build left, ready to run."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.execution import LOAD, RUN
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.exchange import Exchange
from enginesmith.converters.core.isolated import Died, Isolated, Raised
from enginesmith.converters.core.records import Latency, Verified
from enginesmith.converters.core.trees import Container, Signature, Tensor, Tree, put_together, taken_apart
from enginesmith.pipeline.job.manifest import EngineRecord
from enginesmith.pipeline.job.trusted import was_built_here

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from enginesmith.converters.core.samples import Array

Value: TypeAlias = "NDArray[np.generic] | torch.Tensor"


class Engine:
    """Call it as the model: with arrays of numpy or tensors of torch by position (`engine(x)`), by name (`engine(x=array)`), or
    as a mapping, in the dicts, lists and objects that the model takes; or each tensor by its own name
    (`engine({"views.left": x, "views.right": y})`). Constants may be left out.

    It returns what the model does, of the same kind of tensors, on the device of the first input: dicts, lists, named tuples
    and dataclasses (a dict where the class can't be imported), constants among them. A model's single tensor, and several in a
    tuple or a list, come as a dictionary from output names.

    It runs in a process of its own, which starts with the first call (TVM takes a few seconds) and ends with `close`, with
    the `with` block, with this object, or with this process. Threads may share an engine: they take turns.
    """

    def __init__(
        self,
        record: EngineRecord,
        folder: Path,
        *,
        threads: int | None = None,
        timeout: float = 600.0,
        trust: bool = False,
        signature: Signature | None = None,
    ) -> None:
        """`folder` is that of the manifest. `threads` bounds those of a CPU engine; `timeout` is in seconds, of one call.
        An engine is machine code: one that was not built on this machine needs `trust`. `signature` is the structure of the
        model's inputs and outputs; without one they are arrays by name."""
        self.record = record
        """All that the manifest says of it: layers, dtypes, kernels, profile."""
        self.path: Path = folder / record.path
        self.threads = threads
        self.timeout = timeout
        self.trust = trust
        self.signature = signature
        self.seconds: float | None = None
        """Of the last run within the engine, without the copies."""
        self._inputs: list[dict[str, Any]] = []
        self._exchange = Exchange()
        # as the stages that compare and measure it
        self._process = Isolated(without_torch=True, shared=(self._exchange.fd,))
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._process, self._exchange)

    @property
    def backend(self) -> str:
        return self.record.backend

    @property
    def target(self) -> str:
        return self.record.target

    @property
    def verified(self) -> Verified:
        """`yes` only where this engine ran in the build and its outputs were compared."""
        return self.record.verified

    @property
    def latency(self) -> Latency | None:
        """In milliseconds, beside ONNX Runtime's; None where it was not measured."""
        return self.record.latency

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.record.size

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Raises UserError for inputs that don't fit (structure, name, dtype and shape are taken as they are, nothing is cast), and
        where the engine can't run on this machine; ConversionError where it breaks down.
        """
        with self._lock:
            self._start()
            given = self._given(inputs, named)
            arrays = {name: _array(value, name) for name, value in given.items()}
            self._check(arrays)
            try:
                told = self._process.call(
                    RUN, str(self.path), self._exchange.fd, self._exchange.put(arrays), timeout=self.timeout
                )
            except Died as death:
                raise ConversionError(f"{self.backend}: {self.path.name} broke down: {death}") from None
            except Raised as error:
                raise ConversionError(f"{self.backend}: {self.path.name} can't run: {error}") from None
            self.seconds = told["seconds"]
            outputs = self._exchange.take(told["outputs"])
        found = _like(next(iter(given.values()), None), outputs)
        if self.signature is None or not self.signature.structured:
            return found
        return put_together(self.signature.outputs, found)

    def close(self) -> None:
        """End the engine's process; the next call starts another one."""
        with self._lock:
            self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        latency = f", {self.latency.engine_ms:.3g} ms" if self.latency else ""
        return (
            f"<Engine {self.backend} {self.target}, {self.size / 1e6:.1f} MB{latency}, verified: {self.verified}, "
            f"{self.path}>"
        )

    def _start(self) -> None:
        """Load the engine, unless its process is there and has it."""
        if self._process.alive:
            return
        self._process.close()
        if reason := get_backend(self.backend).runnable(self.target):
            raise UserError(f"{self.backend}: {self.path.name} can't run here: {reason}")
        if not self.path.is_file():
            raise UserError(f"the engine {self.path} is not there any more; build again")
        if not self.trust and not was_built_here(self.path):
            raise UserError(
                f"the engine {self.path} was not built here, and runs code of whoever built it; if you trust it, open it "
                "with Result.open(folder, trust=True)"
            )
        try:
            self._inputs = self._process.call(LOAD, self.backend, str(self.path), self.threads, timeout=self.timeout)
        except (Died, Raised) as error:
            self._process.close()
            raise ConversionError(f"{self.backend}: {self.path.name} can't be loaded: {error}") from None
        except BaseException:
            self._process.close()
            raise

    def _given(self, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Value]:
        """The engine's tensors by name, in its order."""
        names = [each["name"] for each in self._inputs]
        arguments = dict(self.signature.arguments) if self.signature else {name: Tensor(tensor=name) for name in names}
        known = [*arguments, *names]
        if len(inputs) == 1 and isinstance(inputs[0], Mapping) and not _is_argument(inputs[0], arguments, known):
            given = {**inputs[0], **named}
        else:
            if len(inputs) > len(arguments):
                raise UserError(f"{len(inputs)} inputs, and the engine takes {', '.join(arguments)}")
            given = {**dict(zip(arguments, inputs, strict=False)), **named}
            if len(given) < len(inputs) + len(named):
                raise UserError(
                    f"an input is given twice, by its place and by its name; they are {', '.join(arguments)}"
                )
        tensors: dict[str, Any] = {}
        for name, value in given.items():
            if name in known:
                tensors |= taken_apart(arguments.get(name, Tensor(tensor=name)), value, f"input {name}")
        unknown = [name for name in given if name not in known]
        missing = [name for name in names if name not in tensors]
        if unknown or missing:
            what = [f"has no input {', '.join(unknown)}"] if unknown else []
            what += [f"needs {', '.join(missing)} too"] if missing else []
            raise UserError(f"the engine {' and '.join(what)}; its inputs are {', '.join(names)}")
        return {name: tensors[name] for name in names}

    def _check(self, arrays: Mapping[str, Array]) -> None:
        for each in self._inputs:
            array, name = arrays[each["name"]], each["name"]
            wanted = "x".join("?" if size < 0 else str(size) for size in each["shape"]) or "scalar"
            if str(array.dtype) != each["dtype"]:
                raise UserError(f"input {name} is {array.dtype}, and the engine takes {each['dtype']}")
            fits = len(array.shape) == len(each["shape"]) and all(
                size in (-1, found) for size, found in zip(each["shape"], array.shape, strict=True)
            )
            if not fits:
                found = "x".join(map(str, array.shape)) or "scalar"
                raise UserError(f"input {name} is {found}, and the engine takes {wanted}")


def _is_argument(value: Mapping[str, Any], arguments: Mapping[str, Tree], known: Sequence[str]) -> bool:
    """Is a mapping the model's first argument, and not its inputs by name?"""
    first = next(iter(arguments.values()), None)
    return isinstance(first, Container) and not set(value) <= set(known)


def _close(process: Isolated, exchange: Exchange) -> None:
    process.close()
    os.close(exchange.fd)


def _array(value: Value, name: str) -> Array:
    import numpy as np

    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if hasattr(value, "detach"):
        # float32 stands for it in graphs and engines
        tensor = value.detach().float() if str(value.dtype) == "torch.bfloat16" else value.detach()
        return tensor.cpu().numpy()
    raise UserError(f"input {name} is of type {type(value).__name__}; give an array of numpy or a tensor of torch")


def _like(first: Value | None, outputs: dict[str, Array]) -> dict[str, Any]:
    if first is not None and hasattr(first, "detach"):
        torch = sys.modules["torch"]
        return {name: torch.from_numpy(array).to(first.device) for name, array in outputs.items()}
    return dict(outputs)
