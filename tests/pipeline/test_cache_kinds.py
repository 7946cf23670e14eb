"""Where caches of other tools returned the wrong engine: changed weights, changed options, names that collide.

Each change keeps whatever a careless key would look at: names, shapes, sizes, times.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_onnx
from onnx import TensorProto, helper, numpy_helper

import enginesmith
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Recipe
from enginesmith.pipeline.job.artifacts import Build
from enginesmith.pipeline.job.builder import Builder
from enginesmith.pipeline.job.events import Event
from enginesmith.pipeline.job.keys import stage_key
from enginesmith.pipeline.job.plan import Plan, make_plan
from enginesmith.pipeline.job.store import Store


def key(model: Path, **options: Any) -> list[str]:
    """Those of all stages of a plan, as far as they follow from the request."""
    stages = make_plan(Recipe(model=str(model), backend="tvm", **options)).stages
    return [stage_key(planned, dict.fromkeys(planned.needs, "")) for planned in stages]


def graph() -> onnx.ModelProto:
    """With an attribute, a weight, a subgraph, a function and metadata."""
    value = helper.make_tensor_value_info
    then, other = (
        helper.make_graph(
            [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32([number])))],
            f"branch{number}",
            [],
            [value("c", TensorProto.FLOAT, [1])],
        )
        for number in (1, 2)
    )
    nodes = [
        helper.make_node("LeakyRelu", ["x"], ["a"], alpha=0.1),
        helper.make_node("Add", ["a", "w"], ["b"]),
        helper.make_node("If", ["flag"], ["i"], then_branch=then, else_branch=other),
        helper.make_node("Add", ["b", "i"], ["d"]),
        helper.make_node("twice", ["d"], ["y"], domain="own"),
    ]
    twice = helper.make_function(
        "own", "twice", ["p"], ["q"], [helper.make_node("Add", ["p", "p"], ["q"])], [helper.make_opsetid("", 17)]
    )
    made = helper.make_graph(
        nodes,
        "kinds",
        [value("x", TensorProto.FLOAT, [4]), value("flag", TensorProto.BOOL, [])],
        [value("y", TensorProto.FLOAT, [4])],
        [numpy_helper.from_array(np.ones(4, np.float32), "w")],
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
        functions=[twice],
        ir_version=9,
    )
    helper.set_model_props(model, {"enginesmith.interface.values": "1"})
    return model


def attribute(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute[0].f = 0.2


def weight(model: onnx.ModelProto) -> None:
    data = bytearray(model.graph.initializer[0].raw_data)
    data[0] ^= 1
    model.graph.initializer[0].raw_data = bytes(data)


def subgraph(model: onnx.ModelProto) -> None:
    model.graph.node[2].attribute[0].g.node[0].attribute[0].t.raw_data = np.float32([3]).tobytes()


def body(model: onnx.ModelProto) -> None:
    model.functions[0].node[0].op_type = "Mul"


def metadata(model: onnx.ModelProto) -> None:
    model.metadata_props[0].value = "2"


def opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 16


def edge(model: onnx.ModelProto) -> None:
    model.graph.node[3].input[0] = "a"


def written(model: onnx.ModelProto, path: Path) -> Path:
    """Always of the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    os.utime(path, (1e9, 1e9))
    return path


@pytest.mark.parametrize(
    "change", [attribute, weight, subgraph, body, metadata, opset, edge], ids=lambda change: change.__name__
)
def test_graphs_that_differ_in_one_place_have_keys_of_their_own(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None]
) -> None:
    model = graph()
    onnx.checker.check_model(model)
    before, size = key(written(model, tmp_path / "m.onnx")), (tmp_path / "m.onnx").stat().st_size
    assert key(written(model, tmp_path / "m.onnx")) == before
    change(model)
    assert key(written(model, tmp_path / "m.onnx"))[0] != before[0]
    assert change is not weight or (tmp_path / "m.onnx").stat().st_size == size


def test_two_models_of_one_name_do_not_collide(tmp_path: Path) -> None:
    one, two = graph(), graph()
    weight(two)
    assert key(written(one, tmp_path / "a" / "m.onnx"))[0] != key(written(two, tmp_path / "b" / "m.onnx"))[0]


@pytest.mark.parametrize(
    ("options", "stage"),
    [
        ({"shape": "x:1x4"}, "import"),
        ({"seed": 1}, "import"),
        ({"samples": 5}, "import"),
        ({"target": "x86-64"}, "compile"),  # older than any machine that these run on: never what it has itself
        ({"precision": "fp16"}, "precision"),
        ({"precision": "int8"}, "precision"),
        ({"precision": "int8", "method": "entropy"}, "calibrate"),
    ],
    ids=str,
)
def test_a_changed_option_changes_the_keys_from_its_stage_on(
    tmp_path: Path, options: dict[str, Any], stage: str
) -> None:
    model = tiny_onnx.linear(tmp_path / "m.onnx")

    def keys(**options: Any) -> set[str]:
        return set(key(model, **options))

    assert keys(**options) == keys(**options)
    base = {name: value for name, value in options.items() if name == "precision" and len(options) > 1}
    assert keys(**options) - keys(**base), stage


