"""A backend that takes a graph is asked once; what it refuses is repaired, compared and built in the same stage."""

from __future__ import annotations

import onnx
import pytest
from stages import context, import_onnx

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.graphs.comparison import run_samples
from enginesmith.converters.stages.compile import Compile, CompileFacts, CompileOptions

pytest.importorskip("tensorrt_rtx")

BACKEND = get_backend("tensorrt-rtx")
TAKEN = "(float[2, 4] x) => (float[2, 4] y) { y = Relu (x) }"
TOO_MANY = """(float[1, 5000] x) => (float[1, 4000] y, int64[1, 4000] where) <int64[1] k = {4000}> {
    [best] y, where = TopK (x, k)
}"""
HOPELESS = """(float[1, 5] x, float[1, 5000] z) => (int32[1, 1] y, float[1, 4000] b, int64[1, 4000] i) <int64[1] k = {4000}> {
    [first] y = Multinomial <seed = 1.0> (x)
    [best] b, i = TopK (z, k)
}"""


@pytest.fixture
def compiled(tmp_path):
    """Runs the stage on a graph; its facts are returned, its artifact is the folder `engine`."""

    def run(graph: str, shape: str = "", **options: object) -> CompileFacts:
        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> main {graph}')
        onnx.save(model, tmp_path / "given.onnx")
        front = tmp_path / "front"
        import_onnx(front, tmp_path / "given.onnx", shape)
        inputs = {"model": front, "samples": front, "expected": front}
        return Compile().run(
            inputs,
            CompileOptions(**{"backend": "tensorrt-rtx", "target": "sm_89", **options}),
            context(tmp_path / "engine"),
        )

    return run


@pytest.fixture
def asked(monkeypatch):
    """What the backend is asked for, in order."""
    calls = []
    for name in ("build", "check", "trial"):
        method = getattr(BACKEND, name)
        monkeypatch.setattr(
            BACKEND,
            name,
            lambda *given, name=name, method=method: (calls.append(name), method(*given))[1],
            raising=False,
        )
    return calls


def test_a_graph_that_is_taken_is_asked_for_once(compiled, asked, tmp_path):
    facts = compiled(TAKEN)
    assert asked == ["build"]
    assert (facts.nodes, facts.repairs, facts.comparison, facts.findings) == (None, [], None, [])
    assert {path.name for path in (tmp_path / "engine").iterdir()} == {BACKEND.engine_file}


def test_suppression_of_scores_that_are_an_input_is_built(compiled):
    """TensorRT-RTX 1.7 fails on a loop that starts from an input in another shape."""
    facts = compiled("""(float[20, 4] b, float[20] s) => (int64[n, 3] y)
    <int64[1] first = {0}, int64[2] both = {0, 1}, int64 five = {5}, float half = {0.5}> {
        boxes = Unsqueeze (b, first)
        scores = Unsqueeze (s, both)
        y = NonMaxSuppression (boxes, scores, five, half)
    }""")
    assert {made.repair for made in facts.repairs} >= {"bounded-sizes"}


def test_what_is_refused_is_repaired_compared_and_built(compiled, asked, tmp_path):
    facts = compiled(TOO_MANY)
    assert asked == ["build", "check", "build"], "each graph once, and the nodes of the one that was refused"
    assert [(finding.node, finding.op) for finding in facts.findings] == [("best", "TopK")]
    assert [(made.repair, made.node) for made in facts.repairs if made.made] == [("topk-in-parts", "best")]
    assert facts.comparison is not None
    assert facts.comparison.verdict == "pass"
    assert facts.shortcoming is None
    assert facts.note.endswith("repaired 1 node: topk-in-parts")
    repaired = onnx.load(tmp_path / "engine" / MODEL)
    assert facts.nodes == len(repaired.graph.node) > 1
    assert (tmp_path / "engine" / BACKEND.engine_file).stat().st_size == facts.engine.size


def test_a_repaired_graph_that_computes_something_else_falls_short(compiled, monkeypatch):
    monkeypatch.setattr(
        "enginesmith.converters.graphs.comparison.run_samples",
        lambda *given: [{name: array + 1 for name, array in outputs.items()} for outputs in run_samples(*given)],
    )
    facts = compiled(TOO_MANY)
    assert facts.shortcoming is not None
    assert "differ" in facts.shortcoming.reason


def test_every_node_that_no_repair_mends_is_named(compiled, tmp_path):
    with pytest.raises(ConversionError, match=r"refuses 1 node: Multinomial; \d repairs were made") as caught:
        compiled(HOPELESS)
    assert [finding.node for finding in caught.value.findings if finding.severity == "error"] == ["first"]
    assert "topk-in-parts" in [made.repair for made in caught.value.repairs if made.made]
    assert not (tmp_path / "engine" / BACKEND.engine_file).exists()


def test_without_repairs_all_refused_nodes_are_named(compiled):
    with pytest.raises(ConversionError, match="refuses 2 nodes: Multinomial, TopK") as caught:
        compiled(HOPELESS, repair=False)
    assert {finding.node for finding in caught.value.findings} == {"first", "best"}
    assert caught.value.repairs == []


def test_what_would_be_computed_wrongly_is_repaired_before_it_is_built(compiled, asked):
    """The parser takes it without a word."""
    facts = compiled(
        "(float[2, 4, 8] x, float[4] s) => (float[2, 4, 8] y) { [norm] y = GroupNormalization <num_groups = 1> (x, s, s) }"
    )
    assert asked == ["check", "build"]
    assert [(finding.node, finding.silent) for finding in facts.findings] == [("norm", True)]
    assert "norm" in [made.node for made in facts.repairs if made.made]


RECURRENT = """(float[n, 2, 3] x) => (float[n, d, 2, 4] y) <float[1, 12, 3] w, float[1, 12, 4] r> {
    [layer] y = GRU <hidden_size = 4> (x, w, r)
}"""


def test_a_backend_of_fixed_sizes_is_given_a_graph_that_has_them(compiled):
    pytest.importorskip("tvm")
    weights = {name: "{" + ", ".join(["0.5"] * count) + "}" for name, count in (("w", 36), ("r", 48))}
    graph = RECURRENT.replace("3] w", f"3] w = {weights['w']}").replace("4] r", f"4] r = {weights['r']}")
    facts = compiled(graph, "x:2..3..9x2x3", backend="tvm", target="x86-64")
    assert "gru-steps" in [made.repair for made in facts.repairs if made.made]
    assert "at fixed sizes" in facts.note
    assert facts.comparison is not None
    assert facts.comparison.verdict == "pass"


@pytest.mark.parametrize("change", [{"repair": True}, {"workarounds": True}, {"alter": "barrier:x"}])
def test_whatever_changes_the_graph_makes_its_tools_part_of_the_key(change):
    options = CompileOptions(**{"backend": "tensorrt-rtx", "target": "sm_89", "repair": False, **change})
    untouched = CompileOptions(backend="tensorrt-rtx", target="sm_89", repair=False)
    assert "onnx-ir" in Compile().packages_of(options)
    assert "onnx-ir" not in Compile().packages_of(untouched)
