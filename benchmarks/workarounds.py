"""Wrong engines: does `bisect --diverges` find a change with which they agree, and does its recipe build?

    .venv/bin/python benchmarks/workarounds.py [names]

Planted faults change a kernel's TensorIR; real ones are those of TVM 0.27 that the project's own lowerings and rules keep
from a user, which are switched off here. Each is built, which must fail; bisected; and built by the recipe that came of it,
which must be verified. Exit status 1 where one isn't.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import onnx

HERE = Path(__file__).parent
CLI = Path(sys.executable).with_name("enginesmith")


class Case(NamedTuple):
    """`planted` as sitecustomize has it; `text` is the graph, `network` where it is empty."""

    planted: dict[str, object]
    text: str = ""
    options: tuple[str, ...] = ()


CASES: dict[str, Case] = {
    "fused-relu": Case(
        {"kernels": [["fused_conv2d", r"< T.float32\(0.0\)", "< T.float32(0.05)"]]}, options=("--no-kernels",)
    ),
    "softmax-kernel": Case({"kernels": [["softmax_", r"T.float32\(0.0418979295\d*\)", "T.float32(0.9)"]]}),
    "transposed-convolution": Case(
        {"rules": ["tvm-wrong-convtranspose"]},
        """
<ir_version: 9, opset_import: ["" : 18]>
up (float[1, 2, 5, 5] x) => (float[1, 3, 12, 12] y) {
  w = Constant <value = float[2, 3, 3, 3] {
    0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.7, -0.8, 0.9, 0.1, 0.2, 0.3, -0.4, 0.5, 0.6, 0.7, 0.8, -0.9,
    0.3, 0.2, -0.1, 0.6, 0.5, 0.4, -0.9, 0.8, 0.7, 0.2, -0.3, 0.4, 0.5, 0.6, -0.7, 0.8, 0.9, 0.1,
    0.5, 0.1, 0.2, -0.6, 0.7, 0.3, 0.4, 0.9, -0.8, 0.6, 0.2, 0.1, 0.4, -0.3, 0.8, 0.7, 0.5, 0.9}> ()
  t = ConvTranspose <strides = [2, 2], output_shape = [12, 12]> (x, w)
  y = Sigmoid (t)
}
""",
    ),
    "infinities": Case(
        {"rules": ["tvm-wrong-isinf"]},
        """
<ir_version: 9, opset_import: ["" : 20]>
infinite (float[2, 6] x) => (float[2, 6] y) <float[1] least = {0}> {
  a = Log (x)
  i = IsInf <detect_negative = 0> (a)
  c = Cast <to = 1> (i)
  y = Add (c, x)
}
""",
    ),
}


def run(case: Case, folder: Path) -> tuple[bool, str]:
    """Whether all went as it should, and what was found."""
    graph = folder / "model.onnx"
    if case.text:
        onnx.save(onnx.parser.parse_model(case.text), graph)
    else:
        sys.path.insert(0, str(HERE))
        from inconsistent_cases import network

        onnx.save(network(), graph)
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE / "planted"),
        "PLANTED": json.dumps(case.planted),
        "ENGINESMITH_STORE": str(folder / "store"),
    }

    def cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([CLI, *arguments], env=environment, capture_output=True, text=True, cwd=folder)

    out = folder / "built"
    cli("build", graph, "--backend", "tvm", "--measure", "0", "--keep-going", "--out", out, *case.options)
    if not (out / "manifest.json").is_file() or not (
        engines := json.loads((out / "manifest.json").read_text())["engines"]
    ):
        return False, "no engine was built"
    if engines[0]["verified"] != "no":
        return False, f"the fault doesn't show: verified {engines[0]['verified']}: {engines[0]['verified_reason']}"
    ended = cli("bisect", out, "--diverges", "--json")
    found = [each for each in json.loads(ended.stdout or "[]") if each["first"]]
    if not found:
        return False, f"no divergence: {ended.stderr.strip()[-300:]}"
    told = f"{found[0]['first']['op']} {found[0]['first']['node']}; {len(found[0]['trials'])} engines tried: "
    if not found[0]["workaround"]:
        return False, told + "nothing agrees; " + "; ".join(
            f"{t['change']} {t['excess']} {t['reason']}" for t in found[0]["trials"]
        )
    told += ", ".join(f"{key}: {value}" for key, value in found[0]["workaround"].items())
    cli("build", "-f", out / "workaround.yaml", "--out", folder / "mended")
    verified = json.loads((folder / "mended" / "manifest.json").read_text())["engines"][0]["verified"]
    return verified == "yes", f"{told}; built so it is verified: {verified}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES))
    good = 0
    names = parser.parse_args().names
    for name in names:
        with tempfile.TemporaryDirectory(prefix="workarounds-") as folder:
            passed, told = run(CASES[name], Path(folder))
        good += passed
        print(f"{name:24} {'mended' if passed else 'NOT'} {told}", flush=True)
    print(f"{good} of {len(names)} mended")
    return int(good < len(names))


if __name__ == "__main__":
    sys.exit(main())
