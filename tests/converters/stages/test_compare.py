"""One stage's outputs against those of the stage before: tensors element by element, and the record of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from polygraphy.comparator import IterationResult
from stages import compare, write_samples

from enginesmith.converters.core.comparisons import Comparison, SampleComparison
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.samples import Sample, SampleSet, load_results, save_results
from enginesmith.converters.graphs.comparison import reason
from enginesmith.converters.graphs.difference import DECADES, as_close, compare_outputs
from enginesmith.converters.graphs.rounding import Alone
from enginesmith.converters.graphs.tolerances import TOLERANCES

FP32 = TOLERANCES["fp32"]
F, NAN, INF = np.float32, np.nan, np.inf


def result(**outputs: Any) -> IterationResult:
    return IterationResult(outputs={k: np.asarray(v) for k, v in outputs.items()}, runtime=0.0, runner_name="test")


def both(expected: Any, found: Any, task: str = "tensor") -> SampleComparison:
    return compare_outputs(task, Sample(name="s"), {}, result(y=expected), result(y=found), FP32)


@pytest.mark.parametrize(
    ("expected", "found", "passed"),
    [
        (F([1, 2]), F([1, 2]), True),
        (F([1, 2]), F([1, NAN]), False),
        (F([1, NAN]), F([1, 2]), False),
        (F([1, NAN]), F([1, NAN]), True),
        (F([1, NAN]), F([NAN, 1]), False),
        (F([1, INF]), F([1, INF]), True),
        (F([1, INF]), F([1, -INF]), False),
        (F([1, 2]), F([1, INF]), False),
        (F([1, INF]), F([1, 2]), False),
        (F([INF, NAN]), F([INF, NAN]), True),
        (np.zeros((0, 4), F), np.zeros((0, 4), F), True),
        (F(3).reshape(()), F(3).reshape(()), True),
        (F(3).reshape(()), F(4).reshape(()), False),
        (np.array([1000, 2]), np.array([1000, 2]), True),
        (np.array([1000, 2]), np.array([1001, 2]), False),
        (np.array([2**31]), np.array([2**31 + 1]), False),
        (np.int8([-128]), np.int8([-128]), True),
        (np.int8([-128]), np.int8([127]), False),
        (np.uint8([0]), np.uint8([255]), False),
        (np.array([True, False]), np.array([True, False]), True),
        (np.array([True, False]), np.array([True, True]), False),
        (np.float16([60000, 1]), np.float16([60000, 1]), True),
        (np.float16([60000, 1]), np.float16([-60000, 1]), False),
        (np.float64([1e300]), np.float64([1e300]), True),
    ],
)
def test_tensors(expected: Any, found: Any, passed: bool) -> None:
    record = both(expected, found)
    assert record.passed is passed
    (output,) = record.outputs
    assert output.passed is passed
    again = SampleComparison.model_validate_json(record.model_dump_json())
    assert again == record, "every figure survives JSON"
    if not passed:
        assert output.max_abs > output.tolerance_abs
        lost = not np.isfinite(output.max_abs) or output.max_abs > 1e38
        said = "is NaN or infinite where the other side isn't" if lost else f"differs by {output.max_abs:.2e}"
        assert f"output y {said}" in reason([record])


def test_tolerance_is_in_units_of_the_largest_value() -> None:
    expected = F([0, 1000])
    for error, passed in ((0.9 * FP32.scale * 1000, True), (1.1 * FP32.scale * 1000, False)):
        assert both(expected, F([error, 1000])).passed is passed
    assert both(expected, F([0, 1000 * (1 + 0.9 * FP32.relative)])).passed
    assert not both(expected, F([0, 1000 * (1 + 1.5 * (FP32.relative + FP32.scale))])).passed
    assert both(expected, F([0, 1000])).outputs[0].tolerance_abs == pytest.approx(FP32.scale * 1000, rel=1e-4)


def test_an_infinity_does_not_widen_the_tolerance() -> None:
    assert not both(F([INF, 1, 1]), F([INF, 1, 1.1])).passed


def test_figures() -> None:
    (output,) = both(F([0, 2, 4, 8]), F([0, 2.5, 4, 7])).outputs
    assert output.max_abs == pytest.approx(1)
    assert output.mean_abs == pytest.approx(1.5 / 4)
    assert output.max_rel == pytest.approx(0.25)
    assert output.tolerance_rel == FP32.relative


def test_histogram_decades() -> None:
    differences = [0, 3e-12, 3e-9, 3e-8, 4e-8, 3e-5, 0.2, 0.3, 50, 5e6]
    (output,) = both(np.zeros(10), np.array(differences)).outputs
    histogram = output.histogram
    assert histogram is not None
    assert histogram.edges == DECADES
    counts = dict(zip([f"{edge:.0e}" for edge in DECADES], histogram.counts, strict=False))
    assert {edge: count for edge, count in counts.items() if count} == {
        "1e-09": 2,  # the smallest too
        "1e-08": 2,
        "1e-05": 1,
        "1e-01": 2,
        "1e+01": 1,
        "1e+02": 1,  # the largest too
    }
    assert len(histogram.counts) == len(DECADES) - 1


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (np.float64([1, 2]), F([1, 2])),
        (np.int64([1, 2]), np.int32([1, 2])),
        (np.int64([1, 2]), F([1, 2])),
        (np.float16([1, 1]), F([1, 1])),
        (np.array([True, False]), np.uint8([1, 0])),
    ],
)
def test_another_dtype_fails_whatever_the_values_are(expected: Any, found: Any) -> None:
    record = both(expected, found)
    assert not record.passed
    assert record.outputs[0].passed, "of the values nothing else is said"
    assert reason([record]) == f"sample 's': output y is {found.dtype} where {expected.dtype} is expected"


def test_labels_of_another_dtype_fail_a_detection() -> None:
    expected = detections([[0, 0, 9, 9]], [0.9], [1])
    found = result(**{name: array.astype(np.int32) if name == "labels" else array for name, array in expected.items()})
    record = compare_outputs("detection", Sample(name="s"), {}, expected, found, FP32)
    assert not record.passed
    assert reason([record]) == "sample 's': output labels is int32 where int64 is expected"


def test_another_shape() -> None:
    with pytest.raises(ConversionError, match=r"output y has shape \[4\] where \[3\] is expected"):
        both(np.zeros(3, F), np.zeros(4, F))
    with pytest.raises(ConversionError, match=r"output y has shape \[1, 3\] where \[3\] is expected"):
        both(np.zeros(3, F), np.zeros((1, 3), F))


def test_a_missing_output() -> None:
    with pytest.raises(ConversionError, match="the outputs b are gone; there are a, c"):
        compare_outputs("tensor", Sample(name="s"), {}, result(a=F([1]), b=F([1])), result(a=F([1]), c=F([1])), FP32)


def test_one_of_several_outputs_differs() -> None:
    expected, found = result(a=F([1]), b=F([1]), c=F([1])), result(c=F([1]), b=F([2]), a=F([1]), extra=F([1]))
    record = compare_outputs("tensor", Sample(name="s"), {}, expected, found, FP32)
    assert [(output.name, output.passed) for output in record.outputs] == [("a", True), ("b", False), ("c", True)]
    assert not record.passed
    assert reason([record, record]).startswith("sample 's': output b differs by 1.00e+00")
    assert reason([record, record]).endswith("; 2 samples in all")
    assert reason([]) == ""


def test_classification() -> None:
    good = both(F([[1, 2, 3]]), F([[1, 2, 3.0001]]), "classification")
    assert good.passed
    assert good.classes is not None
    assert good.classes.top1 == 1
    other = both(F([[1, 2, 3]]), F([[4, 2, 3]]), "classification")
    assert other.classes is not None
    assert (other.classes.top1, other.passed) == (0, False)
    assert both(F([1, 2, 3]), F([1, 2, 3]), "classification").classes is None, "no rows of classes"


def detections(boxes: Any, scores: Any, labels: Any) -> IterationResult:
    return result(boxes=F([boxes]), scores=F([scores]), labels=np.array([labels]))


def test_detection() -> None:
    expected = detections([[0, 0, 9, 9], [20, 20, 30, 30], [0, 0, 0, 0]], [0.9, 0.8, -1], [1, 2, 0])
    swapped = detections([[20, 20, 30, 30], [0, 0, 9, 9], [0, 0, 0, 0]], [0.8, 0.9, -1], [2, 1, 0])
    sample = Sample(name="cat", picture="cat")
    record = compare_outputs("detection", sample, {"x": np.zeros((1, 3, 8, 8))}, expected, swapped, FP32)
    assert record.passed
    assert record.outputs == []
    assert record.shapes == {"x": [1, 3, 8, 8]}
    assert record.drawn is not None
    assert record.drawn == record.drawn_expected
    assert record.drawn.labels == [1, 2]
    lost = compare_outputs("detection", sample, {}, expected, detections([[0, 0, 9, 9]], [0.9], [1]), FP32)
    assert not lost.passed
    assert reason([lost]).startswith("sample 'cat': 1 of 2 boxes matched, 1 found")


def graph(folder: Path, factor: float, batch: int | str = "n") -> Path:
    """y = factor * x, of shape [n, 3]."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Mul", ["x", "f"], ["y"])],
        "test",
        [value("x", TensorProto.FLOAT, [batch, 3])],
        [value("y", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor("f", TensorProto.FLOAT, [], [factor])],
    )
    folder.mkdir(exist_ok=True)
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    return folder


