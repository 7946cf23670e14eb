"""Nodes of TensorRT plugins in a graph from outside, which no runtime here has: written in standard operators at the import."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.repairs import REPAIRS, local
from enginesmith.compat.repairs.plugin_nodes import DOMAINS
from enginesmith.compat.repairs.repair import candidates
from enginesmith.compat.saving import save
from enginesmith.compat.target import Target
from enginesmith.compat.values import label, qualified
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.graphs.proof import prove

ANY = Target("tensorrt-rtx", "")
"""All backends take the same operators here: what one of them lacks is for its repairs."""


def write_out(path: Path) -> list[str]:
    """Write the plugins that are known in standard operators, in place. Returns a line for each.

    Raises ConversionError where a node is of a known plugin, and can't be written so.
    """
    if not any(node.domain in DOMAINS for node in onnx.load(str(path), load_external_data=False).graph.node):
        return []
    model = infer(ir.load(path))
    named(model)
    told = []
    for node in list(model.graph.all_nodes()):
        if node.domain not in DOMAINS:
            continue
        for repair in candidates(qualified(node), ANY.backend):
            if qualified(node) in REPAIRS[repair.id].ops:
                _write_out(node, model, repair.id)
                told.append(
                    f"{label(node)} ({qualified(node)}) is computed by standard operators, as NVIDIA's sources have it; "
                    "the plugin itself was not run"
                )
                break
    if told:
        save(model, path)
    return told


def _write_out(node: ir.Node, model: ir.Model, id: str) -> None:
    repair = REPAIRS[id]
    try:
        before = local.cut_out(node, model)
        after = infer(ir.from_proto(before))
        named(after)
        local.apply(repair, next(iter(after.graph)), ANY)
        proof = prove(before, ir.to_proto(after), repair.tolerance)
        if not proof.agrees:
            raise NotApplicable(proof.reason)
        local.apply(repair, node, ANY)
    except NotApplicable as error:
        raise ConversionError(
            f"{label(node)} ({qualified(node)}) is a TensorRT plugin, and can't be written in standard operators: {error}",
            "give it fixed sizes with --shape, or export the model without the plugin",
        ) from None
