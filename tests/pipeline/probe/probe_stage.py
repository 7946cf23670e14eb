"""A stage that does what a test tells it: crash, hang, fill the disk, or work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.stage import Context, Stage


class ProbeOptions(Options):
    code: str = ""


class Probe(Stage[ProbeOptions]):
    """Runs `code`, which sees `context` and `inputs`."""

    name = "probe"
    options = ProbeOptions
    preload = ()

    def run(self, inputs: Mapping[str, Path], options: ProbeOptions, context: Context) -> Facts:
        exec(options.code, {"inputs": inputs, "context": context})
        return Facts(note="done")


class Patient(Probe):
    """Ends when it is asked to, with what it has."""

    name = "patient"
    interruptible = True


class Timed(Probe):
    """Wants the machine for itself."""

    name = "timed"
    alone = True
