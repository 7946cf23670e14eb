"""PyTorch's own database of operators and modules: exported, run in ONNX Runtime, held against PyTorch; then built.

    export PYTHONPATH=.
    .venv/bin/python benchmarks/op_db.py                                  # every operator, through our exporters
    .venv/bin/python benchmarks/op_db.py --plain                          # through torch's exporters alone
    .venv/bin/python benchmarks/op_db.py --database module_db             # modules
    .venv/bin/python benchmarks/op_db.py --only 'fft|linalg' --again      # some, though they were tried
    .venv/bin/python benchmarks/op_db.py --part 0/2                       # every second one
    .venv/bin/python benchmarks/op_db.py --through build --backend tvm    # what matched, after repair

The suite is every entry with float32 whose border is real tensors and whose results are determined; of each the first two
samples. What was tried is kept in OUT, one record an entry, and not tried again without --again or --failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from enginesmith.converters.core.isolated import FAILED, Isolated

if TYPE_CHECKING:
    from benchmarks.op_db_cases import Case

HERE = "benchmarks.op_db"
TIMEOUT = 600.0
OPSET = 18
RTOL, ATOL = 1e-3, 1e-4
DIED = "stopped or crashed"
TOOLS = {"dynamo": "", "torchscript": ""}
"""The exporters to try, none of which is refused."""


def exported(database: str, name: str, out: str, plain: bool) -> dict[str, str]:
    """Every sample of an entry below `out` in the form of `node_tests`; where it ends (`step`), and why (`message`)."""
    from benchmarks.op_db_cases import Excluded, cases

    _keep_tables()
    try:
        found = cases(database, name)
    except Excluded as reason:
        return {"step": "excluded", "message": str(reason)}
    for index, case in enumerate(found):
        folder = Path(out) / f"{name}-{index}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        reason = (_torch_alone if plain else _ours)(case, folder)
        if reason:
            shutil.rmtree(folder)
            return {"step": "failed", "message": reason}
    return {"step": "ok", "message": "", "samples": str(len(found))}


@cache
def _keep_tables() -> None:
    """What torch makes anew for each export, and is the same each time, is five sixths of an export this small."""
    import torchvision  # noqa: F401 - which registers its operators
    from torch.export import exported_program
    from torch.onnx._internal.exporter import _decomp, _registration

    makes = _decomp.create_onnx_friendly_decomposition_table
    kept = cache(lambda operators: makes(set(operators)))
    _decomp.create_onnx_friendly_decomposition_table = lambda operators: dict(kept(frozenset(operators)))
    from_torchlib = cache(_registration.ONNXRegistry.from_torchlib)
    _registration.ONNXRegistry.from_torchlib = staticmethod(from_torchlib)  # type: ignore[assignment]
    exported_program._collect_all_valid_cia_ops = cache(exported_program._collect_all_valid_cia_ops)


def _ours(case: Case, folder: Path) -> str:
    """Empty when one of our roads to a graph arrives, else why each ended."""
    from enginesmith.converters.core.errors import ConversionError
    from enginesmith.converters.core.inputs import InputSpec
    from enginesmith.converters.core.stage import Context
    from enginesmith.converters.graphs.trial import Trial
    from enginesmith.converters.torch_models.attempts import find_graph
    from enginesmith.converters.torch_models.exporters import Exporter, Road

    names = _names(case)
    example = {name: tensor.numpy() for name, tensor in zip(names, case.inputs, strict=True)}
    specs = [InputSpec.static(name, array.shape, str(array.dtype)) for name, array in example.items()]
    outputs = [f"output{index}" for index in range(_save_results(case, folder))]

    def trial(path: Path, road: Road) -> Trial:
        try:
            return Trial(differs=_differs(case, folder))
        except Exception as error:  # noqa: BLE001 - ONNX Runtime has errors of many kinds
            return Trial(fails=_root(error))

    (folder / "scratch").mkdir()
    context = Context(folder, folder / "scratch", folder)
    try:
        found = find_graph(Exporter(case.module, specs, outputs, example), TOOLS, OPSET, trial, context)
    except ConversionError as error:
        return str(error)[:600]
    return found.trial.differs


def _torch_alone(case: Case, folder: Path) -> str:
    """Empty when an exporter of torch arrives, else why the dynamo exporter doesn't."""
    import torch

    names = _names(case)
    inputs = tuple(tensor.clone().contiguous() for tensor in case.inputs)
    _save_results(case, folder)
    reasons = []
    for dynamo in (True, False):
        path = folder / "model.onnx"
        try:
            torch.onnx.export(
                case.module, inputs, str(path), dynamo=dynamo, input_names=names, opset_version=OPSET, verbose=False
            )
            reasons.append(_differs(case, folder))
        except Exception as error:  # noqa: BLE001 - the exporters raise whatever they meet
            reasons.append(_root(error))
        if not reasons[-1]:
            return ""
    return reasons[0]


def _names(case: Case) -> list[str]:
    return [f"input{index}" for index in range(len(case.inputs))]


def _save_results(case: Case, folder: Path) -> int:
    """What PyTorch computes; how many tensors."""
    from benchmarks.op_db_cases import results

    expected = [tensor.numpy() for tensor in results(case)]
    _save(folder / "outputs0.npy", expected)
    (folder / "about.json").write_text(json.dumps({"rtol": RTOL, "atol": ATOL, "sets": 1}))
    return len(expected)


