"""A matrix of builds: planned, run, and written into a folder with a page."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.secrets import redacted
from enginesmith.pipeline import __version__, report
from enginesmith.pipeline.farm.cells import Cell, Cells, make_cells
from enginesmith.pipeline.farm.costs import Costs
from enginesmith.pipeline.farm.driver import Listener
from enginesmith.pipeline.farm.local import Local
from enginesmith.pipeline.farm.matrix import read_matrix
from enginesmith.pipeline.farm.on_ray import OnRay, check_targets
from enginesmith.pipeline.farm.poison import Poison
from enginesmith.pipeline.farm.records import LAST, CellRecord, RunRecord, cell_record, find_run, read_runs
from enginesmith.pipeline.farm.run import CellState, Farm
from enginesmith.pipeline.farm.tasks import make_tasks, placed
from enginesmith.pipeline.job.environment import machine_record
from enginesmith.pipeline.job.events import Event
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.job.results import LOGS, write_results
from enginesmith.pipeline.job.store import Store

LOCAL = "local"
PAGE = "farm.html"
PAGE_RUNS = 20
"""Runs that the page tells of: the last ones."""

Watch = Callable[[Farm, Cells, str], AbstractContextManager[None]]
"""Shows a farm while it runs; gets what its stages run on too."""


def folder_of(matrix: Path, out: Path | None) -> Path:
    """Of a farm's results: `build/farm/NAME` where no other is given."""
    return (out or Path("build") / "farm" / matrix.stem).absolute()


def run_farm(
    file: Path,
    store: Store,
    watch: Watch,
    *,
    out: Path | None = None,
    address: str = LOCAL,
    jobs: int = 0,
    trust: bool = False,
    retry: bool = False,
) -> tuple[RunRecord, list[str]]:
    """Build the cells of a matrix; with `retry` those alone that failed or weren't finished in the last run, whatever crashed
    how often. Returns the run's record, and mistakes of ours.

    Raises UserError before anything starts for whatever is wrong with the matrix, and with where its results go. Ctrl-C is
    raised once the record of what was done is written.
    """
    matrix = read_matrix(file)
    folder = folder_of(file, out)
    cells = make_cells(matrix, file, folder / "cells", trust=trust)
    last = find_run(folder, LAST) if retry else None
    chosen = _failed(cells, last) if last else list(cells.cells)
    costs, poison = Costs(store), Poison(store)
    cluster = OnRay(address, store.address) if address != LOCAL else None
    resources = cluster.resources if cluster else {}
    if cluster:
        if not matrix.build_only:
            check_targets(chosen, resources)
        chosen = [placed(cell, resources) for cell in chosen]
    tasks = make_tasks(chosen, costs, resources)
    if retry:
        poison.forgive(*tasks)
    _make_folder(folder)
    logs = folder / LOGS
    started, begun = time.monotonic(), datetime.now(UTC)
    farm = Farm(
        cells=chosen,
        tasks=tasks,
        costs=costs,
        poison=poison,
        attempts=matrix.attempts,
        finish=lambda state: _finish(state, folder, store),
        seconds=matrix.time,
    )
    stopped = ""
    with store.workspace() as workspace:
        builds = [state.build for state in farm.states]
        driver = cluster or Local(store, workspace, chosen, builds, tasks, logs, _heard(farm), jobs)
        try:
            with watch(farm, cells, driver.about):
                farm.run(driver)
        except KeyboardInterrupt:
            stopped = "Ctrl-C"
            raise
        except BaseException as error:
            stopped = f"{type(error).__name__}: {error}"
            raise
        finally:
            run = _record(farm, matrix.name, driver.about, folder, begun, time.monotonic() - started, stopped, last)
            run.write(folder)
            write_page(folder)
    return run, farm.bugs


def write_page(folder: Path) -> None:
    """The page of the farm's last runs."""
    report.write_farm(read_runs(folder, PAGE_RUNS), folder / PAGE)


