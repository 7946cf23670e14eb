"""PyTorch to ONNX, by both exporters, from every kind of source; checked by running the graph in ONNX Runtime."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import onnx
import pytest
import torch
from stages import compare, export, load_samples
from torch import nn

from enginesmith.converters import exporters
from enginesmith.converters.errors import ConversionError, UserError
from enginesmith.converters.files import hash_file
from enginesmith.converters.outputs import distinct, flatten
from enginesmith.converters.samples import load_results

MODELS = '''
from collections import namedtuple
import torch
from torch import nn
import torch.nn.functional as F

class Fn(nn.Module):
    """A function as a module."""
    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleDict(parts)

def cnn():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

def with_example():
    return cnn(), torch.zeros(2, 3, 16, 16)

def odd_example():
    return cnn(), 5

def complex_example():
    return cnn(), torch.zeros(2, dtype=torch.complex64)

class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x * 2
        return x * 3
def branch(): return Branch()

class Never(nn.Module):
    def forward(self, x):
        return torch.from_numpy(__import__("numpy").linalg.eigvals(x.numpy()).real)
def never(): return Never()

Pair = namedtuple("Pair", "left right")
class Nested(nn.Module):
    def forward(self, x):
        return {"x": x + 1, "list": [x * 2, (x * 3, None)], "pair": Pair(x * 4, x * 5), "same": x + 1}
def nested(): return Nested()

class Both(nn.Module):
    def forward(self, x):
        y = x * 2
        return y, [y, x]
def both(): return Both()

class Nothing(nn.Module):
    def forward(self, x):
        return {}
def nothing(): return Nothing()

class Number(nn.Module):
    def forward(self, x):
        return x, 3
def number(): return Number()

class Half(nn.Module):
    def forward(self, x):
        return x.bfloat16()
def half(): return Half()

class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.out = nn.Linear(8, 4)
    def forward(self, ids, mask, scale=None, shift=None):
        hidden = (self.embedding(ids) * mask[..., None]).sum(1)
        if scale is not None:
            hidden = hidden * scale
        if shift is not None:
            hidden = hidden + shift
        return self.out(hidden)
def text(): return Text()

class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    def forward(self, x):
        y = self.conv(x)
        return F.interpolate(y, size=x.shape[2:], mode="bilinear"), y.flatten(2).mean(2)
def dense(): return Dense()

class Baked(nn.Module):
    def forward(self, x):
        return x * float(int(x.shape[0])) + torch.zeros(int(x.shape[0]), 3)
def baked(): return Baked()

class BakedInside(nn.Module):
    """Only the value depends on the size, so that the exported graph runs, and is wrong."""
    def forward(self, x):
        return x * torch.tensor(float(int(x.shape[0])))
def baked_inside(): return BakedInside()

class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
    def forward(self, x):
        self.calls += 1
        return x + self.calls
def counter(): return Counter()

class Total(nn.Module):
    """Returns its own buffer, which the next call changes."""
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(1, 3))
    def forward(self, x):
        self.total.copy_(x)
        return self.total
def total(): return Total()

def big():
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
'''


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a factory's file does to `sys.path` and `sys.modules` ends with the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "pytest-of" in file:
            del sys.modules[name]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models_of_test.py"
    path.write_text(MODELS)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_cnn_by_dynamo(tmp_path: Path, models: Path) -> None:
    out = tmp_path / "out"
    facts = export(out, "cnn", path=models, shape="2x3x16x16", samples=3)
    assert facts.note == "dynamo"
    assert [(attempt.tool, attempt.error) for attempt in facts.attempts] == [("dynamo", "")]
    assert [(info.name, info.shape) for info in facts.inputs] == [("input", [2, 3, 16, 16])]
    assert [(info.name, info.shape) for info in facts.outputs] == [("output", [2, 5])]
    assert facts.ops["Conv"] == 1
    assert facts.task == "tensor"
    assert facts.weights is not None
    assert facts.weights.origin == "model"
    assert names(out) == {"model.onnx", "samples.json", "inputs.json", "results.json"}
    comparison = compare(tmp_path / "compared", out)
    assert comparison.verdict == "pass"
    assert len(comparison.samples) == 4
    assert max(output.max_abs for sample in comparison.samples for output in sample.outputs) < 1e-5


def test_opset_is_as_asked(tmp_path: Path, models: Path) -> None:
    for opset, exporter in ((17, "torchscript"), (20, "dynamo")):
        export(tmp_path / f"{opset}", "both", path=models, shape="2x3", opset=opset, exporter=exporter)
        imports = onnx.load(tmp_path / f"{opset}" / "model.onnx").opset_import
        assert {entry.domain: entry.version for entry in imports}[""] == opset


def test_torchscript_steps_in_and_dynamos_error_is_recorded(tmp_path: Path, models: Path) -> None:
    facts = export(tmp_path / "out", "branch", path=models, shape="2x3")
    assert facts.note == "torchscript"
    dynamo, torchscript = facts.attempts
    assert (dynamo.tool, torchscript.tool, torchscript.error) == ("dynamo", "torchscript", "")
    first, *rest = dynamo.error.splitlines()
    assert first.startswith("GuardOnDataDependentSymNode: Could not guard"), (
        "the cause, not torch.onnx's frame around it"
    )
    assert "if x.sum() > 0" in "\n".join(rest), "the place in the model"
    assert "\x1b" not in dynamo.error
    assert names(tmp_path / "out") == {"model.onnx", "samples.json", "inputs.json", "results.json"}


def test_a_torchscript_file_starts_with_its_own_exporter(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where none takes it, both are named."""
    path = tmp_path / "traced.pt"
    torch.jit.trace(nn.Linear(3, 2).eval(), torch.zeros(1, 3)).save(path)

    def refuse(*_: object) -> None:
        (tmp_path / "out" / "model.onnx").write_text("half a graph")
        raise RuntimeError("an operator that it does not know")

    monkeypatch.setattr(exporters, "_torchscript", refuse)
    with pytest.raises(ConversionError) as caught:
        export(tmp_path / "out", path=path, kind="torchscript", shape="1x3")
    tools = [part.split(":")[0] for part in caught.value.cause.partition("(")[2].split("; ")]
    assert tools == ["torchscript", "dynamo"]
    assert "an operator that it does not know" in caught.value.cause
    assert "model.onnx" not in names(tmp_path / "out"), "no half graph stays behind"


