"""One module for several shapes: every one computes what ONNX Runtime does, and no other is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from test_tvm import ask, expected

SHAPES = [
    {"x": (1, 4, 8, 8), "gain": (1, 6)},
    {"x": (2, 4, 8, 8), "gain": (2, 6)},
    {"x": (1, 4, 12, 9), "gain": (1, 6)},
]
"""A batch, and a picture of another size; both inputs tell the first two apart."""


def model(path: Path) -> None:
    """A convolution, a global mean, a gate; returns it and the largest numbers, which TVM finds by a library."""
    rng = np.random.default_rng(0)
    graph = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> main (float[n, 4, h, w] x, float[n, 6] gain)'
        " => (float[n, 6] y, float[n, 2] best, int64[n, 2] at) <int64[2] flat = {0, -1}, int64[1] two = {2}> {"
        " c = Conv <pads = [1, 1, 1, 1]> (x, weights) r = Relu (c) p = GlobalAveragePool (r) f = Reshape (p, flat)"
        " y = Mul (f, gain) best, at = TopK (y, two) }"
    )
    graph.graph.initializer.append(
        numpy_helper.from_array(rng.standard_normal((6, 4, 3, 3)).astype(np.float32), "weights")
    )
    onnx.save(graph, path)


def test_a_module_for_several_shapes(tmp_path):
    model(tmp_path / "net.onnx")
    rng = np.random.default_rng(1)
    unknown = {"x": (1, 4, 12, 8), "gain": (1, 6)}
    feeds = [{n: rng.random(s, np.float32) for n, s in shapes.items()} for shapes in (*SHAPES, unknown)]
    for number, feed in enumerate(feeds):
        np.savez(tmp_path / f"{number}.npz", **feed)
    told = ask(
        tmp_path,
        f"""
from dataclasses import replace
shapes = tuple({SHAPES})
profile = {{name: [tuple(map(pick, zip(*(s[name] for s in shapes)))) for pick in (min, lambda s: s[0], max)]
           for name in ("x", "gain")}}
info = backend.build(replace(request("net", profile), shapes=shapes), context)
answer["told"] = info.details["shapes"]
with backend.runner(folder / "net.out" / "module.so") as runner:
    answer["metadata"] = {{name: list(entry.shape) for name, entry in runner.get_input_metadata().items()}}
    for number in range(4):
        feed = dict(np.load(folder / f"{{number}}.npz"))
        try:
            np.savez(folder / f"{{number}}.got.npz", **runner.infer(feed))
        except UserError as error:
            answer["refused"] = str(error)
            try:
                runner.machine["main"](*map(runner.to_tensor, feed.values()))
            except RuntimeError as error:
                answer["by the module"] = str(error)
""",
    )
    for number, feed in enumerate(feeds[:-1]):
        got = np.load(tmp_path / f"{number}.got.npz")
        for name, array in zip(got.files, expected(tmp_path / "net.onnx", feed), strict=True):
            np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=1e-5, err_msg=f"{name} {SHAPES[number]}")
    known = ["x:1x4x8x8 gain:1x6", "x:2x4x8x8 gain:2x6", "x:1x4x12x9 gain:1x6"]
    assert told["metadata"] == {"x": [-1, 4, -1, -1], "gain": [-1, 6]}
    assert "x:1x4x12x8 gain:1x6, only for " + "; ".join(known) in told["refused"]
    assert told["by the module"] == "no module for these shapes, only for " + "; ".join(known)
    assert all(text in told["told"] for text in known)


def test_every_shape_is_checked_and_the_finding_says_at_which(tmp_path):
    """A table that broadcasts to a batch of 1 or of 2; an operator without a converter is refused at any."""
    graph = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> main (float[n, 6] x) => (float[n, 6] y, float[n, 6] z)'
        " <float[2, 1] table = {1, 2}> { y = Add (x, table) z = Celu (x) }"
    )
    onnx.save(graph, tmp_path / "net.onnx")
    graph.graph.node.pop()
    graph.graph.output.pop()
    onnx.save(graph, tmp_path / "good.onnx")
    told = ask(
        tmp_path,
        """
from dataclasses import replace
def check(name, *batches):
    shapes = tuple({"x": (batch, 6)} for batch in batches)
    asked = replace(request(name, {"x": ((1, 6), (2, 6), (3, 6))}), shapes=shapes)
    return [[finding.op, finding.message] for finding in backend.check(asked, context)]
answer["net"] = check("net", 2, 3)
answer["some"] = check("good", 2, 3, 1, 4)
answer["all"] = check("good", 3)
answer["none"] = check("good", 2, 1)
""",
    )
    assert told["net"][0] == ["Celu", "TVM's ONNX frontend has no converter for it"]
    ((op, message),) = told["some"]
    assert op == "Add"
    assert message.endswith("(at x:3x6; x:4x6; not at the other shapes)")
    assert [op for op, _ in told["all"]] == ["Add"]
    assert "at x" not in told["all"][0][1]
    assert told["none"] == []
