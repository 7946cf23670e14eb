"""What fine-tuning wins back: a model in int8 and with 2:4 sparse weights, untrained and trained.

    python benchmarks/finetuning.py digits
    python benchmarks/finetuning.py frcnn-mini
    python benchmarks/finetuning.py mobilenet_v2

Each row is a whole `enginesmith build` with a TensorRT-RTX engine; the metric is of the model before and after. "Taught"
models learn from labels, "self-taught" ones from what they answered before, on the calibration data.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRAINED = Path(__file__).parent / "trained"


@dataclass(frozen=True)
class Subject:
    """A model with its data, which those of the zoo have of their own. `taught` are functions of `tuning.py`, for int8 and
    for sparsity."""

    model: str
    data: tuple[str, ...] = ()
    metric: str = "top1"
    taught: tuple[str, str] | None = None


def _imagenet(name: str, suffix: str = "") -> Subject:
    file = TRAINED / "imagenet.py"
    return Subject(f"{file}:{name}", ("--calib", f"{file}:calibration{suffix}", "--eval", f"{file}:evaluation{suffix}"))


SUBJECTS = {
    "digits": Subject("digits", taught=("digits", "digits")),
    "frcnn-mini": Subject("frcnn-mini", metric="map", taught=("detector", "pruned_detector")),
    "mobilenet_v2": _imagenet("mobilenet_v2"),
    "efficientnet_lite0": _imagenet("efficientnet_lite0", "_lite"),
}
CASES: dict[str, list[str]] = {
    "int8": ["--precision", "int8"],
    "int8, self-taught": ["--precision", "int8", "--qat"],
    "int8, taught": ["--precision", "int8", "--qat"],
    "2:4": ["--sparse", "--finetune", "none"],
    "2:4, self-taught": ["--sparse"],
    "2:4, taught": ["--sparse"],
    "2:4 and int8, self-taught": ["--precision", "int8", "--sparse", "--qat"],
    "2:4 and int8, taught": ["--precision", "int8", "--sparse", "--qat"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=list(SUBJECTS))
    parser.add_argument(
        "--threads", type=int, default=0, help="1 on a busy machine, where two would wait for each other"
    )
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    arguments = parser.parse_args()
    subject = SUBJECTS[arguments.model]
    print("| | metric | before | after | lost, of 100 | training | engine |\n|---|---|---|---|---|---|---|")
    for case in arguments.only:
        taught, self_taught = case.endswith(", taught"), case.endswith("self-taught")
        if (taught and not subject.taught) or (self_taught and subject.metric == "map"):
            continue
        flags = [*CASES[case], "--threads", str(arguments.threads)]
        if taught and subject.taught:
            flags += ["--finetune", f"{TRAINED / 'tuning.py'}:{subject.taught['--sparse' in flags]}"]
        with tempfile.TemporaryDirectory() as work:
            manifest = build(subject, flags, Path(work))
        print(f"| {' | '.join((case, *figures(manifest)))} |", flush=True)


def build(subject: Subject, flags: list[str], out: Path) -> dict[str, Any]:
    """The manifest."""
    command = [
        *(sys.executable, "-m", "enginesmith", "build", subject.model),
        *(*subject.data, "--metric", subject.metric),
        *("--backend", "tensorrt-rtx", "--measure", "0", "--keep-going", "--out", str(out)),
        *flags,
    ]
    # a build that loses much exits with 1, and its manifest says how much
    subprocess.run(command, stdout=sys.stderr, check=False)
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def figures(manifest: dict[str, Any]) -> tuple[str, ...]:
    stages = {stage["id"]: stage for stage in manifest["stages"]}
    accuracy = stages["accuracy"]["facts"].get("accuracy")
    if accuracy is None:
        failed = next(stage for stage in manifest["stages"] if stage["error"])
        return (f"{failed['id']}: {failed['error']}", *[""] * 5)
    before, after = 100 * accuracy["before"], 100 * accuracy["after"]
    seconds = stages["finetune"]["seconds"] if "finetune" in stages else 0
    size = " ".join(f"{engine['size'] / 1e6:.2f} MB" for engine in manifest["engines"])
    lost = f"{before - after:.2f}"
    return accuracy["metric"], f"{before:.2f}", f"{after:.2f}", lost, f"{seconds:.0f} s" if seconds else "", size


if __name__ == "__main__":
    main()
