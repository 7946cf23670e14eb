"""A folder that runs from Python, with numpy and what it brings along."""

from __future__ import annotations

from pathlib import Path

from enginesmith.converters.serving.packages.parts import Parts

ENGINE = {"tvm": "engine/module.so", "onnxruntime": "engine/model.onnx"}
"""Backends that it holds, to the engine's file in it."""
USAGE = """\
    pip install -r requirements.txt
    python check.py                          # the sample gives what it should
    python runner.py inputs.npz outputs.npz

From a program: `from runner import Engine`, then `Engine()({{"name": array, ...}})`.{threads}
"""


def write(parts: Parts, folder: Path) -> None:
    parts.put_python(folder)
    (folder / "requirements.txt").write_text("\n".join(parts.requirements) + "\n")
    threads = f" `{parts.threads}` bounds the threads." if parts.threads else ""
    (folder / "README.md").write_text(parts.readme(USAGE.format(threads=threads)))
