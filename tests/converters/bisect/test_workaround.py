"""The search for the smallest change with which an engine agrees: what is tried, in what order, and when it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from enginesmith.compat.graphs import infer
from enginesmith.converters.bisect import workaround
from enginesmith.converters.bisect.divergence import Divergence, Figures, layers_of
from enginesmith.converters.bisect.workaround import Change, attempt, candidates, search
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.data.samples import make_samples
from enginesmith.pipeline.job.shapes import parse_shapes

GRAPH = """
<ir_version: 9, opset_import: ["" : 18]>
net (float[2, 4, 6] x) => (float[2, 4, 6] y) {
  a = Exp (x)
  b = Sigmoid (a)
  n = LpNormalization <axis = 1, p = 2> (b)
  c = Tanh (n)
  y = Add (c, x)
}
"""
Agrees = Callable[[str, dict[str, Any]], bool]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), path)
    return path


def divergence(graph: Path, wrong: str, barriers: tuple[str, ...] = ()) -> Divergence:
    """As a search finds it, where the tensor `wrong` is the first that differs."""
    names = ["a", "b", "n", "c", "y"]
    figures = {
        name: Figures(excess=9.0 * (place >= names.index(wrong)), max_abs=1, scale=1)
        for place, name in enumerate(names)
    }
    model = infer(ir.load(graph))
    return Divergence(
        expected="simplify",
        found="compile tvm",
        tolerance_scale=1e-4,
        tolerance_relative=1e-4,
        samples=["one"],
        layers=layers_of(model, figures, {}),
        barriers=list(barriers),
    )


@pytest.fixture
def found(graph: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., workaround.Workaround]:
    """The search, where `agrees` stands for an engine that is built and run."""

    def found(agrees: Agrees, wrong: str = "n", seconds: float = 60, **more: Any) -> workaround.Workaround:
        class Here:
            def __init__(self, **options: Any) -> None: ...
            def __enter__(self) -> Here:
                return self

            def __exit__(self, *error: object) -> None: ...
            def call(self, function: str, model: str, alter: str, settings: Any, *rest: Any, timeout: float) -> float:
                return 0.5 if agrees(alter, settings) else 9.0

        monkeypatch.setattr(workaround, "Isolated", Here)
        told = divergence(graph, wrong, more.pop("barriers", ()))
        return search(graph, graph, [0], "tvm", "x86-64-v3", told, timeout=9, seconds=seconds, **more)

    return found


@pytest.mark.parametrize(
    ("agrees", "change"),
    [
        (lambda alter, settings: "barrier:b" in alter, Change(alter=("barrier:b",))),
        (lambda alter, settings: "=" in alter, None),
        (lambda alter, settings: "wide:" in alter, None),
        (lambda alter, settings: settings.get("kernels") is False, Change(settings={"kernels": False})),
        (lambda alter, settings: settings.get("winograd") is False, Change(settings={"winograd": False})),
    ],
)
def test_the_first_change_that_agrees_is_taken(found: Any, agrees: Agrees, change: Change | None) -> None:
    answer = found(agrees)
    assert answer.change is not None
    assert change in (None, answer.change)
    assert agrees(",".join(answer.change.alter), answer.change.settings)
    assert answer.trials[-1].excess == 0.5
    assert all(trial.excess == 9.0 for trial in answer.trials[:-1])


def test_smaller_changes_come_before_larger_ones(found: Any) -> None:
    tried = [trial.change for trial in found(lambda alter, settings: False).trials]
    kinds = [
        "" if not t else "barriers" if ", " in t else t.partition(":")[0] if ":" in t else "form" if "=" in t else t
        for t in tried
    ]
    assert list(dict.fromkeys(kinds)) == ["", "barrier", "form", "wide", "barriers", "no winograd", "no kernels"]
    assert tried[1] == "barrier:b", "the tensor right before the node that differs first"


def test_nothing_that_was_tried_agrees(found: Any) -> None:
    answer = found(lambda alter, settings: False)
    assert answer.change is None
    assert not answer.note


def test_of_tensors_that_mend_it_together_one_is_found(found: Any) -> None:
    answer = found(lambda alter, settings: "barrier:a" in alter, wrong="y", barriers=("a", "b", "n", "c", "y"))
    assert answer.change == Change(alter=("barrier:a",))
    assert len(answer.trials) <= 6


def test_tensors_that_only_mend_it_together_are_taken_where_nothing_smaller_does(found: Any) -> None:
    def agrees(alter: str, settings: dict[str, Any]) -> bool:
        return "barrier:a" in alter and "barrier:c" in alter

    answer = found(agrees, wrong="y", barriers=("a", "b", "n", "c", "y"))
    assert answer.change is not None
    assert agrees(",".join(answer.change.alter), {})


def test_an_engine_that_agrees_when_built_again_needs_no_change(found: Any) -> None:
    answer = found(lambda alter, settings: True)
    assert answer.change is None
    assert "comes and goes" in answer.note


def test_the_time_ends_it(found: Any) -> None:
    answer = found(lambda alter, settings: False, seconds=0)
    assert "give more --time" in answer.note


def test_what_the_recipe_had_already_stays(found: Any) -> None:
    seen: list[str] = []
    answer = found(lambda alter, settings: bool(seen.append(alter)) or "barrier:b" in alter, alter="wide:c")
    assert all(alter.startswith("wide:c") for alter in seen)
    assert answer.change.keys("wide:c") == {"alter": "wide:c,barrier:b"}


def test_levels_that_the_engine_has_already_are_left_out(graph: Path) -> None:
    model = infer(ir.load(graph))
    told = [str(change) for change in candidates(model, divergence(graph, "n"), "tvm", {"kernels": False})]
    assert "no winograd" in told
    assert "no kernels" not in told


def test_a_change_that_computes_something_else_is_none(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held against the graph as it was, before an engine is built."""
    samples, feeds = make_samples(parse_shapes("x:2x4x6"), "tensor", 2, 0)
    (tmp_path / "samples").mkdir()
    samples.save(tmp_path / "samples", feeds)

    def other(given: Path, folder: Path, alterations: str, target: Any) -> Path:
        onnx.save(onnx.parser.parse_model(GRAPH.replace("Tanh", "Sinh")), folder / "altered.onnx")
        return folder / "altered.onnx"

    monkeypatch.setattr("enginesmith.converters.graphs.alter.write_altered", other)
    with pytest.raises(UserError, match="computes something else"):
        attempt(str(graph), "barrier:b", {}, str(tmp_path / "samples"), [0], "tvm", "x86-64-v3", 1e-4, 1e-4)


def test_figures_of_a_trial_survive_json(graph: Path, found: Any) -> None:
    told = divergence(graph, "n").model_copy(update={"trials": found(lambda alter, settings: False).trials})
    assert Divergence.model_validate(json.loads(told.model_dump_json())).trials == told.trials
    assert np.isfinite([trial.excess for trial in told.trials]).all()
