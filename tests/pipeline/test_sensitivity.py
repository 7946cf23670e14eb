"""`enginesmith sensitivity`: the command from a file to the ranked layers, its page, and bad requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from browser import browse, chromium, drawn_plots
from onnx import TensorProto, helper, numpy_helper
from report_pages import HOSTILE, Page
from rich.console import Console
from running import Answer, CommandLine

from enginesmith.converters.core.records import LayerLoss, SensitivityRecord
from enginesmith.pipeline.cli.sensitivity import SHOWN, show
from enginesmith.pipeline.report import render_sensitivity, write_sensitivity

__all__ = ["chromium"]  # the fixture


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two products: in the second, int8 loses all rows but one."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal((8, 8)).astype(np.float32)
    first[:, 0] *= 1000
    second = rng.standard_normal((8, 4)).astype(np.float32)
    second[0] /= 1000
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"], name="even"),
        helper.make_node("MatMul", ["p", "b"], ["y"], name="uneven"),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, s]) for n, s in (("x", 8), ("y", 4)))
    weights = [numpy_helper.from_array(first, "a"), numpy_helper.from_array(second, "b")]
    path = tmp_path_factory.mktemp("sensitivity") / "two.onnx"
    graph = helper.make_graph(nodes, "two", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def record(layers: int = 50, **more: object) -> SensitivityRecord:
    fields: dict[str, object] = {
        "precision": "int8", "metric": "top-1", "data": "my pictures", "examples": 24, "weak": False, "baseline": 0.875,
        "target": "sm_89", "left": [], "barred": {},
        "layers": [LayerLoss(node=f"/block{n}/Conv", op="Conv", precision="int8", loss=0.1 / (n + 1), error=0.2 / (n + 1),
                             saved=0.002) for n in range(layers)],
    }  # fmt: skip
    return SensitivityRecord.model_validate(fields | more)


def test_layers_are_ranked_and_written(shell: CommandLine, model: Path) -> None:
    arguments = ("sensitivity", str(model), "--no-simplify", "--target", "sm_89")
    done = shell.run(*arguments, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "each layer alone in int8" in done.stdout
    found = SensitivityRecord.model_validate_json((shell.folder / "out" / "sensitivity.json").read_bytes())
    assert [layer.node for layer in found.layers] == ["uneven", "even"]
    assert found.layers[0].error > 10 * found.layers[1].error
    assert (found.weak, found.target, found.left, found.barred) == (True, "sm_89", [], {})
    page = Page((shell.folder / "out" / "report.html").read_text())
    assert "1 uneven MatMul" in page.text
    again = shell.run(*arguments, "--json")
    assert SensitivityRecord.model_validate_json(again.stdout) == found
    assert (shell.folder / "build" / "two" / "sensitivity-int8" / "report.html").is_file()


def test_sixteen_bits_hurt_less(shell: CommandLine, model: Path) -> None:
    done = shell.run("sensitivity", str(model), "--no-simplify", "--precision", "fp16", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {layer["node"] for layer in found["layers"]} == {"even", "uneven"}
    assert all(layer["error"] < 2e-3 for layer in found["layers"])


def test_a_model_without_layers_is_a_bad_request(shell: CommandLine) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), shell.folder / "r.onnx"
    )
    done = shell.run("sensitivity", "r.onnx", "--no-simplify")
    assert (done.returncode, done.stderr) == (2, "enginesmith: the graph has no layer for int8\n")
    assert not (shell.folder / "build").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no model; give one"),
        (("none.onnx",), "none.onnx"),
        (("two.onnx", "--precision", "bf16"), "precision = 'bf16': layers are lowered to one of int8, fp16"),
        (("two.onnx", "--precision", "auto"), "precision = 'auto'"),
        (("two.onnx", "--precision", "int9"), "precision = 'int9' is not known; did you mean int8?"),
        (("two.onnx", "--time", "soon"), "'soon'"),
        (("two.onnx", "--eval", "nowhere"), "nowhere"),
        (("two.onnx", "--target", "sm_1"), "sm_1"),
    ],
)
def test_bad_requests_are_one_line(
    enginesmith: Callable[..., Answer], tmp_path: Path, model: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "two.onnx").write_bytes(model.read_bytes())
    answer = enginesmith("sensitivity", *arguments)
    assert answer.status == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "build").exists()


def test_the_terminal_shows_the_worst_and_says_what_is_missing() -> None:
    console = Console(width=160, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    show(console, record(weak=True, left=["/a", "/b"], barred={"/c": "no"}))
    said = console.export_text()
    assert "top-1 0.8750 in float32 on 24 examples of my pictures; each layer alone in int8:" in said
    assert " ".join(said.partition(" 1  /block0")[2].splitlines()[0].split()) == "/Conv Conv +0.1000 20% 2 µs"
    assert f"and {50 - SHOWN} layers that lose less" in said
    assert "time ran out: 2 layers" in said
    assert "weak:" in said
    assert "1 layers can't be lowered" in said


def test_the_page_has_every_layer_and_every_reason() -> None:
    page = Page(render_sensitivity("net", record(weak=True, left=["/a"], barred={"/c": "no scale", "/d": "no scale"})))
    for layer in record().layers:
        assert layer.node in page.text
    assert "50 layers, each alone in int8 top-1 0.8750 in float32, on 24 examples of my pictures" in page.text
    assert "1 /block0/Conv Conv 0.1000 20% ≈ 0.00200 ms" in page.text
    assert "2 layers: no scale /c /d" in page.text
    assert "1 layer: no time was left" in page.text
    assert "A weak measure." in page.text


def test_the_page_loads_nothing_and_keeps_text_text() -> None:
    layers = [LayerLoss(node=HOSTILE, op=HOSTILE, precision="int8", loss=0.1)]
    hostile = record(layers=0).model_copy(update={"layers": layers, "data": HOSTILE, "barred": {HOSTILE: HOSTILE}})
    page = Page(render_sensitivity(HOSTILE, hostile))
    assert not [tag for tag, _ in page.elements if tag in ("img", "iframe", "object", "link")]
    assert not [value for _, value in page.loads if not value.startswith("#")]
    assert page.text.count(HOSTILE) > 5


def test_a_browser_draws_it(chromium: str, tmp_path: Path) -> None:
    write_sensitivity("net", record(), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    document, console = browse(chromium, tmp_path, page)
    assert console == []
    assert drawn_plots(document) == {"layers-int8"}
