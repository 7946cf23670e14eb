"""Layers of an engine: which kernel each one is, how near it comes to what the machine can do, and ONNX Runtime beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from enginesmith.converters.core.engine_layers import Group, Layer, Profile, Rates, behind, told
from enginesmith.pipeline.job.manifest import EngineRecord, Manifest
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.charts import Chart, axis, bars, figure, room
from enginesmith.pipeline.report.precision_charts import shortened

TOP = 30
"""Rows that show at once."""
MOST = 300
"""Rows in all; the rest is one more."""
CHARTED = 16
FULL = 0.75
"""Of an inference that its layers should fill."""
SHARED = 0.75
"""Of what one thread reaches, times their number: less, and each has no core of its own."""
NOISY = 0.9
"""Of a rate before to that after, or the other way round: below, something else ran meanwhile."""


@dataclass(frozen=True)
class Row:
    """A group of layers, or all of one kind: figures are empty where there is nothing to say."""

    name: str
    title: str
    """All nodes."""
    kernel: str
    count: str
    shape: str
    engine: str
    onnxruntime: str
    ratio: str
    slower: bool
    gflops: str
    share: str
    gbytes: str
    bound: str
    """`memory` where moving the numbers takes longer than computing with them, at the machine's best."""


@dataclass(frozen=True)
class View:
    """The layers of one engine. Without a profile there are kinds alone, with no times."""

    engine: str
    id: str
    untimed: str
    summary: str
    machine: str
    noisy: str
    behind: str
    kinds: list[Row]
    rows: list[Row]
    rest: list[Row]
    chart: Chart | None
    winograd: bool


def views(manifest: Manifest) -> list[View]:
    """Of the engines whose kernels are known, in their order."""
    return [_view(engine, f"layers-{number}") for number, engine in enumerate(manifest.engines, 1) if engine.kernels]


def _view(engine: EngineRecord, id: str) -> View:
    layers, profile = engine.kernels, engine.profile
    name = f"{engine.backend} {engine.target}".strip()
    if profile is None:
        reason = "Not run" if engine.verified == "not run" else "Not measured"
        kinds = _by_kind([Group(layers=[i], kernels=[], nodes=layer.nodes, ops=layer.ops, engine_ms=0, onnxruntime_ms=0)
                          for i, layer in enumerate(layers)], layers, None)  # fmt: skip
        untimed = f"{reason}: {engine.verified_reason}" if reason == "Not run" and engine.verified_reason else reason
        return View(name, id, untimed, "", "", "", "", kinds, [], [], None, winograd=False)
    rates = profile.rates
    slowest = sorted(profile.groups, key=lambda group: -max(group.engine_ms, group.onnxruntime_ms))
    shown, more = slowest[:MOST], slowest[MOST:]
    rows = [_row(group, layers, rates) for group in shown]
    if more:
        rows.append(_row(_sum(more), layers, rates, name=f"{text.count(len(more))} others, in the manifest"))
    return View(
        engine=name,
        id=id,
        untimed="",
        summary=_summary(profile, layers),
        machine=_machine(profile),
        noisy=_noisy(profile),
        behind=told(behind(profile, layers)),
        kinds=_by_kind(profile.groups, layers, rates),
        rows=rows[:TOP],
        rest=rows[TOP:],
        chart=_chart(slowest[:CHARTED], id),
        winograd=any(layer.kernel.startswith("winograd") for layer in layers),
    )


def _summary(profile: Profile, layers: Sequence[Layer]) -> str:
    ours = [ms for ms, layer in zip(profile.layers_ms, layers, strict=True) if layer.ours]
    left = [ms for ms, layer in zip(profile.layers_ms, layers, strict=True) if not layer.ours]
    between = max(0.0, profile.engine_ms - sum(profile.layers_ms))
    return (
        f"{text.milliseconds(profile.engine_ms)} in all: {text.milliseconds(sum(ours))} in "
        f"{text.counted(len(ours), 'kernel')} of ours, {text.milliseconds(sum(left))} in "
        f"{text.counted(len(left), 'layer')} of TVM's own lowering, {text.milliseconds(between)} between them. "
        f"ONNX Runtime takes {text.milliseconds(profile.onnxruntime_ms)}, "
        f"{text.milliseconds(profile.onnxruntime_kernels_ms)} of it in its kernels. "
        f"Medians of {text.counted(profile.runs, 'run')} on {text.counted(profile.threads, 'thread')}, with the clocks "
        "that both need to tell layers apart."
    )


def _machine(profile: Profile) -> str:
    rates = profile.rates
    one = f" ({rates.gflops_one:.0f} on one)" if profile.threads > 1 else ""
    moved = f" ({rates.gbytes_one:.0f} on one)" if profile.threads > 1 else ""
    return (
        f"At its best this machine does {rates.gflops:.0f} GFLOP/s{one} in registers and moves {rates.gbytes:.0f} GB/s"
        f"{moved} beyond its caches on {text.counted(profile.threads, 'thread')}, measured in the same process."
    )


