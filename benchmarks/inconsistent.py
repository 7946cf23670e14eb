"""Engines that contradict themselves: are they found, by the checks that `compare` makes? And are sound ones left alone?

    export PYTHONPATH=.
    .venv/bin/python benchmarks/inconsistent.py                    # 40 planted faults, and the same engines without one
    .venv/bin/python benchmarks/inconsistent.py --only softmax     # by name
    .venv/bin/python benchmarks/inconsistent.py --zoo lenet,mlp    # models of the zoo: false alarms, and what the checks cost

Exit status 1 where fewer than 38 of the 40 are found, a sound engine is accused, or the checks of a model of the zoo take
more than a tenth of its build's processor time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from polygraphy.backend.base import BaseRunner

from benchmarks.inconsistent_cases import COUNT, MODULES, RUNNERS, Edit, Infer, graphs, network
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.core.recipe import FP32
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.core.stage import Context
from enginesmith.converters.data.samples import make_samples
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.self_checks import self_checks
from enginesmith.pipeline.job.shapes import parse_shapes

CLI = Path(sys.executable).with_name("enginesmith")
LEAST, SHARE = 38, 0.10
THREADS = 2
"""Of TVM modules: one thread has no races."""
ZOO = ("mlp", "lenet", "squeezenet", "mobilenet", "efficientnet")


class Wrapped(BaseRunner):  # type: ignore[misc]
    """Another runner behind a fault."""

    def __init__(self, sound: BaseRunner, fault: Any) -> None:
        super().__init__(name="wrapped")
        self.sound, self.fault = sound, fault

    def activate_impl(self) -> None:
        self.sound.activate()
        self.faulty: Infer = self.fault(lambda feed: {k: v.copy() for k, v in self.sound.infer(dict(feed)).items()})

    def get_input_metadata_impl(self) -> Any:
        return self.sound.get_input_metadata_impl()

    def infer_impl(self, feed_dict: Any) -> Any:
        self.inference_time = 0.0
        return self.faulty(feed_dict)

    def deactivate_impl(self) -> None:
        self.sound.deactivate()


def tvm_module(graph: Path, out: Path, edit: Edit | None = None) -> BaseRunner:
    """Built without kernels of our own; one kernel's IR changed before it is scheduled."""
    import tvm

    from enginesmith.converters.backends.tvm import schedule as scheduling

    backend, sound = get_backend("tvm"), scheduling.schedule

    def changed(module: Any, tile: Any) -> Any:
        if edit is None:
            return sound(module, tile)
        functions = dict(module.functions_items())
        (name,) = (each for each in functions if each.name_hint.startswith(edit.kernel))
        before = functions[name].script()
        assert before.count(edit.old) == 1, f"{edit.kernel} has another form:\n{before}"
        made = tvm.script.from_source(before.replace(edit.old, edit.new).replace(*edit.written))
        functions[name] = made.with_attr("tirx.is_scheduled", True)
        return sound(tvm.IRModule(functions, attrs=module.attrs), tile)

    scheduling.schedule = changed
    out.mkdir(parents=True)
    try:
        target = backend.resolve_target("auto")
        request = BuildRequest(onnx=graph, target=target, profile={}, out=out, kernels=False)
        backend.build(request, Context(out, out, out))
    finally:
        scheduling.schedule = sound
    return backend.runner(out / backend.engine_file, threads=THREADS)


