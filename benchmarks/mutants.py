"""Mutation testing of the verdict: does `compare`, on the samples that a build makes, notice a changed graph?

    export PYTHONPATH=.
    .venv/bin/python benchmarks/mutants.py                          # ONNX's node tests, and the zoo's graphs
    .venv/bin/python benchmarks/mutants.py --only 'relu|clip'       # node tests by name
    .venv/bin/python benchmarks/mutants.py --graphs a.onnx b.onnx   # these in place of the zoo's

Each graph goes through the product's own import stage, and each mutant through its compare stage. A mutant counts where
some legal input shows it: on inputs that are drawn here, apart from the product's own, ONNX Runtime gives results that are
another shape, other integers, or floats that are 1 % of the element or of the output's median apart. Results go to
OUT/mutants.json. Node tests with parameters as inputs (shapes, axes, counts) get those as constants.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.mutation import mutants
from benchmarks.node_tests import Case, collect, passing
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.isolated import FAILED, Isolated
from enginesmith.converters.core.recipe import FP32
from enginesmith.converters.core.stage import Context
from enginesmith.converters.stages.registry import load_stage

HERE = "benchmarks.mutants"
TIMEOUT = 600.0
ZOO = ("lenet", "mlp", "squeezenet", "mobilenet", "efficientnet", "vit", "ssdlite")
DRAWS = 6
"""Of each kind of input."""
DATA = {"Gather", "GatherElements", "GatherND", "OneHot", "Embedding", "EyeLike", "NonZero", "Compress"}
"""Operators whose integer inputs are data, and no parameters."""
SHOWN = 1e-2


def prepared(case: Case) -> onnx.ModelProto | None:
    """The node test with the inputs that are parameters as constants; None where nothing is left to vary."""
    model = onnx.load(str(case.onnx))
    feed = case.feeds(model)[0]
    data = {node.op_type for node in model.graph.node} & DATA
    for place, value in reversed(list(enumerate(model.graph.input))):
        array = feed.get(value.name)
        if not isinstance(array, np.ndarray) or array.dtype.kind in "OUS" or not value.type.HasField("tensor_type"):
            return None
        if place and array.dtype.kind in "iu" and not data and array.dtype.itemsize >= 4 and array.ndim < 2:
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
            del model.graph.input[place]
    return model if model.graph.input else None


def drawn(model: onnx.ModelProto, rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
    """Inputs of many kinds: small, wide, whole, tied, special numbers; all of the fixed shape, or of a size of 3."""
    feeds = []
    for kind in ("normal", "unit", "wide", "tiny", "whole", "tied", "negative", "special", "ids", "large"):
        for _ in range(DRAWS):
            feed = {}
            for value in model.graph.input:
                tensor = value.type.tensor_type
                shape = [dim.dim_value or 3 for dim in tensor.shape.dim]
                feed[value.name] = _draw(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type), shape, kind, rng)
            feeds.append(feed)
    return feeds


def _draw(dtype: np.dtype[Any], shape: list[int], kind: str, rng: np.random.Generator) -> np.ndarray:
    normal = rng.standard_normal(shape)
    if dtype.kind == "b":
        return np.asarray(normal > 0)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = {
            "negative": (-10, 0),
            "special": (info.min, info.max),
            "large": (-(2**40), 2**40),
            "wide": (-1000, 1000),
            "ids": (0, 100),
            "tied": (0, 3),
        }.get(kind, (-5, 6))
        return rng.integers(max(low, info.min), min(high, info.max), shape, dtype=np.int64 if low < 0 else None).astype(
            dtype
        )
    floats = {
        "normal": normal,
        "unit": rng.random(shape),
        "wide": normal * 10.0 ** rng.uniform(-2, 3, shape),
        "tiny": normal * 1e-3,
        "whole": np.rint(normal * 4) / 2,
        "tied": np.rint(normal),
        "negative": -np.abs(normal) * 3,
        "special": np.where(rng.random(shape) < 0.2, rng.choice([np.inf, -np.inf, np.nan, 0.0, -0.0], shape), normal),
        "ids": np.rint(np.abs(normal) * 10),
        "large": normal * 100,
    }[kind]
    return np.asarray(floats, dtype)


def differ(a: list[Any], b: list[Any]) -> bool:
    """Would a user see it?"""
    for one, other in zip(a, b, strict=True):
        x, y = np.asarray(one), np.asarray(other)
        if x.shape != y.shape or x.dtype != y.dtype:
            return True
        if x.dtype.kind not in "fc":
            if not np.array_equal(x, y):
                return True
            continue
        finite, found = np.isfinite(x), np.isfinite(y)
        if (finite != found).any() or not np.array_equal(x[~finite], y[~finite], equal_nan=True):
            return True
        x, y = x[finite].astype(np.float64), y[finite].astype(np.float64)
        if x.size and (np.abs(x - y) > SHOWN * np.maximum(np.abs(x), np.median(np.abs(x))) + 1e-7).any():
            return True
    return False


def session(model: onnx.ModelProto | Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    given = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def tried(path: str, most: int, seed: int) -> list[dict[str, Any]]:
    """The graph's mutants that some legal input shows, at most `most`, each with what `compare` says."""
    given = Path(path)
    model = onnx.load(path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = imported(given, folder / "given", seed)
        whole = session(model)
        rng = np.random.default_rng(seed)
        legal = []
        for feed in drawn(model, rng):
            try:
                legal.append((feed, whole.run(None, feed)))
            except Exception:  # noqa: BLE001 - an input that the graph refuses isn't legal
                continue
        found: list[dict[str, Any]] = []
        for number, mutant in enumerate(mutants(model, types_of(model), seed)):
            if len(found) == most:
                break
            try:
                other = session(mutant.model)
            except Exception:  # noqa: BLE001 - not a graph
                continue
            if [o.name for o in other.get_outputs()] != [o.name for o in whole.get_outputs()]:
                continue
            shown = next((place for place, (feed, outputs) in enumerate(legal) if shows(other, feed, outputs)), None)
            if shown is None:
                continue
            verdict, reason = judged(reference, mutant.model, folder / str(number))
            found.append(
                {
                    "graph": given.parent.name if given.name == "model.onnx" else given.stem,
                    "kind": mutant.kind,
                    "op": mutant.op,
                    "what": mutant.what,
                    "verdict": verdict,
                    "reason": reason[:200],
                }
            )
        return found


def shows(other: Any, feed: dict[str, np.ndarray], outputs: list[Any]) -> bool:
    try:
        return differ(outputs, other.run(None, feed))
    except Exception:  # noqa: BLE001 - it takes less than the graph does
        return True


def types_of(model: onnx.ModelProto) -> dict[str, tuple[int, tuple[int, ...] | None]]:
    """Element type and shape of each value that has a fixed one."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    found: dict[str, tuple[int, tuple[int, ...] | None]] = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        dims = value.type.tensor_type.shape.dim
        fixed = all(dim.HasField("dim_value") for dim in dims)
        found[value.name] = (value.type.tensor_type.elem_type, tuple(d.dim_value for d in dims) if fixed else None)
    return found | {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in inferred.initializer}


def imported(path: Path, out: Path, seed: int) -> Path:
    """What the import stage leaves of the graph: samples, and the reference's results."""
    stage = load_stage("import")
    options = stage.options(path=path, sha256=hash_file(path), inputs=(), samples=3, seed=seed, task="auto")
    stage.run({}, options, context(out))
    return out


def judged(reference: Path, mutant: onnx.ModelProto, folder: Path) -> tuple[str, str]:
    candidate = folder / "candidate"
    candidate.mkdir(parents=True)
    onnx.save(mutant, str(candidate / "model.onnx"))
    stage = load_stage("compare")
    options = stage.options(backend="onnxruntime", precision=FP32, expected="the graph as given")
    try:
        given = {"samples": reference, "expected": reference, "candidate": candidate}
        comparison = stage.run(given, options, context(folder / "out")).comparison
        return comparison.verdict, comparison.reason
    except Exception as error:  # noqa: BLE001 - whatever it raises, it is no pass
        return "fail", str(error)
    finally:
        shutil.rmtree(folder)


def context(out: Path) -> Context:
    for path in (out, out.with_name(f"{out.name}-scratch"), out.with_name(f"{out.name}-cache")):
        path.mkdir(parents=True, exist_ok=True)
    return Context(out=out, scratch=out.with_name(f"{out.name}-scratch"), cache=out.with_name(f"{out.name}-cache"))


def zoo(out: Path) -> list[Path]:
    """The exported graphs of the zoo's models, built once."""
    for name in ZOO:
        if not (out / "zoo" / name / "model.onnx").exists():
            command = [Path(sys.executable).with_name("enginesmith"), "build", name, "--backend", "tensorrt-rtx"]
            subprocess.run(
                [*command, "--measure", "0", "--out", out / "zoo" / name], check=True, stdout=subprocess.DEVNULL
            )
    return [out / "zoo" / name / "model.onnx" for name in ZOO]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression over the names of node tests")
    parser.add_argument("--graphs", nargs="*", type=Path, help="ONNX files in place of the zoo's")
    parser.add_argument("--most", type=int, default=8, help="mutants of one node test")
    parser.add_argument("--most-of-graph", type=int, default=60, help="mutants of one graph of the zoo")
    parser.add_argument("--every", type=int, default=1, help="take each N-th node test")
    parser.add_argument("--out", type=Path, default=Path("build/node_tests"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    names = [name for name in passing(given.out, collect(given.out)) if re.search(given.only, name)][:: given.every]
    graphs = [] if given.only and given.graphs is None else zoo(given.out) if given.graphs is None else given.graphs
    records: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    started = time.monotonic()
    with Isolated(without_torch=True, log=given.out / "mutants.log") as process:
        for count, path in enumerate([*written(names, given.out), *graphs], 1):
            most = given.most_of_graph if path in graphs else given.most
            try:
                records += process.call(
                    f"{HERE}:tried", str(path), most, zlib.crc32(str(path.parent.name).encode()), timeout=TIMEOUT
                )
            except (*FAILED, Exception) as error:  # noqa: BLE001 - told below
                failed[str(path)] = str(error)[:200]
            if count % 20 == 0:
                print(f"\r{count} graphs, {len(records)} mutants", end="", flush=True)
    (given.out / "mutants.json").write_text(json.dumps({"mutants": records, "failed": failed}, indent=1))
    print(f"\n{time.monotonic() - started:.0f} s; {len(failed)} graphs were not imported")
    summary(records)


def written(names: list[str], out: Path) -> list[Path]:
    paths = []
    for name in names:
        path = out / "mutants" / name / "model.onnx"
        model = prepared(Case(str(out / "cases" / name)))
        if model is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            onnx.save(model, str(path))
            paths.append(path)
    return paths


def summary(records: list[dict[str, Any]]) -> None:
    by_op: dict[str, list[str]] = defaultdict(list)
    for record in records:
        by_op[record["op"]].append(record["verdict"])
    for op, verdicts in sorted(by_op.items(), key=lambda item: -item[1].count("pass")):
        if verdicts.count("pass"):
            print(f"  {op}: {verdicts.count('pass')} of {len(verdicts)} not noticed")
    silent = [record for record in records if record["verdict"] == "pass"]
    vacuous = [record for record in records if record["verdict"] == "proves nothing"]
    total = max(len(records), 1)
    print(
        f"{len(records)} mutants of {len(by_op)} operators: {100 * (total - len(silent) - len(vacuous)) / total:.1f} % noticed, "
        f"{100 * len(vacuous) / total:.1f} % 'proves nothing', {100 * len(silent) / total:.1f} % passed"
    )
    for kind in ("operator", "attribute", "weight", "edge"):
        those = [record for record in records if record["kind"] == kind]
        print(f"  {kind}: {sum(r['verdict'] == 'fail' for r in those)} of {len(those)}")


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main()
