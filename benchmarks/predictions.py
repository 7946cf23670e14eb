"""How often the offline check agrees with the backend itself, over ONNX's node tests.

    export PYTHONPATH=.
    .venv/bin/python benchmarks/predictions.py                       # TensorRT-RTX: the confusion matrix, the disagreements
    .venv/bin/python benchmarks/predictions.py --backend tvm         # the tests that ONNX Runtime passes, compiled and run
    .venv/bin/python benchmarks/predictions.py --only resize --why   # with what either side said
    .venv/bin/python benchmarks/predictions.py --models build/*/fp32 # and over models of one's own

What the backend says is asked once per test and kept in OUT/BACKEND-all.json. A model counts as predicted refused
when a rule of severity error says so about a node or the whole model.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import onnx_ir as ir

from benchmarks.node_tests import TARGETS, asked, collect, passing
from enginesmith.compat.checks import findings
from enginesmith.compat.graphs import infer
from enginesmith.compat.target import Target
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.trial import TRIAL
from enginesmith.converters.core.isolated import FAILED, Isolated

NEEDS_PROFILE = re.compile("no optimization profile has been defined|has dynamic dimensions .*: give its range")
"""Said of models with dynamic shapes, and with inputs that decide on shapes: their own values are known to no one."""


def real(backend: str, out: Path, names: list[str]) -> dict[str, str]:
    """What the backend says of every test: empty where it takes it, else its message."""
    file = out / f"{backend}-all.json"
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    missing = [name for name in names if name not in known]
    with Isolated(without_torch=True) as process:
        for name in missing:
            record = asked(process, "one", backend, str(out / "cases" / name), False)
            known[name] = "" if record["step"] == "ok" else f"{record['step']}: {record['message']}"
    if missing:
        file.write_text(json.dumps(known, indent=1))
    return known


def built(process: Isolated, backend: str, path: Path) -> str:
    """As `real`, of one model with static shapes."""
    try:
        rejection: dict[str, Any] | None = process.call(TRIAL, backend, str(path), TARGETS[backend], timeout=600)
    except FAILED as error:
        return str(error)
    return "" if rejection is None else f"{rejection['step']}: {rejection['message']}"


def predicted(path: Path, target: Target) -> str:
    """What the rules say of a model: empty where they find nothing wrong.

    What a backend computes wrongly shows only where it runs, as TVM does here.
    """
    model = infer(ir.load(path))
    errors = (finding for finding in findings(model, target) if finding.severity == "error")
    return next((f"{f.rule}: {f.op}: {f.message}" for f in errors if not f.silent or target.backend == "tvm"), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=list(TARGETS), default="tensorrt-rtx")
    parser.add_argument("--only", default="", help="regular expression over the names")
    parser.add_argument("--why", action="store_true", help="print what either side said of each disagreement")
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="folders with .onnx files, searched through")
    parser.add_argument("--out", type=Path, default=Path("build/node_tests"))
    given = parser.parse_args()
    backend = given.backend
    target = Target(backend, get_backend(backend).version())
    names = [] if given.models else [name for name in collect(given.out) if re.search(given.only, name)]
    if backend == "tvm" and names:  # a test that nothing passes says nothing about results
        names = [name for name in passing(given.out, collect(given.out)) if name in set(names)]
    known = real(backend, given.out, names)
    verdicts = {given.out / "cases" / name / "model.onnx": known[name] for name in names}
    paths = [given.out / "cases" / name / "model.onnx" for name in names]
    for folder in given.models:
        paths += sorted(path for path in folder.rglob("*.onnx") if path.is_file() and re.search(given.only, str(path)))
    unasked = 0
    table = {(said, foretold): 0 for said in (True, False) for foretold in (True, False)}
    with Isolated(without_torch=True) as process:
        for path in paths:
            said = verdicts[path] if path in verdicts else built(process, backend, path)
            if NEEDS_PROFILE.search(said):
                unasked += 1
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                foretold = predicted(path, target)
            table[not said, not foretold] += 1
            if bool(said) != bool(foretold):
                name = path.parent.name if path in verdicts else path
                print("refused, predicted taken:" if said else "taken, predicted refused:", name)
                if given.why:
                    print(f"    {(said or foretold)[:300]}")
    if unasked:
        print(f"{unasked} models left out: they need shapes or values of their inputs")
    for taken, word in ((True, "taken  "), (False, "refused")):
        right, total = table[taken, taken], table[taken, True] + table[taken, False]
        print(f"{word}: {total} models, {right} predicted so ({100 * right / max(total, 1):.1f} %)")


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main()