def test_an_operator_that_only_dynamo_exports(tmp_path: Path) -> None:
    path = tmp_path / "only_dynamo.py"
    path.write_text(
        "import torch\nclass M(torch.nn.Module):\n    def forward(self, x):\n"
        "        return torch.nn.functional.rms_norm(x, (8,))\n"
        "def make(): return M()\n"
    )
    with pytest.raises(ConversionError, match=r"no exporter takes the model \(torchscript: .*rms_norm"):
        export(tmp_path / "refused", "make", path=path, shape="2x8", exporter="torchscript")
    assert export(tmp_path / "out", "make", path=path, shape="2x8").note == "dynamo"
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_no_exporter_takes_it(tmp_path: Path, models: Path) -> None:
    with pytest.raises(ConversionError) as caught:
        export(tmp_path / "out", "never", path=models, shape="3x3", exporter="dynamo")
    assert "dynamo: " in caught.value.cause
    assert "torchscript" not in caught.value.cause, "one exporter was asked for"
    assert "torch.where" in caught.value.remedy
    assert "\n" not in caught.value.cause


def test_torchscript_file(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.manual_seed(0)
    torch.jit.script(nn.Sequential(nn.Linear(3, 2), nn.Tanh()).eval()).save(path)
    facts = export(tmp_path / "out", path=path, kind="torchscript", shape="x:1..2..4x3")
    assert facts.note == "torchscript"
    assert facts.weights is not None
    assert (facts.weights.origin, facts.weights.sha256) == ("model", "the file's")
    assert [info.name for info in facts.inputs] == ["x"]
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def exported_program(path: Path, dynamic: bool = False) -> Path:
    torch.manual_seed(0)
    shapes = ({0: torch.export.Dim("n", min=1, max=8)},) if dynamic else None
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5), nn.Tanh()).eval()
    torch.export.save(torch.export.export(module, (torch.zeros(2, 3),), dynamic_shapes=shapes), path)
    return path


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_exported_program_knows_its_shape(tmp_path: Path, exporter: str) -> None:
    path = exported_program(tmp_path / "m.pt2")
    facts = export(tmp_path / "out", path=path, kind="exported-program", exporter=exporter)
    assert [info.shape for info in facts.inputs] == [[2, 3]]
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_exported_program_with_a_dynamic_batch(tmp_path: Path) -> None:
    path = exported_program(tmp_path / "m.pt2", dynamic=True)
    export(tmp_path / "out", path=path, kind="exported-program", shape="1..2..8x3")
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_exported_program_at_another_shape_is_a_bad_request(tmp_path: Path) -> None:
    path = exported_program(tmp_path / "m.pt2")
    with pytest.raises(UserError, match=r"the model refuses the input .*:5x3: .*give another SHAPE"):
        export(tmp_path / "out", path=path, kind="exported-program", shape="5x3")


