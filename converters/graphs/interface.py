"""What an engine's users must know when a repair changed the types or the sizes of its inputs and outputs.

The interface is a graph without nodes, kept beside the engine: its inputs, its outputs, and the repairs' records.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.samples import Array

if TYPE_CHECKING:
    import onnx

FILE = "interface.onnx"


def of(model: Path) -> onnx.ModelProto:
    """The interface of an ONNX file; weights beside it are not read."""
    import onnx

    whole = onnx.load(str(model), load_external_data=False)
    del whole.graph.node[:], whole.graph.initializer[:], whole.graph.value_info[:], whole.functions[:]
    return whole


def save(model: Path, folder: Path) -> list[str]:
    """Keep the interface in `folder` where a repair changed it; returns what changed, in words."""
    from enginesmith.compat import interface

    found = of(model)
    now = {value.name: value for value in (*found.graph.input, *found.graph.output)}
    changes = [
        f"{name} is {_dtype(now[name])} where it was {before.numpy().name}"
        for name, before in interface.changed(found).items()
    ]
    changes += [f"{name} has room for all rows; missing ones hold -1" for name in interface.bounded(found)]
    changes += [
        f"{name} is one output more, {purpose}: leave it" for name, purpose in interface.barriers(found).items()
    ]
    if changes:
        (folder / FILE).write_bytes(found.SerializeToString())
    return changes


def load(folder: Path) -> onnx.ModelProto | None:
    """The interface kept in a folder, None where no repair changed it."""
    import onnx

    return onnx.load(str(folder / FILE)) if (folder / FILE).exists() else None


def fed(changed: onnx.ModelProto | None, feed: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs as the engine takes them, from inputs as the model took them."""
    if changed is None:
        return dict(feed)
    from enginesmith.compat import interface

    return interface.fed(changed, feed)


def fetched(changed: onnx.ModelProto | None, outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs as the model gave them, from outputs as the engine gives them."""
    if changed is None:
        return dict(outputs)
    from enginesmith.compat import interface

    return interface.fetched(changed, outputs)


def _dtype(value: onnx.ValueInfoProto) -> str:
    import onnx

    return onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
