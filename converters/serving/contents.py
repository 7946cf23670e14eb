"""What a file says of itself. Called by name in `Isolated`: arguments and results are JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from enginesmith.converters.core.inputs import written
from enginesmith.converters.core.records import TensorInfo

CONTENTS = f"{__name__}:contents"


def contents(file: str, backend: str) -> dict[str, str]:
    """Of an engine's file, or of a graph's (`backend` is `onnxruntime`), in words. Raises UserError for what is neither."""
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.graphs.comparison import ONNXRUNTIME

    return _graph(Path(file)) if backend == ONNXRUNTIME else get_backend(backend).contents(Path(file))


def _graph(path: Path) -> dict[str, str]:
    from enginesmith.converters.graphs.describe import describe
    from enginesmith.converters.graphs.files import external_files, load_graph
    from enginesmith.converters.graphs.metadata import read

    model, facts = load_graph(path), describe(path)
    opsets = (f"{each.domain or 'ai.onnx'} {each.version}" for each in model.opset_import)
    weights = list(external_files(model))
    return {
        "inputs": _tensors(facts.inputs),
        "outputs": _tensors(facts.outputs),
        "operators": ", ".join(f"{count} {op}" for op, count in facts.ops.items()),
        "opset": ", ".join(opsets),
        "made by": f"{model.producer_name} {model.producer_version}".strip() or "nobody says",
        **({"weights beside it": ", ".join(weights)} if weights else {}),
        **{f"metadata {key}": value for key, value in read(path).items() if value},
    }


def _tensors(tensors: Sequence[TensorInfo]) -> str:
    return ", ".join(f"{written({each.name: each.shape})} {each.dtype}" for each in tensors)
