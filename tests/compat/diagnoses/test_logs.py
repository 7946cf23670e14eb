"""Real logs: the first real cause, not the cascade after it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from enginesmith.compat.diagnoses import explain_log, get_diagnosis

LOGS = Path(__file__).with_name("logs")


def index(folder: Path) -> list[dict[str, Any]]:
    return [entry | {"path": folder / entry["file"]} for entry in yaml.safe_load((folder / "index.yaml").read_text())]


INDEX = index(LOGS)
COLLECTED = index(LOGS / "collected")
BLIND = [
    entry
    for name in ("blind4", "blind5", *(f"blind{number}" for number in (7, 8, 9, 10, 11, 13, 14, 15, 16)))
    for entry in index(LOGS / name)
    if "id" in entry
]  # not the unseen third


@pytest.mark.parametrize(
    "entry", [pytest.param(entry, id=entry["path"].stem) for entry in [*INDEX, *COLLECTED, *BLIND]]
)
def test_the_first_real_cause(entry):
    explanation = explain_log(BytesIO(entry["path"].read_bytes()))
    cause = explanation.cause.id if explanation.cause else None
    assert cause == entry["id"], explanation.model_dump_json(indent=1)
    if cause is None:
        assert explanation.headline is not None
        assert entry.get("headline", "") in explanation.headline.line.text
        assert explanation.headline.look


def test_reports_that_were_not_seen():
    """Of those that were run only after the diagnoses were written, most are explained rightly, and few wrongly."""
    right, wrong = [], []
    for entry in index(LOGS / "unseen"):
        explanation = explain_log(BytesIO(entry["path"].read_bytes()))
        known = explanation.cause
        if (known.id if known else None) == entry["id"]:
            right.append(entry["file"])
        elif known is not None and not known.generic:
            wrong.append(entry["file"])
    count = len(index(LOGS / "unseen"))
    assert len(right) >= 0.75 * count
    assert len(wrong) <= 0.05 * count, wrong


@pytest.mark.parametrize(
    ("folder", "least"),
    [
        (LOGS, 60),
        (LOGS / "collected", 150),
        (LOGS / "unseen", 30),
        (LOGS / "blind4", 75),
        (LOGS / "blind5", 30),
        (LOGS / "blind6", 40),
        (LOGS / "blind7", 25),
        (LOGS / "blind8", 15),
        (LOGS / "blind9", 20),
        (LOGS / "blind10", 15),
        (LOGS / "blind11", 20),
        (LOGS / "blind12", 10),
        (LOGS / "blind13", 20),
        (LOGS / "blind14", 28),
        (LOGS / "blind15", 25),
        (LOGS / "blind16", 28),
    ],
)
def test_the_index_is_whole(folder, least):
    entries = index(folder)
    assert {entry["file"] for entry in entries} == {path.name for path in folder.glob("*.txt")}
    assert len(entries) >= least
    assert all(entry["source"].startswith("https://github.com/") for entry in entries)
    for entry in entries:
        if entry.get("id") is not None:
            get_diagnosis(entry["id"])


@pytest.mark.parametrize(
    "entry",
    [
        entry
        for entry in INDEX
        if entry["file"] in ("fastspeech-if.txt", "polygraphy-score-mismatch.txt", "torch-fft2.txt")
    ],
)
@pytest.mark.parametrize(
    "dress", ["\x1b[31m{}\x1b[0m", "10%|#   |\r50%|##  |\r{}", "web_1  | {}", "2026-01-02T03:04:05.678Z {}"]
)
@pytest.mark.parametrize("coding", ["utf-8", "utf-16"])
def test_colours_bars_stamps_and_codings(entry, dress, coding):
    """The same cause at the same line."""
    plain = (LOGS / entry["file"]).read_text()
    dressed = "\r\n".join(dress.format(line) for line in plain.splitlines())
    before = explain_log(BytesIO(plain.encode())).cause
    after = explain_log(BytesIO(dressed.encode(coding))).cause
    assert before is not None
    assert after is not None
    assert (after.id, after.line.number) == (before.id, before.line.number)
    assert after.line.text.strip() == before.line.text.strip()


@pytest.mark.parametrize(
    ("name", "op", "node"),
    [
        ("ditto-gridsample3d", "GridSample3D", "/dense_motion_network/GridSample"),
        ("depth-anything-if", "If", "If_1249_OutputLayer"),
        ("onnxsim-efficientformer-rank", "Conv", "Conv_339"),
        ("onnx-fp16-topk-sort", "TopK", "TopK_111"),
        ("ort-swin-int32", "Reshape", "/model/backbone/patch_embed/Reshape"),
        ("ort-allowzero", "Reshape", "/Reshape"),
        ("torch-fft2", "aten::fft_fft2", ""),
        ("hrnet-resize", "Resize", ""),
    ],
)
def test_the_place_is_named(name, op, node):
    cause = explain_log(BytesIO((LOGS / f"{name}.txt").read_bytes())).cause
    assert cause is not None
    assert (cause.op, cause.node) == (op, node)
