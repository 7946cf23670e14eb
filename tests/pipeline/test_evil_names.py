"""Names that give a terminal orders, hide text or hold markup are shown, and nothing of them is obeyed."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from enginesmith.converters.core.printable import one_line, printable, printable_json, printable_values
from enginesmith.pipeline.api.console import escape

ENGINESMITH = str(Path(sys.executable).with_name("enginesmith"))
ORDERS = "\x1b]0;OWNED\x07\x1b[2J\x9b31m\x7f\r\u202egnp\u2066\u2028[red]x[/red][link=http://evil]l[/]\\"
FORGED = "\nengine    verified: yes"
OURS = re.compile(r"\x1b\[[0-9;]*[mKA-H]|\x1b\[\?25[lh]|\r(?=[\n\x1b])|[\n\t]")
"""What rich sends by itself: colours, moves of the cursor, the ends of lines."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that TVM refuses, one that it takes, a log, a Python file."""
    folder = tmp_path_factory.mktemp("evil")
    value = helper.make_tensor_value_info

    def evil(name: str) -> str:
        return name + ORDERS + FORGED

    def save(file: str, op: str, domain: str) -> None:
        weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), evil("w"))
        nodes = [
            helper.make_node("MatMul", [evil("x"), evil("w")], [evil("m")], evil("product")),
            helper.make_node(op, [evil("m")], [evil("y")], evil("node"), domain=domain),
        ]
        ends = [[value(evil(name), TensorProto.FLOAT, [2, 4])] for name in "xy"]
        graph = helper.make_graph(nodes, evil("graph"), *ends, [weight], doc_string=evil("doc"))
        opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name=evil("producer"))
        onnx.save(model, folder / file)

    save("refused.onnx", evil("NoSuch"), evil("domain"))
    save("good.onnx", "Relu", "")
    (folder / "build.log").write_text(
        f"[E] [TRT] ModelImporter.cpp:948: ERROR: parsing node {ORDERS}: No importer registered for op: Foo{ORDERS}\n"
        f"RuntimeError: something that {ORDERS} nobody knows\n"
    )
    (folder / "f.py").write_text(f"def made():\n    raise RuntimeError({evil('no luck ')!r})\n")
    return folder


COMMANDS = (
    "doctor refused.onnx --for tvm",
    "doctor refused.onnx --for tvm --no-trial --json",
    "doctor good.onnx --for tvm --fix fixed.onnx",
    "bisect good.onnx --fails check",
    "bisect refused.onnx --fails load|in|onnxruntime --out small.onnx",
    "bisect refused.onnx --fails load|in|onnxruntime --out small.onnx --json",
    "explain build.log",
    "explain build.log --json",
    "build good.onnx --backend tvm --measure 0 --out out --verbose",
    "build refused.onnx --backend tvm --measure 0 --out refused",
    "build f.py:made --backend tvm --out made --shape 1x4",
)


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize("command", COMMANDS)
def test_names_are_shown_and_not_sent(folder, command, terminal):
    text = said(folder, [word.replace("|", " ") for word in command.split()], terminal=terminal)
    assert only_ours(text), [sign for sign in OURS.sub("", text) if not sign.isprintable()]
    assert "\x1b[2J" not in text
    assert "\n" + FORGED.strip() not in text.replace("\r", "")
    assert "Traceback" not in text


def test_the_check_would_see_them():
    assert not only_ours(ORDERS)
    assert only_ours("\x1b[1mbold\x1b[0m\r\n\x1b[2K\r\x1b[1A✓ built\t1")


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize(
    "words", [["build", ORDERS], [ORDERS], ["build", "--" + ORDERS], ["doctor", ORDERS], ["pages", ORDERS]]
)
def test_arguments_too(folder, words, terminal):
    text = said(folder, words, terminal=terminal)
    assert only_ours(text)
    assert terminal or text.count("\n") == 1
    assert "[red]x[/red]" in text


def test_files_for_others_have_escapes(folder):
    said(folder, ["doctor", "refused.onnx", "--for", "tvm", "--junit", "j.xml", "--sarif", "s.json"], terminal=False)
    texts = [(folder / name).read_text() for name in ("j.xml", "s.json")]
    texts += list(strings(json.loads(texts[1])))
    page = folder / "out/report.html"
    if not page.exists():
        said(folder, ["build", "good.onnx", "--backend", "tvm", "--measure", "0", "--out", "out"], terminal=False)
    scripts = re.compile(r"<script.*?</script>", re.DOTALL)
    texts.append(scripts.sub("", page.read_text()))
    for text in texts:
        assert "\\u202e" in text or "\u202e" not in text
        assert all(sign.isprintable() or sign in "\n\t" for sign in text)


def strings(value):
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(each)


def only_ours(text: str) -> bool:
    return OURS.sub("", text).isprintable()


def said(folder: Path, words: list[str], *, terminal: bool) -> str:
    """What the command says, on both streams."""
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "110"}
    if not terminal:
        done = subprocess.run(
            [ENGINESMITH, *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return (done.stdout + done.stderr).decode()
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [ENGINESMITH, *words], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ):
        os.close(theirs)
        told = b""
        try:
            while chunk := os.read(ours, 65536):
                told += chunk
        except OSError:  # the end of a terminal
            pass
    os.close(ours)
    return told.decode()


def test_every_character_that_orders_or_hides_is_escaped():
    for code in range(0x110000):
        sign = chr(code)
        if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert printable(sign).isascii()
    assert printable("é 漢 ✓ 😀") == "é 漢 ✓ 😀"
    assert printable("a\x1b[31m\n\u202e\udc80") == r"a\x1b[31m\n\u202e\udc80"
    assert printable("a\nb\r", "\n") == "a\nb\\r"


def test_markup_of_a_name_is_no_markup():
    assert escape("[red]\x1b[0m\n") == r"\[red]\x1b[0m\n"


def test_json_means_the_same():
    value = {"\x9b\u202e": ["\U000e0001", "\x7f", 1.5, None, "漢"]}
    text = printable_json(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(text) == value
    assert "漢" in text
    assert all(sign.isprintable() or sign == "\n" for sign in text)


def test_values_keep_their_lines():
    assert printable_values({"a\x1b": ["x\ny\x9b", 1, None]}) == {"a\\x1b": ["x\ny\\x9b", 1, None]}


def test_one_line_is_one_and_short():
    line = one_line("no file " + "L" * 5000 + "\nand\r" + "short words " * 500)
    assert len(line) < 1500
    assert line.isprintable()
    assert line.startswith("no file LLL")
    assert "…" in line
