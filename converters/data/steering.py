"""Integer inputs whose values decide on sizes: found by running the model with another value."""

from __future__ import annotations

import math
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from enginesmith.converters.core.inputs import Dim, InputSpec
from enginesmith.converters.core.samples import Array, Feed
from enginesmith.converters.data.samples import Own, make_samples

MOST = 8
"""Elements that such an input has here."""
INVENTED = 4
"""A value where nobody has given one, and 0 came out."""
Run = Callable[[Feed], Mapping[str, Array]]


def with_values(specs: Sequence[InputSpec], own: Own, task: str, run: Run) -> tuple[tuple[InputSpec, ...], list[str]]:
    """The inputs, with a range of values where another value gives outputs of another shape and no range was said: half the
    example's to twice it, as far as the model takes that; and what to tell the user of each.
    """
    import numpy as np

    found, notes = list(specs), []
    for place, spec in enumerate(specs):
        static = not any(dim.dynamic for dim in spec.dims) and not spec.shapes
        if "int" not in spec.dtype or spec.values or not static or not 0 < math.prod(spec.opt) <= MOST:
            continue
        feed = _first(found, own, task)
        value = int(feed[spec.name].flat[0]) or INVENTED
        if value < 1 or len(set(feed[spec.name].ravel().tolist())) > 1:
            continue

        def outputs(other: int, feed: Feed = feed, name: str = spec.name) -> list[tuple[int, ...]] | None:
            return _shapes(run, OrderedDict(feed, **{name: np.full_like(feed[name], other)}))

        here = outputs(value)
        if here is None or not any(
            there not in (None, here) for there in map(outputs, (value + 1, value - 1)[: 2 if value > 1 else 1])
        ):
            continue
        low = next((other for other in (max(value // 2, 1), value - 1) if other > 0 and outputs(other)), value)
        high = next((other for other in (2 * value, value + 1) if outputs(other)), value)
        found[place] = spec.model_copy(update={"values": Dim(min=low, opt=value, max=high)})
        notes.append(
            f"the values of input {spec.name} decide on sizes: taken as {low}..{value}..{high}, around the first sample's; "
            f"give the range that you need, such as --shape {spec.name}=1..30..500"
        )
    return tuple(found), notes


def _first(specs: Sequence[InputSpec], own: Own, task: str) -> Feed:
    return make_samples(specs, task, 1, 0, own=own, way=own.ways(specs)[0])[1][0]


def _shapes(run: Run, feed: Feed) -> list[tuple[int, ...]] | None:
    """Of the outputs; None where the model doesn't take the input."""
    try:
        return [array.shape for array in run(feed).values()]
    except Exception:  # noqa: BLE001 - a stranger's forward may raise anything, and so may ONNX Runtime
        traceback.print_exc()
        return None