def twice(x: np.ndarray) -> dict[str, np.ndarray]:
    return {"y": 2 * x}


def test_stage(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "samples", "x:1..2..4x3", twice)
    comparison = compare(tmp_path / "right", samples, graph(tmp_path / "graph", 2))
    assert (comparison.verdict, comparison.found, comparison.expected) == ("pass", "ONNX Runtime", "PyTorch")
    assert [sample.sample for sample in comparison.samples][:6] == [
        "random 0",
        "random 1",
        "min size",
        "max size",
        "unseen size",
        "random 0 again",
    ]
    wrong = compare(tmp_path / "wrong", samples, graph(tmp_path / "other", 2.1))
    assert wrong.verdict == "fail"
    assert wrong.reason.endswith(" samples in all")
    assert Comparison.model_validate_json(wrong.model_dump_json()) == wrong


def test_nan_that_onnx_runtime_lost_is_handed_on(tmp_path: Path) -> None:
    """Its ReduceMax keeps NaN in the first place alone; the engine that comes after it may keep all."""

    def largest(x: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": x.max(1)}

    folder = tmp_path / "samples"
    write_samples(folder, "x:1x3", largest)
    samples, feeds = SampleSet.load(folder)
    feeds[-1]["x"][0, 2] = np.nan
    samples.samples[-1].probe = "far"
    samples.save(folder, feeds)
    save_results(folder, "PyTorch", [largest(**feed) for feed in feeds])
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 18]> main (float[1, 3] x) => (float[1] y)
    <int64[1] axis = {1}> { y = ReduceMax <keepdims = 0> (x, axis) }""")
    (tmp_path / "graph").mkdir()
    onnx.save(model, tmp_path / "graph" / "model.onnx")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.isfinite(session.run(None, dict(feeds[-1]))[0]).all()
    assert compare(tmp_path / "out", folder, tmp_path / "graph").verdict == "pass"
    assert np.isnan(load_results(tmp_path / "out")[0][1][-1]["y"]).all()


def test_an_allowance_without_bound_is_told(tmp_path: Path) -> None:
    """Where float32 overflows and float64 does not, JSON has no word for what rounding may do."""
    alone = Alone(result(y=F([INF, 1])), result(y=np.float64([1e39, 1])), whole=False)
    record = compare_outputs("tensor", Sample(name="s"), {}, result(y=F([1e38, 1])), result(y=F([INF, 1])), FP32, alone)
    assert SampleComparison.model_validate_json(record.model_dump_json()) == record


def test_the_graph_is_held_against_itself_on_its_samples(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "samples", "x:1..2..4x3", twice)
    model = graph(tmp_path / "graph", 2)
    assert not compare(tmp_path / "quick", samples, model).consistency, "of engines alone"
    checks = compare(tmp_path / "out", samples, model, consistency="full").consistency
    assert {check.check: check.verdict for check in checks} == dict.fromkeys(
        ("repeated", "interleaved", "permuted rows", "equal rows", "batch sizes", "lowest level"), "pass"
    )
    assert all(check.calls and "ONNX Runtime" in check.of for check in checks)


def test_a_contradiction_fails_a_stage_whose_samples_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs after the samples gives the rows in the order of their size."""
    from enginesmith.converters.graphs import self_checks

    def sorting(runner: Any, changed: Any = None) -> Any:
        return lambda feed: {"y": F(2) * np.sort(feed["x"], axis=0)}

    monkeypatch.setattr(self_checks, "infer_with", sorting)
    samples = write_samples(tmp_path / "samples", "x:1..2..4x3", twice)
    comparison = compare(tmp_path / "out", samples, graph(tmp_path / "graph", 2), consistency="full")
    assert comparison.verdict == "fail"
    assert "ONNX Runtime contradicts itself: " in comparison.reason
    assert all(sample.passed for sample in comparison.samples)


