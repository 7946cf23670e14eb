"""PyTorch models from libraries, factories and files; and one line with the place for whatever goes wrong in them."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from export_models import imports
from torch import nn

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models import source as torch_source
from enginesmith.converters.torch_models.loaded import LoadedModel
from enginesmith.converters.torch_models.source import load_model

__all__ = ["imports"]  # the fixture


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No host answers, nothing was downloaded before, and a try to connect is an error."""
    import huggingface_hub.constants

    monkeypatch.setattr(torch_source, "reachable", lambda host: False)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("a connection was tried"))


def load(
    kind: str, ref: str = "", path: Path | None = None, weights: str = "auto", trust: bool = False, seed: int = 0
) -> LoadedModel:
    return load_model(kind, ref, path, weights, trust, seed)


def factory(folder: Path, body: str, name: str = "factory_file_of_test") -> Path:
    path = folder / f"{name}.py"
    path.write_text(body)
    return path


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [
        ("torchvision", "resnet51", "resnet50"),
        ("torchvision", "zzzzzz", r"\(it has [0-9]+\)"),
        ("timm", "vit_smal_patch16_224", "vit_small_patch16_224"),
        ("timm", "resnet18.a1_in2k", "resnet18.a1_in1k"),
    ],
)
def test_unknown_names(kind: str, name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"{kind} has no model '{name}'.*{near}"):
        load(kind, name)


@pytest.mark.parametrize(("kind", "name"), [("torchvision", "squeezenet1_1"), ("timm", "test_vit.r160_in1k")])
def test_unreachable_weights_are_random_and_said_to_be(kind: str, name: str) -> None:
    loaded = load(kind, name)
    assert loaded.weights.origin == "random"
    assert loaded.unreachable == torch_source.HOSTS[kind]
    assert loaded.library == kind
    (warning,) = loaded.warnings
    assert loaded.unreachable in warning
    assert "random, with seed 0" in warning
    assert not loaded.module.training
    again, other = load(kind, name), load(kind, name, seed=1)
    first = [*loaded.module.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(first, again.module.state_dict().values(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other.module.state_dict().values(), strict=True))


@pytest.mark.parametrize(("kind", "name"), [("torchvision", "squeezenet1_1"), ("timm", "test_vit.r160_in1k")])
def test_pretrained_was_asked_for(kind: str, name: str) -> None:
    with pytest.raises(
        UserError, match=f"can't fetch the pretrained weights of {kind}:{name}: {torch_source.HOSTS[kind]}"
    ):
        load(kind, name, weights="pretrained")


@pytest.mark.parametrize(("kind", "name"), [("torchvision", "squeezenet1_1"), ("timm", "test_vit.r160_in1k")])
def test_random_asks_no_host(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_source, "reachable", lambda host: pytest.fail("a host was asked"))
    loaded = load(kind, name, weights="random")
    assert (loaded.weights.origin, loaded.warnings, loaded.unreachable) == ("random", (), "")


def test_a_model_that_has_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: [])
    loaded = load("torchvision", "squeezenet1_1")
    assert loaded.weights.origin == "random"
    assert loaded.warnings == (
        "torchvision has no pretrained weights for squeezenet1_1; the weights are random, with seed 0",
    )
    assert loaded.unreachable == "", "no host would change that"
    with pytest.raises(UserError, match="torchvision:squeezenet1_1 has no pretrained weights"):
        load("torchvision", "squeezenet1_1", weights="pretrained")


def test_timm_without_weights() -> None:
    name = next(
        name for name in ("resnet10t", "vit_tiny_patch16_384", "darknet17") if not timm.is_model_pretrained(name)
    )
    with pytest.raises(UserError, match=f"timm:{name} has no pretrained weights: timm lists none"):
        load("timm", name, weights="pretrained")


def checkpoint(name: str) -> Path:
    """Where torch.hub keeps the download."""
    url = torchvision.models.get_model_weights(name).DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    path.parent.mkdir(parents=True)
    return path


def test_weights_that_were_downloaded_before_need_no_host() -> None:
    torch.manual_seed(7)
    source = torchvision.models.squeezenet1_1()
    torch.save(source.state_dict(), checkpoint("squeezenet1_1"))
    loaded = load("torchvision", "squeezenet1_1")
    assert (loaded.weights.origin, loaded.weights.detail) == ("pretrained", "SqueezeNet1_1_Weights.IMAGENET1K_V1")
    assert (loaded.warnings, loaded.unreachable) == ((), "")
    states = zip(loaded.module.state_dict().values(), source.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in states)


@pytest.mark.parametrize("content", [b"", b"<html>proxy error</html>", b"PK\x03\x04 cut off"])
def test_a_damaged_download(content: bytes) -> None:
    path = checkpoint("squeezenet1_1")
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"the downloaded weights {path} are damaged; delete them"):
        load("torchvision", "squeezenet1_1")


def test_a_host_that_answers_and_then_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise urllib.error.HTTPError("https://download.pytorch.org/x", 503, "busy", {}, None)  # type: ignore[arg-type]

    monkeypatch.setattr(torch_source, "reachable", lambda host: True)
    monkeypatch.setattr("torch.hub.download_url_to_file", broken)
    loaded = load("torchvision", "squeezenet1_1")
    assert loaded.weights.origin == "random"
    assert "503" in loaded.warnings[0]
    assert loaded.unreachable


def test_detectors_take_no_backbone_weights_either() -> None:
    loaded = load("torchvision", "ssdlite320_mobilenet_v3_large", weights="random")
    assert loaded.weights.origin == "random"


