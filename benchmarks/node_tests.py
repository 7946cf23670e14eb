"""ONNX's own backend node tests against TensorRT-RTX and TVM, as they are and after repair.

    export PYTHONPATH=.
    .venv/bin/python benchmarks/node_tests.py --backend tensorrt-rtx            # every test, as it is
    .venv/bin/python benchmarks/node_tests.py --backend tvm --repair            # after repair
    .venv/bin/python benchmarks/node_tests.py --backend tvm --repair --only 'resize|grid'

A test counts only where ONNX Runtime passes it. Results go into OUT/BACKEND[-repaired].json, one record per test;
with --only they are merged into what is there. The work is done in processes that may crash.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from enginesmith.compat.findings import Finding
from enginesmith.compat.interface import fed, fetched
from enginesmith.converters.backends.trial import trial
from enginesmith.converters.core.isolated import FAILED, Died, Isolated

TIMEOUT = 120.0
TARGETS = {"tensorrt-rtx": "sm_89", "tvm": "x86-64-v3"}
HERE = "benchmarks.node_tests"


def collect(out: Path) -> list[str]:
    """Write every node test as model.onnx and its data sets below `out`/cases, once; returns their names."""
    done = out / "cases.json"
    if not done.exists():
        from onnx.backend.test import loader

        names = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cases = loader.load_model_tests(kind="node")
        for case in cases:
            folder = out / "cases" / case.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model.onnx").write_bytes(case.model.SerializeToString())
            for index, (inputs, outputs) in enumerate(case.data_sets):
                _save(folder / f"inputs{index}.npy", inputs)
                _save(folder / f"outputs{index}.npy", outputs)
            (folder / "about.json").write_text(
                json.dumps({"rtol": case.rtol, "atol": case.atol, "sets": len(case.data_sets)})
            )
            names.append(case.name)
        done.write_text(json.dumps(names))
    found: list[str] = json.loads(done.read_text())
    return found


def _save(path: Path, values: Any) -> None:
    array = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        if isinstance(value, onnx.TensorProto):
            array[index] = onnx.numpy_helper.to_array(value)
        else:
            array[index] = value if value is None or isinstance(value, list) else np.asarray(value)
    np.save(path, array, allow_pickle=True)


class Case:
    """A test that `collect` wrote."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.onnx = self.folder / "model.onnx"
        about = json.loads((self.folder / "about.json").read_text())
        self.rtol, self.atol = about["rtol"], about["atol"]
        self.sets = [(self._load(f"inputs{i}"), self._load(f"outputs{i}")) for i in range(about["sets"])]

    def _load(self, name: str) -> list[Any]:
        return list(np.load(self.folder / f"{name}.npy", allow_pickle=True))

    def feeds(self, model: onnx.ModelProto) -> list[dict[str, Any]]:
        """Inputs by name for each data set."""
        names = [value.name for value in model.graph.input]
        return [dict(zip(names, inputs, strict=False)) for inputs, _ in self.sets]

    def agrees(self, index: int, outputs: list[Any]) -> str:
        """Empty when `outputs` are those of the data set, else what differs."""
        expected = self.sets[index][1]
        if len(outputs) != len(expected):
            return f"{len(outputs)} outputs instead of {len(expected)}"
        return next(filter(None, (self._differs(e, f) for e, f in zip(expected, outputs, strict=True))), "")

    def _differs(self, expected: Any, found: Any) -> str:
        if isinstance(expected, list):
            if not isinstance(found, list) or len(found) != len(expected):
                return "another sequence"
            return next(filter(None, map(self._differs, expected, found)), "")
        if expected is None or found is None:
            return "" if expected is found else "a missing value"
        expected, found = np.asarray(expected), np.asarray(found)
        if expected.shape != found.shape:
            return f"shape {list(found.shape)} instead of {list(expected.shape)}"
        if expected.dtype != found.dtype:
            return f"{found.dtype} instead of {expected.dtype}"
        if expected.dtype.kind in "OUSTb":
            return "" if np.array_equal(expected, found) else "other values"
        a, b = (np.asarray(x).astype(complex if x.dtype.kind == "c" else np.float64) for x in (expected, found))
        if np.allclose(a, b, rtol=self.rtol, atol=max(self.atol, 1e-5), equal_nan=True):
            return ""
        with np.errstate(all="ignore"):
            return f"differs by {np.nanmax(np.abs(a - b)):.3g}"


