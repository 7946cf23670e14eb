"""One call of an engine, kept in its package as a test. Called by name in `Isolated`: arguments and results are JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from enginesmith.converters.core.records import TensorInfo
from enginesmith.converters.core.samples import Array
from enginesmith.converters.data.datasets import npz
from enginesmith.converters.graphs.comparison import ONNXRUNTIME
from enginesmith.converters.serving.feeds import FeedOptions, fed, feed_of
from enginesmith.converters.serving.runners import runner_of

SAMPLE = f"{__name__}:sample"
INPUTS, OUTPUTS = "inputs.npz", "outputs.npz"


class Sampled(BaseModel):
    """What an engine took and gave, at the sizes of the sample; `open` are its inputs with `?` for sizes that it leaves open."""

    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    open: list[TensorInfo]
    beside: list[str] = []
    """Files with a graph's weights, relative to it."""


def sample(file: str, told: Mapping[str, Any], out: str) -> dict[str, Any]:
    """Run an engine once; what it was fed and what it gave are left in the folder `out`, as .npz and as raw bytes.

    Returns a `Sampled`. Raises UserError where its sizes are open, and ConversionError where it can't be loaded.
    """
    import numpy as np

    options, path, folder = FeedOptions.model_validate(told), Path(file), Path(out)
    with runner_of(options.backend, path, options.threads) as runner:
        feed = fed(path, options.backend, feed_of(runner, path, options))
        taken = runner.get_input_metadata(use_numpy_dtypes=True)
        open_ = [
            TensorInfo(
                name=name,
                dtype=str(each.dtype),
                shape=[size if isinstance(size, int) and size >= 0 else "?" for size in each.shape],
            )
            for name, each in taken.items()
        ]
        feed = {each.name: np.ascontiguousarray(feed[each.name]) for each in open_}
        outputs = {name: np.array(array) for name, array in runner.infer(feed, check_inputs=False).items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in ((INPUTS, feed), (OUTPUTS, outputs)):
        npz.write(folder / name, arrays)
        for place, array in enumerate(arrays.values()):
            (folder / f"{Path(name).stem[:-1]}{place}.bin").write_bytes(np.ascontiguousarray(array).tobytes())
    beside = _weights(path) if options.backend == ONNXRUNTIME else []
    return Sampled(inputs=_infos(feed), outputs=_infos(outputs), open=open_, beside=beside).model_dump()


def _weights(graph: Path) -> list[str]:
    from enginesmith.converters.graphs.files import external_files, load_graph

    return list(external_files(load_graph(graph)))


def _infos(arrays: Mapping[str, Array]) -> list[TensorInfo]:
    return [TensorInfo(name=name, dtype=str(a.dtype), shape=list(a.shape)) for name, a in arrays.items()]
