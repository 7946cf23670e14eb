"""What is left in the store, and what comes out of it, after blows at random moments.

    .venv/bin/python benchmarks/attacks.py                                # 10 of each kind, on a small graph with TVM
    .venv/bin/python benchmarks/attacks.py --kills 100 --model frcnn --backend tensorrt-rtx,tvm
    .venv/bin/python benchmarks/attacks.py --swaps 70 --flips 70 --deletions 60 --kills 0

`kills`: SIGKILL for the builder, in each stage in turn. `swaps`: the model's file, or its external data, becomes another
model's while it is read, and in half of the cases its own again. `flips`: a bit of an artifact that a stage is about to read
or reads, in half of the cases flipped back; sizes and times stay. `deletions`: the whole store, while a stage is at work.

After each blow the same is built again, and counts as wrong where graph or engine differ from an undisturbed build's, or the store
is damaged; as lost, where a stage that had been said to be finished was not in the store any more. Exit status 1 with either. As
rekeyed, where a stage was made again and saw more or fewer probes in its time, on which the keys of those after it depend.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ENGINESMITH = str(Path(sys.executable).with_name("enginesmith"))
TIMED = ("measure",)
"""Stages that take times, which no two runs have in common."""


def small(folder: Path, seed: int, *, external: bool) -> Path:
    """Relu(x @ w), float32 [1, 64] to [1, 64]; the same but for the weights."""
    weights = np.random.default_rng(seed).standard_normal((64, 64)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy")
    graph = helper.make_graph(nodes, "small", [x], [y], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "m.onnx", save_as_external_data=external, location="m.data", size_threshold=0)
    return folder / "m.onnx"


@dataclass
class Product:
    """What a build left: its exit status, its stages (id, status, key), and the hashes of graph and engines."""

    status: int
    said: str
    stages: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, str]:
        return {stage["id"]: stage["key"] for stage in self.stages if stage["stage"] not in TIMED}


@dataclass
class Bench:
    """Builds one model over and over. `store` may be copied, damaged and thrown away."""

    work: Path
    model: str
    arguments: tuple[str, ...]
    store: Path = field(init=False)
    out: Path = field(init=False)

    def __post_init__(self) -> None:
        self.store, self.out = self.work / "store", self.work / "out"

    def start(self) -> subprocess.Popen[str]:
        command = [ENGINESMITH, "build", self.model, *self.arguments, "--out", str(self.out)]
        return subprocess.Popen(
            command,
            env={**os.environ, "ENGINESMITH_STORE": str(self.store)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> Product:
        said, _ = process.communicate()
        if process.returncode:
            return Product(process.returncode, said)
        manifest = json.loads((self.out / "manifest.json").read_text())
        files = {engine["path"]: engine["sha256"] for engine in manifest["engines"]}
        files["model.onnx"] = _hash(self.out / "model.onnx")
        wrong = [name for name in files if _hash(self.out / name) != files[name]]
        return Product(
            3 if wrong else 0, f"{wrong} is not what the manifest says" if wrong else said, manifest["stages"], files
        )

    def build(self) -> Product:
        return self.finish(self.start())

    def entries(self) -> dict[str, Path]:
        """Folders of the store's entries by the id of the stage."""
        return {json.loads(path.read_text())["id"]: path.parent for path in self.store.glob("entries/*/*/entry.json")}

    def verified(self) -> bool:
        done = subprocess.run(
            [ENGINESMITH, "cache", "verify", "--store", str(self.store)], capture_output=True, check=False
        )
        return done.returncode == 0


def _hash(path: Path) -> str:
    from enginesmith.converters.core.files import hash_file

    return hash_file(path)


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    return iter(process.stdout.readline, "")


def until(process: subprocess.Popen[str], stage: str) -> list[str]:
    """Read until the stage begins; returns the stages that were said to be finished."""
    finished = []
    for line in _lines(process):
        if line.startswith("✓ "):
            finished.append(line[2:36].strip())
        if line.startswith("[") and line.split("] ", 1)[-1].rstrip(". \n") == stage:
            break
    return finished


