"""Measure which operators and element types the installed TensorRT-RTX takes, as its support table has them.

    export PYTHONPATH=.
    .venv/bin/python benchmarks/support_table.py              # print the operators of a new table
    .venv/bin/python benchmarks/support_table.py --only Resize

Each operator's probe (`compat/support/probes.yaml`) is parsed and built with every element type that ONNX allows.
Restrictions in the table are written by hand and are not printed.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

import onnx

from enginesmith.compat.support import probes
from enginesmith.converters.backends.trial import TRIAL
from enginesmith.converters.core.isolated import FAILED, Isolated

BACKEND, TARGET = "tensorrt-rtx", "sm_89"


def refusal(process: Isolated, path: Path) -> str | None:
    """None when the product takes the model, else what it says, or how it ended."""
    try:
        rejection = process.call(TRIAL, BACKEND, str(path), TARGET, timeout=60)
    except FAILED as error:
        return str(error)
    return None if rejection is None else f"{rejection['step']}: {rejection['message']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression over operators")
    parser.add_argument("--why", action="store_true", help="print each refusal too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Isolated(without_torch=True) as process:
        path = Path(folder) / "probe.onnx"
        for op in probes.operators():
            if not re.search(given.only, op):
                continue
            taken = []
            for element_type in probes.element_types(op):
                onnx.save(probes.probe(op, element_type), path)
                reason = refusal(process, path)
                if reason is None:
                    taken.append(element_type)
                elif given.why:
                    print(f"    # {op} {element_type}: {reason[:150]}")
            if taken:
                print(f"  {op}:\n    '1.7': {' '.join(taken)}", flush=True)


if __name__ == "__main__":
    main()
