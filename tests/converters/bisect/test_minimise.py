"""Delta debugging on plain lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enginesmith.converters.bisect.minimise import minimise, narrow

PLANTED = st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=5)))


@given(PLANTED)
def test_what_fails_together_is_found_exactly(planted):
    size, bad = planted
    assert minimise(range(size), lambda items: bad <= set(items)) == sorted(bad)


@given(PLANTED)
def test_narrow_finds_the_span_of_what_fails(planted):
    size, bad = planted
    found = narrow(range(size), lambda items: bad <= set(items))
    if bad:
        assert found == list(range(min(bad), max(bad) + 1))
    else:
        assert len(found) == 1


@given(PLANTED, st.integers(0, 2**32))
def test_any_answers_end_in_something_that_fails_and_cannot_lose_an_item(planted, seed):
    """Failures need not be monotonic: every set of items has an answer of its own."""
    size, _ = planted

    def fails(items):
        return len(items) == size or hash((seed, tuple(items))) % 3 == 0

    found = minimise(range(size), fails)
    assert fails(found)
    assert not any(fails([x for x in found if x != left_out]) for left_out in found if len(found) > 1)


def test_one_of_many_takes_few_questions():
    asked = []

    def fails(items):
        asked.append(items)
        return 617 in items

    assert minimise(narrow(range(2000), fails), fails) == [617]
    assert len(asked) <= 25