def _noisy(profile: Profile) -> str:
    """A caution where the machine did not do the same before and after."""
    rates, pair = profile.rates, sorted((profile.before.gflops, profile.after.gflops))
    if rates.gflops < SHARED * profile.threads * rates.gflops_one:
        return (
            f"{profile.threads} threads reach {rates.gflops:.0f} GFLOP/s where one alone reaches {rates.gflops_one:.0f}: "
            "other processes have the cores, or the threads share one. Times of layers are of little use."
        )
    if pair[0] < NOISY * pair[1]:
        return (
            f"The machine was not quiet: {profile.before.gflops:.0f} GFLOP/s before the layers were timed, "
            f"{profile.after.gflops:.0f} after."
        )
    if sum(profile.layers_ms) < FULL * profile.engine_ms:
        return (
            "Layers fill only a part of the inference: other processes had the cores now and then, which medians leave "
            "out, or the layers are so short that the clocks show."
        )
    return ""


def _by_kind(groups: Iterable[Group], layers: Sequence[Layer], rates: Rates | None) -> list[Row]:
    """Groups whose layers are of the same kinds, as one row."""
    kinds: dict[str, list[Group]] = {}
    for group in groups:
        kinds.setdefault(_kernels(group, layers, counted=False), []).append(group)
    rows = [(_sum(found), kind, len(found)) for kind, found in kinds.items()]
    rows.sort(key=lambda row: (-row[0].engine_ms, -row[0].onnxruntime_ms, -row[2]))
    shown = [_row(total, layers, rates, name=kind, count=count) for total, kind, count in rows[:TOP]]
    if rows[TOP:]:
        total = _sum([row[0] for row in rows[TOP:]])
        shown.append(_row(total, layers, rates, name="other kinds", count=sum(row[2] for row in rows[TOP:])))
    return shown


def _sum(groups: Sequence[Group]) -> Group:
    return Group(
        layers=[number for group in groups for number in group.layers],
        kernels=[],
        nodes=[],
        ops=[],
        engine_ms=sum(group.engine_ms for group in groups),
        onnxruntime_ms=sum(group.onnxruntime_ms for group in groups),
    )


def _kernels(group: Group, layers: Sequence[Layer], *, counted: bool = True) -> str:
    """Kinds of the layers, in their order; those that are TVM's say so."""
    kinds: dict[str, int] = {}
    for number in group.layers:
        layer = layers[number]
        kind = layer.kernel if layer.ours else f"{layer.kernel or layer.function} (TVM)"
        kinds[kind] = kinds.get(kind, 0) + 1
    named = [f"{count} {kind}" if counted and count > 1 else kind for kind, count in kinds.items()]
    return " + ".join(named) or "no layer of its own"


def _row(group: Group, layers: Sequence[Layer], rates: Rates | None, name: str = "", count: int = 0) -> Row:
    flops, moved = (sum(getattr(layers[number], field) for number in group.layers) for field in ("flops", "bytes"))
    ms, timed = group.engine_ms, rates is not None and group.engine_ms > 0
    gflops = flops / ms / 1e6 if timed else 0.0
    bound = ""
    if rates is not None and group.layers:
        bound = "memory" if moved / rates.gbytes > flops / rates.gflops else "arithmetic"
    return Row(
        name=name or group.name,
        title=", ".join(group.nodes[:20]) or name,
        kernel=_kernels(group, layers),
        count=text.count(count) if count else "",
        shape=text.shape(layers[group.layers[-1]].shape) if group.layers else "",
        engine=text.milliseconds(ms) if timed else text.NOTHING,
        onnxruntime=text.milliseconds(group.onnxruntime_ms) if rates and group.onnxruntime_ms else text.NOTHING,
        ratio=f"{ms / group.onnxruntime_ms:.2f}" if timed and group.onnxruntime_ms else text.NOTHING,
        slower=timed and group.onnxruntime_ms > 0 and group.lost_ms > group.onnxruntime_ms / 20,
        gflops=f"{gflops:.0f}" if gflops else text.NOTHING,
        share=f"{100 * gflops / rates.gflops:.0f}%" if gflops and rates else text.NOTHING,
        gbytes=f"{moved / ms / 1e6:.0f}" if timed else text.NOTHING,
        bound=bound,
    )


def _chart(groups: Sequence[Group], id: str) -> Chart | None:
    """The slowest groups of both sides."""
    if not groups:
        return None
    labels = list(shortened([group.name for group in groups]))
    sides: Mapping[str, tuple[str, list[float]]] = {
        "ONNX Runtime": ("--mute", [group.onnxruntime_ms for group in groups]),
        "Engine": ("--c1", [group.engine_ms for group in groups]),
    }
    data = [
        bars(side, colour, labels, values, [text.milliseconds(value) for value in values])
        for side, (colour, values) in sides.items()
    ]
    return Chart(
        f"{id}-chart",
        f"The slowest {len(groups)} beside ONNX Runtime" if len(groups) == CHARTED else "Layers beside ONNX Runtime",
        "; ".join(
            f"{group.name}: {text.milliseconds(group.engine_ms)}, ONNX Runtime {text.milliseconds(group.onnxruntime_ms)}"
            for group in groups
        ),
        100 + 34 * len(groups),
        figure(
            data,
            barmode="group",
            bargap=0.25,
            xaxis=axis("milliseconds", range=room([value for _, values in sides.values() for value in values])),
            yaxis=axis(type="category", autorange="reversed", dtick=1),
        ),
    )
