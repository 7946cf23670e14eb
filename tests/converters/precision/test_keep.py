"""What `--keep` names stays in float32 in a graph of 16 bits."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import dtypes, model, run, run_stand_in
from lowered_nets import IMAGE, NET, NET_WEIGHTS

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.precision.keep import wide
from enginesmith.converters.precision.lower import lower, prepare


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("first", "c1"),
        ("last", "y"),
        ("Conv", "c1 c2"),
        ("Global*", "m"),
        ("[cr]1", "c1 r1"),
        ("c2", "c2"),
        ("c2..m", "c2 s m"),
        ("Conv..Add", "c1 r1 c2 s"),
        ("Gemm..Gemm", "y"),
    ],
)
def test_nodes_are_named(pattern: str, names: str) -> None:
    assert set(wide(prepare(model(NET, **NET_WEIGHTS), "fp16"), [pattern])) == set(names.split())


@pytest.mark.parametrize("pattern", ["head*", "m..c1", "nothing..y"])
def test_a_name_of_nothing_is_a_bad_request(pattern: str) -> None:
    with pytest.raises(UserError, match="matches no node"):
        wide(prepare(model(NET, **NET_WEIGHTS), "fp16"), [pattern])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_they_compute_in_float32(precision: str) -> None:
    given = prepare(model(NET, **NET_WEIGHTS), precision)
    exact = run(given, IMAGE)[0]
    made = lower(given, precision, wide=wide(given, ["first", "c2..m"]))
    low = {"fp16": "float16", "bf16": "bfloat16"}[precision]
    assert {name: dtypes(given)[name] for name in ("c1", "c2", "s", "m")} == dict.fromkeys(
        ("c1", "c2", "s", "m"), "float32"
    )
    assert made.products_by_dtype == {"float32": 2, low: 1}
    np.testing.assert_allclose(run_stand_in(given, IMAGE, precision)[0], exact, rtol=0.05, atol=0.05)