def test_the_outputs_are_kept_for_the_next_comparison(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "samples", "x:1..2..4x3", twice)
    kept = tmp_path / "kept"
    compare(kept, samples, graph(tmp_path / "graph", 2.1))
    (kept / "samples.json").write_bytes((samples / "samples.json").read_bytes())
    (kept / "inputs.json").write_bytes((samples / "inputs.json").read_bytes())
    assert compare(tmp_path / "next", kept, graph(tmp_path / "graph", 2.1)).verdict == "pass"


@pytest.mark.parametrize(
    ("factor", "verdict"), [(2.0, "pass"), (1.87, "differs"), (2.24, "fail"), (1.7, "fail"), (-2.1, "fail")]
)
def test_other_roundings_than_the_stand_ins_are_no_failure(tmp_path: Path, factor: float, verdict: str) -> None:
    """The stand-in is 0.1 x from the results in float32, on one side: who is no further from them, on any side, passes."""
    samples = write_samples(tmp_path / "samples", "x:1..2..4x3", twice)
    wide = write_samples(tmp_path / "wide", "x:1..2..4x3", lambda x: {"y": F(1.9) * x})
    comparison = compare(tmp_path / "out", samples, graph(tmp_path / "graph", factor), wide=wide)
    assert comparison.verdict == verdict
    assert ("as close to the results in float32" in comparison.reason) == (verdict == "differs")


