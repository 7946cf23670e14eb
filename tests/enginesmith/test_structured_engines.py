"""Engines that are called as their models are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structured_nets as nets
import torch

import enginesmith
from enginesmith import Engine, Result, UserError
from enginesmith.pipeline.job.manifest import Manifest


@pytest.fixture(scope="module")
def built(shared_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return enginesmith.build(
        nets.structured(),
        (nets.views(2),),
        kwargs={"bias": torch.ones(2, 4), "scale": 0.5},
        backend="tvm",
        measure=0,
        simplify=False,
        store=shared_store,
        out=tmp_path_factory.mktemp("structured") / "out",
    )


@pytest.fixture(scope="module")
def engine(built: Result) -> Iterator[Engine]:
    with built.engines[0] as engine:
        yield engine


def test_an_engine_takes_and_gives_what_its_model_does(engine: Engine) -> None:
    views, bias = nets.views(2, seed=1), torch.rand(2, 4)
    with torch.no_grad():
        expected = nets.structured()(views, bias=bias, scale=0.5)
    calls: list[Any] = [
        engine(views, bias=bias, scale=0.5),
        engine(views, bias),
        engine(views=views, bias=bias),
        engine({"views": views, "bias": bias}),
        engine({"views.left": views["left"], "views.right": views["right"], "bias": bias}),
    ]
    for found in calls:
        assert type(found) is nets.Answer
        assert found.label == "plain"
        torch.testing.assert_close(found.scores, expected.scores)
        torch.testing.assert_close(found.parts, expected.parts)
    arrays = engine({name: view.numpy() for name, view in views.items()}, bias=bias.numpy())
    assert isinstance(arrays.scores, np.ndarray)
    np.testing.assert_allclose(arrays.scores, expected.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "named", "said"),
    [
        (({"left": np.zeros((2, 3), np.float32)},), {}, "input views has no right, which the engine takes"),
        ((nets.views(2),), {}, r"needs bias too; its inputs are views.left, views.right, bias"),
        ((nets.views(2), torch.ones(2, 4)), {"scale": 2.0}, "input scale is 2.0, and is the constant 0.5"),
        (({**nets.views(2), "up": torch.ones(2, 3)}, torch.ones(2, 4)), {}, "input views has up, which the engine"),
        ((3, torch.ones(2, 4)), {}, "input views has no left"),
        ((nets.views(2), torch.ones(2, 4), 0.5, 1), {}, "4 inputs, and the engine takes views, bias, scale"),
    ],
)
def test_what_has_another_structure(engine: Engine, inputs: Any, named: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        engine(*inputs, **named)
    assert "\n" not in str(raised.value)


def test_the_manifest_has_the_structure(built: Result) -> None:
    signature = Manifest.read(built.folder).model.signature
    assert signature is not None
    assert signature.model_dump(mode="json", exclude_defaults=True) == {
        "arguments": {
            "views": {
                "container": "dict",
                "keys": ["left", "right"],
                "items": [{"tensor": "views.left"}, {"tensor": "views.right"}],
            },
            "bias": {"tensor": "bias"},
            "scale": {"constant": 0.5},
        },
        "outputs": {
            "container": "object",
            "type": "structured_nets:Answer",
            "keys": ["scores", "parts", "label"],
            "items": [
                {"tensor": "scores"},
                {
                    "container": "dict",
                    "keys": ["left", "right"],
                    "items": [{"tensor": "parts.left"}, {"tensor": "parts.right"}],
                },
                {"constant": "plain"},
            ],
        },
    }
