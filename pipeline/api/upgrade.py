"""What another version of TensorRT does to a model, offline."""

from __future__ import annotations

from enginesmith.pipeline.api.files import Graph, graph_file
from enginesmith.pipeline.job import upgrade as job
from enginesmith.pipeline.job.upgrade import Upgrade


def upgrade(
    model: Graph,
    for_: str,
    *,
    shape: str | None = None,
    timeout: float | None = None,
    memory: float | None = None,
) -> Upgrade:
    """What the second of two versions breaks, mends, or makes unknown in a graph, by node and operator.

        upgrade = enginesmith.upgrade("model.onnx", for_="tensorrt=10.3,tensorrt=11.1")
        for each in upgrade.effects:
            print(each.effect, each.node, each.message)

    `for_` are two backends with versions, or what ships one (`jetpack=6.2`), the one at hand first; neither need be installed.
    `shape`: of dynamic inputs, `x:1..4..16x3x224x224`. `timeout` in seconds, `memory` in GB: as `doctor` has them.

    Raises UserError for other than two versions, and for files that can't be read; ConversionError for one that is no model.
    """
    with graph_file(model) as path:
        return job.upgrade(path, for_, shape, timeout, memory)