def test_weights_of_the_users(tmp_path: Path) -> None:
    torch.manual_seed(7)
    source = torchvision.models.squeezenet1_1()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    loaded = load("torchvision", "squeezenet1_1", weights=str(tmp_path / "w.pth"))
    assert (loaded.weights.origin, loaded.weights.detail) == ("file", str(tmp_path / "w.pth"))
    assert loaded.warnings == ()
    states = zip(loaded.module.state_dict().values(), source.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in states)


GOOD = "from torch import nn\ndef make(): return nn.Sequential(nn.Linear(2, 2), nn.Dropout())\n"


def test_factory(tmp_path: Path) -> None:
    path = factory(tmp_path, GOOD)
    loaded = load("factory-file", "make", path)
    assert loaded.weights.origin == "model"
    assert not loaded.module.training
    one, other = load("factory-file", "make", path, seed=1).module, load("factory-file", "make", path, seed=2).module
    assert not torch.equal(one[0].weight, other[0].weight)  # type: ignore[index]
    with pytest.raises(UserError, match="such a model comes with the weights that it has"):
        load("factory-file", "make", path, weights="pretrained")


def test_a_class_is_a_factory(tmp_path: Path) -> None:
    path = factory(
        tmp_path, "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self): super().__init__(2, 3)\n"
    )
    assert isinstance(load("factory-file", "Net", path).module, nn.Linear)


def test_a_factory_may_give_an_exported_program(tmp_path: Path) -> None:
    body = (
        "import torch\ndef make():\n    module = torch.nn.Linear(2, 2).eval()\n"
        "    return torch.export.export(module, (torch.zeros(1, 2),)).module()\n"
    )
    module = load("factory-file", "make", factory(tmp_path, body)).module
    assert module(torch.zeros(1, 2)).shape == (1, 2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "import there_is_no_such_module",
            r"factory_file_of_test\.py can't be imported: ModuleNotFoundError: .*\(factory_file_of_test\.py:1\)",
        ),
        ("x = (", r"can't be imported: SyntaxError: "),
        ("\n\n1 / 0", r"can't be imported: ZeroDivisionError: division by zero \(factory_file_of_test\.py:3\)"),
        ("import sys; sys.exit(3)", r"can't be imported: SystemExit: 3 \(factory_file_of_test\.py:1\)"),
        ("def made(): pass\ndef other(): pass", r"has no function 'make'; it has made"),
        ("make = 3", r"has no function 'make'$"),
        ("def make(): return 3", r"returned int; it must return a torch\.nn\.Module, \(module, inputs\) or"),
        (
            "def make(size): pass",
            r"the factory .*:make failed: TypeError: .*missing 1 required positional argument: 'size'$",
        ),
        ("def make():\n    raise ValueError('a\\nb')", r"failed: ValueError: a \(factory_file_of_test\.py:2\)"),
        (
            "import torch\ndef make():\n    model = torch.nn.Linear(2, 2)\n    model.load_state_dict({})",
            r"failed: RuntimeError: Error.* in loading state_dict for Linear: \(factory_file_of_test\.py:4\)",
        ),
    ],
)
def test_factories_that_fail(tmp_path: Path, body: str, message: str) -> None:
    """The place is in the user's file, also when the error is raised deep within torch."""
    with pytest.raises(UserError, match=message):
        load("factory-file", "make", factory(tmp_path, body))


def test_factory_in_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder where the user is, which need not be installed."""
    factory(tmp_path, GOOD, "module_of_test")
    monkeypatch.chdir(tmp_path)
    assert isinstance(load("factory-module", "module_of_test:make").module, nn.Sequential)
    with pytest.raises(
        UserError, match=r"module module_of_tset can't be imported: ModuleNotFoundError: No module named"
    ):
        load("factory-module", "module_of_tset:make")
    with pytest.raises(UserError, match="module_of_test has no function 'mak'; it has make"):
        load("factory-module", "module_of_test:mak")


def test_torchscript_and_pickles(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    path = tmp_path / "m.pt"
    torch.save(module.state_dict(), path)
    with pytest.raises(UserError, match=r"holds weights but no model; .*WEIGHTS=.*m\.pt"):
        load("torchscript", path=path)
    torch.save(module, path)
    with pytest.raises(UserError, match=r"holds pickled Python objects .*--trust"):
        load("torchscript", path=path)
    assert isinstance(load("torchscript", path=path, trust=True).module, nn.Linear)
    with pytest.raises(UserError, match=r"m\.pt carries its weights; leave WEIGHTS out"):
        load("torchscript", path=path, weights="random")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off", "half"])
def test_no_torchscript(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "m.pt"
    torch.jit.script(nn.Linear(2, 2)).save(path)
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="is no TorchScript file"):
        load("torchscript", path=path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off"])
def test_no_exported_program(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pt2").write_bytes(content)
    with pytest.raises(UserError, match="is no exported program"):
        load("exported-program", path=tmp_path / "m.pt2")


def test_exported_program_brings_its_named_inputs_along(tmp_path: Path) -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor, *, scale: torch.Tensor) -> torch.Tensor:
            return x * scale

    program = torch.export.export(Net(), (torch.zeros(1, 2),), {"scale": torch.zeros(1)})
    torch.export.save(program, tmp_path / "m.pt2")
    example = load("exported-program", path=tmp_path / "m.pt2").example
    assert [tuple(value.shape) for value in example.args] == [(1, 2)]
    assert list(example.kwargs) == ["scale"]
