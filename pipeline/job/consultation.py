"""A log with its model at hand: the named node is looked up, the rules are run on it, and the repair that applies is tried."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from pydantic import BaseModel

from enginesmith.compat.diagnoses import Explanation
from enginesmith.compat.diagnoses.node import LOOK, Looked
from enginesmith.converters.backends.examination import Examined, TargetReport
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.isolated import FAILED, Isolated
from enginesmith.converters.core.records import RepairReport
from enginesmith.pipeline.job import doctor

BACKENDS = {"TensorRT-RTX": "tensorrt-rtx", "TensorRT": "tensorrt", "trtexec": "tensorrt", "TVM": "tvm"}
"""Of the tools that a log names, in this order, the one whose rules are asked."""

SECONDS = 300.0
"""That looking a node up may take: a model of gigabytes is read and its shapes inferred."""


class Consultation(BaseModel):
    """What the model says about the log."""

    model: str
    target: str
    """Whose rules were asked, such as `tensorrt=10.3`."""
    looked: Looked
    here: list[Examined] = []
    """Findings at the node that the log names."""
    elsewhere: int = 0
    """Errors that the rules find at other nodes."""
    trial: str = ""
    """What the backend itself says, where it is installed."""
    today: str = ""
    """What the TensorRT that is installed here says, for a log of another one."""
    repair: RepairReport | None = None
    """The repair that was tried for the findings at the node."""
    fixed: Path | None = None
    """The repaired file, where one was asked for and made."""


def consult(explanation: Explanation, model: Path, for_: str = "", fix: Path | None = None) -> Consultation:
    """Look the node of the explanation's cause up in the model, and ask the rules.

    `for_` is the backend and version to ask, else the one that the log is of. The repair is written into `fix`.

    Raises UserError where the model can't be read or the repaired one not be written.
    """
    if not model.is_file():
        raise UserError(f"no file {model}: --model wants the ONNX file that the log is about")
    if fix is not None:
        doctor.check_files(model, fix, None)
    told = explanation.cause or explanation.headline
    name, op = (told.node, told.op) if told else ("", "")
    with Isolated() as process:
        try:
            looked = Looked.model_validate(process.call(LOOK, str(model), name, op, timeout=SECONDS))
        except FAILED as error:
            looked = Looked(problem=str(error))
    wanted = _wanted(explanation, for_)
    if not for_ and wanted[0].backend == "tensorrt" and wanted[0].reason:
        wanted += [one for one in doctor.wanted("tensorrt-rtx") if not one.reason]
    examination = doctor.examine(model, wanted, None, trial=True)
    if not examination.targets:
        raise UserError(f"{model}: {examination.problems[0].message if examination.problems else looked.problem}")
    report, *others = examination.targets
    names = {node.name for node in looked.nodes} if looked.by_name else set()
    here = [found for found in report.errors if found.finding.node in names or (not names and found.finding.op == op)]
    consultation = Consultation(
        model=str(model),
        target=_said(wanted[0]),
        looked=looked,
        here=here,
        elsewhere=len(report.errors) - len(here),
        trial=report.trial,
        today="; ".join(f"{other.backend} {other.version}: {_today(other, names)}" for other in others),
    )
    if any(found.finding.repair_id for found in here):
        _try(consultation, model, wanted[0], fix)
    return consultation


def _today(report: TargetReport, names: set[str]) -> str:
    """`accepted`, or what it refuses: the node of the log, or others."""
    if not report.errors or report.failed:
        return report.trial
    at_node = [found for found in report.errors if found.finding.node in names]
    return at_node[0].finding.message if at_node else f"takes this node; {len(report.errors)} others are refused"


def _try(consultation: Consultation, model: Path, wanted: doctor.Wanted, fix: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="enginesmith-") as folder:
        out = fix or Path(folder) / "fixed.onnx"
        (consultation.repair,) = doctor.fix(model, out, [wanted], None, None)
        consultation.fixed = fix if fix is not None and fix.exists() and consultation.repair.made else None


def _wanted(explanation: Explanation, for_: str) -> list[doctor.Wanted]:
    if for_:
        return doctor.wanted(for_)[:1]
    backend = next((name for tool, name in BACKENDS.items() if tool in explanation.tools), "tensorrt")
    if backend == "tensorrt" and (version := explanation.tensorrt):
        for known in (version, re.sub(r"\.\d+$", "", version)):
            try:
                return doctor.wanted(f"{backend}={known}")[:1]
            except UserError:  # a version that the tables don't have
                continue
    return doctor.wanted(backend)[:1]


def _said(wanted: doctor.Wanted) -> str:
    return f"{wanted.backend}={wanted.version}" if wanted.version else wanted.backend