def engines(folder: Path) -> Iterator[tuple[str, str, Path, Any, SampleSet, Any]]:
    """Kind, name (none for a sound one), graph, what makes the runner, samples with their inputs."""
    fixed, free = folder / "network.onnx", folder / "free.onnx"
    onnx.save(network(), fixed)
    onnx.save(network("n"), free)
    one = make_samples(parse_shapes("x:4x3x16x16"), "tensor", 3, 0)
    ranged = make_samples(parse_shapes("x:1..2..4x3x16x16"), "tensor", 3, 0)
    yield "runner", "", free, lambda: Wrapped(onnxruntime.runner(free), lambda sound: sound), *ranged
    for name, fault in RUNNERS.items():
        yield "runner", name, free, lambda fault=fault: Wrapped(onnxruntime.runner(free), fault), *ranged
    yield "module", "", fixed, lambda: tvm_module(fixed, folder / "sound"), *one
    for name, edit in MODULES.items():
        yield "module", name, fixed, lambda name=name, edit=edit: tvm_module(fixed, folder / name, edit), *one
    yield "graph", "", fixed, lambda: onnxruntime.runner(fixed), *one
    for name, model in graphs().items():
        path = folder / f"{name}.onnx"
        onnx.save(model, path)
        yield "graph", name, fixed, lambda path=path: onnxruntime.runner(path), *one


def planted(only: str, folder: Path) -> int:
    found, wrong, total = 0, 0, 0
    for kind, name, graph, make, samples, feeds in engines(folder):
        if only and only not in name:
            continue
        checks = self_checks(make(), "engine", graph, samples, feeds, FP32)
        failed = [each for each in checks if each.verdict == "fail"]
        broken = [each for each in checks if each.verdict == "not run"]
        total += bool(name)
        found += bool(name and failed)
        wrong += bool(not name and failed)
        told = (
            failed[0].check + ": " + failed[0].reason if failed else ", ".join(f"{c.check} {c.verdict}" for c in checks)
        )
        verdict = ("found" if failed else "MISSED") if name else ("ACCUSED" if failed else "sound")
        print(f"{kind:7} {name or '-':26} {verdict:8} {told} {broken[0].reason if broken else ''}", flush=True)
    print(f"{found} of {total} found; {wrong} sound engines accused")
    return int(wrong > 0 or (not only and (found < LEAST or total != COUNT)))


def zoo(names: list[str], folder: Path) -> int:
    """Builds each for TVM, in an empty store."""
    worst = 0.0
    alarms = 0
    for name in names:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = folder / name.replace(":", "_").replace(" ", "_")
        arguments = name.split()
        ended = subprocess.run(
            [CLI, "build", *arguments, "--backend", "tvm", "--out", out, "--store", folder / f"{out.name}.store"],
            capture_output=True, text=True,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if not (out / "manifest.json").is_file():
            print(f"{name:28} not built: {ended.stderr.strip().splitlines()[-1:]}")
            continue
        stages = json.loads((out / "manifest.json").read_text())["stages"]
        checks = [
            check for stage in stages for check in (stage["facts"].get("comparison") or {}).get("consistency", ())
        ]
        own = sum(check["seconds"] for check in checks)
        failed = [check for check in checks if check["verdict"] == "fail"]
        skipped = sum(check["verdict"] == "not run" for check in checks)
        designed = sum(check["verdict"] == "by design" for check in checks)
        alarms += len(failed)
        worst = max(worst, own / whole)
        print(
            f"{name:28} {len(checks)} checks, {len(failed)} failed, {designed} by design, {skipped} not run; "
            f"{own:.1f} of {whole:.1f} s of the processor, {own / whole:.1%}",
            *(f"{check['check']} of {check['of']}: {check['reason']}" for check in failed),
            sep="\n    " if failed else "",
            flush=True,
        )
    print(f"{alarms} alarms; at most {worst:.1%} of a build")
    return int(alarms > 0 or worst > SHARE)


def main() -> int:
    sys.modules["torch"] = None  # type: ignore[assignment]  # TVM's import takes a minute beside it
    sys.path[:] = [
        place for place in sys.path if Path(place).resolve() != Path(__file__).parent
    ]  # whose tvm.py is no TVM
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose name has this")
    parser.add_argument(
        "--zoo", nargs="?", const=",".join(ZOO), help="models with commas; each with options of a build"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inconsistent-") as folder:
        if arguments.zoo is not None:
            return zoo(arguments.zoo.split(","), Path(folder))
        return planted(arguments.only, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
