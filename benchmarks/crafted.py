"""Crafted models through the command line: of those that a trace gets wrong for some legal input none may be verified and
wrong; sound ones of the same looks must be verified.

    .venv/bin/python benchmarks/crafted.py --out DIR [names]      # all, or those named; `wrong` and `sound` name a half

Each is built for TVM. An engine that is called verified is then held against PyTorch on 20 other legal inputs, in turn, of a
fresh model. Exit status 1 where one is verified and wrong, or more than 3 of the sound ones are not verified.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

INPUTS = 20
ALLOWED = 3
"""Sound models that may be refused."""
HERE = Path(__file__).parent
CLI = Path(sys.executable).with_name("enginesmith")
SETS = ("wrong", "sound")


def answers(group: str, name: str, out: Path) -> None:
    """Inputs and outputs of the model itself, as `out`.npz; run in a process of its own."""
    import importlib

    import numpy as np
    import torch

    sys.path.insert(0, str(HERE))
    models = importlib.import_module(f"crafted_{group}")
    case = models.CASES[name]
    torch.manual_seed(0)
    model = getattr(models, name)().eval()
    torch.manual_seed(5)
    inputs = [case.draw(*case.example()) for _ in range(INPUTS)]
    states = {f"s{name}": buffer.clone().numpy() for name, buffer in model.named_buffers()}
    with torch.no_grad():
        outputs = [model(x.clone()) for x in inputs]
    np.savez(
        out,
        **states,
        **{f"x{index}": x.numpy() for index, x in enumerate(inputs)},
        **{f"y{index}": y.numpy() for index, y in enumerate(outputs)},
    )


def judge(engine: Path, data: Path) -> None:
    """Prints on how many of the inputs the engine is wrong, and an example; run in a process without torch."""
    sys.modules["torch"] = None  # type: ignore[assignment]
    sys.path.remove(str(HERE))  # tvm.py beside this file is no TVM
    import numpy as np

    from enginesmith.converters.backends import get_backend

    arrays = np.load(data)
    wrong, told = 0, ""
    with get_backend("tvm").runner(engine) as runner:
        name, *kept = runner.get_input_metadata()
        states = {state: arrays[f"s{state}"] for state in kept}  # what the model keeps goes from call to call
        for index in range(INPUTS):
            outputs = dict(runner.infer({name: arrays[f"x{index}"], **states}))
            states = {state: outputs.pop(f"{state}_out") for state in kept}
            (found,) = outputs.values()
            expected = arrays[f"y{index}"]
            same = expected.shape == found.shape and np.allclose(
                expected.astype("f8"), found.astype("f8"), rtol=1e-3, atol=1e-3, equal_nan=True
            )
            if not same:
                wrong += 1
                told = told or f": {expected.ravel()[:3]} expected, {found.ravel()[:3]} found"
    print(f"{wrong}{told}")


def build(group: str, name: str, shape: str, out: Path) -> tuple[str, str]:
    """The verdict of one model, and why: `refused`, `yes`, `no`, `proves nothing`, `not run`; `wrong` where it was verified
    and answers differently."""
    folder = out / name
    model = f"{HERE / f'crafted_{group}.py'}:{name}"
    command = [CLI, "build", model, "--shape", shape, "--backend", "tvm", "--measure", "0", "--out", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not (folder / "manifest.json").is_file():
        return "refused", (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    manifest = json.loads((folder / "manifest.json").read_text())
    if not manifest["engines"]:
        return "refused", next((s["error"] for s in manifest["stages"] if s["status"] == "failed"), "no engine")
    (engine,) = manifest["engines"]
    if engine["verified"] != "yes":
        return engine["verified"], engine["verified_reason"]
    data = out / f"{name}.npz"
    _call("answers", group, name, data)
    found = _call("judge", folder / engine["path"], data).strip().splitlines()[-1]
    tool = next((stage["facts"].get("note") for stage in manifest["stages"] if stage["id"] == "export"), "")
    return ("yes", tool) if found == "0" else ("wrong", f"{tool}, on {found}")


def _call(*arguments: object) -> str:
    done = subprocess.run([sys.executable, __file__, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the builds and their store")
    parser.add_argument("names", nargs="*", help="models, or `wrong` or `sound` for all of a half")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("ENGINESMITH_STORE", str(arguments.out / "store"))
    sys.path.insert(0, str(HERE))
    import crafted_sound
    import crafted_wrong

    failed = False
    for group, models in zip(SETS, (crafted_wrong, crafted_sound), strict=True):
        wanted = [
            case for case in models.CASES.values() if not arguments.names or {case.name, group} & set(arguments.names)
        ]
        verdicts: Counter[str] = Counter()
        for case in wanted:
            verdict, why = build(group, case.name, case.shape, arguments.out / group)
            verdicts[verdict] += 1
            print(f"{group} {case.kind:9} {case.name:16} {verdict:14} {why[:200]}", flush=True)
        if wanted:
            kinds = len({case.kind for case in wanted})
            print(f"{len(wanted)} {group} of {kinds} kinds: {dict(verdicts)}", flush=True)
        verified = verdicts["yes"] + verdicts["wrong"]
        failed |= verdicts["wrong"] > 0 or (group == "sound" and verified < len(wanted) - ALLOWED)
    return int(failed)


if __name__ == "__main__":
    tools = {"answers": lambda a: answers(a[0], a[1], Path(a[2])), "judge": lambda a: judge(Path(a[0]), Path(a[1]))}
    if sys.argv[1:2] and sys.argv[1] in tools:
        tools[sys.argv[1]](sys.argv[2:])
    else:
        sys.exit(main())
