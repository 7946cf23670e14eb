"""What a build left, as an object; and as an exception, where a stage failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from enginesmith.converters.core.errors import ConversionError
from enginesmith.pipeline.api.engine import Engine
from enginesmith.pipeline.job.manifest import BUG, EngineRecord, Manifest, StageRecord

COLOURS = {"yes": "#1a7f37", "no": "#cf222e", "not run": "#9a6700", "proves nothing": "#9a6700"}


class BuildError(ConversionError):
    """A stage of a build failed: `stage` is its id, `log` the path of the tools' own output, `result` what was built all the
    same (None of a `sensitivity`). `bug` says that the mistake is ours.
    """

    def __init__(self, record: StageRecord, result: Result | None = None) -> None:
        super().__init__(record.error.removeprefix(BUG), record.remedy, record.facts.findings, record.facts.repairs)
        self.stage = record.id
        self.log = record.log
        self.bug = record.error.startswith(BUG)
        self.result = result

    def __str__(self) -> str:
        lines = [f"{self.stage}: {'a bug of ours: ' if self.bug else ''}{self.cause}"]
        lines += [f"remedy: {self.remedy}"] if self.remedy else []
        lines += [f"{finding.op} {finding.node}: {finding.message}" for finding in self.findings[:5]]
        lines += [f"log: {self.log}"] if self.log else []
        return "\n  ".join(lines)


def first_failure(records: list[StageRecord]) -> StageRecord | None:
    return next((record for record in records if record.status == "failed"), None)


@dataclass(frozen=True)
class Result:
    """`folder` holds the engines, the final graph, `manifest.json` and `report.html`. A notebook shows it as a table."""

    folder: Path
    manifest: Manifest
    bugs: tuple[str, ...] = field(default=(), repr=False)
    """Mistakes of ours, each with its stage."""
    trust: bool = field(default=False, repr=False)
    """Run engines that were built elsewhere."""

    @classmethod
    def open(cls, folder: str | Path, *, trust: bool = False) -> Result:
        """That of an earlier build, from its output folder. Raises UserError where it is none.

        An engine is machine code: those that were not built on this machine run with `trust` alone.
        """
        return cls(Path(folder).absolute(), Manifest.read(Path(folder)), trust=trust)

    @property
    def success(self) -> bool:
        """No stage failed; an engine that can't run here was not compared all the same: see `Engine.verified`."""
        return self.manifest.success

    @cached_property
    def engines(self) -> list[Engine]:
        threads = self.manifest.recipe.get("threads")
        return [
            Engine(
                record,
                self.folder,
                threads=threads if isinstance(threads, int) and threads else None,
                trust=self.trust,
                signature=self.manifest.model.signature,
            )
            for record in self.manifest.engines
        ]

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.folder / "report.html"

    def raise_for_failure(self) -> None:
        """Raises BuildError, a ConversionError, for the first stage that failed."""
        if failed := first_failure(self.manifest.stages):
            raise BuildError(failed, self)

    def __repr__(self) -> str:
        engines = ", ".join(f"{each.backend} {each.target}: {each.verified}" for each in self.manifest.engines)
        return (
            f"<Result of {self.manifest.model.name} in {self.manifest.precision}: {self._verdict}; "
            f"engines: {engines or 'none'}; {self.folder}>"
        )

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(map(_row, self.manifest.engines))
        heads = "".join(f"<th style='text-align:left'>{head}</th>" for head in HEADS)
        warnings = "".join(f"<li>{escape(warning)}</li>" for warning in self.manifest.warnings)
        colour = COLOURS["yes" if self.success else "no"]
        return (
            f"<div><b>{escape(self.manifest.model.name)}</b> in {escape(self.manifest.precision)}: "
            f"<span style='color:{colour}'>{escape(self._verdict)}</span>"
            + (f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>" if rows else "")
            + (f"<ul>{warnings}</ul>" if warnings else "")
            + f"<a href='{escape(self.report.as_uri(), quote=True)}'>report</a> in <code>{escape(str(self.folder))}</code></div>"
        )

    @property
    def _verdict(self) -> str:
        failed = first_failure(self.manifest.stages)
        return f"{failed.id} failed: {failed.error}" if failed else f"built in {self.manifest.seconds:.1f} s"


HEADS = ("engine", "target", "size", "verified", "latency")


def _row(engine: EngineRecord) -> str:
    from html import escape

    latency = engine.latency.verdict if engine.latency else "not measured"
    verified = f"{engine.verified}: {engine.verified_reason}" if engine.verified_reason else engine.verified
    cells = [engine.backend, engine.target, f"{engine.size / 1e6:.1f} MB", verified, latency]
    styles = ["", "", "", f"color:{COLOURS[engine.verified]}", ""]
    drawn = (
        f"<td style='text-align:left;{style}'>{escape(cell)}</td>" for cell, style in zip(cells, styles, strict=True)
    )
    return f"<tr>{''.join(drawn)}</tr>"
