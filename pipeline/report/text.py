"""How figures are written: one place, so that a time or a difference reads the same wherever the report shows it."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from enginesmith.converters.core.records import Latency

NOTHING = "\N{EN DASH}"
"""Where there is no figure to show."""


def seconds(value: float) -> str:
    """`43 ms`, `4.2 s`, `3 min 12 s`, `1 h 4 min`."""
    if value <= 0:
        return "0 s"
    if value < 0.9995:
        return f"{max(1, round(value * 1000))} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(value: float) -> str:
    """Bytes, in decimal units as disks and `ls --si` count them."""
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def memory(megabytes: float) -> str:
    """Empty when it was not measured."""
    return size(megabytes * 1e6) if megabytes > 0 else ""


def milliseconds(value: float) -> str:
    """Three significant digits: more would be noise in a latency."""
    if value >= 999.5:
        return f"{value:,.0f} ms"
    return f"{value:#.3g}".rstrip(".") + " ms" if value > 0 else "0 ms"


def difference(value: float) -> str:
    """`0` means equal to the bit, so no small difference may be written that way."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{value:.2g}" if -3 <= int(exponent) <= 2 else f"{mantissa}e{int(exponent)}"


def count(value: int) -> str:
    """With thousands separated."""
    return f"{value:,}"


def moment(iso: str) -> str:
    """`2026-03-14 09:26 UTC`; what is no ISO time stays as it is."""
    try:
        return datetime.fromisoformat(iso).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return iso


def percent(value: float) -> str:
    """A share; `100%` only when it is all of it."""
    if not math.isfinite(value):
        return "NaN"
    shown = f"{value * 100:.1f}"
    if value >= 1:
        return "100%"
    return f"{min(float(shown), 99.9):g}%"


def of_metric(value: float) -> str:
    """Four decimals: a hundredth of a point of a hundred."""
    return f"{value:.4f}" if abs(value) >= 5e-5 or value == 0 else f"{value:.1e}"


def lost(loss: float) -> str:
    """For a column of losses: in words for what is none."""
    return f"{of_metric(-loss)} gained" if loss < 0 else of_metric(loss)


def told(loss: float) -> str:
    """For a sentence: `0.0046 lost`, `0.0016 gained`."""
    return lost(loss) if loss < 0 else f"{of_metric(loss)} lost"


def shape(dims: list[int] | list[int | str]) -> str:
    """`1x3x320x320`, as the command line takes it; a scalar has no dimensions."""
    return "x".join(str(dim) for dim in dims) or "scalar"


def counted(number: int, noun: str) -> str:
    """`1 engine`, `2 engines`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def slug(value: str) -> str:
    """What of a name may stand in an anchor."""
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")


def speed(latency: Latency) -> str:
    """The comparison with ONNX Runtime in words that don't hide a loss."""
    if latency.engine_ms <= 0 or latency.onnxruntime_ms <= 0:
        return "no usable timing"
    ratio = latency.ratio
    if ratio > 1.03:
        return f"slower than ONNX Runtime: takes {ratio:.2f} times as long"
    if ratio < 0.97:
        return f"{1 / ratio:.2f} times as fast as ONNX Runtime"
    return "as fast as ONNX Runtime"
