"""Engines as cards: what was built, whether it was proved, and how fast it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enginesmith.converters.core.records import Latency, Verified
from enginesmith.pipeline.job.manifest import EngineRecord, Manifest
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
    others: list[str]
    """The same for further shapes, each in a line."""
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
    beside: str
    """The size of the same engine in fp32, where there is one."""
    products: list[tuple[str, str, str]]
    """Kind of product, its number by dtype in the graph, and in the parsed network; only for builds below fp32."""
    speed: Speed | None
    no_speed: str


VERIFIED: Mapping[Verified, str] = {
    "yes": "Verified",
    "no": "Not verified",
    "not run": "Not run",
    "proves nothing": "Not verified: proves nothing",
}


def cards(manifest: Manifest) -> list[Card]:
    colours = dtype_colours(manifest)
    return [
        _card(engine, manifest.machine.cores, colours, lowered=manifest.precision != "fp32")
        for engine in manifest.engines
    ]


def _card(engine: EngineRecord, cores: int, colours: Mapping[str, str], *, lowered: bool) -> Card:
    total = sum(engine.layers_by_dtype.values())
    ordered = sorted(engine.layers_by_dtype.items(), key=lambda item: -item[1])
    return Card(
        record=engine,
        size=text.size(engine.size),
        tone=VERIFIED_TONE[engine.verified],
        verified=VERIFIED[engine.verified],
        dtypes=[(dtype, layers, f"{100 * layers / total:.1f}", colours[dtype]) for dtype, layers in ordered if total],
        beside=f"{engine.size / engine.fp32_size:.2f} of {text.size(engine.fp32_size)} in fp32"
        if engine.fp32_size
        else "",
        products=_products(engine) if lowered else [],
        speed=_speed(engine.latency, cores) if engine.latency else None,
        no_speed="No latency: it did not run." if engine.verified == "not run" else "Latency was not measured.",
    )


def _products(engine: EngineRecord) -> list[tuple[str, str, str]]:
    def told(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{text.count(number)} {dtype}" for dtype, number in counts.items())

    return [
        (kind, told(asked), told(engine.products_built.get(kind, {}))) for kind, asked in engine.products_asked.items()
    ]


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
        conditions=", ".join(
            filter(
                None,
                (
                    latency.shapes,
                    f"median of {latency.runs:,} runs",
                    text.counted(latency.threads, "thread"),
                    f"load {latency.load_before:.1f} before and {latency.load_after:.1f} after",
                ),
            )
        ),
        others=[
            f"{other.shapes}: {text.milliseconds(other.engine_ms)} beside {text.milliseconds(other.onnxruntime_ms)}, "
            f"{text.speed(other)}"
            for other in latency.others
        ],
        busy=f"The machine was busy: load {latency.load_before:.1f} before the timing of "
        f"{text.counted(latency.threads, 'thread')} on {text.counted(cores, 'core')}."
        if crowded
        else "",
    )