def test_factory_with_a_neighbour(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_test.py").write_text("WIDTH = 4\n")
    path = tmp_path / "factory_of_test.py"
    path.write_text(
        "from torch import nn\nimport neighbour_of_test\ndef make(): return nn.Linear(3, neighbour_of_test.WIDTH)\n"
    )
    facts = export(tmp_path / "out", "make", path=path, shape="1x3")
    assert facts.outputs[0].shape == [1, 4]
    neighbour = tmp_path / "neighbour_of_test.py"
    assert facts.source_files[str(neighbour.resolve())] == hash_file(neighbour)
    assert facts.source_files[str(path.resolve())] == hash_file(path)
    ours = [
        name
        for name in facts.source_files
        if "site-packages" in name or ("/converters/" in name and "/tests/" not in name)
    ]
    assert not ours
    neighbour.write_text("WIDTH = 5\n")
    assert facts.source_files[str(neighbour.resolve())] != hash_file(neighbour), "the build sees the edit"


def test_factory_in_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package_of_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text("from torch import nn\ndef head(): return nn.Linear(3, 2)\n")
    (package / "net.py").write_text("from .parts import head\ndef make(): return head()\n")
    monkeypatch.chdir(tmp_path)
    facts = export(tmp_path / "out", "package_of_test.net:make", kind="factory-module", shape="1x3")
    files = {Path(name).name for name in facts.source_files if "package_of_test" in name}
    assert files == {"__init__.py", "net.py", "parts.py"}


def test_factory_with_example_inputs(tmp_path: Path, models: Path) -> None:
    facts = export(tmp_path / "out", "with_example", path=models, exporter="torchscript")
    assert facts.inputs[0].shape == [2, 3, 16, 16]
    facts = export(tmp_path / "asked", "with_example", path=models, shape="1x3x8x8", exporter="torchscript")
    assert facts.inputs[0].shape == [1, 3, 8, 8], "SHAPE wins over the example"


def test_no_shape_at_all(tmp_path: Path, models: Path) -> None:
    with pytest.raises(UserError, match="this model has no default shape; give SHAPE"):
        export(tmp_path / "out", "cnn", path=models)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_nested_outputs_and_their_names(tmp_path: Path, models: Path, exporter: str) -> None:
    """An output called like the input gets another name; None is left out."""
    facts = export(tmp_path / "out", "nested", path=models, shape="2x3", exporter=exporter)
    assert [info.name for info in facts.inputs] == ["x"]
    assert [info.name for info in facts.outputs] == ["x_", "list0", "list10", "pair.left", "pair.right", "same"]
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass"
    assert [output.name for output in comparison.samples[0].outputs] == [info.name for info in facts.outputs]


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_one_tensor_returned_twice_and_the_input_itself(tmp_path: Path, models: Path, exporter: str) -> None:
    facts = export(tmp_path / "out", "both", path=models, shape="2x3", exporter=exporter)
    assert [info.name for info in facts.outputs] == ["output0", "output10", "output11"]
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_names_that_would_collide() -> None:
    tensors = [[torch.zeros(1)] if index == 1 else torch.zeros(1) for index in range(11)]
    flat = flatten(tensors)[0]
    assert len(set(flat)) < len(flat)
    assert len(set(distinct(flat, ["output3"]))) == 11


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("nothing", "the model returns no tensor"),
        ("number", "the model returns a int; it must return tensors"),
        ("half", "output output is torch.bfloat16"),
        ("odd_example", "must return its inputs as a tensor or a tuple of tensors"),
        ("complex_example", "returned a torch.complex64 input"),
    ],
)
def test_what_can_not_be_an_engine(tmp_path: Path, models: Path, factory: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        export(tmp_path / "out", factory, path=models, shape="" if "example" in factory else "2x3")


def test_several_inputs_with_ids(tmp_path: Path, models: Path) -> None:
    """Given in another order than `forward` has them."""
    shape = "mask:1..2..4x7 ids:1..2..4x7:int64"
    facts = export(tmp_path / "out", "text", path=models, shape=shape)
    assert [(info.name, info.dtype, info.shape) for info in facts.inputs] == [
        ("ids", "int64", ["batch", 7]),
        ("mask", "float32", ["batch", 7]),
    ]
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass"
    assert {sample.shapes["ids"][0] for sample in comparison.samples} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("ids:2x7:int64 shift:2x8", "inputs are ids, mask, scale, shift; give the first ones without a gap"),
        ("ids:2x7:int64 tokens:2x7", "inputs are ids, mask, scale, shift, not ids, tokens"),
        ("ids:2x7:int64", "the model refuses the input ids:2x7: TypeError: .*mask"),
        ("ids:2x7 mask:2x7", "the model refuses the input ids:2x7 mask:2x7"),
    ],
)
def test_wrong_inputs(tmp_path: Path, models: Path, shape: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        export(tmp_path / "out", "text", path=models, shape=shape)


def test_refused_while_seeding(tmp_path: Path, models: Path) -> None:
    with pytest.raises(UserError, match="the model refuses the input input:1x4x16x16"):
        export(tmp_path / "out", "cnn", path=models, shape="1x4x16x16", weights="random")


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_dynamic_batch_and_size(tmp_path: Path, models: Path, exporter: str) -> None:
    shape = "1..2..5x3x16..32..64x16..24..48"
    facts = export(tmp_path / "out", "dense", path=models, shape=shape, exporter=exporter)
    assert [size for size in facts.inputs[0].shape if isinstance(size, int)] == [3]
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass", comparison.reason
    seen = {tuple(sample.shapes["x"]) for sample in comparison.samples}
    assert seen == {(2, 3, 32, 24), (1, 3, 16, 16), (5, 3, 64, 48), (3, 3, 40, 32)}


def test_a_baked_size_names_the_dimension(tmp_path: Path, models: Path) -> None:
    with pytest.raises(ConversionError, match=r"dimension 0 of x was asked for as 1\.\.2\.\.4, but .* fixed it at 2"):
        export(tmp_path / "out", "baked", path=models, shape="1..2..4x3", exporter="dynamo")


def test_a_baked_size_that_the_exporter_hides_fails_the_comparison(tmp_path: Path, models: Path) -> None:
    export(tmp_path / "out", "baked_inside", path=models, shape="1..2..4x3", exporter="torchscript")
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "fail"
    passed = {sample.sample: sample.passed for sample in comparison.samples}
    assert passed["random 0"]
    assert not passed["unseen size"]
    assert "'min size'" in comparison.reason


def test_a_baked_size_that_the_runtime_refuses(tmp_path: Path, models: Path) -> None:
    export(tmp_path / "out", "baked", path=models, shape="2..3..5x3", exporter="torchscript")
    with pytest.raises(ConversionError, match="ONNX Runtime can't run the graph on the sample 'min size'") as caught:
        compare(tmp_path / "compared", tmp_path / "out")
    assert "fixed" in caught.value.remedy


def test_state_between_calls(tmp_path: Path, models: Path) -> None:
    facts = export(tmp_path / "out", "counter", path=models, shape="2x3")
    assert facts.warnings == ["the model answers the same input differently: it keeps state or draws random numbers"]
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "fail"
    assert not comparison.samples[-1].passed
    assert comparison.samples[-1].sample == "random 0 again"


def test_an_output_that_the_next_call_overwrites(tmp_path: Path, models: Path) -> None:
    facts = export(tmp_path / "out", "total", path=models, shape="1x3")
    assert facts.warnings == []
    ((_, results),) = load_results(tmp_path / "out")
    _, feeds = load_samples(tmp_path / "out")
    for feed, result in zip(feeds, results, strict=True):
        np.testing.assert_array_equal(result["output"], feed["x"])


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_external_data(tmp_path: Path, models: Path, exporter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporters, "EXTERNAL_DATA_BYTES", 1000)
    out = tmp_path / "out"
    export(out, "big", path=models, shape="1..2..4x64", exporter=exporter)
    assert names(out) == {"model.onnx", "model.onnx.data", "samples.json", "inputs.json", "results.json"}
    assert (out / "model.onnx").stat().st_size < 64 * 128 * 4 < (out / "model.onnx.data").stat().st_size
    assert compare(tmp_path / "compared", out).verdict == "pass"


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, models: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        export(tmp_path / name, "big", path=models, shape="1x64", seed=seed, exporter="torchscript")
    weights = {
        name: {t.name: t.raw_data for t in onnx.load(tmp_path / name / "model.onnx").graph.initializer}
        for name in "abc"
    }
    assert weights["a"] == weights["b"] != weights["c"]


def test_weights_random_are_scaled(tmp_path: Path, models: Path) -> None:
    facts = export(tmp_path / "out", "cnn", path=models, shape="8x3x16x16", weights="random", exporter="torchscript")
    assert facts.weights is not None
    assert facts.weights.origin == "random"
    ((_, results),) = load_results(tmp_path / "out")
    assert results[0]["output"].std() == pytest.approx(1, abs=0.4)


def test_weights_from_a_file(tmp_path: Path, models: Path) -> None:
    torch.manual_seed(5)
    state = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64)).state_dict()
    torch.save(state, tmp_path / "w.pth")
    options = {"weights": str(tmp_path / "w.pth"), "weights_sha256": "its hash"}
    facts = export(tmp_path / "out", "big", path=models, shape="2x64", exporter="torchscript", **options)
    assert facts.weights is not None
    assert (facts.weights.origin, facts.weights.sha256) == ("file", "its hash")
    ((_, results),) = load_results(tmp_path / "out")
    _, feeds = load_samples(tmp_path / "out")
    hidden = np.maximum(feeds[0]["input"] @ state["0.weight"].numpy().T + state["0.bias"].numpy(), 0)
    np.testing.assert_allclose(
        results[0]["output"], hidden @ state["2.weight"].numpy().T + state["2.bias"].numpy(), atol=1e-5
    )


