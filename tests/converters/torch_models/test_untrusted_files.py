"""Files of PyTorch that run code when they are loaded or run: none does so without trust, and sound ones need none."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.source import load_model

MARK = "ran"
CODE = f"__import__('os').system('touch {MARK}')"
Members = dict[str, bytes]


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {MARK}",)


def saved(thing: Any) -> bytes:
    out = io.BytesIO()
    torch.save(thing, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Members:
    path = tmp_path_factory.mktemp("program") / "m.pt2"
    size = torch.export.Dim("size", min=2, max=64)
    module = nn.Sequential(nn.Linear(4, 2), nn.Flatten())
    exported = torch.export.export(module, (torch.ones(3, 4),), dynamic_shapes=({0: size},))
    torch.export.save(exported, path)
    return read(path)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Members:
    path = tmp_path_factory.mktemp("script") / "m.pt"
    torch.jit.script(nn.Sequential(nn.Linear(4, 2), nn.ReLU())).save(str(path))
    return read(path)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"m.pt2", "m.pt", "w.pt"}, f"code ran: {left}"


def read(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Members, *more: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in [*members.items(), *more]:
            archive.writestr(f"m/{name}", content)
    return path


def load(path: Path, trust: bool = False) -> nn.Module:
    kind = "exported-program" if path.suffix == ".pt2" else "torchscript"
    return load_model(kind, "", path, "auto", trust, 0).module


def changed(members: Members, old: str, new: str) -> Members:
    name = "models/model.json"
    text = members[name].decode()
    assert old in text
    return {**members, name: text.replace(old, new).encode()}


def graph_with(members: Members, change: Callable[[dict[str, Any]], object]) -> Members:
    program = json.loads(members["models/model.json"])
    change(program)
    return {**members, "models/model.json": json.dumps(program).encode()}


def with_payload(members: Members, kind: str, payload: str, content: bytes) -> Members:
    """A tensor's content as a pickle instead."""
    name = f"data/{kind}/model_{kind}_config.json"
    config = json.loads(members[name])
    described = json.loads(members["data/weights/model_weights_config.json"])
    entry = {**next(iter(described["config"].values())), "path_name": payload, "use_pickle": True}
    config["config"] = {"evil": entry} if kind == "constants" else dict.fromkeys(config["config"], entry)
    return {**members, name: json.dumps(config).encode(), f"data/{kind}/{payload}": content}


TREE = {"type": "collections.defaultdict", "children_spec": []} | {
    "context": {"default_factory_module": "antigravity", "default_factory_name": "fly", "dict_context": []}
}
ENUM = {"type": "builtins.dict", "children_spec": [], "context": '[{"__enum__": true, "fqn": "os:X", "name": "x"}]'}
PROGRAMS: dict[str, Callable[[Members], Members]] = {
    "sample inputs": lambda m: {**m, "data/sample_inputs/model.pt": saved(((Evil(),), {}))},
    "sample inputs, raw": lambda m: {**m, "data/sample_inputs/model.pt": pickle.dumps(Evil())},
    "pickled weights": lambda m: with_payload(m, "weights", "weight_0", saved(Evil())),
    "pickled constants": lambda m: with_payload(m, "constants", "tensor_0", saved(Evil())),
    "custom object": lambda m: with_payload(m, "constants", "custom_obj_0", pickle.dumps(Evil())),
    "opaque object": lambda m: with_payload(m, "constants", "opaque_obj_0", pickle.dumps(Evil())),
    "legacy weights": lambda m: {**m, "data/weights/model.pt": saved({"0.weight": Evil()})},
    "library": lambda m: {**m, "data/aotinductor/model/model.so": b"\x7fELF"},
    "call of os": lambda m: changed(m, "torch.ops.aten.linear.default", "torch.os.system"),
    "call of eval": lambda m: changed(m, "torch.ops.aten.linear.default", "torch.serialization.os.popen"),
    "call of a file's reader": lambda m: changed(
        m, "torch.ops.aten.linear.default", "torch.ops.aten.from_file.default"
    ),
    "loaded library": lambda m: changed(m, "torch.ops.aten.linear.default", "torch.ops.load_library"),
    "operator's caller": lambda m: changed(m, "torch.ops.aten.linear.default", "_operator.methodcaller"),
    "compiled part": lambda m: changed(m, "torch.ops.aten.linear.default", "torch.ops.higher_order.aoti_call_delegate"),
    "size": lambda m: changed(m, "Symbol(", f"{CODE} or Symbol("),
    "size by an attribute": lambda m: changed(m, "Symbol(", "Symbol.__class__("),
    "guard": lambda m: graph_with(m, lambda p: p.update(guards_code=[f"{CODE} == 0"])),
    "range": lambda m: graph_with(m, lambda p: p["range_constraints"].update({CODE: {"min_val": 0, "max_val": 1}})),
    "input's name": lambda m: changed(m, '"input"', json.dumps(f"x={CODE}")),
    "argument's name": lambda m: graph_with(
        m, lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(forward_arg_names=[f"x={CODE}"])
    ),
    "imported class": lambda m: graph_with(
        m, lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(in_spec=json.dumps([1, TREE]))
    ),
    "imported enumeration": lambda m: graph_with(
        m, lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(out_spec=json.dumps([1, ENUM]))
    ),
    "old form": lambda m: {"serialized_exported_program.json": b"{}", "version": b"8.1", "x.pt": saved(Evil())},
}
FORWARD = "def forward(self"
SCRIPTS = {
    "file written": 'torch.from_file("ran", True, 32, dtype=0)',
    "file written by a method": '"ran".from_file(True, 32, dtype=0)',
    "file saved": 'torch.save(torch.ones([2]), "ran")',
    "picture written": 'ops.image.write_file("ran", torch.ones([2], dtype=0))',
    "picture read": 'ops.image.read_file("/etc/hostname")',
    "extension": "ops.mine.run()",
    "class in C++": "__torch__.torch.classes.mine.Runner()",
    "getattr": 'getattr(torch, "from_file")("ran", True, 32)',
}


