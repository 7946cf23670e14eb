"""What a recipe asks of fine-tuning: which stages it adds, and which requests don't fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_onnx

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.pipeline.job.plan import Plan, make_plan


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.py"
    path.write_text("def train(model): pass\n")
    return path


def plan(**settings: Any) -> Plan:
    return make_plan(Recipe(**{"model": "lenet", "backend": "tvm", "target": "x86-64-v3", **settings}))


def by_id(made: Plan) -> dict[str, PlannedStage]:
    return {stage.id: stage for stage in made.stages}


def test_the_road_of_a_model_that_is_trained_for_int8(job: Path) -> None:
    made = plan(precision="int8", finetune=f"{job}:train", qat=True)
    assert [stage.id for stage in made.stages][:4] == ["original", "finetune", "export", "compare export"]
    stages = by_id(made)
    tuning = stages["finetune"].options
    assert (tuning.function, tuning.function_path, tuning.function_sha256) == ("train", job, hash_file(job))
    assert (tuning.qat, tuning.sparse) == (True, False)
    assert stages["export"].needs == {"finetuned": "finetune"}
    assert stages["export"].options == stages["original"].options
    assert stages["calibrate"].needs["finetuned"] == "finetune", "the trained ranges are int8's"
    assert stages["accuracy"].needs["original"] == "original", "what is lost is lost of the model before"
    assert all(stage.needs.get("samples", "export") == "export" for stage in made.stages)


def test_pruning_is_measured_though_nothing_is_lowered(job: Path) -> None:
    stages = by_id(plan(sparse=True, finetune=f"{job}:train"))
    assert stages["accuracy"].needs == {
        "model": "simplify",
        "candidate": "simplify",
        "samples": "export",
        "original": "original",
    }
    assert stages["compile tvm x86-64-v3"].after == ("accuracy",)
    assert stages["compile tvm x86-64-v3"].options.sparse
    assert "calibrate" not in stages


def test_a_search_takes_one_calibration_of_what_was_trained(job: Path) -> None:
    stages = by_id(plan(precision="auto", qat=True, finetune=f"{job}:train"))
    assert "calibrate equalized" not in stages, "equalizing would undo the training"
    assert stages["precision"].needs["original"] == "original"


def test_without_a_function_the_model_learns_from_itself(tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    data.write_bytes(b"an archive")
    tuning = by_id(plan(precision="int8", qat=True, calib=str(data)))["finetune"]
    assert tuning.options.function == ""
    assert (tuning.options.data.spec, tuning.options.data.role) == (str(data), "calibration")
    assert tuning.needs == {"samples": "original"}


def test_ranges_of_a_model_that_was_only_pruned_are_calibrated() -> None:
    stages = by_id(plan(precision="int8", sparse=True, finetune="none"))
    assert (stages["finetune"].options.function, stages["finetune"].options.data) == ("", None)
    assert stages["finetune"].needs == {}
    assert "finetuned" not in stages["calibrate"].needs


def test_a_function_of_a_module() -> None:
    options = by_id(plan(precision="int8", qat=True, finetune="package.job:train"))["finetune"].options
    assert (options.function, options.function_path) == ("package.job:train", None)


def test_nothing_is_added_unless_asked() -> None:
    stages = by_id(plan(precision="int8"))
    assert not {"original", "finetune"} & set(stages)
    assert stages["export"].needs == {}


def test_a_graph_that_is_sparse_already_is_compiled_as_such(tmp_path: Path) -> None:
    stages = by_id(plan(model=str(tiny_onnx.linear(tmp_path / "net.onnx")), sparse=True))
    assert "finetune" not in stages
    assert stages["compile tvm x86-64-v3"].options.sparse


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"qat": True, "precision": "int8", "finetune": "none"}, "with --finetune none it has nothing to do"),
        (
            {"finetune": "JOB:train"},
            "finetune trains for int8, for sparse or for fewer weights; give --qat, --sparse or --prune",
        ),
        ({"finetune": "JOB:train", "qat": True}, "qat trains for int8, and the precision is fp32"),
        (
            {"finetune": "JOB:train", "qat": True, "precision": "int8", "equalize": True},
            "equalize changes the weights that qat trains",
        ),
        ({"finetune": "JOB", "sparse": True}, "names no function"),
        ({"finetune": "JOB:", "sparse": True}, "names no function"),
        ({"finetune": "train", "sparse": True}, "finetune = 'train' names no function"),
        ({"finetune": "JOB:trian", "sparse": True}, "has no function 'trian'; it has train"),
        ({"finetune": "nowhere.py:train", "sparse": True}, "there is no file nowhere.py"),
    ],
)
def test_a_mistake_is_named(job: Path, settings: dict[str, Any], message: str) -> None:
    settings = {key: value.replace("JOB", str(job)) if key == "finetune" else value for key, value in settings.items()}
    with pytest.raises(UserError) as error:
        plan(**settings)
    assert message in str(error.value)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".pt"])
def test_a_finished_graph_is_not_trained(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"")
    with pytest.raises(UserError, match="qat trains PyTorch models, and net is a finished graph"):
        plan(model=str(path), qat=True, precision="int8")


def test_the_road_of_a_model_that_is_pruned(job: Path) -> None:
    made = plan(prune="30%", finetune=f"{job}:train")
    assert [stage.id for stage in made.stages][:5] == ["original", "prune", "finetune", "export", "compare export"]
    stages = by_id(made)
    assert stages["prune"].options.ratio == pytest.approx(0.3)
    assert stages["prune"].needs == {"samples": "original"}
    assert stages["finetune"].needs == {"pruned": "prune"}
    assert stages["export"].needs == {"finetuned": "finetune"}
    assert stages["accuracy"].needs["original"] == "original"
    alone = by_id(plan(prune=0.3, finetune="none"))
    assert "finetune" not in alone
    assert alone["export"].needs == {"finetuned": "prune"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"prune": 0.3, "sparse": True}, "prune and sparse both take weights out"),
        ({"importance": "l2"}, "importance is for a pruning"),
        ({"prune": 0.3, "finetune": "nowhere.py:train"}, "there is no file nowhere.py"),
        ({"prune": 0.3, "qat": True}, "qat trains for int8"),
    ],
)
def test_prunings_that_make_no_sense(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        plan(**settings)


@pytest.mark.parametrize("ratio", [0, 1, "100%", -0.1, "much"])
def test_a_share_that_is_none(ratio: object) -> None:
    with pytest.raises((ValueError, UserError), match=r"prune|share|greater|less"):
        Recipe(model="lenet", prune=ratio)


def test_a_finished_graph_is_not_pruned(tmp_path: Path) -> None:
    path = tiny_onnx.linear(tmp_path / "model.onnx")
    with pytest.raises(UserError, match=r"prune cuts PyTorch models, and model is a finished graph"):
        plan(model=str(path), prune=0.3)