def test_flags_of_detectors_are_refused_for_others(tmp_path: Path, models: Path) -> None:
    for flag in ({"stock": True}, {"proposals": 100}):
        with pytest.raises(UserError, match="for torchvision's detectors, and this is none"):
            export(tmp_path / f"{[*flag]}", "cnn", path=models, shape="1x3x16x16", **flag)


DETECTOR = dedent(
    """
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large
    def make(): return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)
    """
)


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    path = tmp_path / "detector_of_test.py"
    path.write_text(DETECTOR)
    return path


@pytest.mark.parametrize(
    ("shape", "flags", "message"),
    [
        ("1x1x320x320", {}, "one float32 input of shape Nx3xHxW"),
        ("3x320x320", {}, "one float32 input of shape Nx3xHxW"),
        ("1x3x320x320:uint8", {}, "one float32 input of shape Nx3xHxW"),
        ("a:1x3x320x320 b:1x3x320x320", {}, "inputs are images, targets, not a, b"),
        ("1..2..4x3x320x320", {}, "exported with one fixed shape"),
        ("2x3x320x320", {"stock": True}, "give a batch of 1"),
        ("1x3x320x320", {"proposals": 5}, "proposals is a setting of Faster R-CNN"),
    ],
)
def test_detectors_refuse(tmp_path: Path, detector: Path, shape: str, flags: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        export(tmp_path / "out", "make", path=detector, shape=shape, **flags)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("stock", [False, True])
def test_detector(tmp_path: Path, detector: Path, stock: bool) -> None:
    facts = export(tmp_path / "out", "make", path=detector, shape="1x3x320x320", stock=stock, weights="random")
    assert facts.task == "detection"
    assert [info.name for info in facts.outputs] == ["boxes", "scores", "labels"]
    assert ("NonMaxSuppression" in facts.ops) == stock
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass", comparison.reason
    assert comparison.samples[0].detections is not None
    assert comparison.samples[0].detections.matched > 10
