"""One process with TVM for all tests of searches, and a small convolution net as the stages before leave it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.isolated import Isolated
from enginesmith.converters.core.stage import Context
from enginesmith.converters.stages.import_onnx import ImportOptions, OnnxImport

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def tuner() -> Iterator[Isolated]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
        with Isolated(without_torch=True) as process:
            yield process


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Inputs of the stage, by role."""
    return _imported(tmp_path_factory.mktemp("net"), "y = Conv (b, w2)")


@pytest.fixture(scope="session")
def refused_net(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """As `net`, with a node that TVM refuses: the exponent is of another type."""
    return _imported(tmp_path_factory.mktemp("refused"), "c = Conv (b, w2) [square] y = Pow (c, two)")


def _imported(folder: Path, end: str) -> dict[str, str]:
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> net (float[1, 16, 12, 12] x) => (float[1, 24, 12, 12] y)'
        " <int64 two = {2}> { a = Conv <pads = [1, 1, 1, 1]> (x, w1) b = Relu (a) " + end + " }"
    )
    for name, shape in (("w1", (16, 16, 3, 3)), ("w2", (24, 16, 1, 1))):
        model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    onnx.save(model, folder / "net.onnx")
    options = ImportOptions.model_validate(
        {
            "path": folder / "net.onnx",
            "sha256": hash_file(folder / "net.onnx"),
            "inputs": (),
            "samples": 1,
            "seed": 0,
            "task": "tensor",
            "pixels": None,
        }
    )
    for name in ("import", "scratch"):
        (folder / name).mkdir()
    OnnxImport().run({}, options, Context(folder / "import", folder / "scratch", folder / "scratch"))
    return {"model": str(folder / "import"), "samples": str(folder / "import")}