def onnxruntime(folder: str, path: str | None = None) -> str:
    """Empty when ONNX Runtime passes the test (with the model at `path` in its place), else why not."""
    from enginesmith.converters.graphs.proof import session

    case = Case(folder)
    model = onnx.load(path or str(case.onnx))
    loaded = session(model)
    for index, feed in enumerate(case.feeds(onnx.load(str(case.onnx)))):
        outputs = dict(
            zip([value.name for value in model.graph.output], loaded.run(None, fed(model, feed)), strict=True)
        )
        if differs := case.agrees(index, list(fetched(model, outputs).values())):
            return differs
    return ""


def compiled(folder: str, path: str | None = None) -> str:
    """Empty when TVM compiles the model and passes the test, else why not."""
    import tvm
    from tvm import relax

    from enginesmith.converters.backends.tvm.frontend import importer
    from enginesmith.converters.backends.tvm.processors import llvm_target
    from enginesmith.converters.backends.tvm.schedule import schedule, tile_for

    case = Case(folder)
    model = onnx.load(str(case.onnx))
    target = llvm_target(TARGETS["tvm"])
    taken = onnx.load(path) if path else model
    names = [value.name for value in taken.graph.output]
    for index, given in enumerate(case.feeds(model)):
        feed = fed(taken, given)
        profile = profile_of(model, feed)
        imported = importer.import_onnx(Path(path) if path else case.onnx, profile)
        module = schedule(importer.optimize(imported.module, target), tile_for("x86-64-v3"))
        machine = relax.VirtualMachine(importer.compile_module(module, target), tvm.cpu())
        result = machine["main"](*(tvm.runtime.tensor(np.asarray(feed[t.name], order="C")) for t in imported.inputs))
        one = len(imported.outputs) == 1 and (hasattr(result, "numpy") or not hasattr(result, "__len__"))
        results = [result] if one or type(result).__name__ == "Shape" else list(result)
        arrays = [r.numpy() if hasattr(r, "numpy") else np.array(list(r), np.int64) for r in results]
        if differs := case.agrees(index, list(fetched(taken, dict(zip(names, arrays, strict=True))).values())):
            return differs
    return ""


def profile_of(model: onnx.ModelProto, feed: dict[str, Any]) -> dict[str, Any]:
    """The data set's shape for every input with a dynamic dimension."""
    profile = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        if value.name in feed and any(not dim.HasField("dim_value") for dim in kind.shape.dim):
            shape = list(np.asarray(feed[value.name]).shape)
            profile[value.name] = (shape, shape, shape)
    return profile


def one(backend: str, folder: str, repair: bool) -> dict[str, Any]:
    """What a backend makes of one test: `step` where it ends (`ok` when it passes) and `message`."""
    case = Case(folder)
    path, record = case.onnx, {}
    feed = case.feeds(onnx.load(str(path)))[0]
    if repair:
        from enginesmith.compat.target import Target
        from enginesmith.converters.backends import get_backend
        from enginesmith.converters.graphs.repair import repair_file

        path = case.folder / f"{backend}-repaired.onnx"
        target = Target(backend, get_backend(backend).version())
        path.unlink(missing_ok=True)
        report = repair_file(
            case.onnx, path, target, lambda file: refused(backend, file, feed), case.feeds(onnx.load(str(case.onnx)))
        )
        record = {
            "repairs": [attempt.repair for attempt in report.made],
            "tried": [f"{attempt.repair}: {attempt.reason}" for attempt in report.attempts if not attempt.made],
        }
        path = path if path.exists() else case.onnx
        try:
            differs = onnxruntime(folder, str(path))
        except Exception as error:  # noqa: BLE001 - whatever it raises, the repair is to blame
            differs = f"{type(error).__name__}: {error}"
        if differs:
            return {**record, "step": "repair", "message": f"ONNX Runtime: {differs}"}
    if backend == "tvm":
        try:
            differs = compiled(folder, str(path))
        except Exception as error:  # noqa: BLE001 - whatever it raises is why TVM doesn't take the model
            return {**record, "step": "raised", "message": f"{type(error).__name__}: {error}"[:500]}
        return {**record, "step": "run" if differs else "ok", "message": differs}
    rejection = trial(backend, str(path), TARGETS[backend], profile_of(onnx.load(str(path)), feed), values_of(feed))
    return {**record, **(rejection or {"step": "ok", "message": ""})}


