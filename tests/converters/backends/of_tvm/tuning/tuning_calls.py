"""Searches in a process without torch; the tests call them by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from enginesmith.converters.backends.tvm.kernels.convolution import DirectConvolution
from enginesmith.converters.backends.tvm.kernels.emit import Simd
from enginesmith.converters.backends.tvm.kernels.expression import Expression, Operand, Step
from enginesmith.converters.backends.tvm.kernels.layout import Blocked, Halo, Window
from enginesmith.converters.backends.tvm.kernels.workload import Workload
from enginesmith.converters.backends.tvm.tuning import trial
from enginesmith.converters.backends.tvm.tuning.database import Database, Header
from enginesmith.converters.backends.tvm.tuning.search import Search, entrant
from enginesmith.converters.backends.tvm.tuning.tasks import groups_of
from enginesmith.converters.core.clock import Clock
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.isolated import Raised
from enginesmith.converters.core.stage import Context
from enginesmith.converters.stages.tune import Tune

SIMD = Simd(8, 16)
HEADER = Header(tvm="1", kernels="2", target="x86-64-v3")


def convolution(channels: int, size: int, halo: int = 0) -> Workload:
    """1x1, with a clamp that has no upper bound."""
    planes = Blocked(1, channels, size, size, 8, Halo(halo, halo, halo, halo))
    relu = Expression((Operand("channel"),), (Step("add", (0, 1)), Step("clamp", (2,), (0.0, math.inf))))
    return Workload("convolution", (SIMD, Window((1, 1)), 1, planes, planes, relu))


def three(channels: int, size: int) -> Workload:
    """3x3, which Winograd can compute."""
    source = Blocked(1, channels, size, size, 8, Halo(1, 1, 1, 1))
    target = Blocked(1, channels, size, size, 8)
    return Workload("convolution", (SIMD, Window((3, 3), pads=(1, 1, 1, 1)), 1, source, target, Expression()))


def dumped() -> list[Any]:
    """Do workloads survive JSON, and have those that differ in their halo alone one key? And label."""
    plain, wide, wider = (convolution(16, 6, halo) for halo in (0, 1, 2))
    again = Workload.load(json.loads(json.dumps(wide.dump())))
    return [again == wide, wide.key == wider.key, plain.key == wide.key, three(16, 6).label]


def search(path: str, evaluations: int, winograd: Mapping[str, float], broken: str = "") -> dict[str, Any]:
    """A search whose measurements are made up: a direct convolution is fastest with 3 rows, 2 inputs and tiles that don't
    run over the ends of rows. `winograd` is how long a 3x3 takes by kind of kernel. A kernel with `broken` inputs fails.
    """
    tried = []

    def race(entrants: Sequence[Mapping[str, Any]], more: int) -> list[float]:
        times = []
        for each in entrants:
            workload, schedule = Workload.load(each["workload"]), each["schedule"]
            kernel = workload.kernel()
            size = kernel.size if workload.kind == "winograd" else 0
            values = schedule or vars(kernel.schedule)
            if broken and values.get("inputs") == int(broken):
                raise Raised("ValueError: a wrong result")
            cost = winograd.get(str(size), 9.0) if kernel.window.taps == 9 else 8.0
            if not size:
                cost *= 1.0 + 0.1 * abs(values["rows"] - 3) + 0.1 * abs(values["inputs"] - 2) + 0.2 * values["across"]
            times.append(cost)
        if len(entrants) == 2 and more == 1:
            tried.append(json.dumps(entrants[1], sort_keys=True))
        return times

    database = Database(Path(path), HEADER)
    calls = 0

    def stopped() -> bool:
        nonlocal calls
        calls += 1
        return calls > evaluations

    found = Search(groups_of({convolution(16, 6, 1): 2, three(16, 6): 1}), database, 1, Clock(None, stopped))
    remembered = found.remembered
    found.run([race])
    tuned = found.tuned()
    return {
        "tried": tried,
        "remembered": remembered,
        "failed": len(found.failures),
        "gain": found.gain(),
        "schedules": [vars(schedule) for schedule in tuned.schedules.values()],
        "sizes": list(tuned.sizes.values()),
        "stopped": found.stopped,
    }


def wrong() -> str:
    """What comes of a schedule whose kernel computes something else: weights in a wrong order, here."""
    workload = convolution(16, 6)
    default = workload.kernel().schedule
    pack = DirectConvolution.pack

    def packed(self: DirectConvolution, weights: Any) -> Any:
        return pack(self, weights if self.schedule == default else weights[::-1])

    DirectConvolution.pack = packed  # type: ignore[method-assign]
    try:
        trial.race([entrant(workload), entrant(workload, default.changed("rows", 2))], "x86-64-v3", 1)
    except ValueError as error:
        return str(error)
    finally:
        DirectConvolution.pack = pack  # type: ignore[method-assign]
    return ""


def timed() -> list[float]:
    workload = convolution(16, 6)
    changed = workload.kernel().schedule.changed("inputs", 2)
    return trial.race([entrant(workload), entrant(workload, changed)], "x86-64-v3", 1)


def tune(inputs: Mapping[str, str], options: Mapping[str, Any], out: str, cache: str) -> dict[str, Any]:
    """The stage: its facts, or what it refuses."""
    folders = Path(out), Path(out + "-scratch"), Path(cache)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    stage = Tune()
    try:
        facts = stage.run(
            {role: Path(path) for role, path in inputs.items()},
            stage.options.model_validate(options),
            Context(*folders),
        )
    except (UserError, ConversionError) as error:
        return {"refused": f"{type(error).__name__}: {error}"}
    return facts.model_dump(mode="json")
