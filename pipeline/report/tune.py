"""Searches for better schedules of a TVM module's kernels: what was tried, and what it brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enginesmith.converters.core.records import TunedKernel, Tuning
from enginesmith.converters.stages.tune import TuneFacts
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.summary import Tone


@dataclass(frozen=True)
class Row:
    """A kernel: what it computes, and its time in all calls before and after."""

    kernel: str
    calls: int
    measurements: str
    before: str
    after: str
    gain: str
    schedule: str


@dataclass(frozen=True)
class View:
    target: str
    anchor: str
    record: Tuning
    tone: Tone
    verdict: str
    measured: str
    spent: str
    rows: list[Row]


def views(manifest: Manifest, hrefs: Mapping[str, str]) -> list[View]:
    return [_view(facts.tuning, stage.target, hrefs.get(stage.id, "")) for stage, facts in manifest.told(TuneFacts)]


def _view(record: Tuning, target: str, anchor: str) -> View:
    spent = f"{text.counted(record.measurements, 'measurement')} in {text.seconds(record.seconds)}"
    if record.remembered:
        spent += f", going on from {text.count(record.remembered)} of earlier runs"
    if record.machines > 1:
        spent += f", on {text.counted(record.machines, 'machine')}"
    if record.failed:
        spent += f"; {text.count(record.failed)} failed, the last one with: {record.failure}"
    measured = ""
    if record.default_ms is not None and record.tuned_ms is not None:
        measured = (
            f"The whole module, in turn with the default one on {text.counted(record.threads, 'thread')}: "
            f"{text.milliseconds(record.tuned_ms)} beside {text.milliseconds(record.default_ms)}."
        )
    if record.kept:
        verdict = "The module was built with the schedules found"
    elif measured:
        verdict = "The default schedules were kept: the module did not get faster"
    else:
        verdict = "The default schedules were kept: nothing better was found"
    tone: Tone = "good" if record.kept else "mute"
    return View(target, anchor, record, tone, verdict, measured, spent, [_row(kernel) for kernel in record.kernels])


def _row(kernel: TunedKernel) -> Row:
    known = kernel.default_ms > 0
    schedule = ", ".join(f"{name} {int(value)}" for name, value in kernel.schedule.items())
    return Row(
        kernel=kernel.kernel,
        calls=kernel.calls,
        measurements=text.count(kernel.measurements) + (f" ({kernel.failed} failed)" if kernel.failed else ""),
        before=text.milliseconds(kernel.calls * kernel.default_ms) if known else text.NOTHING,
        after=text.milliseconds(kernel.calls * kernel.best_ms) if known else text.NOTHING,
        gain=f"{1 - kernel.best_ms / kernel.default_ms:.1%}" if known else text.NOTHING,
        schedule=schedule or ("default" if known else "not reached"),
    )
