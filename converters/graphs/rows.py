"""Rows in the order of a score: which of two equal scores comes first is nobody's fault.

What TopK gives, and end-to-end detectors: values with their indices, or boxes, scores and classes, in one tensor or several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from enginesmith.converters.graphs.rounding import Judgement
from enginesmith.converters.graphs.tolerances import excesses

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST_COLUMNS = 5
"""Of a tensor whose rows are sorted by one of its columns: a box and its score."""
MOST_ROWS = 2000
"""That are out of place on one side; more are no ties."""
CUT = 10
"""One in so many rows, and two at most, may be others where equal scores go on beyond the last row."""


def ties_explain(
    name: str, judged: Mapping[str, Judgement], expected: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]
) -> bool:
    """Whether the output `name` differs from the expected one only in the order of rows whose scores are equal, or closer than
    what is allowed. All outputs with such rows must agree as sets of rows.
    """
    return any(_explains(key, judged, found, members) for key, members in _tables(name, judged, expected))


def _tables(
    name: str, judged: Mapping[str, Judgement], expected: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[tuple[str, int, int], list[str]]]:
    """Scores that the output's rows may be sorted by, as output, axis and column (-1: the output has none), and all outputs
    that share its rows.
    """
    shape = expected[name].shape
    if len(shape) >= 2 and shape[-1] >= FEWEST_COLUMNS:
        for column in range(shape[-1]):
            yield (name, len(shape) - 2, column), [name]
    for other, scores in expected.items():
        if other == name or scores.dtype.kind != "f" or not scores.ndim or not judged[other].passed:
            continue
        for axis in range(scores.ndim):
            if shape == scores.shape or (axis == scores.ndim - 1 and shape[: scores.ndim] == scores.shape):
                last = axis == scores.ndim - 1
                members = [
                    each
                    for each, array in expected.items()
                    if array.shape == scores.shape or (last and array.shape[: scores.ndim] == scores.shape)
                ]
                yield (other, axis, -1), members


def _explains(
    key: tuple[str, int, int],
    judged: Mapping[str, Judgement],
    found: Mapping[str, NDArray[Any]],
    members: list[str],
) -> bool:
    import numpy as np

    output, axis, column = key
    rank = judged[output].expected.ndim - (column >= 0)

    def rows(array: NDArray[Any]) -> NDArray[Any]:
        """[slices, rows, columns]."""
        moved = np.moveaxis(array, axis, rank - 1)
        return moved.reshape(-1, moved.shape[rank - 1], int(np.prod(moved.shape[rank:], dtype=int)))

    chosen = max(column, 0)
    scores = rows(judged[output].expected)[:, :, chosen]
    if scores.dtype.kind != "f" or scores.shape[1] < 2 or not np.isfinite(scores).all():
        return False
    steps = np.diff(scores.astype(np.float64), axis=1)
    sorted_down, sorted_up = (steps <= 0).all(), (steps >= 0).all()
    if not (sorted_down or sorted_up) or not steps.any():
        return False
    if (rows(judged[output].ratio)[:, :, chosen] > 1).any():
        return False
    slack = rows(judged[output].allowed)[:, :, chosen]
    tied = np.abs(steps) <= slack[:, 1:] + slack[:, :-1]
    return all(
        _same_sets(
            [rows(judged[each].expected)[index] for each in members],
            [rows(found[each])[index] for each in members],
            [rows(judged[each].allowed)[index] for each in members],
            tied[index],
        )
        for index in range(len(scores))
    )


def _same_sets(
    expected: list[NDArray[Any]], found: list[NDArray[Any]], allowed: list[NDArray[Any]], tied: NDArray[Any]
) -> bool:
    """Of one slice, whose outputs are [rows, columns] each; `tied[i]`: row i + 1 may change places with row i."""
    import numpy as np

    count = len(tied) + 1
    groups = np.concatenate([[0], np.cumsum(~tied)])

    def agree(mine: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
        """Whether rows `mine` of the expected side and `theirs` of the found one, each [n, 1] or [1, m], are one."""
        same = np.ones(np.broadcast_shapes(mine.shape, theirs.shape), bool)
        for a, b, slack in zip(expected, found, allowed, strict=True):
            apart = _apart(a[mine], b[theirs])
            same &= (excesses(apart, np.maximum(slack[mine], slack[theirs])) <= 1).all(axis=-1)
        return same

    places = np.arange(count)
    wrong = np.flatnonzero(~agree(places, places))
    if len(wrong) > MOST_ROWS:
        return False
    lost = 0
    for group in np.unique(groups[wrong]):
        rows = wrong[groups[wrong] == group]
        matches = agree(rows[:, None], rows[None])
        free = np.ones(len(rows), bool)
        missing = 0
        for row in matches:
            partner = np.flatnonzero(row & free)
            if partner.size:
                free[partner[0]] = False
            else:
                missing += 1
        if missing and group != groups[-1]:
            return False
        lost += missing
    return lost <= min(2, count // CUT)


def _apart(expected: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    with np.errstate(invalid="ignore"):
        same = (expected == found) | ((expected != expected) & (found != found))
        if expected.dtype.kind not in "fiub":
            return np.where(same, 0.0, 1.0)
        apart = np.abs(expected.astype(np.float64) - found.astype(np.float64))
        return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, np.maximum(apart, expected.dtype.kind != "f")))
