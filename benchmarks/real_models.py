"""Models of real packages, built as their users call them, beside the plain recipe.

    python benchmarks/real_models.py [--out build/real_models] [--limit 900] [NAME …]

The packages of `real_model_cases.py` and of the lists beside it (`real_model_*.py`) are no dependencies of ours. Install them in
an environment of their own, one after the other with our constraints, and with `--no-deps` those whose own ask for other versions
of torch, numpy or huggingface_hub (python-doctr, facenet-pytorch, torchcrepe, torchxrayvision, perceiver-pytorch,
denoising-diffusion-pytorch):

    pip install -c constraints.txt kornia torch-geometric … && pip install --no-deps python-doctr facenet-pytorch …
    pip install --no-deps six anyascii cffi pycparser soundfile librosa resampy rapidfuzz h5py langdetect pypdfium2 validators defusedxml

Each model goes both roads, each in a process of its own with a time limit:

- plain: `torch.onnx.export`, onnxsim, ONNX Runtime's outputs against PyTorch's on the same inputs, TensorRT-RTX's parser and
  builder for sm_89;
- ours: `enginesmith build FILE:NAME --backend tensorrt-rtx --target sm_89`.

A road that has a result in `--out` isn't run again. Prints a line a model, with the reason of what failed, and the counts; what only
the plain recipe brings is lost.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FILES = ("real_model_cases", "real_model_texts", "real_model_pictures", "real_model_others")
TOLERANCE = 1e-3
"""Of the plain recipe's outputs: absolute and relative to the largest magnitude."""
ROADS = ("plain", "ours")


def module_of(name: str) -> Any:
    """That has the factory."""
    return next(module for module in map(import_module, FILES) if name in module.CASES)


def plain(name: str, folder: Path) -> str:
    """What the plain recipe fails by; nothing where it brings an engine from a graph that matches."""
    import numpy as np
    import onnx
    import onnxruntime
    import onnxsim
    import tensorrt_rtx as trt
    import torch
    from torch.utils._pytree import tree_leaves

    torch.manual_seed(0)
    with torch.no_grad():
        module, args, kwargs = getattr(module_of(name), name)()
        expected = [leaf for leaf in tree_leaves(module(*args, **kwargs)) if isinstance(leaf, torch.Tensor)]
        path = folder / "plain.onnx"
        torch.onnx.export(module, args, str(path), kwargs=kwargs, dynamo=True, verbose=False)
    simplified, _ = onnxsim.simplify(onnx.load(path))
    session = onnxruntime.InferenceSession(simplified.SerializeToString(), providers=["CPUExecutionProvider"])
    tensors = [leaf.numpy() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    feed = dict(zip([value.name for value in session.get_inputs()], tensors, strict=False))
    found = session.run(None, feed)
    if len(found) != len(expected):
        return f"{len(found)} outputs, not {len(expected)}"
    for made, tensor in zip(found, expected, strict=True):
        wanted = tensor.detach().numpy()
        scale = float(np.abs(wanted.astype(np.float64)).max(initial=0.0))
        if made.shape != wanted.shape or not np.allclose(
            made, wanted, atol=TOLERANCE * max(scale, 1.0), rtol=0, equal_nan=True
        ):
            return "differs in ONNX Runtime"
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(simplified.SerializeToString()):
        return f"TensorRT-RTX: {parser.get_error(0).desc()}"
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    return "" if builder.build_serialized_network(network, config) is not None else "TensorRT-RTX builds nothing"


def ours(name: str, folder: Path) -> str:
    command = [
        sys.executable,
        "-m",
        "enginesmith.pipeline.cli.app",
        "build",
        f"{module_of(name).__file__}:{name}",
        "--backend",
        "tensorrt-rtx",
    ]
    command += ["--target", "sm_89", "--measure", "0", "--out", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True)
    (folder / "ours.txt").write_text(run.stdout + run.stderr)
    if run.returncode == 0:
        return ""
    manifest = folder / "manifest.json"
    if manifest.is_file():
        for stage in json.loads(manifest.read_text())["stages"]:
            if stage["status"] == "failed":
                return f"{stage['id']}: {stage['error']}"
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit {run.returncode}"


def run_road(road: str, name: str, out: Path, limit: float) -> str:
    """The reason of its failure, from its own process, or the one kept in `out`."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / f"{road}.json"
    if not result.is_file():
        environment = os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}", "YOLO_OFFLINE": "true"}
        command = [sys.executable, __file__, "--road", road, "--out", str(out), name]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment)
            if not result.is_file():
                result.write_text(json.dumps(f"exit {run.returncode}: {run.stderr.strip().splitlines()[-1:]}"))
        except subprocess.TimeoutExpired:
            result.write_text(json.dumps(f"not done in {limit:.0f} s"))
    return str(json.loads(result.read_text()))


def one(road: str, name: str, out: Path) -> None:
    try:
        reason = (plain if road == "plain" else ours)(name, out / name)
    except Exception as error:  # noqa: BLE001 - whatever the package or the recipe raises is the result
        traceback.print_exc()
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    (out / name / f"{road}.json").write_text(json.dumps(reason))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("build/real_models"))
    parser.add_argument("--limit", type=float, default=900, help="seconds a road")
    parser.add_argument("--road", choices=ROADS, help="in this process, of one model")
    given = parser.parse_args()
    out = given.out.resolve()
    if given.road:
        one(given.road, given.names[0], out)
        return
    cases = {name: package for file in FILES for name, package in import_module(file).CASES.items()}
    results: dict[str, dict[str, Any]] = {}
    for name, package in cases.items():
        if given.names and name not in given.names:
            continue
        reasons = {road: run_road(road, name, out, given.limit) for road in ROADS}
        results[name] = {"package": package, **reasons}
        marks = " ".join(f"{'✗' if reason else '✓'} {road}" for road, reason in reasons.items())
        print(f"{marks}  {package}: {name}  {'; '.join(f'{k}: {v}' for k, v in reasons.items() if v)}", flush=True)
        (out / "results.json").write_text(json.dumps(results, indent=1))
    counts = {road: sum(not result[road] for result in results.values()) for road in ROADS}
    lost = [name for name, result in results.items() if result["ours"] and not result["plain"]]
    packages = len({result["package"] for result in results.values()})
    print(f"{counts} of {len(results)} models of {packages} packages; lost: {', '.join(lost) or 'none'}")


if __name__ == "__main__":
    main()
