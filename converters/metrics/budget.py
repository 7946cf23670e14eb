"""How much a metric may lose."""

from __future__ import annotations

import math

from enginesmith.converters.errors import UserError

FORMS = "write BUDGET=0.5% or BUDGET=0.005"


def parse_budget(text: str) -> float:
    """`0.5%` is 0.005; a plain number is in units of the metric. Raises UserError."""
    plain = text.strip()
    percent = plain.endswith("%")
    try:
        value = float(plain.removesuffix("%"))
    except ValueError:
        raise UserError(f"BUDGET={text} is no number; {FORMS}") from None
    if not math.isfinite(value) or value < 0:
        raise UserError(f"BUDGET={text}: a loss of at least 0 is wanted; {FORMS}")
    return value / 100 if percent else value
