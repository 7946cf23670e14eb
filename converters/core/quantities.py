"""Amounts as a user writes them: `20GB`, `12h`, `0.5%`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from enginesmith.converters.core.errors import UserError

BYTES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SHARES = {"%": 0.01, "": 1.0}
"""Of a metric: `0.5%` is half a point of 100; a bare number is in the metric's own units."""


def quantity(text: str, units: Mapping[str, float], example: str, what: str = "") -> float:
    """The amount in the unit whose factor is 1. Raises UserError, with `example`, and with `what` it is an amount of."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z%]*)\s*", text)
    unit = next((unit for unit in units if match and unit.lower() == match[2].lower()), None)
    if match is None or unit is None:
        given = f"{what} = {text!r}" if what else repr(text)
        known = " ".join(filter(None, units))
        raise UserError(f"can't read {given}; write it like {example} (units: {known})")
    amount = float(match[1]) * units[unit]
    if not math.isfinite(amount):
        raise UserError(f"{what or 'the amount'} = {text!r} is no amount; write it like {example}")
    return amount