def refused(backend: str, path: Path, feed: dict[str, Any]) -> list[Finding]:
    """What the backend itself says: findings for its refusal, located where it names the node."""
    model = onnx.load(str(path))
    rejection = trial(backend, str(path), TARGETS[backend], profile_of(model, feed), values_of(feed))
    if rejection is None:
        return []
    nodes = [rejection["node"]] if rejection["node"] else [node.name or node.output[0] for node in model.graph.node]
    ops = {
        node.name or node.output[0]: node.op_type
        if node.domain in ("", "ai.onnx")
        else f"{node.domain}::{node.op_type}"
        for node in model.graph.node
    }
    return [
        Finding(
            severity="error",
            op=ops.get(name, rejection["op"]),
            node=name,
            backend=backend,
            versions="",
            message=rejection["message"],
        )
        for name in nodes
    ]


def values_of(feed: dict[str, Any]) -> dict[str, list[int]]:
    """The test's own values of its small integer inputs: what may decide on shapes."""
    return {
        name: [int(x) for x in np.asarray(value).reshape(-1)]
        for name, value in feed.items()
        if isinstance(value, np.ndarray) and value.dtype in (np.int32, np.int64) and value.size <= 64
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=list(TARGETS), required=True)
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--only", default="", help="regular expression over test names")
    parser.add_argument("--failed", action="store_true", help="only the tests that failed in the last run")
    parser.add_argument("--out", type=Path, default=Path("build/node_tests"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    names = collect(given.out)
    accepted = passing(given.out, names)
    file = given.out / f"{given.backend}{'-repaired' if given.repair else ''}.json"
    records: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    todo = [
        name
        for name in accepted
        if re.search(given.only, name) and not (given.failed and records.get(name, {}).get("step") == "ok")
    ]
    started = time.monotonic()
    with Isolated(without_torch=True, log=given.out / f"{given.backend}.log") as process:
        for count, name in enumerate(todo, 1):
            records[name] = asked(process, "one", given.backend, str(given.out / "cases" / name), given.repair)
            if count % 20 == 0 or count == len(todo):
                file.write_text(json.dumps(records, indent=1))
                print(f"\r{count}/{len(todo)}", end="", flush=True)
    print(f"\n{time.monotonic() - started:.0f} s")
    summary(records, accepted)


def passing(out: Path, names: list[str]) -> list[str]:
    """The tests that ONNX Runtime passes, asked once."""
    file = out / "onnxruntime.json"
    if not file.exists():
        verdicts = {}
        with Isolated(without_torch=True) as process:
            for name in names:
                verdicts[name] = asked(process, "onnxruntime", str(out / "cases" / name))
        file.write_text(json.dumps(verdicts, indent=1))
    return [name for name, verdict in json.loads(file.read_text()).items() if verdict == ""]


def asked(process: Isolated, function: str, *arguments: Any) -> Any:
    try:
        return process.call(f"{HERE}:{function}", *arguments, timeout=TIMEOUT)
    except FAILED as error:
        return {"step": "died" if isinstance(error, Died) else "raised", "message": str(error)[:500]}


def summary(records: dict[str, Any], accepted: list[str]) -> None:
    steps = Counter(records[name]["step"] for name in accepted if name in records)
    done = sum(steps.values())
    print(f"{steps['ok']} of {done} pass ({100 * steps['ok'] / max(done, 1):.1f} %); {dict(steps)}")


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main()
