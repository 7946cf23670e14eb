"""Operators of ONNX Runtime's optimizer and quantizer and of ai.onnx.ml against TensorRT-RTX and TVM, after repair.

    export PYTHONPATH=.
    .venv/bin/python benchmarks/fused_forms.py --backend tensorrt-rtx            # repaired, parsed and built for sm_89
    .venv/bin/python benchmarks/fused_forms.py --backend tvm --only attention    # repaired, compiled, run and compared

The work is that of `node_tests.py`; what is right is what ONNX Runtime computes for the graph as it is. The forms are in
`fused_forms_cases.py`, graphs of one operator in the main and whole ones that ONNX Runtime's own tools write.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path

import numpy as np

from benchmarks.fused_forms_cases import Case
from benchmarks.fused_forms_fresh import CASES
from benchmarks.node_tests import TARGETS, asked, summary
from enginesmith.converters.core.isolated import Isolated
from enginesmith.converters.graphs.proof import session

TOLERANCE = 1e-3
"""Of values near 1: whole graphs are compared, of some hundred terms a sum."""
LEVEL = 1.05
"""Of results that are integers: a sum in another order may lie on the other side of a tie."""


def write(case: Case, folder: Path) -> None:
    """Write a form as `node_tests` reads one, with the outputs of ONNX Runtime."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    quantized = False
    for index, feed in enumerate(case.feeds):
        results = session(case.model).run(None, feed)
        quantized |= any(np.asarray(each).dtype.kind == "u" or each.dtype == np.int8 for each in results)
        for name, arrays in (("inputs", [feed[value.name] for value in case.model.graph.input]), ("outputs", results)):
            held = np.empty(len(arrays), dtype=object)
            held[:] = arrays
            np.save(folder / f"{name}{index}.npy", held, allow_pickle=True)
    atol = case.atol or (LEVEL if quantized else TOLERANCE)
    about = {"rtol": TOLERANCE, "atol": atol, "sets": len(case.feeds)}
    (folder / "about.json").write_text(json.dumps(about))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=list(TARGETS), required=True)
    parser.add_argument("--only", default="", help="regular expression over the names of forms")
    parser.add_argument("--as-they-are", action="store_true", help="without repair")
    parser.add_argument("--out", type=Path, default=Path("build/fused_forms"))
    given = parser.parse_args()
    records = {}
    with Isolated(without_torch=True, log=given.out / f"{given.backend}.log") as process:
        for name, make in CASES.items():
            if not re.search(given.only, name):
                continue
            folder = given.out / "cases" / re.sub(r"\W+", "_", name)
            try:
                write(make(), folder)
            except Exception as error:  # noqa: BLE001 - what ONNX Runtime has against the form itself
                record = {"step": "no form", "message": f"{type(error).__name__}: {error}"}
            else:
                record = asked(process, "one", given.backend, str(folder), not given.as_they_are)
            records[name] = record
            told = record["message"] or ", ".join(dict.fromkeys(record.get("repairs", [])))
            if record["step"] != "ok":
                told += f"; tried {'; '.join(record.get('tried', []))}"
            print(f"{record['step']:8} {name:40} {told[:700]}", flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"{given.backend}.json").write_text(json.dumps(records, indent=1))
    summary(records, list(records))
    return int(any(record["step"] != "ok" for record in records.values()))


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    sys.exit(main())
