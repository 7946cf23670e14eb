"""Examples of an iterable, written to a file and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.data.datasets.recorded import Recorded, record

X = InputSpec.static("x", (1, 2))
IDS = InputSpec.static("ids", (1, 3), "int64")


def read(
    path: Path, examples: Any, specs: tuple[InputSpec, ...] = (X,), most: int = 100
) -> list[tuple[dict[str, Any], Any]]:
    record(examples, path / "given.examples", most)
    return [
        ({name: np.asarray(value).tolist() for name, value in item.values.items()}, item.target)
        for item in Recorded(path / "given.examples", specs)
    ]


def test_every_form_of_an_example(tmp_path: Path) -> None:
    x, ids = torch.tensor([[1.0, 2.0]]), np.array([[1, 2, 3]])
    one, both = {"x": [[1, 2]]}, {"x": [[1, 2]], "ids": [[1, 2, 3]]}
    assert read(tmp_path, [x, [x], {"x": x}]) == [(one, None)] * 3
    assert read(tmp_path, [(x, 3), ({"x": x}, "cat")]) == [(one, 3), (one, "cat")]
    assert read(tmp_path, [(x, ids), {"ids": ids, "x": x}], (X, IDS)) == [(both, None)] * 2
    ((_, target),) = read(tmp_path, [(x, {"boxes": torch.ones(1, 4), "labels": torch.tensor([2])})])
    assert {name: part.tolist() for name, part in target.items()} == {"boxes": [[1, 1, 1, 1]], "labels": [2]}
    ((given, _),) = read(tmp_path, [x.bfloat16()])
    assert given == one


def test_at_most_so_many_are_read_from_it(tmp_path: Path) -> None:
    drawn = []

    def endless() -> Any:
        while True:
            drawn.append(1)
            yield np.zeros((1, 2))

    assert len(read(tmp_path, endless(), most=5)) == 5
    assert len(drawn) <= 6
    rows = torch.utils.data.TensorDataset(torch.zeros(20, 2))
    assert len(read(tmp_path, torch.utils.data.DataLoader(rows, batch_size=4), most=10)) == 3
    assert len(read(tmp_path, rows)) == 20  # no iterable: it has indices and a length


def test_the_same_examples_make_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        record([(np.arange(4.0), 1)], tmp_path / name, 9)
    record([(np.arange(4.0), 2)], tmp_path / "c", 9)
    assert hash_file(tmp_path / "a") == hash_file(tmp_path / "b") != hash_file(tmp_path / "c")


@pytest.mark.parametrize(
    ("example", "said"),
    [(object(), "given, example 0 holds a object"), (torch.eye(2).to_sparse(), "given, example 0 can't be read")],
)
def test_what_is_no_array(tmp_path: Path, example: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        record([example], tmp_path / "given.examples", 9)
