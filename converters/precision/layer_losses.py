"""How much each layer alone costs in a lower precision: everything in float32 but one product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from enginesmith.converters.core.records import LayerLoss
from enginesmith.converters.precision.cost import milliseconds_of
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.judges import Judge
from enginesmith.converters.precision.mix import Mix
from enginesmith.converters.precision.trial import Trials, products_of

if TYPE_CHECKING:
    import onnx_ir as ir

Lower = Literal["int8", "fp16", "bf16"]
Progress = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Layer:
    """A product, with its estimated milliseconds by precision. `barred` says why int8 is not for it."""

    name: str
    op: str
    milliseconds: dict[str, float]
    barred: str = ""

    def saved(self, narrow: str, wide: str) -> float:
        """Milliseconds that the narrower precision saves."""
        return self.milliseconds[wide] - self.milliseconds[narrow]


@dataclass(frozen=True)
class Sensitivity:
    """Most harmful layer first. `left` are those that no time was left for."""

    losses: list[LayerLoss]
    left: list[str]


def layers_of(model: ir.Model, sized: ir.Model, target: str) -> list[Layer]:
    """The products of a prepared model in order; `sized` is the same model with all sizes known."""
    from enginesmith.converters.precision.int8.placement import candidates

    quantizable = {node.name: reason for node, reason in candidates(model).items()}
    known = products_of(sized)
    return [
        Layer(
            name=name,
            op=node.op_type,
            milliseconds={p: milliseconds_of(known[name], p, target) for p in ("fp32", "fp16", "bf16", "int8")},
            barred=quantizable.get(name, f"int8 is not for {node.op_type}"),
        )
        for name, node in products_of(model).items()
    ]


def alone(name: str, precision: Lower, names: Sequence[str]) -> Mix:
    """The mix that lowers one of the products `names` and no other."""
    if precision == "int8":
        return Mix(rest="fp32", int8=(name,))
    return Mix(rest=precision, wide=tuple(other for other in names if other != name))


def measure(
    trials: Trials,
    judge: Judge,
    layers: Sequence[Layer],
    precision: Lower,
    options: Int8Options,
    stop: Callable[[], bool],
    progress: Progress,
) -> Sensitivity:
    """The most expensive layers come first, so that an early `stop` leaves out those that matter least.

    A layer that can't be lowered alone is left out: it says nothing about the others.
    """
    names = [layer.name for layer in layers]
    able = [layer for layer in layers if precision != "int8" or not layer.barred]
    able.sort(key=lambda layer: -layer.saved(precision, "fp32"))
    losses, left = [], []
    for number, layer in enumerate(able):
        if stop():
            left.append(layer.name)
            continue
        progress(f"{precision} sensitivity, layer {number + 1} of {len(able)}", number / len(able))
        outcome = trials.run(judge, alone(layer.name, precision, names), options)
        if outcome.failed or layer.name in outcome.kept:
            continue
        losses.append(
            LayerLoss(
                node=layer.name,
                op=layer.op,
                precision=precision,
                loss=judge.baseline - outcome.accuracy,
                error=outcome.error,
                saved=layer.saved(precision, "fp32"),
            )
        )
    losses.sort(key=lambda found: (-found.loss, -found.error))
    return Sensitivity(losses, left)
