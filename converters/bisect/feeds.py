"""Inputs for a graph that was cut out of another: made up, but such as the values there were.

What is known of a value travels with it, in the metadata of its `ValueInfoProto`, so that a candidate's file alone is
enough to run it, here and wherever it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

VALUE = "enginesmith.value"
"""Metadata key: the value that the tensor had in the whole model, as JSON. For small integer and boolean tensors."""
RANGE = "enginesmith.range"
"""Metadata key: its smallest and largest value there, as JSON."""
SHAPE = "enginesmith.shape"
"""Metadata key: its shape there, as JSON, where inference knows none that is static."""
SMALL = 64
"""Elements up to which a tensor may hold sizes, axes or indices rather than data."""

Feed = dict[str, NDArray[Any]]


def make_feed(model: onnx.ModelProto, seed: int = 0) -> Feed:
    """One array for every input that isn't an initializer too.

    Its recorded value; else random in its recorded range; else random in 0..1 for floats, and zeros for integers, which
    are valid as indices and counts alike. Raises ValueError for an input without a static shape, or one that is no
    tensor.
    """
    rng = np.random.default_rng(seed)
    initializers = {tensor.name for tensor in model.graph.initializer}
    return {value.name: _array(value, rng) for value in model.graph.input if value.name not in initializers}


def known_values(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Inputs whose value is on record, as flat lists of integers: what TensorRT wants to know of shape inputs."""
    found = {}
    for value in model.graph.input:
        text = metadata(value).get(VALUE)
        if text is not None:
            found[value.name] = [int(item) for item in np.ravel(json.loads(text))]
    return found


def metadata(value: onnx.ValueInfoProto) -> Mapping[str, str]:
    return {entry.key: entry.value for entry in value.metadata_props}


def record(array: NDArray[Any]) -> dict[str, str]:
    """The metadata that describes `array`."""
    if array.dtype.kind in "iub" and array.size <= SMALL:
        return {VALUE: json.dumps(array.tolist())}
    if array.dtype.kind not in "iufb" or not array.size:
        return {}
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if not finite.size:
        return {}
    return {RANGE: json.dumps([float(finite.min()), float(finite.max())])}


def _array(value: onnx.ValueInfoProto, rng: np.random.Generator) -> NDArray[Any]:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise ValueError(f"input {value.name} is no tensor of a known shape")
    if not all(dim.HasField("dim_value") for dim in kind.shape.dim):
        raise ValueError(f"input {value.name} has dynamic dimensions")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    shape = [dim.dim_value for dim in kind.shape.dim]
    known = metadata(value)
    if VALUE in known:
        return np.array(json.loads(known[VALUE]), dtype=dtype).reshape(shape)
    if dtype.kind not in "iub":
        low, high = json.loads(known.get(RANGE, "[0, 1]"))
        return np.asarray(low + (high - low) * rng.random(shape)).astype(dtype)
    low, high = json.loads(known.get(RANGE, "[0, 0]"))
    return rng.integers(int(low), int(high), shape, endpoint=True).astype(dtype)
