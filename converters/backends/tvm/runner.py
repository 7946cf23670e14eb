"""Runs a compiled TVM module under Polygraphy. Needs `module.so` and the JSON beside it, no torch in the process."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata

from enginesmith.converters.backends.tvm.signature import Signature
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import written


class TvmRunner(BaseRunner):  # type: ignore[misc]
    """Feeds numpy arrays to a module's `main` on the CPU and returns its outputs by their ONNX names."""

    def __init__(self, engine: Path, threads: int | None = None, name: str = "tvm") -> None:
        """`threads` bounds TVM's thread pool; None leaves it to the environment's TVM_NUM_THREADS, else all cores."""
        super().__init__(name=name)
        self.engine = engine
        self.threads = threads

    def activate_impl(self) -> None:
        """Load the module: raises UserError when the engine or its JSON isn't there."""
        if not self.engine.exists():
            raise UserError(f"{self.engine} doesn't exist")
        signature = Signature.of(self.engine)
        if self.threads is not None:
            # Read when the pool starts, with the first parallel kernel.
            os.environ["TVM_NUM_THREADS"] = str(self.threads)
        import tvm
        from tvm import relax

        self.inputs, self.outputs, self.shapes = signature.inputs, signature.outputs, signature.shapes
        self.held = signature.held
        self.device = tvm.cpu()
        self.machine = relax.VirtualMachine(tvm.runtime.load_module(str(self.engine.resolve())), self.device)
        self.to_tensor = tvm.runtime.tensor

    def get_input_metadata_impl(self) -> Any:
        metadata = TensorMetadata()
        for tensor in self.inputs:
            # -1: Polygraphy's own check of a feed leaves a size to us
            sizes = zip(tensor.shape, *(shapes[tensor.name] for shapes in self.shapes), strict=True)
            shape = [each[0] if len(set(each)) == 1 else -1 for each in sizes]
            metadata.add(tensor.name, dtype=np.dtype(tensor.dtype), shape=shape)
        for held in self.held:
            metadata.add(held.name, dtype=np.dtype(held.dtype), shape=held.shape)
        return metadata

    def infer_impl(self, feed_dict: Mapping[str, NDArray[Any]]) -> OrderedDict[str, NDArray[Any]]:
        """Run once. `inference_time` leaves out the copies of inputs and outputs.

        Raises UserError for shapes that the module wasn't built for.
        """
        for held in self.held:
            if (told := np.ravel(feed_dict[held.name]).tolist()) != held.values:
                raise UserError(
                    f"{self.engine} was built for {held.name}={held.values}, not for {told}: it decides on sizes"
                )
        given = {tensor.name: list(feed_dict[tensor.name].shape) for tensor in self.inputs}
        if self.shapes and given not in self.shapes:
            known = "; ".join(map(written, self.shapes))
            raise UserError(f"{self.engine} was not built for {written(given)}, only for {known}")
        arguments = [
            self.to_tensor(np.asarray(feed_dict[tensor.name], order="C"), self.device) for tensor in self.inputs
        ]
        start = time.perf_counter()
        result = self.machine["main"](*arguments)
        self.inference_time = time.perf_counter() - start
        results = [result] if len(self.outputs) == 1 and not _is_sequence(result) else list(result)
        return OrderedDict(zip(self.outputs, map(_to_numpy, results), strict=True))

    def deactivate_impl(self) -> None:
        del self.machine, self.to_tensor, self.device


def _is_sequence(value: Any) -> bool:
    return not hasattr(value, "numpy") and not _is_shape(value)


def _is_shape(value: Any) -> bool:
    import tvm_ffi

    return isinstance(value, tvm_ffi.Shape)


def _to_numpy(value: Any) -> NDArray[Any]:
    """A tensor as numpy; a shape, which is how Relax returns what ONNX has as an int64 vector, likewise."""
    if _is_shape(value):
        return np.array(list(value), dtype=np.int64)
    array: NDArray[Any] = value.numpy()
    return array
