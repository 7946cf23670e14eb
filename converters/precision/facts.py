"""What is known of a graph in a lower precision."""

from __future__ import annotations

from pathlib import Path

from enginesmith.converters.core.facts import Doubt, GraphFacts
from enginesmith.converters.core.plan import Draft
from enginesmith.converters.core.records import Lowering
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.data.options import described
from enginesmith.converters.graphs.describe import describe
from enginesmith.converters.precision.mix import STAND_IN_LABEL

RANDOM_WEIGHTS = Doubt(
    verified="proves nothing",
    reason="random weights: what a lower precision costs shows on trained ones alone; give WEIGHTS=path",
)


def doubt_of(samples: Path) -> Doubt | None:
    """Whether the weights of a model that is lowered tell anything; `samples` is the artifact of its inputs."""
    return RANDOM_WEIGHTS if described(samples).random_weights else None


class LoweredFacts(GraphFacts):
    """Of a stage that wrote a graph in a lower precision."""

    lowering: Lowering


def lowered_facts(out: Path, lowering: Lowering) -> LoweredFacts:
    """What is known of the lowered graph in `out`."""
    total = sum(lowering.products_by_dtype.values())
    counts = ", ".join(
        f"{lowering.products_by_dtype[dtype]} {dtype}"
        for dtype in ("int8", "int8 weights", "float16", "bfloat16", "float32")
        if lowering.products_by_dtype.get(dtype)
    )
    return LoweredFacts(
        **{
            **dict(describe(out / MODEL)),
            "lowering": lowering,
            "findings": lowering.findings,
            "note": f"{total} products: {counts}; {lowering.casts} casts, weights "
            f"{lowering.weights_before / 1e6:.1f} to {lowering.weights_after / 1e6:.1f} MB",
        }
    )


def lowered(so_far: Draft, id: str) -> None:
    """From here on the graph is that of the stage `id`, and the float32 one keeps what it was held against."""
    so_far.roles |= {"exact": so_far.roles["expected"], "wide": so_far.roles["model"], "model": id, "product": id}
    so_far.labels[f"compare {id}"] = STAND_IN_LABEL
