"""TVM's modules of single operators against ONNX Runtime on wide but legal inputs: both signs, ties, infinities, NaN, ends of types.

    export PYTHONPATH=.
    .venv/bin/python benchmarks/tvm_operators.py                       # every case
    .venv/bin/python benchmarks/tvm_operators.py --only 'Max|TopK'     # some, by a regular expression over their names

A case is refused when the backend's check says so, wrong when a module is built and its output differs from what ONNX
Runtime and onnx's reference evaluator compute. Where the reference agrees with TVM, ONNX Runtime stands alone and is
listed apart; so is a build or a run that fails without a finding before it. Results go into OUT, one record per case.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.tvm_operator_cases import CASES, KINDS, Case
from benchmarks.tvm_operator_witness import witness
from enginesmith.converters.core.isolated import FAILED, Isolated

HERE = "benchmarks.tvm_operators"
TIMEOUT = 60.0
DRAWS = 3
"""Inputs of every kind."""
WORDS = {
    "right": "agree on every input",
    "refused": "refused by the check",
    "runtime": "where ONNX Runtime alone differs",
    "failed": "failed without a finding",
    "wrong": "built and wrong",
    "untested": "that ONNX Runtime doesn't run",
}


def tried(name: str) -> dict[str, str]:
    """Check, build and run one case: `step`, one of `WORDS`, and a message."""
    import onnxruntime

    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.backends.base import BuildRequest
    from enginesmith.converters.core.stage import Context

    case = CASES[name]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            case.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 - ONNX Runtime has errors of many kinds
        return {"step": "untested", "message": str(error)[:200]}
    backend = get_backend("tvm")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        onnx.save(case.model, folder / "model.onnx")
        context = Context(folder, folder, folder)
        request = BuildRequest(folder / "model.onnx", backend.resolve_target("native"), {}, folder / "out")
        request.out.mkdir()
        refused = [finding for finding in backend.check(request, context) if finding.severity == "error"]
        if refused:
            return {"step": "refused", "message": refused[0].message}
        try:
            backend.build(request, context)
        except Exception as error:  # noqa: BLE001 - whatever it raises, the check should have said so
            return {"step": "failed", "message": f"build: {error}"[:300]}
        with backend.runner(request.out / backend.engine_file) as runner:
            return held(case, session, runner)


def held(case: Case, session: Any, runner: Any) -> dict[str, str]:
    """Every kind of input, run by both."""
    alone = ""
    ran = False
    for kind in ("usual", *KINDS):
        rng = np.random.default_rng(0)
        for _ in range(DRAWS):
            feed = case.usual(rng) if kind == "usual" else case.feed(kind, rng)
            try:
                expected = [np.asarray(array) for array in session.run(None, feed)]
            except Exception:  # noqa: BLE001 - not a legal input
                continue
            ran = True
            try:
                found = [np.asarray(array) for array in runner.infer(dict(feed)).values()]
            except Exception as error:  # noqa: BLE001 - an engine that doesn't run is told as that
                return {"step": "failed", "message": f"{kind}: {error}"[:300]}
            message = first(expected, found, case.sums)
            if not message:
                continue
            try:
                judged = not first(witness(case.model, feed, found[0].shape), found, case.sums)
            except Exception:  # noqa: BLE001 - the reference doesn't have every operator and type
                judged = False
            if not judged:
                return {"step": "wrong", "message": f"{kind}: {message}; of {told(feed)}"}
            alone = alone or f"{kind}: {message}; of {told(feed)}"
    if not ran:
        return {"step": "untested", "message": "no input is legal"}
    return {"step": "runtime" if alone else "right", "message": alone}


def first(expected: list[NDArray[Any]], found: list[NDArray[Any]], sums: bool) -> str:
    return next(filter(None, (differs(a, b, sums) for a, b in zip(expected, found, strict=True))), "")


def differs(expected: NDArray[Any], found: NDArray[Any], sums: bool) -> str:
    """What differs first, empty when nothing does: integers exactly, floats by rounding, NaN and infinities alike."""
    if (expected.shape, expected.dtype) != (found.shape, found.dtype):
        return f"{found.dtype}{list(found.shape)} where {expected.dtype}{list(expected.shape)} is expected"
    if expected.dtype.kind in "iub":
        apart = expected != found
    else:
        a, b = expected.astype(np.float64), found.astype(np.float64)
        digits = 1e-4 if expected.dtype != np.float16 else 4e-3
        finite = np.abs(a[np.isfinite(a)])
        scale = float(np.max(finite) if sums else np.median(finite)) if finite.size else 0.0
        apart = ~np.isclose(a, b, rtol=digits, atol=digits * 1e-1 * max(scale, 1e-2), equal_nan=True)
    if not apart.any():
        return ""
    place = tuple(int(axis[0]) for axis in np.nonzero(apart))
    return f"{found[place]} where {expected[place]} is expected at {list(place)}"


def told(feed: dict[str, NDArray[Any]]) -> str:
    return ", ".join(f"{name}={np.asarray(array).ravel()[:6].tolist()}" for name, array in feed.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression over the names of cases")
    parser.add_argument("--out", type=Path, default=Path("build/tvm_operators.json"))
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    names = [name for name in CASES if re.search(given.only, name)]
    found: dict[str, dict[str, str]] = {}
    started = time.monotonic()
    with Isolated(without_torch=True, log=given.out.with_suffix(".log")) as process:
        for name in names:
            try:
                found[name] = process.call(f"{HERE}:tried", name, timeout=TIMEOUT)
            except FAILED as error:
                found[name] = {"step": "failed", "message": str(error)[:300]}
            if found[name]["step"] in ("wrong", "failed"):
                print(f"{found[name]['step']:7} {name:36} {found[name]['message']}"[:240], flush=True)
    given.out.write_text(json.dumps(found, indent=1))
    steps = defaultdict(list)
    for name, record in found.items():
        steps[record["step"]].append(name)
    counts = ", ".join(f"{len(steps[step])} {words}" for step, words in WORDS.items())
    print(
        f"{len(found)} operators on {(len(KINDS) + 1) * DRAWS} inputs each, {time.monotonic() - started:.0f} s: {counts}"
    )


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main()
