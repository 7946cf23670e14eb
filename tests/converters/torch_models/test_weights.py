"""Weights from files, and whether a host can be reached."""

from __future__ import annotations

import argparse
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models import weights
from enginesmith.converters.torch_models.weights import load_weights, reachable, read_pickle


class Odd:
    """An object of a class that torch does not know."""


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("form", ["plain", "safetensors", "legacy", "state_dict", "model", "both"])
def test_fits(tmp_path: Path, form: str) -> None:
    source, module = network(1), network(2)
    state = source.state_dict()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(state, path)
    elif form == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        wrapped = {"state_dict": {"state_dict": state, "epoch": 3}, "model": {"model": state}}.get(form, state)
        torch.save({"state_dict": {"model": state}} if form == "both" else wrapped, path)
    assert not same(source, module)
    load_weights(module, path, trust=False)
    assert same(source, module)


def test_does_not_fit(tmp_path: Path) -> None:
    """Shapes first, then what is missing, then what is unknown; three of them."""
    state = network().state_dict()
    state["0.weight"] = torch.zeros(5, 3)
    del state["2.weight"]
    state["head.bias"] = state["head.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pth")
    module = network(2)
    with pytest.raises(UserError) as caught:
        load_weights(module, tmp_path / "w.pth", trust=False)
    message = str(caught.value)
    assert "don't fit the model: 0.weight (file (5, 3), model (4, 3)); 2.weight (missing in the file); head." in message
    assert message.endswith(" and 1 more")
    assert same(module, network(2)), "nothing was loaded"


def test_pickled_module(tmp_path: Path) -> None:
    source, module = network(1), network(2)
    torch.save(source, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"holds pickled Python objects .*--trust \(TRUST=1\)"):
        load_weights(module, tmp_path / "w.pth", trust=False)
    load_weights(module, tmp_path / "w.pth", trust=True)
    assert same(source, module)


def test_a_checkpoint_with_other_objects(tmp_path: Path) -> None:
    source, module = network(1), network(2)
    torch.save({"model": source.state_dict(), "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="--trust"):
        load_weights(module, tmp_path / "w.pth", trust=False)
    load_weights(module, tmp_path / "w.pth", trust=True)
    assert same(source, module)


def test_nothing_runs_without_trust(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "touched",)

    torch.save({"a": Evil()}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="--trust"):
        load_weights(network(), tmp_path / "w.pth", trust=False)
    assert not (tmp_path / "touched").exists()


def damaged(folder: Path, how: str) -> Path:
    path = folder / "w.pth"
    torch.save(network().state_dict(), path, _use_new_zipfile_serialization=how != "legacy")
    content = path.read_bytes()
    contents = {
        "truncated": content[: len(content) // 2],
        "legacy": content[:-40],
        "empty": b"",
        "text": b"hello world, this is no checkpoint\n" * 9,
        "page": b"<!DOCTYPE html><html>404</html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
        "binary": bytes(range(256)) * 9,
        "pickle": pickle.dumps({"a": 1}),
    }
    path.write_bytes(contents[how])
    return path


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("how", ["truncated", "legacy", "empty", "text", "page", "pointer", "binary", "pickle"])
def test_damaged(tmp_path: Path, how: str, trust: bool) -> None:
    """--trust would not help, and is not asked for."""
    with pytest.raises(UserError, match=r"can't be read as what torch\.save wrote") as caught:
        load_weights(network(), damaged(tmp_path, how), trust)
    assert "--trust" not in str(caught.value)


def test_damaged_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(network().state_dict(), path)
    for content in (path.read_bytes()[:-8], b"", b"hello"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="can't be read"):
            load_weights(network(), path, trust=False)
    path.unlink()
    with pytest.raises(UserError, match="can't be read"):
        load_weights(network(), path, trust=False)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(3)])
def test_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match="hold no state dict"):
        load_weights(network(), tmp_path / "w.pth", trust=False)


def test_a_trusted_pickle_whose_class_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"o": Odd()}, tmp_path / "w.pth")
    monkeypatch.delattr(f"{__name__}.Odd")
    with pytest.raises(UserError, match="AttributeError"):
        read_pickle(tmp_path / "w.pth", trust=True)


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "getproxies", dict)


@pytest.fixture
def listening() -> Iterator[int]:
    """A port that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def redirect(monkeypatch: pytest.MonkeyPatch, port: int, asked: list[object]) -> None:
    """Let connections go to a port of this machine."""
    connect = socket.create_connection

    def to_here(address: object, timeout: float) -> socket.socket:
        asked.append(address)
        return connect(("127.0.0.1", port), timeout)

    monkeypatch.setattr(socket, "create_connection", to_here)


@pytest.mark.usefixtures("no_proxy")
def test_reachable(monkeypatch: pytest.MonkeyPatch, listening: int) -> None:
    asked: list[object] = []
    redirect(monkeypatch, listening, asked)
    assert reachable("weights.example")
    assert asked == [("weights.example", 443)]


@pytest.mark.usefixtures("no_proxy")
def test_refused(monkeypatch: pytest.MonkeyPatch, listening: int) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        redirect(monkeypatch, unused.getsockname()[1], [])
        assert not reachable("weights.example")


def test_a_proxy_is_asked_instead(monkeypatch: pytest.MonkeyPatch, listening: int) -> None:
    asked: list[object] = []
    redirect(monkeypatch, listening, asked)
    monkeypatch.setattr(weights, "getproxies", lambda: {"https": "http://user:secret@proxy.example:3128"})
    assert reachable("weights.example")
    assert asked == [("proxy.example", 3128)]


@pytest.mark.usefixtures("no_proxy")
def test_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's look-up knows no time-out, and takes up to half a minute."""
    released = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        released.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    assert not reachable("weights.example")
    assert 1.9 < time.monotonic() - started < 4
    released.set()


@pytest.mark.usefixtures("no_proxy")
def test_names_that_are_none() -> None:
    for host in ("", "a" * 300, "no such.host.invalid"):
        assert not reachable(host)


def test_a_proxy_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "getproxies", lambda: {"https": "http://proxy:port"})
    assert urlparse("http://proxy:port").hostname == "proxy"
    assert not reachable("weights.example")
