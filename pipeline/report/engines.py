"""Engines as cards: what was built, whether it was proved, and how fast it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enginesmith.converters.records import Latency
from enginesmith.pipeline.manifest import EngineRecord, Manifest
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.charts import dtype_colours
from enginesmith.pipeline.report.summary import VERIFIED_TONE, Tone


@dataclass(frozen=True)
class Speed:
    """An engine's latency in words, always beside ONNX Runtime's of the same run."""

    engine: str
    onnxruntime: str
    ratio: str
    words: str
    slower: bool
    conditions: str
    busy: str
    """Why the timing deserves suspicion; empty when the machine was quiet."""


@dataclass(frozen=True)
class Card:
    record: EngineRecord
    size: str
    tone: Tone
    verified: str
    dtypes: list[tuple[str, int, str, str]]
    """dtype, number of layers, share of all as a percentage for the bar's width, colour."""
    speed: Speed | None
    no_speed: str


VERIFIED = {"yes": "Verified", "no": "Not verified: outputs differ", "not run": "Not run"}


def cards(manifest: Manifest) -> list[Card]:
    colours = dtype_colours(manifest)
    return [_card(engine, manifest.machine.cores, colours) for engine in manifest.engines]


def _card(engine: EngineRecord, cores: int, colours: Mapping[str, str]) -> Card:
    total = sum(engine.layers_by_dtype.values())
    ordered = sorted(engine.layers_by_dtype.items(), key=lambda item: -item[1])
    return Card(
        record=engine,
        size=text.size(engine.size),
        tone=VERIFIED_TONE[engine.verified],
        verified=VERIFIED[engine.verified],
        dtypes=[(dtype, layers, f"{100 * layers / total:.1f}", colours[dtype]) for dtype, layers in ordered if total],
        speed=_speed(engine.latency, cores) if engine.latency else None,
        no_speed="No latency: it did not run." if engine.verified == "not run" else "Latency was not measured.",
    )


def _speed(latency: Latency, cores: int) -> Speed:
    usable = latency.engine_ms > 0 and latency.onnxruntime_ms > 0
    # What ran before the timing goes on beside it: more than the cores hold, and both sides are slowed unevenly.
    crowded = latency.load_before + latency.threads > cores + 0.5
    return Speed(
        engine=text.milliseconds(latency.engine_ms),
        onnxruntime=text.milliseconds(latency.onnxruntime_ms),
        ratio=f"{latency.ratio:.2f}" if usable else text.NOTHING,
        words=text.speed(latency),
        slower=usable and latency.ratio > 1.03,
        conditions=f"median of {latency.runs:,} runs, {text.counted(latency.threads, 'thread')}, "
        f"load {latency.load_before:.1f} before and {latency.load_after:.1f} after",
        busy=f"The machine was busy: load {latency.load_before:.1f} before the timing of "
        f"{text.counted(latency.threads, 'thread')} on {text.counted(cores, 'core')}."
        if crowded
        else "",
    )
