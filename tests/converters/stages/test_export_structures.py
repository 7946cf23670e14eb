"""Models that take and return more than tensors: keyword arguments, containers, objects, constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from export_models import imports
from stages import compare, export, load_samples

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.facts import ModelFacts
from enginesmith.converters.core.trees import Constant, Container, Tensor, tensors_of

__all__ = ["imports"]  # the fixture

MODELS = '''
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class Pair:
    left: torch.Tensor
    right: torch.Tensor
    scale: float = 2.0

@dataclass
class Output(OrderedDict):
    """As transformers' ModelOutput: a dataclass whose entries are its fields that are there."""
    hidden: torch.Tensor = None
    pooled: torch.Tensor = None
    layers: tuple = None
    def __post_init__(self):
        for name in ("hidden", "pooled", "layers"):
            if getattr(self, name) is not None:
                self[name] = getattr(self, name)

class Nested:
    """A class of one's own, as DETR's NestedTensor."""
    def __init__(self, tensors, mask):
        self.tensors, self.mask, self.seen = tensors, mask, []

Both = namedtuple("Both", "first second")

class Line(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(3, 3)
        self.table = nn.Embedding(3, 3)

class Text(Line):
    def forward(self, ids, mask=None, types=None, places=None, *, scale=1.0, mode="plain"):
        y = self.table(ids) * scale
        if mask is not None:
            y = y * mask[..., None]
        if types is not None:
            y = y + types[..., None]
        if places is not None:
            y = y - places[..., None].float()
        return {"hidden": self.line(y), "mode": mode, "nothing": None}
IDS = torch.tensor([[0, 1, 2, 1], [2, 2, 0, 1]])
def by_name(): return Text(), {"places": IDS, "ids": IDS % 2}
def by_both(): return Text(), (IDS,), {"places": IDS, "scale": 0.5, "mode": "loud"}
def by_place(): return Text(), [IDS, None, IDS.float()]

class Views(Line):
    def forward(self, views): return self.line(views["left"]) - self.line(views["right"])
def one_dict(): return Views(), {"left": torch.randn(2, 3), "right": torch.randn(2, 3)}

class Several(Line):
    def forward(self, pair, both, rest, nested):
        nested.seen.append(1)
        y = self.line(pair.left * pair.scale) + pair.right
        z = both.first + both.second[0] * nested.mask
        return Output(hidden=y, layers=(y + nested.tensors, Both(z, [rest["a"][0], rest["b"]]))), Pair(y, z, 7.0)
def objects():
    x = lambda i: torch.randn(2, 3, generator=torch.Generator().manual_seed(i))
    return Several(), (Pair(x(0), x(1), 3.0), Both(x(2), (x(3), None)), {"a": [x(4)], "b": 5}, Nested(x(5), x(6)))

class Many(nn.Module):
    def forward(self, *xs, **named): return sum(xs) * named["gain"]
def many(): return Many(), (torch.ones(2), torch.ones(2)), {"gain": torch.full((1,), 3.0)}

class Loud(nn.Module):
    def forward(self, x, y=None): return x.numpy() if y is None else (x, y)
def array_out(): return Loud(), torch.ones(2)
def array_in(): return Loud(), (torch.ones(2), torch.ones(2).numpy())
def generator_in(): return Loud(), (torch.ones(2), (x for x in [torch.ones(2)]))
class Hidden:
    def __init__(self): self._kept = {"x": torch.ones(2)}
def hidden_in(): return Loud(), (torch.ones(2), Hidden())
def twice(): return Loud(), torch.ones(2), {"x": torch.ones(2)}
def no_names(): return Loud(), torch.ones(2), [torch.ones(2)]
def itself():
    x = [torch.ones(2)]
    x.append(x)
    return Loud(), (torch.ones(2), x)
'''


STATEFUL = """
import torch
from torch import nn

class Average(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x
        return x - self.mean

class Whole(nn.Module):
    \"\"\"A running mean in another module, a counter in place, and a tensor that is no buffer.\"\"\"
    def __init__(self):
        super().__init__()
        self.inner = Average()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.last = torch.ones(4)
        self.register_buffer("still", torch.ones(4))
    def forward(self, x, scale=2.0):
        self.calls += 1
        y = self.inner(x) * scale + self.calls + self.last * self.still
        self.last = x
        return y, {"x": x * 2}
def whole(): return Whole(), torch.rand(4)

class Number(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
    def forward(self, x):
        self.calls += 1
        return x * self.calls
def number(): return Number(), torch.rand(4)

class Grows(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.ones(1))
    def forward(self, x):
        self.seen = torch.cat([self.seen, x])
        return x * self.seen.mean()
def grows(): return Grows(), torch.rand(4)
"""


@pytest.fixture
def stateful(tmp_path: Path) -> Path:
    path = tmp_path / "stateful_of_test.py"
    path.write_text(STATEFUL)
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "structures_of_test.py"
    path.write_text(MODELS)
    return path


def exported(tmp_path: Path, factory: str, path: Path, shape: str = "", exporter: str = "auto") -> ModelFacts:
    """The facts of an export whose graph agrees with the model in ONNX Runtime."""
    facts = export(tmp_path / "out", factory, path=path, shape=shape, exporter=exporter)
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass", comparison.reason
    assert isinstance(facts, ModelFacts)
    assert facts.signature is not None
    assert [info.name for info in facts.inputs] == [
        name for tree in facts.signature.arguments.values() for name in tensors_of(tree)
    ]
    assert [info.name for info in facts.outputs] == tensors_of(facts.signature.outputs)
    return facts


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_arguments_by_name_keep_their_gaps(tmp_path: Path, models: Path, exporter: str) -> None:
    facts = exported(tmp_path, "by_name", models, exporter=exporter)
    assert [(info.name, info.dtype, info.shape) for info in facts.inputs] == [
        ("ids", "int64", [2, 4]),
        ("places", "int64", [2, 4]),
    ]
    assert [info.name for info in facts.outputs] == ["hidden"]
    assert facts.signature is not None
    assert facts.signature.outputs == Container(
        container="dict",
        keys=["hidden", "mode", "nothing"],
        items=[Tensor(tensor="hidden"), Constant(constant="plain"), Constant(constant=None)],
    )


def test_the_example_is_the_first_sample(tmp_path: Path, models: Path) -> None:
    exported(tmp_path, "by_name", models)
    samples, feeds = load_samples(tmp_path / "out")
    assert samples.samples[0].name == "example"
    np.testing.assert_array_equal(feeds[0]["places"], [[0, 1, 2, 1], [2, 2, 0, 1]])


def test_numbers_texts_and_none_are_constants(tmp_path: Path, models: Path) -> None:
    facts = exported(tmp_path, "by_both", models)
    assert facts.signature is not None
    assert facts.signature.arguments == {
        "ids": Tensor(tensor="ids"),
        "places": Tensor(tensor="places"),
        "scale": Constant(constant=0.5),
        "mode": Constant(constant="loud"),
    }
    facts = exported(tmp_path / "other", "by_place", models)
    assert facts.signature is not None
    assert list(facts.signature.arguments) == ["ids", "mask", "types"]
    assert facts.signature.arguments["mask"] == Constant(constant=None)


def test_a_shape_changes_one_input_of_the_example_and_adds_another(tmp_path: Path, models: Path) -> None:
    facts = exported(tmp_path, "by_name", models, shape="ids:2x1..4..6 places:2x1..4..6", exporter="dynamo")
    assert [(info.dtype, info.shape[0]) for info in facts.inputs] == [("int64", 2), ("int64", 2)]
    facts = exported(tmp_path / "more", "by_name", models, shape="types:2x4")
    assert [(info.name, info.dtype) for info in facts.inputs] == [
        ("ids", "int64"),
        ("types", "float32"),
        ("places", "int64"),
    ]


def test_shapes_alone_leave_gaps_too(tmp_path: Path, models: Path) -> None:
    facts = exported(tmp_path, "Text", models, shape="places:2x4:int64 ids:2x4:int64")
    assert facts.signature is not None
    assert list(facts.signature.arguments) == ["ids", "places"]


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_dict_is_one_argument_where_forward_has_no_such_names(tmp_path: Path, models: Path, exporter: str) -> None:
    facts = exported(tmp_path, "one_dict", models, exporter=exporter)
    assert [info.name for info in facts.inputs] == ["views.left", "views.right"]


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_objects_of_all_kinds(tmp_path: Path, models: Path, exporter: str) -> None:
    """One of them keeps a list, which each call fills; the calls don't see each other's."""
    facts = exported(tmp_path, "objects", models, exporter=exporter)
    assert [info.name for info in facts.inputs] == [
        *("pair.left", "pair.right", "both.first", "both.second.0", "rest.a.0", "nested.tensors", "nested.mask"),
    ]
    assert [info.name for info in facts.outputs] == [
        *("output0.hidden", "output0.layers.0", "output0.layers.1.first", "output0.layers.1.second.0"),
        *("output1.left", "output1.right"),
    ]
    assert facts.signature is not None
    pair = facts.signature.outputs.items[1]  # type: ignore[union-attr]
    assert (pair.type, pair.keys, pair.items[-1]) == (
        "structures_of_test:Pair",
        ["left", "right", "scale"],
        Constant(constant=7.0),
    )


def test_any_number_of_arguments(tmp_path: Path, models: Path) -> None:
    facts = exported(tmp_path, "many", models)
    assert [info.name for info in facts.inputs] == ["input0", "input1", "gain"]


@pytest.mark.parametrize(
    ("factory", "shape", "said"),
    [
        ("array_out", "", "what the model returns is a ndarray; make it a tensor"),
        ("array_in", "", "the input y is a ndarray; make it a tensor"),
        ("generator_in", "", "the input y is a generator, which can be read only once"),
        ("hidden_in", "", "the input y is a Hidden, whose tensors can't be told; make it a dataclass"),
        ("twice", "", "x is given twice, by its place and by its name"),
        ("no_names", "", "the keyword arguments are a list; give a dict of names and values"),
        ("itself", "", "the input y holds itself"),
        ("by_name", "idz:2x4:int64", "the model's inputs are ids, places, not idz"),
        ("by_name", "2x4:int64", "the model's inputs are ids, places; say of which one the shape is"),
        ("by_both", "scale:1", "the model's inputs are ids, places, not scale"),
    ],
)
def test_what_is_refused_in_one_line(tmp_path: Path, models: Path, factory: str, shape: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        export(tmp_path / "out", factory, path=models, shape=shape)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_tensors_that_a_model_keeps_are_inputs_and_outputs(tmp_path: Path, stateful: Path, exporter: str) -> None:
    """Run on by them, the graph gives what the module gives from call to call."""
    facts = exported(tmp_path, "whole", stateful, exporter=exporter)
    kept = {"calls", "last", "inner.mean"}
    assert {info.name for info in facts.inputs} == {"x", *kept}
    assert {info.name for info in facts.outputs} == {"output0", "output1.x", *(f"{name}_out" for name in kept)}
    assert len(facts.warnings) == 1
    assert "they are inputs of the engine" in facts.warnings[0]
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    names = [output.name for output in session.get_outputs()]
    rng = np.random.default_rng(0)
    state: dict[str, np.ndarray] = {
        "calls": np.zeros((), np.int64),
        "last": np.ones(4, np.float32),
        "inner.mean": np.zeros(4, np.float32),
    }
    mean, last = np.zeros(4), np.ones(4)
    for call in range(1, 4):
        x = rng.random(4, np.float32)
        found = dict(zip(names, session.run(names, {"x": x, **state}), strict=True))
        mean = 0.9 * mean + 0.1 * x
        np.testing.assert_allclose(found["output0"], (x - mean) * 2 + call + last, rtol=1e-5)
        last = x
        state = {name: found[f"{name}_out"] for name in state}


@pytest.mark.parametrize(("factory", "said"), [("number", "calls"), ("grows", "seen")])
def test_other_state_is_refused(tmp_path: Path, stateful: Path, factory: str, said: str) -> None:
    with pytest.raises(ConversionError, match=f"(depends on earlier calls, by .*{said}|answered differently)"):
        export(tmp_path / "out", factory, path=stateful)