def _differs(case: Case, folder: Path) -> str:
    """Empty when the graph gives in ONNX Runtime what PyTorch gives, else what differs. Raises what ONNX Runtime raises."""
    import onnxruntime as ort

    from benchmarks.node_tests import Case as Held

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # as the export stage tries a graph: a fault of an optimization is none of the graph
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    feed = {name: tensor.numpy() for name, tensor in zip(_names(case), case.inputs, strict=True)}
    used = [value.name for value in session.get_inputs()]
    _save(folder / "inputs0.npy", [feed[name] for name in used])
    return Held(str(folder)).agrees(0, session.run(None, {name: feed[name] for name in used}))


def _save(path: Path, arrays: list[Any]) -> None:
    held = np.empty(len(arrays), dtype=object)
    for index, array in enumerate(arrays):
        held[index] = np.asarray(array)
    np.save(path, held, allow_pickle=True)


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub("\x1b\\[[0-9;]*m", "", str(error)).strip()
    lines = text.splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:400]


def built(database: str, backend: str, folders: list[str]) -> dict[str, Any]:
    """What a backend makes of the samples of an entry: the first that fails, else `ok`."""
    from benchmarks.node_tests import one

    for folder in folders:
        record = one(backend, folder, repair=True)
        if record["step"] != "ok":
            return record
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=["op_db", "module_db"], default="op_db")
    parser.add_argument("--through", choices=["export", "build"], default="export")
    parser.add_argument("--backend", choices=["tensorrt-rtx", "tvm"], default="tensorrt-rtx")
    parser.add_argument("--plain", action="store_true", help="torch's exporters as they are")
    parser.add_argument("--only", default="", help="regular expression over names of entries")
    parser.add_argument("--part", default="0/1", help="of the entries: 1/4 is the second, sixth, tenth …")
    parser.add_argument("--again", action="store_true", help="what was tried too")
    parser.add_argument("--failed", action="store_true", help="what failed the last time, again")
    parser.add_argument("--out", type=Path, default=Path("build/op_db"))
    given = parser.parse_args()
    road = given.out / f"{given.database}{'-plain' if given.plain else ''}"
    road.mkdir(parents=True, exist_ok=True)
    exports: dict[str, Any] = _read(road / "export.json")
    if given.through == "export":
        with Isolated(log=road / "export.log") as process:
            names = process.call(f"{HERE}:names", given.database, timeout=TIMEOUT)
            kept = _run(
                given,
                road / "export.json",
                names,
                lambda name: process.call(
                    f"{HERE}:exported", given.database, name, str(road / "cases"), given.plain, timeout=TIMEOUT
                ),
            )
    else:
        matched = [name for name, record in exports.items() if record["step"] == "ok"]
        with Isolated(without_torch=True, log=road / f"{given.backend}.log") as process:
            kept = _run(
                given,
                road / f"{given.backend}.json",
                matched,
                lambda name: process.call(
                    f"{HERE}:built",
                    given.database,
                    given.backend,
                    [str(road / "cases" / f"{name}-{index}") for index in range(int(exports[name]["samples"]))],
                    timeout=TIMEOUT,
                ),
            )
    summary(kept)


def names(database: str) -> list[str]:
    from benchmarks.op_db_cases import entries

    return list(entries(database))


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.exists() else {}


def _run(given: argparse.Namespace, file: Path, names: list[str], call: Callable[[str], Any]) -> dict[str, Any]:
    """Records by name, written as they come."""
    records = _read(file)
    part, parts = map(int, given.part.split("/"))
    again = [
        name
        for index, name in enumerate(names)
        if re.search(given.only, name)
        and index % parts == part
        and (given.again or name not in records or (given.failed and records[name]["step"] not in ("ok", "excluded")))
    ]
    started = time.monotonic()
    for count, name in enumerate(again, 1):
        try:
            records[name] = call(name)
        except FAILED as error:
            records[name] = {"step": "failed", "message": f"{DIED}: {error}"[:400]}
        if count % 10 == 0 or count == len(again):
            file.write_text(json.dumps(records, indent=1, sort_keys=True))
            print(f"\r{count}/{len(again)}", end="", flush=True)
    print(f"\n{time.monotonic() - started:.0f} s")
    return {name: records[name] for name in names if name in records}


def summary(records: dict[str, Any]) -> None:
    """The share that passes, and the rest by reason."""
    suite = {name: record for name, record in records.items() if record["step"] != "excluded"}
    good = sum(record["step"] == "ok" for record in suite.values())
    excluded = Counter(record["message"] for record in records.values() if record["step"] == "excluded")
    by_reason = defaultdict(list)
    for name, record in suite.items():
        if record["step"] != "ok":
            by_reason[re.sub(r"[\d.]+e?[-+]?\d*|'[^']*'", "_", record["message"])[:110]].append(name)
    print(f"{good} of {len(suite)} ({100 * good / max(len(suite), 1):.1f} %); excluded: {dict(excluded)}\n")
    for reason, found in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        print(f"{len(found):4}  {reason}\n      {' '.join(found)}")


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main()