@pytest.mark.parametrize(("lost", "close"), [(2, True), (3, True), (4, False)])
def test_detections_that_roundings_lose(lost: int, close: bool) -> None:
    boxes = np.stack([np.arange(20) * 10, np.zeros(20), np.arange(20) * 10 + 8, np.full(20, 8)], axis=1)[None]

    def found(count: int) -> IterationResult:
        scores = np.where(np.arange(20) < count, 0.9, -1.0)[None]
        return result(boxes=F(boxes), scores=F(scores), labels=np.ones((1, 20), np.int64))

    assert as_close("detection", found(18), found(20 - lost), found(20), TOLERANCES["int8"]) is close


def test_no_metric_judges_another_dtype(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "samples", "x:1..2..4x3", twice)
    other = graph(tmp_path / "other", 2.1)
    assert compare(tmp_path / "judged", samples, other, judged_by="top1").verdict == "differs"
    model = onnx.load(other / "model.onnx")
    model.graph.node[0].output[0] = "single"
    model.graph.node.append(helper.make_node("Cast", ["single"], ["y"], to=TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    onnx.save(model, other / "model.onnx")
    comparison = compare(tmp_path / "out", samples, other, judged_by="top1")
    assert comparison.verdict == "fail"
    assert "output y is float64 where float32 is expected" in comparison.reason


@pytest.mark.parametrize(("precision", "verdict"), [("fp32", "fail"), ("fp16", "differs"), ("int8", "differs")])
def test_random_weights_say_nothing_against_a_lower_precision(tmp_path: Path, precision: str, verdict: str) -> None:
    samples = write_samples(tmp_path / "samples", "x:1..2..4x3", twice)
    told, feeds = SampleSet.load(samples)
    told.model_copy(update={"random_weights": True}).save(samples, feeds)
    comparison = compare(tmp_path / "out", samples, graph(tmp_path / "other", 3), precision=precision)
    assert comparison.verdict == verdict
    assert comparison.reason.endswith("random weights drown in rounding") == (verdict == "differs")


def test_a_graph_that_can_not_run(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "samples", "x:1..2..4x3", twice)
    with pytest.raises(ConversionError, match="ONNX Runtime can't run the graph on the sample 'min size'") as caught:
        compare(tmp_path / "out", samples, graph(tmp_path / "fixed", 2, batch=2))
    assert "the exporter has fixed a size" in caught.value.remedy


def test_a_graph_that_can_not_be_loaded(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "samples", "x:1..2..4x3", twice)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.onnx").write_bytes(
        graph(tmp_path / "graph", 2).joinpath("model.onnx").read_bytes()[:-30]
    )
    with pytest.raises(ConversionError, match="ONNX Runtime can't load the graph"):
        compare(tmp_path / "out", samples, tmp_path / "broken")
