"""PyTorch to ONNX by either exporter, from every kind of source, with weights from everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from export_models import imports, models, names
from stages import compare, export, load_samples
from torch import nn

from enginesmith.compat import saving
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.samples import load_results
from enginesmith.converters.data import pictures
from enginesmith.converters.torch_models import exporters

__all__ = ["imports", "models"]  # the fixtures

BESIDE = {"samples.json", "inputs.json", "results.json", "exact.json", "shaken.json", "tried.json"}
"""What lies in an artifact beside the graph."""


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
    assert names(out) == {"model.onnx", *BESIDE}
    comparison = compare(tmp_path / "compared", out)
    assert comparison.verdict == "pass"
    assert [sample.sample for sample in comparison.samples][3:5] == ["astronaut again", "high contrast"]
    assert max(output.max_abs for sample in comparison.samples[:4] for output in sample.outputs) < 1e-5


def test_opset_is_as_asked(tmp_path: Path, models: Path) -> None:
    for opset, exporter in ((17, "torchscript"), (20, "dynamo")):
        export(tmp_path / f"{opset}", "both", path=models, shape="2x3", opset=opset, exporter=exporter)
        imports = onnx.load(tmp_path / f"{opset}" / "model.onnx").opset_import
        assert {entry.domain: entry.version for entry in imports}[""] == opset


def test_torchscript_steps_in_and_dynamos_error_is_recorded(tmp_path: Path, models: Path) -> None:
    facts = export(tmp_path / "out", "branch", path=models, shape="2x3", allow_baked=True)
    assert facts.note == "torchscript"
    dynamo, torchscript = facts.attempts
    assert (dynamo.tool, torchscript.tool, torchscript.error) == ("dynamo", "torchscript", "")
    first, *rest = dynamo.error.splitlines()
    assert first == "data decides whether Eq(u0, 1) (models_of_test.py:28: if x.sum() > 0:)", (
        "and not torch.onnx's frame"
    )
    assert rest[0].startswith("GuardOnDataDependentSymNode: Could not guard")
    assert "\x1b" not in dynamo.error
    beside = BESIDE - {"tried.json"}
    assert names(tmp_path / "out") == {"model.onnx", *beside}, "of a graph with one side alone no result is told"


def test_a_baked_branch_fails_with_its_place_or_is_never_verified(tmp_path: Path, models: Path) -> None:
    with pytest.raises(ConversionError, match=r"takes a bool .*models_of_test\.py:\d+: if x\.sum\(\) > 0:") as caught:
        export(tmp_path / "out", "branch", path=models, shape="2x3")
    assert "--allow-baked" in caught.value.remedy
    doubt = export(tmp_path / "baked", "branch", path=models, shape="2x3", allow_baked=True).doubt
    assert doubt is not None
    assert doubt.verified == "no"
    assert "if x.sum() > 0" in doubt.reason


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
    assert (facts.weights.origin, facts.weights.sha256) == ("model", hash_file(path))
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
    with pytest.raises(
        UserError, match=r"the model refuses the input .*:5x3: .*; give the SHAPE that it takes, or inputs"
    ):
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


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_external_data(tmp_path: Path, models: Path, exporter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "LARGE", 1000)
    out = tmp_path / "out"
    export(out, "big", path=models, shape="1..2..4x64", exporter=exporter)
    assert names(out) == {"model.onnx", "model.onnx.data", *BESIDE}
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
    digest = hash_file(tmp_path / "w.pth")
    options = {"weights": str(tmp_path / "w.pth"), "weights_sha256": digest}
    facts = export(tmp_path / "out", "big", path=models, shape="2x64", exporter="torchscript", **options)
    assert facts.weights is not None
    assert (facts.weights.origin, facts.weights.sha256) == ("file", digest)
    ((_, results),) = load_results(tmp_path / "out")
    _, feeds = load_samples(tmp_path / "out")
    hidden = np.maximum(feeds[0]["input"] @ state["0.weight"].numpy().T + state["0.bias"].numpy(), 0)
    np.testing.assert_allclose(
        results[0]["output"], hidden @ state["2.weight"].numpy().T + state["2.bias"].numpy(), atol=1e-5
    )


def factory(path: Path, body: str) -> Path:
    path.write_text(f"import torch\nfrom torch import nn\n{body}")
    return path


GRID = """
class Grid(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 4)
    def forward(self, steps):
        n = steps.item()
        torch._check(n >= 1)
        torch._check(n <= 64)
        return self.line(torch.arange(n).float()[:, None] / 64)
def make(): return Grid(), (torch.tensor(12),)
"""


def test_the_exporter_follows_the_example(tmp_path: Path) -> None:
    """It would refuse zeros."""
    export(tmp_path / "out", "make", path=factory(tmp_path / "grid.py", GRID), exporter="dynamo")
    _, feeds = load_samples(tmp_path / "out")
    assert int(feeds[0]["steps"]) == 12


PICTURE = """
class Bytes(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, image):
        return self.conv(image.permute(0, 3, 1, 2).float() / 255).mean((2, 3))
def make():
    torch.manual_seed(0)
    return Bytes(), (torch.randint(0, 256, (1, 32, 40, 3), dtype=torch.uint8),)
"""


def test_pictures_go_to_bytes_with_the_channels_last_behind_the_example(tmp_path: Path) -> None:
    export(tmp_path / "out", "make", path=factory(tmp_path / "bytes.py", PICTURE), samples=3)
    samples, feeds = load_samples(tmp_path / "out")
    assert [sample.name for sample in samples.samples][:4] == ["example", "astronaut", "derived 2", "example again"]
    np.testing.assert_array_equal(feeds[1]["image"][0], pictures.load("astronaut", 32, 40))
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


CHOSEN = """
class Chosen(nn.Module):
    def forward(self, x, kind):
        if kind.shape[0] > 2 and bool((kind > 4).any()):
            raise ValueError("no such kind\\nat all")
        return x * kind
def make(): return Chosen(), (torch.rand(3), torch.tensor([{}, 2, 3]))
"""


def test_an_example_that_its_own_model_refuses_is_told_in_the_models_words(tmp_path: Path) -> None:
    path = factory(tmp_path / "chosen.py", CHOSEN.format(9))
    with pytest.raises(
        UserError, match=r"refuses the input x:3 kind:3 of yours \(example\): ValueError: no such kind"
    ) as caught:
        export(tmp_path / "out", "make", path=path)
    assert "SHAPE" not in str(caught.value)
