"""TfIdfVectorizer as comparisons gives what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import one_node, repaired

from enginesmith.compat.building import NotApplicable
from enginesmith.converters.graphs.proof import runner

INT32, INT64 = onnx.TensorProto.INT32, onnx.TensorProto.INT64
grams = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), unique=True, min_size=1, max_size=5)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 4), unique=True, max_size=4), grams, st.integers(0, 3), st.sampled_from(["TF", "IDF", "TFIDF"]),
    st.sampled_from([(1, 2), (2, 2), (1, 1)]), st.booleans(), st.data(),
)  # fmt: skip
def test_counts(
    single: list[int], pairs: list[tuple[int, int]], skip: int, mode: str, lengths: tuple[int, int], rows: bool,
    data: st.DataObject,
) -> None:  # fmt: skip
    number = len(single) + len(pairs)
    shape = [3, 7] if rows else [7]
    model = one_node(
        "TfIdfVectorizer", shape, dtypes=[INT32], mode=mode, max_skip_count=skip, min_gram_length=lengths[0],
        max_gram_length=lengths[1], ngram_counts=[0, len(single)], pool_int64s=[*single, *(x for pair in pairs for x in pair)],
        ngram_indexes=data.draw(st.permutations(range(number))), weights=[0.5 + 0.25 * place for place in range(number)],
    )  # fmt: skip
    after, _ = repaired("tf-idf-by-comparison", model)
    x = np.random.default_rng(number).integers(0, 4, shape).astype(np.int32)
    expected, found = (runner(m)({"x0": x})[0] for m in (model, ir.to_proto(after)))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == expected.dtype


def test_words_are_left_alone() -> None:
    model = one_node(
        "TfIdfVectorizer", [3], dtypes=[onnx.TensorProto.STRING], mode="TF", max_skip_count=0, min_gram_length=1,
        max_gram_length=1, ngram_counts=[0], ngram_indexes=[0], pool_strings=["a"],
    )  # fmt: skip
    with pytest.raises(NotApplicable, match="strings"):
        repaired("tf-idf-by-comparison", model)
