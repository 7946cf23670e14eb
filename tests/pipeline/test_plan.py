"""Which stages a recipe asks for, and what each one needs. Backends' abilities are set, so that any machine agrees."""

from __future__ import annotations

from itertools import pairwise

import pytest
import tiny_onnx

from enginesmith.converters.backends import BACKENDS
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.hashing import code_version
from enginesmith.converters.core.recipe import Recipe
from enginesmith.pipeline.job.plan import make_plan
from enginesmith.pipeline.job.recipe import make_recipe


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Has TVM and TensorRT-RTX, no TensorRT, and no GPU."""
    for backend in BACKENDS.values():
        reason = "not installed: pip install tensorrt" if backend.name == "tensorrt" else None
        monkeypatch.setattr(backend, "available", lambda reason=reason: reason, raising=False)
        runnable = None if backend.name == "tvm" else "no GPU"
        monkeypatch.setattr(backend, "runnable", lambda target, reason=runnable: reason, raising=False)


@pytest.fixture
def onnx(tmp_path):
    return tiny_onnx.linear(tmp_path / "net.onnx")


def plan(**settings):
    return make_plan(Recipe(**{"backend": "tvm", "target": "x86-64-v3", **settings}))


def ids(plan):
    return [stage.id for stage in plan.stages]


def test_the_road_of_a_torch_model():
    made = plan(model="lenet")
    assert ids(made) == [
        "export",
        "compare export",
        "simplify",
        "compare simplify",
        "compile tvm x86-64-v3",
        "compare tvm x86-64-v3",
        "measure tvm x86-64-v3",
    ]
    stages = {stage.id: stage for stage in made.stages}
    assert stages["compare export"].needs == {"candidate": "export", "samples": "export", "expected": "export"}
    assert stages["compare simplify"].needs == {
        "candidate": "simplify",
        "samples": "export",
        "expected": "compare export",
    }
    assert stages["compare tvm x86-64-v3"].needs["expected"] == "compare simplify"
    assert "wide" not in stages["compare tvm x86-64-v3"].needs
    assert stages["compile tvm x86-64-v3"].needs == {
        "model": "simplify",
        "samples": "export",
        "expected": "compare simplify",
    }
    assert stages["compile tvm x86-64-v3"].after == ("compare simplify",)
    assert stages["measure tvm x86-64-v3"].after == ("compare tvm x86-64-v3",)
    assert stages["export"].options.task == "classification"
    assert made.model == "simplify"


def test_the_road_of_a_lower_precision():
    """Up to the precision stage it is the road of fp32, with the same options, and so the same keys."""
    wide, low = plan(model="lenet"), plan(model="lenet", precision="fp16")
    assert low.stages[:4] == wide.stages[:4]
    assert ids(low)[4:] == ["calibrate", "precision", "compare precision", "accuracy", *ids(wide)[4:]]
    stages = {stage.id: stage for stage in low.stages}
    assert stages["calibrate"].needs == {"model": "simplify", "samples": "export"}
    assert stages["calibrate"].after == ("compare simplify",)
    assert stages["precision"].needs == {"model": "simplify", "samples": "export", "calibration": "calibrate"}
    assert stages["accuracy"].needs == {"model": "simplify", "candidate": "precision", "samples": "export"}
    assert stages["compare tvm x86-64-v3"].needs["wide"] == "compare simplify"
    assert stages["compile tvm x86-64-v3"].after == ("accuracy",), "an engine that loses too much isn't built"
    assert stages["compare precision"].needs["expected"] == "compare simplify"
    assert stages["compare precision"].options.precision == "fp16"
    assert stages["compile tvm x86-64-v3"].needs["model"] == low.model == "precision"
    assert stages["compare tvm x86-64-v3"].needs["expected"] == "compare precision"
    assert stages["measure tvm x86-64-v3"].needs["model"] == "simplify", "timed beside ONNX Runtime in float32"


def test_bf16_has_the_range_of_float32_and_needs_no_calibration():
    assert ids(plan(model="lenet", precision="bf16"))[4:7] == ["precision", "compare precision", "accuracy"]


def test_a_search_measures_the_accuracy_itself():
    made = plan(model="lenet", precision="auto", budget=0.01, backend="tvm,tensorrt-rtx", target="x86-64-v3,sm_86")
    assert ids(made)[4:8] == ["calibrate", "calibrate equalized", "precision", "compare precision"]
    assert "accuracy" not in ids(made)
    search = {stage.id: stage for stage in made.stages}["precision"]
    assert search.stage == "search"
    assert search.options.budget == 0.01
    assert search.options.target == "sm_86", "the estimate is a GPU's where one of the engines is"


def test_data_and_metric_go_to_the_stages_that_use_them(tmp_path):
    file = tmp_path / "data.npz"
    file.write_bytes(b"an archive")
    made = plan(model="lenet", precision="int8", calib=str(file), metric="top1", budget=0.5, examples=8)
    stages = {stage.id: stage for stage in made.stages}
    assert stages["calibrate"].options.data.sources == {str(file): hash_file(file)}
    assert stages["calibrate"].options.data.examples == 8
    assert stages["accuracy"].options.data.spec == "", "evaluation has data of its own"
    assert (stages["accuracy"].options.metric.spec, stages["accuracy"].options.budget) == ("top1", 0.5)


@pytest.mark.parametrize(
    ("asked", "rest"),
    [
        ({}, "fp32"),  # TVM computes in no less: a graph that rounds to 16 bits would be compared with one that doesn't
        ({"backend": "tensorrt-rtx", "target": "sm_86"}, "fp16"),
        ({"rest": "bf16"}, "bf16"),
    ],
)
def test_what_computes_in_no_integers(asked, rest):
    stages = {stage.id: stage for stage in plan(model="lenet", precision="int8", **asked).stages}
    assert stages["precision"].options.rest == stages["calibrate"].options.rest == rest


@pytest.mark.parametrize("precision", ["int8", "auto"])
def test_each_backend_gets_the_graph_that_it_computes(precision):
    """One calibration, and from there a graph, a stand-in and an accuracy for each rest."""
    both = {"backend": "tvm,tensorrt-rtx", "target": "x86-64-v3,sm_86,sm_89"}
    made = plan(model="lenet", precision=precision, **both)
    stages = {stage.id: stage for stage in made.stages}
    rests = {id: stage.options.rest for id, stage in stages.items() if stage.stage in ("precision", "search")}
    assert rests == {"precision": "fp16", "precision fp32": "fp32"}
    assert stages["precision"].needs == stages["precision fp32"].needs, "of one calibration"
    if precision == "auto":
        assert (stages["precision"].options.target, stages["precision fp32"].options.target) == ("sm_86", "x86-64-v3")
    else:
        assert stages["accuracy fp32"].needs["candidate"] == "precision fp32"
    for engine, form in (("tvm x86-64-v3", " fp32"), ("tensorrt-rtx sm_86", ""), ("tensorrt-rtx sm_89", "")):
        gate = f"compare precision{form}" if precision == "auto" else f"accuracy{form}"
        assert stages[f"compile {engine}"].needs["model"] == f"precision{form}"
        assert stages[f"compile {engine}"].after == (gate,)
        assert stages[f"compare {engine}"].needs["expected"] == f"compare precision{form}"
        assert stages[f"measure {engine}"].needs["model"] == "simplify"
    assert made.model == "precision"
    assert next(stage.backend for stage in made.stages if stage.stage == "compile") == "tvm", "in the order asked for"


@pytest.mark.parametrize("asked", [{"precision": "int8", "rest": "fp32"}, {"precision": "auto", "rest": "bf16"}])
def test_a_rest_that_is_asked_for_is_that_of_all(asked):
    made = plan(model="lenet", backend="tvm,tensorrt-rtx", target="x86-64-v3,sm_86", **asked)
    assert [stage.options.rest for stage in made.stages if stage.id.startswith("precision")] == [asked["rest"]]


def test_a_graph_without_integers_has_one_form():
    made = plan(model="lenet", backend="tvm,tensorrt-rtx", target="x86-64-v3,sm_86", precision="fp16")
    assert [stage.id for stage in made.stages if stage.stage == "precision"] == ["precision"]


def test_a_model_of_the_zoo_brings_its_data_along(tmp_path):
    stages = {stage.id: stage for stage in plan(model="digits", precision="int8").stages}
    module = "enginesmith.converters.torch_models.trained.digits_data"
    assert stages["calibrate"].options.data.spec == f"{module}:calibration"
    assert stages["calibrate"].options.data.sources == {}, "no path: a store is shared"
    assert stages["calibrate"].options.data.code == code_version(module) != code_version("digits_data")
    assert stages["accuracy"].options.data.spec == f"{module}:evaluation"
    file = tmp_path / "data.npz"
    file.write_bytes(b"an archive")
    given = {stage.id: stage for stage in plan(model="digits", precision="int8", eval=str(file)).stages}
    assert given["accuracy"].options.data.spec == str(file), "the user's goes first"
    assert given["calibrate"] == stages["calibrate"]


def test_the_road_of_an_onnx_file(onnx):
    made = plan(model=str(onnx), simplify=False, measure=0)
    assert ids(made) == [
        "import",
        "compare import",
        "compile tvm x86-64-v3",
        "compare tvm x86-64-v3",
    ]
    assert made.stages[0].options.sha256 == hash_file(onnx)
    assert made.stages[2].needs["model"] == made.model == "import"
    assert made.stages[3].needs["expected"] == "compare import"


@pytest.mark.parametrize("simplify", [True, False])
def test_each_stage_comes_after_all_that_it_needs(simplify):
    made = plan(model="lenet", backend="tvm,tensorrt-rtx", target="sm_86,sm_89,x86-64-v2,x86-64-v3", simplify=simplify)
    seen: set[str] = set()
    for stage in made.stages:
        assert {*stage.needs.values(), *stage.after} <= seen
        seen.add(stage.id)


def test_a_target_goes_to_the_backends_that_know_it():
    made = plan(model="lenet", backend="tensorrt-rtx, tvm,tvm", target="SM86,8.9,x86-64-v2")
    compiled = [(stage.backend, stage.target) for stage in made.stages if stage.stage == "compile"]
    assert compiled == [("tensorrt-rtx", "sm_86"), ("tensorrt-rtx", "sm_89"), ("tvm", "x86-64-v2")]


def test_a_backend_without_a_target_takes_its_own():
    made = plan(model="lenet", backend="tensorrt-rtx,tvm", target="sm_86")
    compiled = [(stage.backend, stage.target) for stage in made.stages if stage.stage == "compile"]
    assert compiled[0] == ("tensorrt-rtx", "sm_86")
    assert compiled[1][0] == "tvm"


def test_auto_is_all_that_the_machine_can_build():
    made = plan(model="lenet", backend="auto", target="auto")
    assert {stage.backend for stage in made.stages if stage.stage == "compile"} == {"tensorrt-rtx", "tvm"}


def test_what_cannot_run_here_is_blocked_with_the_reason():
    made = plan(model="lenet", backend="tensorrt-rtx", target="sm_89")
    blocked = {stage.stage: stage.blocked for stage in made.stages if stage.backend}
    assert blocked == {"compile": "", "compare": "no GPU", "measure": "no GPU"}


def test_a_search_for_schedules_comes_before_the_compilation_of_a_tvm_module():
    made = plan(model="lenet", backend="tensorrt-rtx,tvm", target="sm_86,x86-64-v3", tune="2m", threads=1)
    stages = {stage.id: stage for stage in made.stages}
    tune, compiled = stages["tune tvm x86-64-v3"], stages["compile tvm x86-64-v3"]
    assert (tune.options.seconds, tune.options.threads, tune.options.target) == (120, 1, "x86-64-v3")
    assert compiled.needs == {**tune.needs, "expected": "compare simplify", "tuned": tune.id}
    assert [stage.id for stage in made.stages if stage.stage == "tune"] == [tune.id]
    assert "tuned" not in stages["compile tensorrt-rtx sm_86"].needs


def test_flags_reach_the_stages(tmp_path):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"1")
    made = plan(
        model="lenet", shape="x:2x1x28x28", weights=str(weights), samples=5, seed=9, opset=17, threads=3, measure=4
    )
    export, measure = made.stages[0].options, made.stages[-1].options
    assert (export.samples, export.seed, export.opset) == (5, 9, 17)
    assert export.inputs[0].opt == (2, 1, 28, 28)
    assert (export.weights, export.weights_sha256) == (str(weights), hash_file(weights))
    assert (measure.threads, measure.seconds) == (3, 4)


def test_a_detector_keeps_its_flags():
    options = plan(model="frcnn", stock=True, proposals=100, trust=True).stages[0].options
    assert (options.stock, options.proposals, options.trust, options.task) == (True, 100, True, "detection")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "tensort-rtx"}, "unknown backend 'tensort-rtx'; did you mean tensorrt-rtx"),
        ({"backend": "coreml"}, "unknown backend 'coreml'"),
        ({"backend": ","}, "no backend in ','"),
        ({"backend": "tensorrt"}, "backend tensorrt can't build here: not installed: pip install tensorrt"),
        ({"backend": "tensorrt-rtx", "target": "sm_88"}, "unknown target of tensorrt-rtx 'sm_88'; did you mean sm_8"),
        ({"backend": "tensorrt-rtx,tvm", "target": "z80"}, "unknown target of tvm 'z80'"),
        (
            {"backend": "tensorrt-rtx", "target": "sm_75", "precision": "bf16"},
            "tensorrt-rtx: sm_75 has no bfloat16, which begins with sm_80; ask for fp16",
        ),
        ({"shape": "1xN"}, "doesn't parse at 'N'"),
        ({"weights": "nowhere.pt"}, "no weights nowhere.pt"),
        ({"model": "lenett"}, "nearest: lenet"),
    ],
)
def test_a_mistake_is_named(settings, message):
    with pytest.raises(UserError) as error:
        plan(**{"model": "lenet", **settings})
    assert message in str(error.value)


@pytest.mark.parametrize("flag", [{"weights": "random"}, {"stock": True}, {"proposals": 5}])
def test_flags_for_torch_models_are_refused_for_onnx_files(onnx, flag):
    with pytest.raises(UserError, match=f"{next(iter(flag))} is for PyTorch models"):
        plan(model=str(onnx), **flag)


def test_no_backend_at_all(monkeypatch):
    for backend in BACKENDS.values():
        monkeypatch.setattr(backend, "available", lambda: "gone", raising=False)
    with pytest.raises(UserError, match=r"can build for no backend .*tvm: gone"):
        plan(model="lenet", backend="auto")


def test_a_chain_of_comparisons_misses_no_graph():
    """Each graph is compared with the one before it: none is trusted unseen."""
    compares = [stage for stage in plan(model="lenet").stages if stage.stage == "compare"]
    for before, after in pairwise(compares):
        assert after.needs["expected"] == before.id


@pytest.mark.parametrize(
    ("ignored", "for_"),
    [
        ({"calib": "there"}, "calibrated"),
        ({"calib": "there", "precision": "bf16"}, "calibrated"),
        ({"eval": "there"}, "a lower precision"),
        ({"metric": "top1"}, "a lower precision"),
        ({"budget": 0.5}, "a lower precision"),
        ({"evaluated": 5}, "a lower precision"),
        ({"low_io": True}, "a lower precision"),
        ({"time": 60, "precision": "int8"}, "a search"),
        ({"keep": "first"}, "a lower precision"),
        ({"rest": "fp16", "precision": "fp16"}, "int8"),
        ({"method": "minmax"}, "int8"),
        ({"correct_bias": False}, "int8"),
        ({"weight_only": True}, "int8"),
        ({"kernels": False, "backend": "tensorrt-rtx", "target": "sm_89"}, "TVM modules"),
        ({"winograd": False, "backend": "tensorrt-rtx", "target": "sm_89"}, "TVM modules"),
    ],
    ids=str,
)
def test_an_option_that_nothing_would_take_is_refused(ignored, for_):
    with pytest.raises(UserError, match=rf"{next(iter(ignored))} is for .*{for_}.*leave it out"):
        plan(**{"model": "lenet", "backend": "tvm", **ignored})


@pytest.mark.parametrize("ignored", [{"exporter": "dynamo"}, {"opset": 17}])
def test_of_a_finished_graph_too(onnx, ignored):
    with pytest.raises(UserError, match="is for PyTorch models"):
        plan(model=str(onnx), backend="tvm", **ignored)


def test_defaults_and_what_a_shared_file_says_are_no_wish(tmp_path):
    plan(model="lenet", backend="tvm", method="mse", calib="", correct_bias=True, kernels=True)
    file = tmp_path / "recipe.yaml"
    file.write_text("model: lenet\nbackend: tvm\nmethod: minmax\nbudget: 0.5%")
    assert make_plan(make_recipe({}, file)).stages
    assert make_plan(make_recipe({"precision": "int8"}, file)).stages
    with pytest.raises(UserError, match="method is for int8"):
        make_plan(make_recipe({"method": "entropy"}, file))


def test_no_target_at_all():
    with pytest.raises(UserError, match="no target in ','"):
        plan(model="lenet", target=",")
