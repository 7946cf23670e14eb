"""Every form of MODEL, and what is said about one that is none."""

from __future__ import annotations

import pytest

from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.job.source import resolve_source
from enginesmith.pipeline.job.zoo import zoo


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("model", "kind", "ref", "name"),
    [
        ("torchvision:resnet18", "torchvision", "resnet18", "resnet18"),
        ("timm:hf_hub:a/b.c", "timm", "hf_hub:a/b.c", "hf_hub_a_b.c"),
        ("pkg.sub_mod:make", "factory-module", "pkg.sub_mod:make", "make"),
        ("hf:org/name", "hf", "org/name", "name"),
        ("hf:org/name@v1.0#decoder", "hf", "org/name@v1.0#decoder", "name_v1.0_decoder"),
        ("ultralytics:yolo11n", "ultralytics", "yolo11n", "yolo11n"),
        ("ultralytics:a/yolo11n-seg.yaml", "ultralytics", "a/yolo11n-seg.yaml", "yolo11n-seg"),
    ],
)
def test_names(model, kind, ref, name):
    source = resolve_source(model)
    assert (source.kind, source.ref, source.name, source.path) == (kind, ref, name, None)


@pytest.mark.parametrize(
    ("model", "file", "kind", "ref", "name"),
    [
        ("net.onnx", "net.onnx", "onnx", "", "net"),
        ("NET.ONNX", "NET.ONNX", "onnx", "", "NET"),
        ("a/my net.pt2", "a/my net.pt2", "exported-program", "", "my_net"),
        ("net.pt", "net.pt", "torchscript", "", "net"),
        ("net.ts", "net.ts", "torchscript", "", "net"),
        ("a/net.py:make", "a/net.py", "factory-file", "make", "make"),
    ],
)
def test_files(tmp_path, model, file, kind, ref, name):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    source = resolve_source(model)
    assert (source.kind, source.ref, source.name, source.path) == (kind, ref, name, tmp_path / file)


@pytest.mark.parametrize(
    ("model", "kind", "ref", "name"),
    [
        ("hf:a/smol", "hf", "", "smol"),
        ("hf:a/smol#decoder", "hf", "#decoder", "smol_decoder"),
        ("ultralytics:a/smol/best.pt", "ultralytics", "", "best"),
    ],
)
def test_models_of_libraries_at_a_place(tmp_path, model, kind, ref, name):
    (tmp_path / "a" / "smol").mkdir(parents=True)
    (tmp_path / "a" / "smol" / "best.pt").touch()
    source = resolve_source(model)
    path = tmp_path / "a" / "smol"
    assert (source.kind, source.ref, source.name) == (kind, ref, name)
    assert source.path == (path if kind == "hf" else path / "best.pt")


@pytest.mark.parametrize("name", zoo())
def test_every_zoo_entry_resolves(name):
    source = resolve_source(name)
    assert source.name == name
    assert source.task == zoo()[name].task
    assert source.shape == zoo()[name].shape


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("lenett", "nearest: lenet"),
        ("frccn", "nearest: frcnn"),
        ("qqqqqqqq", "the zoo has frcnn"),
        ("nte.onnx", "no file nte.onnx; nearest: net.onnx"),
        ("nowhere/net.onnx", "no file nowhere/net.onnx; give an existing path"),
        ("folder.onnx", "no file folder.onnx"),
        ("net.py", "net.py:factory"),
        ("net.py:", "'' is no function name"),
        ("net.py:make model", "'make model' is no function name"),
        ("torchvision:", "'' is no function name"),
        ("hf:no/such/folder", "no folder no/such/folder; give hf:DIR with a config.json, or hf:ORG/NAME"),
        ("hf:", "'' is no function name"),
        ("ultralytics:nte.pt", "no file nte.pt"),
        ("", "unknown model ''"),
        ("a b:c", "unknown model 'a b:c'"),
        ("\0.onnx", "no file"),
    ],
)
def test_a_mistake_is_named(tmp_path, model, message):
    for file in ("net.onnx", "net.py"):
        (tmp_path / file).touch()
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(UserError) as error:
        resolve_source(model)
    assert message in str(error.value)
