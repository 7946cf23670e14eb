"""What a backend is known to compute wrongly is warned of in a build, and worked around where that is asked for."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from stages import context, import_onnx

from enginesmith.compat import interface
from enginesmith.compat.target import Target
from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.graphs import interface as kept
from enginesmith.converters.stages.compile import Compile, CompileFacts, CompileOptions

pytest.importorskip("tensorrt_rtx")

BACKEND = get_backend("tensorrt-rtx")
ATTENTION = """(float16[1, 2, 8, 4] q, float16[1, 2, 4, 8] k, float16[1, 2, 8, 4] v) => (float16[1, 2, 8, 4] y) {
    s = MatMul (q, k)
    w = Softmax <axis = -1> (s)
    y = MatMul (w, v)
}"""
SEGMENTED = """(float[2, 4, 8, 8] x) => (float[2, 64, 16] y) <int64[3] flat = {2, 4, -1}, float[4, 4, 1, 1] c =
    {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7}> {
    f = Reshape (x, flat)
    q = Transpose <perm = [0, 2, 1]> (f)
    r = Conv <strides = [2, 2], kernel_shape = [1, 1]> (x, c)
    k = Reshape (r, flat)
    s = MatMul (q, k)
    y = Softmax <axis = -1> (s)
}"""


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """Runs the stage on a graph for a version that is known to go wrong; the installed builder builds it."""

    def run(graph: str, known: Target, **options: object) -> CompileFacts:
        monkeypatch.setattr(BACKEND, "rules", lambda target="": known, raising=False)
        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> main {graph}')
        onnx.save(model, tmp_path / "given.onnx")
        front = tmp_path / "front"
        import_onnx(front, tmp_path / "given.onnx")
        inputs = {"model": front, "samples": front, "expected": front}
        chosen = CompileOptions(**{"backend": "tensorrt-rtx", "target": "sm_120", **options})
        return Compile().run(inputs, chosen, context(tmp_path / "engine"))

    return run


WRONG = Target("tensorrt", "10.16", "sm_120")


def test_it_is_warned_of_and_built_as_it_is(compiled, tmp_path):
    facts = compiled(ATTENTION, WRONG)
    (warning,) = facts.warnings
    assert "tensorrt 10.16 builds and computes wrongly on sm_120" in warning
    assert "--workarounds" in warning
    assert facts.repairs == []
    assert not (tmp_path / "engine" / MODEL).exists()


def test_it_is_worked_around_where_that_is_asked_for(compiled, tmp_path):
    facts = compiled(ATTENTION, WRONG, workarounds=True)
    (made,) = facts.repairs
    assert (made.repair, made.made) == ("tensorrt-wrong-attention-sm-120", True)
    assert "worked around tensorrt-wrong-attention-sm-120" in facts.note
    assert facts.findings == []
    assert facts.comparison.verdict == "pass"
    graph = onnx.load(tmp_path / "engine" / MODEL)
    assert list(interface.barriers(graph)) == ["w"]
    (warning,) = facts.warnings
    assert "w is one output more" in warning
    outputs = {"y": np.zeros(1), "w": np.zeros(1)}
    assert list(kept.fetched(kept.load(tmp_path / "engine"), outputs)) == ["y"]


def test_on_another_gpu_and_in_a_version_that_does_it_right_nothing_is_done(compiled):
    assert compiled(ATTENTION, Target("tensorrt", "11.0", "sm_120"), workarounds=True).warnings == []


def test_what_only_the_user_can_work_around_stays_a_warning(compiled, tmp_path):
    facts = compiled(SEGMENTED, Target("tensorrt", "11.1", "sm_120"), workarounds=True)
    assert [(finding.rule, finding.severity) for finding in facts.findings] == [
        ("tensorrt-wrong-reduced-attention", "warning")
    ]
    assert any("build for a batch of 1" in warning for warning in facts.warnings)
    assert facts.repairs == []
    assert not (tmp_path / "engine" / MODEL).exists()


def test_it_needs_no_leave_to_repair_and_repairs_go_on_from_it(compiled, tmp_path):
    both = ATTENTION.replace(
        "v) => (float16[1, 2, 8, 4] y) {",
        "v, float[1, 1, 2, 2] p) => (float16[1, 2, 8, 4] y, float[1, 1, 3, 3] z) <float[4] scales = {1, 1, 1.5, 1.5}> {\n"
        '    z = Resize <mode = "linear", antialias = 1> (p, , scales)',
    )
    facts = compiled(both, WRONG, workarounds=True)
    assert {attempt.repair for attempt in facts.repairs if attempt.made} >= {
        "tensorrt-wrong-attention-sm-120",
        "resize-by-matrix",
    }
    assert facts.comparison.verdict == "pass"


def test_without_leave_to_repair_it_is_worked_around_all_the_same(compiled):
    facts = compiled(ATTENTION, WRONG, workarounds=True, repair=False)
    assert [attempt.repair for attempt in facts.repairs] == ["tensorrt-wrong-attention-sm-120"]
