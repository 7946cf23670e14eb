"""What backends refuse about a graph, why, what to do, and the repaired graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from enginesmith.converters.backends.examination import Examination
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.records import RepairReport
from enginesmith.pipeline.api.files import Graph, arrays_file, graph_file
from enginesmith.pipeline.job import doctor as job


class Checkup(Examination):
    """An examination, and what was repaired for each of its targets, in their order."""

    repairs: list[RepairReport] = Field(default_factory=list)
    fixed: Path | None = None
    """The file of the repaired graph; None where nothing was repaired."""

    @property
    def clean(self) -> bool:
        """No backend refuses anything, or all of it was repaired; and none failed to answer."""
        if any(target.failed for target in self.targets):
            return False
        return all(report.mended for report in self.repairs) if self.repairs else super().clean


def doctor(
    model: Graph,
    for_: str = "",
    *,
    fix: str | Path | None = None,
    shape: str | None = None,
    inputs: str | Path | Mapping[str, Any] | None = None,
    trial: bool = True,
    timeout: float | None = None,
    memory: float | None = None,
) -> Checkup:
    """Examine a graph for backends and versions, installed or not, and repair it into the file `fix`.

        checkup = enginesmith.doctor("model.onnx", for_="tensorrt=8.6,tvm", fix="repaired.onnx")
        for target in checkup.targets:
            for found in target.errors:
                print(found.finding.node, found.finding.message, found.finding.remedy)

    `for_`: backends with commas, each with a version and a GPU if wanted (`tensorrt=10.16@sm_120`); all where left out.
    `shape`: of dynamic inputs, `x:1..4..16x3x224x224`.
    `inputs`: an array for each input to prove repairs on, by name or as a .npz file; else they are made up.
    `trial`: ask the backends that are here, by a real parse and build. `timeout`: seconds that one backend may take.
    `memory`: GB that it may use. Where they are left out, all of it may take some 50 s and 3 GB, and more for a large file.

    Raises UserError for files that can't be read or written, and for backends that nothing is known of.
    """
    wanted = job.wanted(for_)
    if inputs is not None and fix is None:
        raise UserError("--inputs are for the proof of repairs: give --fix too")
    out = None if fix is None else Path(fix)
    with graph_file(model) as path, arrays_file(inputs) as feed:
        if out is not None:
            job.check_files(path, out, feed)  # before the examination, which may take minutes
        found = job.examine(path, wanted, shape, trial=trial, timeout=timeout, memory=memory)
        checkup = Checkup(**dict(found))
        if out is not None and found.nodes:
            checkup.repairs = job.fix(path, out, wanted, shape, feed, trial=trial, timeout=timeout, memory=memory)
            if any(report.made and not report.refuted for report in checkup.repairs):
                checkup.fixed = out
    return checkup
