"""Maps that are read at selected places, in graphs with upper bounds for sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from bounded_graphs import agree, floats, repaired
from hypothesis import given, settings

SAMPLED = repaired(
    """
<ir_version: 10, opset_import: ["" : 18]>
main (float[9] scores, float[9, 2] places, float[1, 3, 4, 5] map) => (float[1, 3, 1, n] read, float[3] most)
<float zero = {0}, int64[1] first = {0}, int64[2] front = {0, 1}, int64[1] last = {3}> {
  positive = Greater (scores, zero)
  kept = Compress <axis = 0> (places, positive)
  grid = Unsqueeze (kept, front)
  read = GridSample <align_corners = 1> (map, grid)
  best = ReduceMax <keepdims = 0> (read, last)
  most = Squeeze (best)
}
"""
)


@given(scores=floats(9), places=floats(9, 2, low=-2, high=2))
@settings(max_examples=15, deadline=None)
def test_a_map_is_read_at_selected_places(scores: Any, places: Any) -> None:
    scores[0] = 1
    agree(SAMPLED, {"scores": scores, "places": places, "map": np.arange(60, dtype=np.float32).reshape(1, 3, 4, 5)})
