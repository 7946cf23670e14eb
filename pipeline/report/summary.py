"""The head of the report: the verdict at a glance, what was built from what, and all that needs attention."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from enginesmith.converters.core.comparisons import Verdict
from enginesmith.converters.core.records import TensorInfo, Verified
from enginesmith.pipeline.job.manifest import EngineRecord, Manifest, Status
from enginesmith.pipeline.report import text

Tone = Literal["good", "bad", "warn", "mute"]
"""What colours and symbols mean everywhere in the report."""

STATUS_TONE: Mapping[Status, Tone] = {
    "built": "good",
    "cached": "good",
    "failed": "bad",
    "skipped": "mute",
    "not run": "mute",
}
VERDICT_TONE: Mapping[Verdict, Tone] = {
    "pass": "good",
    "fail": "bad",
    "not run": "mute",
    "differs": "warn",
    "proves nothing": "warn",
}
VERIFIED_TONE: Mapping[Verified, Tone] = {"yes": "good", "no": "bad", "not run": "warn", "proves nothing": "warn"}
SYMBOL: Mapping[Tone, str] = {"good": "✓", "bad": "✗", "warn": "!", "mute": text.NOTHING}
"""Beside every colour, so that nothing is told by colour alone."""

ERROR_LINES = 6
"""Of an error at the top of the page; the stage's details hold all of it."""


@dataclass(frozen=True)
class Headline:
    tone: Tone
    title: str
    detail: str
    href: str = ""


@dataclass(frozen=True)
class Failure:
    stage: str
    href: str
    error: str
    remedy: str


@dataclass(frozen=True)
class Warned:
    """A warning and the stage that gave it; the build's own warnings have none."""

    message: str
    stage: str = ""
    href: str = ""


def anchors(manifest: Manifest) -> dict[str, str]:
    """Stage id to its anchor. Numbered, since two ids may differ only in signs that an anchor can't hold."""
    return {stage.id: f"stage-{number}-{text.slug(stage.id)}" for number, stage in enumerate(manifest.stages, 1)}


def headline(manifest: Manifest, hrefs: Mapping[str, str]) -> Headline:
    """The one line that a hurried reader takes away. It says verified only of engines that ran."""
    if not manifest.success:
        for stage in manifest.stages:
            if stage.status == "failed":
                return Headline("bad", "Build failed", f"{stage.id}: {_first_line(stage.error)}", hrefs[stage.id])
        for stage in manifest.stages:
            if stage.comparison and stage.comparison.verdict == "fail":
                reason = _first_line(stage.comparison.reason) or "outputs differ from the stage before"
                return Headline("bad", "Build failed", f"{stage.id}: {reason}", hrefs[stage.id])
        return Headline("bad", "Build failed", "No stage says why.")
    engines = manifest.engines
    if not engines:
        return Headline("warn", "Finished without an engine", "The plan of this build holds no engine.")
    wrong = [engine for engine in engines if engine.verified == "no"]
    if wrong:
        reasons = ", ".join(dict.fromkeys(_first_line(e.verified_reason) or "outputs differ" for e in wrong))
        return Headline("bad", "Built, not verified", f"{_names(wrong)}: {reasons}.")
    empty = [engine for engine in engines if engine.verified == "proves nothing"]
    if empty:
        reasons = ", ".join(dict.fromkeys(_first_line(e.verified_reason) for e in empty))
        return Headline("warn", "Built, not verified", f"{_names(empty)}: the comparison proves nothing: {reasons}.")
    unrun = [engine for engine in engines if engine.verified == "not run"]
    if not unrun:
        return Headline("good", "Built and verified", f"{text.counted(len(engines), 'engine')} ran, outputs compared.")
    reasons = ", ".join(dict.fromkeys(_first_line(e.verified_reason) or "no reason given" for e in unrun))
    if len(unrun) == len(engines):
        return Headline("warn", "Built, not verified", f"No engine was run: {reasons}.")
    return Headline(
        "warn",
        f"Built, {len(engines) - len(unrun)} of {len(engines)} engines verified",
        f"Not run: {_names(unrun)} ({reasons}).",
    )


def _names(engines: list[EngineRecord]) -> str:
    return ", ".join(f"{engine.backend} {engine.target}".strip() for engine in engines)


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0].rstrip(".")


def failures(manifest: Manifest, hrefs: Mapping[str, str]) -> list[Failure]:
    """What stopped the build, for the top of the page: the error's head and the way out."""
    return [
        Failure(stage.id, hrefs[stage.id], "\n".join(stage.error.strip().splitlines()[:ERROR_LINES]), stage.remedy)
        for stage in manifest.stages
        if stage.status == "failed"
    ]


def random_weights(manifest: Manifest) -> str:
    """How random weights were made, or empty: they make every later figure easy to misread, so the page says it first."""
    weights = manifest.model.weights
    return weights.detail or "seeded" if weights and weights.origin == "random" else ""


def facts(manifest: Manifest) -> list[tuple[str, str]]:
    """What was asked, of what, and where it ran; a row per line of the head's table."""
    model, machine = manifest.model, manifest.machine
    weights = model.weights
    origin = "unknown: the model was not loaded"
    if weights is not None:
        origin = f"{weights.origin}: {weights.detail}" if weights.detail else weights.origin
        origin += f" (sha256 {weights.sha256[:12]}…)" if weights.sha256 else ""
    rows = [
        ("Model", model.spec),
        ("Task", model.task),
        ("Weights", origin),
        ("Precision", manifest.precision),
        ("Inputs", _tensors(model.inputs)),
        ("Outputs", _tensors(model.outputs)),
        ("Machine", f"{machine.cpu}, {text.counted(machine.cores, 'core')}, {machine.memory_gb:g} GB"),
        ("GPU", machine.gpu or "none"),
        ("System", f"{machine.os}, Python {machine.python}"),
        ("Time", f"{text.seconds(manifest.seconds)}, finished {text.moment(manifest.created)}"),
        ("Command", shlex.join(manifest.command)),
    ]
    return [(name, value) for name, value in rows if value]


def _tensors(tensors: list[TensorInfo]) -> str:
    return ", ".join(f"{t.name}: {t.dtype} {text.shape(t.shape)}" for t in tensors)


def warnings(manifest: Manifest, hrefs: Mapping[str, str]) -> list[Warned]:
    """The build's own, then each stage's; one that was handed up is told once, with its stage."""
    stages = [Warned(message, s.id, hrefs[s.id]) for s in manifest.stages for message in s.facts.warnings]
    told = {warned.message for warned in stages}
    return [Warned(message) for message in manifest.warnings if message not in told] + stages


def tools(manifest: Manifest) -> list[tuple[str, str, list[str]]]:
    """Package, version, and the stages that used it; two versions of one package are two rows."""
    used: dict[tuple[str, str], list[str]] = {}
    for stage in manifest.stages:
        for name, version in stage.tools.items():
            used.setdefault((name, version), []).append(stage.id)
    return [(name, version, stages) for (name, version), stages in sorted(used.items())]


def recipe(manifest: Manifest) -> str:
    """As YAML, to be copied into a file for `enginesmith build -f`."""
    import yaml

    if not manifest.recipe:
        return ""
    plain = manifest.model_dump(mode="json", include={"recipe"})["recipe"]
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