@pytest.fixture
def first_stage(tmp_path: Path) -> Callable[..., tuple[Build, Store]]:
    """Builds only what brings the model in."""
    store = Store(tmp_path / "store")

    def build(model: str, act: Callable[[Event], None] = lambda event: None, **options: Any) -> tuple[Build, Store]:
        recipe = Recipe(model=model, backend="tvm", **options)
        plan = make_plan(recipe)
        (first, *_) = plan.stages
        return Builder(store, recipe, tmp_path / "logs", act).run(Plan(plan.source, (first,), first.id)), store

    return build


def weights_of(found: tuple[Build, Store]) -> np.ndarray:
    build, store = found
    (entry,) = build.entries.values()
    return numpy_helper.to_array(onnx.load(store.files(entry.key) / "model.onnx").graph.initializer[0])


def test_external_data_that_changes_alone_is_read_again(tmp_path: Path, first_stage: Callable[..., Any]) -> None:
    path = tiny_onnx.external(tmp_path / "m.onnx", "weights.bin")
    data = tmp_path / "weights.bin"
    for number in (1, 2, 1):
        data.write_bytes(np.full(16, number, np.float32).tobytes())
        os.utime(data, (1e9, 1e9))
        np.testing.assert_array_equal(weights_of(first_stage(str(path))), np.full((4, 4), number))


def test_a_model_that_is_swapped_after_the_plan_is_refused(tmp_path: Path, first_stage: Callable[..., Any]) -> None:
    path, other = tiny_onnx.linear(tmp_path / "m.onnx"), tmp_path / "other.onnx"
    model = onnx.load(path)
    model.graph.initializer[0].raw_data = bytes(64)
    other.write_bytes(model.SerializeToString())
    good = path.read_bytes()

    def swap(event: Event) -> None:
        if event.event == "start":
            shutil.copy(other, path)
            os.utime(path, (1e9, 1e9))

    with pytest.raises(UserError, match=r"m\.onnx has changed since the build was planned; build again"):
        first_stage(str(path), swap)
    path.write_bytes(good)
    assert weights_of(first_stage(str(path))).any()


NET = """
import json, os, torch
from pathlib import Path
import parts

SCALE = 1.0

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((4, 4), SCALE * parts.scale()))
    def forward(self, x):
        return x @ self.weight

def make():
    net = Net()
    told = Path(__file__).with_name("net.json")
    if told.exists():
        net.weight.data *= json.loads(told.read_text())
    return net.eval(), torch.zeros(1, 4)
"""


@pytest.mark.slow
def test_whatever_a_factory_depends_on_counts(tmp_path: Path, first_stage: Callable[..., Any]) -> None:
    """Its globals, its neighbours, what it reads, and a state dict of the same shapes; sizes and times stay."""
    import torch

    def put(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (1e9, 1e9))

    def found(**options: Any) -> float:
        return float(weights_of(first_stage(f"{tmp_path}/net.py:make", exporter="torchscript", **options)).max())

    put("net.py", NET)
    put("parts.py", "def scale(): return 1.0\n")
    put("net.json", "1.0")
    assert found() == 1
    put("parts.py", "def scale(): return 2.0\n")
    assert found() == 2
    put("net.json", "3.0")
    assert found() == 6
    put("net.py", NET.replace("SCALE = 1.0", "SCALE = 2.0"))
    assert found() == 12
    for number in (5.0, 7.0):
        torch.save({"weight": torch.full((4, 4), number)}, tmp_path / "w.pt")
        os.utime(tmp_path / "w.pt", (1e9, 1e9))
        assert found(weights=str(tmp_path / "w.pt")) == number


@pytest.mark.slow
def test_a_live_module_with_other_weights_is_another_model(tmp_path: Path) -> None:
    import torch

    module = torch.nn.Linear(4, 2).eval()
    engines = []
    for number in (1.0, 2.0):
        with torch.no_grad():
            module.weight.fill_(number)
            module.bias.fill_(0)
        made = enginesmith.build(
            module, torch.zeros(1, 4), backend="tvm", measure=0, store=tmp_path / "store", out=tmp_path / "out"
        )
        engines.append(float(next(iter(made.engines[0](np.ones((1, 4), np.float32)).values())).max()))
    assert engines == [4, 8]
