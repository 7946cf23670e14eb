"""What fine-tuning wins back: a model in int8 and with 2:4 sparse weights, untrained and trained.

    python benchmarks/finetuning.py digits --weights digits.pt
    python benchmarks/finetuning.py detector --weights detector.pt

Each row is a whole `enginesmith build` with a TensorRT-RTX engine; the metric is of the model before and after.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TRAINED = Path(__file__).parent / "trained"
METRICS = {"digits": "top1", "detector": "map"}
CASES: dict[str, list[str]] = {
    "int8": ["--precision", "int8"],
    "int8, trained": ["--precision", "int8", "--qat"],
    "2:4": ["--sparse"],
    "2:4, trained": ["--sparse"],
    "2:4 and int8, trained": ["--precision", "int8", "--sparse", "--qat"],
}


def build(model: str, weights: Path, flags: list[str], out: Path) -> dict[str, Any]:
    """The manifest."""
    file = TRAINED / f"{model}.py"
    data = ["--calib", f"{file}:calibration", "--eval", f"{file}:evaluation", "--metric", METRICS[model]]
    command = ["build", f"{file}:factory", "--weights", str(weights), "--backend", "tensorrt-rtx", "--measure", "0"]
    subprocess.run(
        [sys.executable, "-m", "enginesmith.pipeline.cli", *command, *data, *flags, "--keep-going", "--out", str(out)],
        stdout=sys.stderr,
        check=False,  # a build that loses more than it may exits with 1, and its manifest says how much
    )
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=list(METRICS))
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    arguments = parser.parse_args()
    print("| | metric | before | after | lost, of 100 | training | engine |\n|---|---|---|---|---|---|---|")
    for name in arguments.only:
        flags = list(CASES[name])
        if "trained" in name:
            flags += ["--finetune", f"{TRAINED / 'tuning.py'}:{arguments.model}"]
        with tempfile.TemporaryDirectory() as work:
            manifest = build(arguments.model, arguments.weights.resolve(), flags, Path(work))
        stages = {stage["id"]: stage for stage in manifest["stages"]}
        accuracy = stages["accuracy"]["accuracy"]
        if accuracy is None:
            print(f"| {name} | {stages['accuracy']['error'] or 'not measured'} |||||", flush=True)
            continue
        before, after = 100 * accuracy["before"], 100 * accuracy["after"]
        trained = f"{stages['finetune']['seconds']:.0f} s" if "trained" in name else ""
        size = " ".join(f"{engine['size'] / 1e6:.2f} MB" for engine in manifest["engines"])
        row = (name, accuracy["metric"], f"{before:.2f}", f"{after:.2f}", f"{before - after:.2f}", trained, size)
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