class Attacks:
    """`chance` decides on moments, places and victims; `tally` counts what came of it."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.chance = random.Random(seed)
        self.good = bench.build()
        if self.good.status:
            sys.exit(f"the undisturbed build failed:\n{self.good.said}")
        self.base = bench.work / "base"
        shutil.copytree(bench.store, self.base)
        self.stages = [stage for stage in self.good.stages if stage["status"] == "built"]
        self.tally: Counter[str] = Counter()
        self.hit: Counter[str] = Counter()

    def told(self, kind: str) -> str:
        counts = ", ".join(f"{self.tally[f'{kind} {what}']} {what}" for what in ("wrong", "lost", "refused", "rekeyed"))
        stages = f"; stages hit: {dict(self.hit)}" if self.hit else ""
        return f"{kind}: {self.tally[kind]} tried, {counts}{stages}"

    def rewind(self, stage: str) -> None:
        """The store as it was before a stage."""
        shutil.rmtree(self.bench.store, ignore_errors=True)
        shutil.copytree(self.base, self.bench.store)
        ids = [stage["id"] for stage in self.stages]
        for id, folder in self.bench.entries().items():
            if id in ids[ids.index(stage) :]:
                shutil.rmtree(folder)

    def moment(self, stage: dict[str, Any]) -> None:
        """Some time of the stage."""
        self.hit[stage["id"]] += 1
        time.sleep(self.chance.uniform(0, 1) * stage["seconds"])

    def judge(self, kind: str, *, same: Callable[[Product], bool] | None = None) -> None:
        """Build again, undisturbed, and hold it against what is right."""
        again = self.bench.build()
        right = same(again) if same else again.files == self.good.files
        if again.status or not right or not self.bench.verified():
            self.tally[f"{kind} wrong"] += 1
            print(f"{kind}: WRONG: exit {again.status}, {again.said.strip().splitlines()[-1:]}", flush=True)
        self.tally[f"{kind} rekeyed"] += not same and again.keys != self.good.keys
        self.tally[kind] += 1

    def kill(self, number: int) -> None:
        stage = self.stages[number % len(self.stages)]
        self.rewind(stage["id"])
        process = self.bench.start()
        finished = until(process, stage["id"])
        self.moment(stage)
        process.send_signal(signal.SIGKILL)
        finished += [line[2:36].strip() for line in process.communicate()[0].splitlines() if line.startswith("✓ ")]
        if lost := set(finished) - self.bench.entries().keys():
            self.tally["kills lost"] += 1
            print(f"kill: LOST: {lost}", flush=True)
        self.judge("kills")

    def flip(self, number: int) -> None:
        """In what a stage takes from the others."""
        stage = self.stages[1:][number % (len(self.stages) - 1)]
        self.rewind(stage["id"])
        entries = self.bench.entries()
        victims = [
            path for need in stage["needs"].values() for path in (entries[need] / "files").rglob("*") if path.is_file()
        ]
        victim = self.chance.choice(sorted(victims))
        process = self.bench.start()
        until(process, stage["id"])
        if number % 2:
            self.moment(stage)
        data, before = victim.read_bytes(), victim.stat()
        place, bit = self.chance.randrange(len(data)), 1 << self.chance.randrange(8)

        def write(content: bytes) -> None:
            with victim.open("r+b") as file:
                file.write(content)
            os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))

        try:
            write(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
            if self.chance.random() < 0.5:
                time.sleep(self.chance.uniform(0, 0.2))
                write(data)
        except FileNotFoundError:  # another one has taken its place
            pass
        self.answered("flips", self.bench.finish(process))
        self.judge("flips")

    def delete(self, number: int) -> None:
        stage = self.stages[number % len(self.stages)]
        self.rewind(stage["id"])
        process = self.bench.start()
        until(process, stage["id"])
        self.moment(stage)
        shutil.rmtree(self.bench.store, ignore_errors=True)
        self.answered("deletions", self.bench.finish(process))
        self.judge("deletions")

    def answered(self, kind: str, first: Product) -> None:
        """The disturbed build itself: right, or refused with a line."""
        refused = first.status == 2 and "build again" in first.said
        right = first.status == 0 and first.files == self.good.files
        self.tally[f"{kind} refused"] += refused
        if not (refused or right):
            self.tally[f"{kind} wrong"] += 1
            print(f"{kind}: WRONG at once: exit {first.status}, {first.said.strip().splitlines()[-1:]}", flush=True)

    def swap(self, number: int) -> None:
        """The source's bytes for those of another model, whose build is known too."""
        external = bool(number % 2)
        place, other = self.bench.work / "swapped", self.bench.work / "other"
        model = small(place, 1, external=external)
        small(other, 2, external=external)
        victim = "m.data" if external else "m.onnx"
        own, others = (place / victim).read_bytes(), (other / victim).read_bytes()
        shutil.rmtree(self.bench.store, ignore_errors=True)
        bench = Bench(self.bench.work / "swaps", str(model), ("--backend", "tvm", "--measure", "0", "--no-simplify"))
        shutil.rmtree(bench.store, ignore_errors=True)
        process = bench.start()
        until(process, "import")
        before = (place / victim).stat()
        time.sleep(self.chance.uniform(0, 1.0))
        for content in (others, own)[: self.chance.choice((1, 2))]:
            (place / victim).write_bytes(content)
            os.utime(place / victim, ns=(before.st_atime_ns, before.st_mtime_ns))
            time.sleep(self.chance.uniform(0, 0.1))
        first = bench.finish(process)
        self.tally["swaps refused"] += first.status == 2
        for content, seed in ((own, 1), (others, 2)):
            (place / victim).write_bytes(content)
            os.utime(place / victim, ns=(before.st_atime_ns, before.st_mtime_ns))
            found = bench.build()
            weights = np.random.default_rng(seed).standard_normal((64, 64)).astype(np.float32)
            if found.status or not np.array_equal(_weights(bench.out), weights):
                self.tally["swaps wrong"] += 1
                print(f"swap: WRONG: {'external data' if external else 'graph'}, exit {found.status}", flush=True)
        if first.status not in (0, 2) or not bench.verified():
            self.tally["swaps wrong"] += 1
            print(f"swap: WRONG: exit {first.status} {first.said.strip().splitlines()[-1:]}", flush=True)
        self.tally["swaps"] += 1


def _weights(out: Path) -> np.ndarray:
    return numpy_helper.to_array(onnx.load(out / "model.onnx").graph.initializer[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind in ("kills", "swaps", "flips", "deletions"):
        parser.add_argument(f"--{kind}", type=int, default=10, help="how many")
    parser.add_argument(
        "--model", default="", help="what is built; a small graph where left out (swaps have their own)"
    )
    parser.add_argument("--backend", default="tvm")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
        work = Path(folder)
        model = given.model or str(small(work / "model", 0, external=False))
        attacks = Attacks(Bench(work, model, ("--backend", given.backend, "--measure", "0.2")), given.seed)
        for kind, attack in (
            ("kills", attacks.kill),
            ("swaps", attacks.swap),
            ("flips", attacks.flip),
            ("deletions", attacks.delete),
        ):
            attacks.hit.clear()
            for number in range(getattr(given, kind)):
                attack(number)
                if number % 10 == 9 or number + 1 == getattr(given, kind):  # what a run that is stopped has found, too
                    print(attacks.told(kind), flush=True)
    return 1 if any(name.endswith(("wrong", "lost")) for name, count in attacks.tally.items() if count) else 0


if __name__ == "__main__":
    sys.exit(main())
