"""The roads to a graph: which come after which, and which graph counts."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from stages import context
from torch import Tensor, nn

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.graphs.onnxruntime import session
from enginesmith.converters.graphs.trial import Trial
from enginesmith.converters.torch_models.attempts import Found, find_graph, newer_opset
from enginesmith.converters.torch_models.exporters import DYNAMO, TORCHSCRIPT, Exporter, Road
from enginesmith.converters.torch_models.failures import of_exporter
from enginesmith.converters.torch_models.operators.registry import Decomposition, decompositions
from enginesmith.pipeline.job.shapes import parse_shapes

BOTH = {DYNAMO: "", TORCHSCRIPT: ""}


class Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.hypot(x, x)


def of_twice() -> Exporter:
    example = OrderedDict(x=np.ones((2, 3), np.float32))
    return Exporter(Twice().eval(), [InputSpec.static("x", (2, 3))], ["y"], example)


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 1:] if x.shape[1] % 2 == 1 else x


class Scripted:
    """An exporter and a trial of which it is known beforehand what becomes of each road."""

    def __init__(self, **outcomes: str) -> None:
        """By `Road.told`, with an underscore for what separates words; none for a good graph."""
        self.outcomes, self.tried = outcomes, list[str]()

    def write(self, road: Road, path: Path) -> None:
        path.write_text(road.told(18))
        self.tried.append(road.told(18))

    def captured(self, road: Road) -> bool:
        return road.tool == DYNAMO

    def replaced(self, road: Road) -> bool:
        return road.tool == DYNAMO and road.decomposed

    def trial(self, path: Path, road: Road) -> Trial:
        outcome = self.outcomes.get(road.told(18).replace(", ", "_").replace(" ", "_"), "")
        return Trial(differs=outcome) if outcome.startswith("differs") else Trial(fails=outcome)

    def find(self, folder: Path) -> Found:
        return find_graph(self, BOTH, 18, self.trial, context(folder))  # type: ignore[arg-type]


def test_a_good_graph_ends_the_search(tmp_path: Path) -> None:
    scripted = Scripted()
    found = scripted.find(tmp_path / "out")
    assert scripted.tried == ["dynamo"]
    assert [(attempt.tool, attempt.error) for attempt in found.attempts] == [("dynamo", "")]


def test_the_order_of_roads(tmp_path: Path) -> None:
    everything = ("dynamo", "dynamo_its_own_translations", "torchscript", "dynamo_strict")
    scripted = Scripted(**dict.fromkeys(everything, "bad"))
    scripted.outcomes["dynamo_strict_its_own_translations"] = "bad"
    with pytest.raises(ConversionError, match=r"dynamo and .*: bad") as caught:
        scripted.find(tmp_path / "out")
    assert scripted.tried == [
        "dynamo",
        "dynamo, its own translations",
        "torchscript",
        "dynamo, strict",
        "dynamo, strict, its own translations",
    ]
    assert not list((tmp_path / "out").iterdir()), "no graph that doesn't count is left"
    assert caught.value.cause.count("bad") == 1


def test_the_next_opset_comes_first(tmp_path: Path) -> None:
    lacking = "Error No Op registered for DeformConv with domain_version of 18"
    found = Scripted(dynamo=lacking).find(tmp_path / "out")
    assert found.road == Road(DYNAMO, 19)
    assert [bool(attempt.error) for attempt in found.attempts] == [True, False]


def test_a_graph_that_differs_is_the_last_choice(tmp_path: Path) -> None:
    outcomes = {"dynamo": "differs by 1", "dynamo_its_own_translations": "differs by 2"}
    assert Scripted(**outcomes).find(tmp_path / "better").road.tool == TORCHSCRIPT
    none = outcomes | dict.fromkeys(("torchscript", "dynamo_strict", "dynamo_strict_its_own_translations"), "bad")
    found = Scripted(**none).find(tmp_path / "out")
    assert found.trial.differs == "differs by 1"
    assert (tmp_path / "out" / "model.onnx").read_text() == "dynamo", "the first that ran"


def test_an_exporter_that_must_not_be_asked(tmp_path: Path) -> None:
    scripted = Scripted(torchscript="bad")
    with pytest.raises(ConversionError, match=r"torchscript: bad") as caught:
        find_graph(
            scripted,  # type: ignore[arg-type]
            {DYNAMO: "it would bake it in", TORCHSCRIPT: ""},
            18,
            scripted.trial,
            context(tmp_path / "out"),
            remedy="do this",
        )
    assert scripted.tried == ["torchscript"]
    assert caught.value.remedy == "do this"


@pytest.mark.parametrize(
    ("said", "opset", "newer"),
    [
        ("No Op registered for DeformConv with domain_version of 18", 18, 19),
        ("No Op registered for Gelu with domain_version of 17", 17, 20),
        ("No Op registered for Gelu with domain_version of 21", 21, None),
        ("No Op registered for NotAnOperator with domain_version of 18", 18, None),
        ("Unrecognized attribute: antialias for operator Resize", 13, 18),
        ("Type 'tensor(bfloat16)' of input parameter (x) of operator (Conv) in node (n) is invalid.", 18, 22),
        ("Type 'tensor(string)' of input parameter (x) of operator (Conv) in node (n) is invalid.", 18, None),
        ("Support for this operator was added in version 20, try exporting with this version", 18, 20),
        ("Non-zero status code returned while running Reshape node", 18, None),
    ],
)
def test_the_opset_that_has_it(said: str, opset: int, newer: int | None) -> None:
    assert newer_opset(said, opset) == newer


def test_with_and_without_our_decompositions(tmp_path: Path) -> None:
    exporter = of_twice()
    ours, plain = Road(DYNAMO, 18), Road(DYNAMO, 18, decomposed=False)
    exporter.write(ours, tmp_path / "model.onnx")
    assert exporter.captured(ours)
    assert exporter.replaced(ours)
    assert not exporter.replaced(plain)
    x = np.array([[3, 0, np.inf], [1e30, -4, 2]], np.float32)
    (y,) = session(tmp_path / "model.onnx").run(None, {"x": x})
    np.testing.assert_allclose(y, np.hypot(x, x), rtol=1e-6)
    with pytest.raises(Exception, match="hypot"):
        exporter.write(plain, tmp_path / "plain.onnx")


def test_what_is_told_of_an_attempt_is_one_line(tmp_path: Path) -> None:
    told: list[str] = []
    where = context(tmp_path / "out")
    where.emit = lambda event: told.append(json.dumps(event))
    scripted = Scripted(
        dynamo="can't run:\nNon-zero status code returned while running Add node. Name:'n' Status Message: no"
    )
    scripted.write = lambda road, path: onnx.save(onnx.parser.parse_model(EMPTY), path)  # type: ignore[method-assign]
    find_graph(scripted, BOTH, 18, scripted.trial, where)  # type: ignore[arg-type]
    assert any("next is dynamo, its own translations" in line for line in told)


EMPTY = '<ir_version: 10, opset_import: ["" : 18]> g (float[1] x) => (float[1] y) { y = Identity(x) }'


def test_what_the_sizes_must_be_is_told(tmp_path: Path) -> None:
    specs = parse_shapes("x:4x3..5..9")
    exporter = Exporter(Odd(), specs, ["output"], OrderedDict(x=np.ones((4, 5), np.float32)))
    with pytest.raises(torch._dynamo.exc.UserError) as caught:
        exporter.write(Road(DYNAMO, 18), tmp_path / "model.onnx")
    failure = of_exporter(caught.value)
    assert failure.reason == "the model takes only sizes with (x.shape[1] % 2) == 1"
    assert "--shape" in failure.remedy


def test_a_program_is_decomposed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    times: list[int] = []
    own = torch.export.ExportedProgram.run_decompositions
    monkeypatch.setattr(
        torch.export.ExportedProgram,
        "run_decompositions",
        lambda program, table: times.append(len(table)) or own(program, table),
    )
    exporter = of_twice()
    exporter.write(Road(DYNAMO, 18), tmp_path / "model.onnx")
    assert len(times) == 1


def test_a_decomposition_says_why_and_what_to_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuses(x: Tensor, other: Tensor) -> Tensor:
        raise ConversionError("no graph has it", "write it otherwise")

    hypot = torch.ops.aten.hypot.default
    monkeypatch.setitem(decompositions(), hypot, Decomposition(refuses, 0.0, normwise=False))
    exporter = of_twice()
    with pytest.raises(torch.onnx.OnnxExporterError) as caught:
        exporter.write(Road(DYNAMO, 18), tmp_path / "model.onnx")
    failure = of_exporter(caught.value)
    assert (failure.reason, failure.operator, failure.remedy) == ("no graph has it", "aten.hypot", "write it otherwise")
    assert "return torch.hypot(x, x)" in failure.line
