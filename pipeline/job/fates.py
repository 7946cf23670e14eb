"""The record of a stage before it has run, and what becomes of it where those before it failed."""

from __future__ import annotations

from collections.abc import Mapping

from enginesmith.converters.core.plan import PlannedStage
from enginesmith.pipeline.job.manifest import PASSED, StageRecord


def waiting_record(planned: PlannedStage) -> StageRecord:
    """Of a stage that nothing has become of yet."""
    return StageRecord(
        id=planned.id,
        stage=planned.stage,
        backend=planned.backend,
        target=planned.target,
        needs=planned.needs,
        after=list(planned.after),
        status="skipped",
    )


def begin_again(record: StageRecord, planned: PlannedStage) -> None:
    """Forget in the record what became of the stage."""
    fresh = waiting_record(planned)
    for name in StageRecord.model_fields:
        setattr(record, name, getattr(fresh, name))


def missing(planned: PlannedStage, records: Mapping[str, StageRecord], *, keep_going: bool) -> str:
    """Why a stage can't start, because of those before it; empty where it can. With `keep_going` a mismatch stops nothing:
    it has its outputs all the same.
    """

    def passed(record: StageRecord) -> bool:
        return record.status in PASSED or (record.made and keep_going)

    for need in planned.needs.values():
        if not passed(records[need]):
            return f"needs {need}, which {_fate(records[need])}"
    for gate in planned.after:
        if not passed(records[gate]) and not planned.blocked:
            return f"comes after {gate}, which {_fate(records[gate])}"
    return ""


def _fate(record: StageRecord) -> str:
    return {"failed": "failed", "skipped": "was skipped", "not run": "could not run here"}.get(
        record.status, record.status
    )