def manifests(run: RunRecord, folder: Path) -> list[tuple[Path, Manifest]]:
    """Of the cells of a run that are finished, each with its folder."""
    finished = [folder / cell.folder for cell in run.cells if cell.state != "unfinished"]
    return [(place, Manifest.read(place)) for place in finished if (place / "manifest.json").is_file()]


def collect(folder: Path, store: Store, keep: int) -> tuple[int, int, int]:
    """Forget all runs but the last `keep`, and remove from the store what they alone made. Returns runs, artifacts, bytes."""
    runs = read_runs(folder)
    gone, kept = (runs[:-keep], runs[-keep:]) if keep else (runs, [])
    needed = {key for run in kept for cell in run.cells for key in cell.keys}
    useless = {key for run in gone for cell in run.cells for key in cell.keys} - needed
    removed = freed = 0
    for entry, _ in list(store.entries()):
        if entry.key in useless and not store.pinned(entry.key):
            store.remove(entry.key)
            removed, freed = removed + 1, freed + entry.size
    for run in gone:
        (folder / "runs" / f"{run.id}.json").unlink(missing_ok=True)
    if kept:
        write_page(folder)
    return len(gone), removed, freed


def _failed(cells: Cells, last: RunRecord) -> list[Cell]:
    """Raises UserError where there is nothing to try again."""
    passed = {cell.name for cell in last.cells if cell.state not in ("failed", "no", "unfinished")}
    failed = [cell for cell in cells.cells if cell.name not in passed]
    if not failed:
        raise UserError(f"no cell of run {last.id} failed: there is nothing to try again")
    return failed


def _make_folder(folder: Path) -> None:
    probe = folder / ".writable"
    try:
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"can't write the folder {folder} ({error.strerror}); give another one with --out") from None


def _heard(farm: Farm) -> Listener:
    def heard(index: int, event: Event) -> None:
        if event.event in ("progress", "waiting"):
            farm.states[index].now[event.stage] = event.text

    return heard


def _finish(state: CellState, folder: Path, store: Store) -> CellRecord:
    cell = state.cell
    if state.unfinished:
        return _unfinished(state, folder, state.unfinished)
    place = _place(cell)
    place.mkdir(parents=True, exist_ok=True)
    seconds = sum(record.seconds for record in state.build.records)
    try:
        manifest = write_results(place, cell.recipe, cell.plan, state.build, store, seconds)
    except UserError as error:
        return _unfinished(state, folder, str(error))
    report.write(manifest, place / "report.html")
    return cell_record(manifest, cell.axes, cell.name, str(place.relative_to(folder)))


def _unfinished(state: CellState, folder: Path, cause: str) -> CellRecord:
    done = [record for record in state.build.records if record.key]
    told = {"name": state.cell.name, "state": "unfinished", "cause": cause}
    told |= {"folder": str(_place(state.cell).relative_to(folder))}
    counted = {"stages": len(state.build.records), "keys": [record.key for record in done]}
    return CellRecord.model_validate({**state.cell.axes, **told, **counted})


def _place(cell: Cell) -> Path:
    assert cell.recipe.out is not None
    return cell.recipe.out


def _record(
    farm: Farm,
    name: str,
    on: str,
    folder: Path,
    begun: datetime,
    seconds: float,
    stopped: str,
    last: RunRecord | None,
) -> RunRecord:
    found = {state.cell.name: state.record or _unfinished(state, folder, stopped) for state in farm.states}
    carried = [found.pop(cell.name, cell) for cell in last.cells] if last else []
    return RunRecord(
        id=begun.strftime("%Y%m%dT%H%M%S.%fZ"),
        matrix=name,
        command=[Path(sys.argv[0]).name, *map(redacted, sys.argv[1:])],
        enginesmith=__version__,
        machine=machine_record(),
        on=on,
        seconds=round(seconds, 2),
        stopped=stopped,
        tasks=len(farm.tasks),
        built=farm.built,
        crashes=farm.crashes,
        cells=[*carried, *found.values()],
    )