def scripted(members: Members, statement: str, function: str) -> Members:
    name = next(
        name for name in members if "container" in name and name.endswith(".py")
    )  # torch adds a number to a second one
    lines = members[name].decode().splitlines()
    at = next(number for number, line in enumerate(lines) if FORWARD in line)
    end = next(number for number, line in enumerate(lines) if number >= at and line.endswith(":"))
    head = lines[at : end + 1]
    call = [f"    _evil = {statement}"]
    if function != "forward":
        call = [line.replace("forward", function) for line in head] + call + ["    return argument_1"]
        return {**members, name: "\n".join([*lines[:at], *call, *lines[at:], ""]).encode()}
    return {**members, name: "\n".join([*lines[: end + 1], *call, *lines[end + 1 :], ""]).encode()}


@pytest.mark.parametrize("what", PROGRAMS)
def test_exported_programs(what: str, program: Members, tmp_path: Path) -> None:
    path = write(tmp_path / "m.pt2", PROGRAMS[what](program))
    if what == "guard":  # it is left out: nobody needs it
        assert load(path)(torch.ones(3, 4)).shape == (3, 2)
    else:
        with pytest.raises(UserError, match=r"m\.pt2 .*--trust"):
            load(path)


@pytest.mark.parametrize("function", ["forward", "__setstate__"])
@pytest.mark.parametrize("what", SCRIPTS)
def test_scripts(what: str, function: str, script: Members, tmp_path: Path) -> None:
    path = write(tmp_path / "m.pt", scripted(script, SCRIPTS[what], function))
    with pytest.raises(UserError, match=r"m\.pt has code that calls .*--trust"):
        load(path)


def test_archives_with_two_faces(program: Members, script: Members, tmp_path: Path) -> None:
    """Of two members of one name, readers take different ones."""
    for path, members in ((tmp_path / "m.pt2", program), (tmp_path / "m.pt", script)):
        name = next(name for name in members if name.endswith((".py", "model.json")))
        with pytest.warns(UserWarning, match="Duplicate name"):
            write(path, members, (name, members[name]))
        with pytest.raises(UserError, match=r"two members of one name.*--trust"):
            load(path)


def test_scripts_of_other_forms(script: Members, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"old form of TorchScript.*--trust"):
        load(write(tmp_path / "m.pt", {**script, "model.json": b"{}"}))
    broken = {**script, "code/__torch__/more.py": b"def f(:"}
    with pytest.raises(UserError, match=r"can't be read before it runs.*--trust"):
        load(write(tmp_path / "m.pt", broken))
    stranger = b"\x80\x02c__torch__.torch.classes.mine\nRunner\nq\x00)\x81."
    with pytest.raises(UserError, match=r"C\+\+ class mine\.Runner.*--trust"):
        load(write(tmp_path / "m.pt", {**script, "data.pkl": stranger}))


def test_pickles(tmp_path: Path) -> None:
    for content in (saved(Evil()), saved({"weight": Evil()}), pickle.dumps(Evil())):
        (tmp_path / "m.pt").write_bytes(content)
        with pytest.raises(UserError, match=r"--trust|is no TorchScript file"):
            load(tmp_path / "m.pt")
    (tmp_path / "w.pt").write_bytes(saved({"weight": Evil()}))
    torch.export.save(torch.export.export(nn.Linear(4, 2), (torch.ones(1, 4),)), tmp_path / "m.pt2")
    with pytest.raises(UserError, match="carries its weights"):
        load_model("exported-program", "", tmp_path / "m.pt2", str(tmp_path / "w.pt"), False, 0)


def test_sound_files_need_no_trust(program: Members, script: Members, tmp_path: Path) -> None:
    x = torch.rand(5, 4)
    for path, members in ((tmp_path / "m.pt2", program), (tmp_path / "m.pt", script)):
        write(path, members)
        assert torch.equal(load(path)(x), load(path, trust=True)(x))


def test_sound_programs_of_all_kinds(tmp_path: Path) -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, Any]:
            z = x[:, ::2].reshape(x.shape[0], -1)
            branch = torch.cond(z.sum() > 0, lambda z: z * 2, lambda z: z - 1, (z,))
            return {"branch": branch, "more": (z.sin(), [torch.zeros(x.shape[0] * 2)])}

    path = tmp_path / "m.pt2"
    size = torch.export.Dim("size", min=2, max=64)
    torch.export.save(torch.export.export(Net(), (torch.ones(4, 6),), dynamic_shapes=({0: size},)), path)
    x = torch.rand(7, 6)
    assert torch.equal(load(path)(x)["branch"], Net()(x)["branch"])
