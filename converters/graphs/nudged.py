"""What rounding does, at least, to a model that isn't computed in float64: its inputs or its weights are moved by a rounding step."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from enginesmith.converters.core.samples import Array, Feed, Sample
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.files import external_files
from enginesmith.converters.graphs.rounding import moved

Run = Callable[[Feed], dict[str, Array]]

FEW = 16
"""Numbers that may be scales of a Resize, or ends of a Range: sizes follow from them."""
LARGEST = 1 << 30
"""Bytes of a model that is loaded a second time."""


def nudged(model: Path, run: Run, pairs: Sequence[tuple[Sample, Feed] | None], scratch: Path) -> list[dict[str, Array]]:
    """The outputs on moved inputs, by `run`; of a model whose inputs are all integers, with moved weights. None in place of None, of a
    probe, whose ties moved inputs would break, and where the model doesn't take them."""
    inexact = any(array.dtype.kind == "f" for pair in pairs if pair for array in pair[1].values())
    weighed = None if inexact else _with_moved_weights(model, scratch)

    def one(sample: Sample, feed: Feed) -> dict[str, Array]:
        try:
            if weighed is not None:
                return weighed(feed)
            return {} if sample.probe else run(moved(feed))
        except Exception:  # noqa: BLE001 - ONNX Runtime's exceptions share no base but Exception
            traceback.print_exc()
            return {}

    return [one(*pair) if pair else {} for pair in pairs]


def _with_moved_weights(model: Path, scratch: Path) -> Run | None:
    import onnx
    from onnx import numpy_helper

    given = onnx.load(str(model), load_external_data=False)
    files = [model, *(model.parent / name for name in external_files(given))]
    if sum(file.stat().st_size for file in files) > LARGEST:
        return None
    onnx.load_external_data_for_model(given, str(model.parent))
    for tensor in given.graph.initializer:
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE):
            weights = numpy_helper.to_array(tensor)
            if weights.size > FEW:
                tensor.CopyFrom(numpy_helper.from_array(moved(OrderedDict({"": weights}))[""], tensor.name))
    onnx.save(given, str(scratch / "moved.onnx"))
    session = onnxruntime.session(scratch / "moved.onnx", optimize=False)
    (scratch / "moved.onnx").unlink()
    outputs = [output.name for output in session.get_outputs()]
    return lambda feed: dict(zip(outputs, session.run(None, dict(feed)), strict=True))
