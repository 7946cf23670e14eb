"""What is seen in an input is true of every one that is made like it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from enginesmith.converters.core.inputs import DTYPES
from enginesmith.converters.data.derived import derived, following, resized

Array = NDArray[np.generic]
Kind = tuple[Callable[[np.random.Generator], Array], Callable[[Array, Array], object]]


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def spd(rng: np.random.Generator) -> Array:
    root = rng.standard_normal((2, 5, 5))
    return (root @ root.swapaxes(1, 2) + 0.1 * np.eye(5)).astype(np.float32)


def rotation(rng: np.random.Generator) -> Array:
    turned = np.linalg.qr(rng.standard_normal((2, 3, 3)))[0]
    return (turned * np.sign(np.linalg.det(turned))[:, None, None]).astype(np.float32)


def pose(rng: np.random.Generator) -> Array:
    made = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    made[:, :3, :3] = rotation(rng)
    made[:, :3, 3] = rng.standard_normal((2, 3))
    return made


def camera(rng: np.random.Generator) -> Array:
    made = np.eye(3, dtype=np.float32)[None] * np.array([500, 480, 1], np.float32)[:, None]
    made[:, :2, 2] = rng.uniform(100, 300, 2)
    return made


def boxes(rng: np.random.Generator) -> Array:
    corner = rng.random((6, 2))
    return np.concatenate([corner, corner + rng.uniform(0.1, 1, (6, 2))], axis=1).astype(np.float32)


def padding(rng: np.random.Generator) -> Array:
    return (np.arange(12) < rng.integers(1, 13, (3, 1))).astype(np.int64)


def is_padding(made: Array) -> bool:
    return bool((np.diff(made.astype(int), axis=-1) <= 0).all() and made.any(axis=-1).all())


def orthonormal(made: Array) -> bool:
    near = np.allclose(made @ made.swapaxes(-1, -2), np.eye(made.shape[-1]), atol=1e-3)
    return near and bool((np.linalg.det(made) > 0).all())


def softmax(rng: np.random.Generator) -> Array:
    made = np.exp(rng.standard_normal((3, 7)) * 3)
    return (made / made.sum(1, keepdims=True)).astype(np.float32)


def diagonal(rng: np.random.Generator) -> Array:
    return (rng.uniform(-1, 1, (2, 4, 4)) + 4 * np.eye(4)).astype(np.float32)


def is_diagonal(made: Array) -> bool:
    sizes = abs(made)
    return bool((2 * np.diagonal(sizes, axis1=1, axis2=2) > sizes.sum(2)).all())


def offsets(rng: np.random.Generator) -> Array:
    return np.concatenate([[0], np.cumsum(rng.integers(0, 5, 9))])


KINDS: dict[str, Kind] = {
    "indices": (lambda rng: rng.integers(3, 40, (2, 9)), lambda a, b: np.isin(b, a).all()),
    "edges": (lambda rng: rng.integers(0, 30, (20, 2)), lambda a, b: {*map(tuple, b)} <= {*map(tuple, a)}),
    "lengths": (lambda rng: rng.integers(1, 9, 5), lambda a, b: a.min() <= b.min() and b.max() == a.max()),
    "offsets": (offsets, lambda a, b: b[0] == 0 and b[-1] == a[-1] and (np.diff(b) >= 0).all()),
    "positions": (lambda rng: np.arange(3, 12)[None], lambda a, b: (a == b).all()),
    "groups": (
        lambda rng: np.repeat([0, 1, 2], 1 + rng.integers(0, 3, 3)),
        lambda a, b: {*b} == {*a} and (np.diff(b) >= 0).all(),
    ),
    "one-hot": (
        lambda rng: np.eye(6, dtype=np.float32)[rng.integers(0, 6, 4)],
        lambda a, b: (b.sum(1) == 1).all() and {*b.ravel()} <= {0, 1},
    ),
    "flags": (lambda rng: rng.integers(0, 2, (4, 30)), lambda a, b: {*b.ravel()} <= {0, 1} and (b.sum() > 0)),
    "padding": (padding, lambda a, b: is_padding(b)),
    "causal": (
        lambda rng: np.where(np.tri(6, dtype=bool), 0, -np.inf).astype(np.float32)[None],
        lambda a, b: (a == b).all(),
    ),
    "boxes": (boxes, lambda a, b: (b[:, :2] < b[:, 2:]).all() and b.min() >= a.min() and b.max() <= a.max()),
    "probabilities": (softmax, lambda a, b: (b >= 0).all() and np.allclose(b.sum(1), 1, atol=1e-3)),
    "log probabilities": (lambda rng: np.log(softmax(rng)), lambda a, b: np.allclose(np.exp(b).sum(1), 1, atol=1e-3)),
    "directions": (lambda rng: rotation(rng)[0], lambda a, b: np.allclose((b**2).sum(1), 1, atol=1e-3)),
    "rotations": (rotation, lambda a, b: orthonormal(b)),
    "poses": (pose, lambda a, b: orthonormal(b[:, :3, :3]) and (b[:, 3] == [0, 0, 0, 1]).all()),
    "cameras": (
        camera,
        lambda a, b: ((b == 0) == (a == 0)).all() and (b[:, 2, 2] == 1).all() and np.allclose(a, b, rtol=0.1),
    ),
    "positive definite": (
        spd,
        lambda a, b: np.allclose(b, b.swapaxes(1, 2), rtol=1e-4) and (np.linalg.eigvalsh(b) > 0).all(),
    ),
    "dominant": (diagonal, lambda a, b: is_diagonal(b)),
    "triangular": (
        lambda rng: np.tril(rng.uniform(1, 2, (2, 5, 5))).astype(np.float32),
        lambda a, b: ((b == 0) == (a == 0)).all(),
    ),
    "bins": (lambda rng: np.sort(rng.standard_normal(8)).astype(np.float32), lambda a, b: (np.diff(b) >= 0).all()),
    "floats": (
        lambda rng: rng.uniform(3, 4, (2, 3, 9, 9)).astype(np.float32),
        lambda a, b: b.min() >= a.min() and b.max() <= a.max() and b.std() > a.std() / 2,
    ),
}


@pytest.mark.parametrize("name", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_seen_stays(name: str, seed: int) -> None:
    make, holds = KINDS[name]
    observed = make(generator(seed))
    assert holds(observed, observed), "the case itself"
    made = derived(observed, observed.shape, generator(seed + 1))
    assert (made.shape, made.dtype) == (observed.shape, observed.dtype)
    assert holds(observed, made)


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("positions", "causal")])
def test_something_changes(name: str) -> None:
    observed = KINDS[name][0](generator(5))
    assert any((derived(observed, observed.shape, generator(seed)) != observed).any() for seed in range(5))


SIZES: dict[str, tuple[Array, Callable[[Array], object]]] = {
    "indices": (np.array([[7, 2, 7, 4]]), lambda b: np.isin(b, [7, 2, 4]).all()),
    "positions": (np.arange(2, 8)[None], lambda b: (b == np.arange(2, 2 + b.shape[1])).all()),
    "one-hot": (np.eye(4)[[2, 0]], lambda b: (b.sum(1) == 1).all()),
    "padding": (np.array([[1, 1, 0, 0], [1, 1, 1, 1]]), is_padding),
    "causal": (np.tri(4, dtype=bool), lambda b: (b == np.tri(*b.shape, b.shape[1] - b.shape[0])).all()),
    "probabilities": (softmax(generator(0)), lambda b: np.allclose(b.sum(1), 1, atol=1e-3)),
    "floats": (generator(0).random((3, 5), np.float32), lambda b: b.min() >= 0 and b.max() <= 1),
    "all shown": (np.ones((2, 6), bool), is_padding),
}


@pytest.mark.parametrize("name", SIZES)
@given(rows=st.integers(1, 5), columns=st.integers(2, 20), seed=st.integers(0, 99))
def test_at_other_sizes_too(name: str, rows: int, columns: int, seed: int) -> None:
    observed, holds = SIZES[name]
    made = derived(observed, (rows, columns), generator(seed))
    assert made.shape == (rows, columns)
    assert holds(made)


@given(seed=st.integers(0, 99), sides=st.sampled_from([(5, 3), (3, 5), (4, 9)]))
def test_matrices_of_another_side_stay_positive_definite(seed: int, sides: tuple[int, int]) -> None:
    root = generator(seed).standard_normal((sides[0], sides[0]))
    made = derived(root @ root.T + np.eye(sides[0]), (sides[1], sides[1]), generator(seed))
    assert np.allclose(made, made.T)
    assert (np.linalg.eigvalsh(made) > 0).all()


@given(
    dtype=st.sampled_from(DTYPES),
    before=st.lists(st.integers(0, 4), max_size=4),
    seed=st.integers(0, 999),
    data=st.data(),
)
def test_any_array_gives_one_of_any_other_size(dtype: str, before: list[int], seed: int, data: st.DataObject) -> None:
    after = tuple(data.draw(st.integers(0, 5)) for _ in before)
    observed = generator(seed).integers(0, 3, before).astype(dtype)
    made = derived(observed, after, generator(seed))
    assert (made.shape, made.dtype, made.flags.c_contiguous) == (after, np.dtype(dtype), True)
    if observed.size:
        seen = (
            np.append(observed, np.arange(8))
            if observed.ndim and (np.diff(observed) == 1).all()
            else np.append(observed, 1)
        )
        assert np.isin(made, seen).all() or dtype.startswith(("float", "bool"))


def test_nan_and_infinities_are_only_moved() -> None:
    observed = np.array([[1, np.nan, np.inf, 4, 5]], np.float32)
    made = derived(observed, (1, 5), generator(0))
    np.testing.assert_array_equal(np.sort(made), np.sort(observed))


def test_a_single_number_gets_nearer_to_zero() -> None:
    assert 250 <= derived(np.array([500.0]), (1,), generator(0))[0] <= 500
    assert derived(np.array([500.0]), (1,), generator(0))[0].is_integer()
    assert derived(np.array(12), (), generator(0)) == 12


def test_lengths_follow_the_size_that_they_count() -> None:
    x, lengths, last = np.zeros((2, 9, 4)), np.array([9, 6]), np.array([[8], [2]])
    made = following(
        {"x": resized(x, (2, 5, 4)), "lengths": lengths, "last": last}, {"x": x, "lengths": lengths, "last": last}
    )
    assert made["lengths"].tolist() == [5, 5]
    assert made["last"].tolist() == [[4], [2]]
    grown = following({"x": resized(x, (2, 20, 4)), "lengths": lengths}, {"x": x, "lengths": lengths})
    assert grown["lengths"].tolist() == [20, 6]
    assert following({"x": x, "lengths": lengths}, {"x": x, "lengths": lengths})["lengths"].tolist() == [9, 6]
