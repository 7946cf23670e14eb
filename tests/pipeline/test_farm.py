"""A farm's run: tasks that cells share, failures, crashes, time; with stages that do what a test tells them."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from probe_stage import ProbeOptions
from running import PROBE

from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.source import Source
from enginesmith.converters.stages.registry import STAGES
from enginesmith.pipeline.farm.cells import Cell
from enginesmith.pipeline.farm.costs import Costs
from enginesmith.pipeline.farm.local import Local
from enginesmith.pipeline.farm.poison import Poison
from enginesmith.pipeline.farm.records import CellRecord
from enginesmith.pipeline.farm.run import Farm
from enginesmith.pipeline.farm.tasks import make_tasks
from enginesmith.pipeline.job.plan import Plan
from enginesmith.pipeline.job.store import Store

MAKE = "(context.out / 'file').write_text('1')"
PASS_ON = "(context.out / 'file').write_bytes((inputs['before'] / 'file').read_bytes() + b'2')"
FAIL = "from enginesmith.converters.core.errors import ConversionError; raise ConversionError('broken')"
REFUSE = "from enginesmith.converters.core.errors import UserError; raise UserError('give another')"
CRASH = "import os; os.abort()"


class Runner:
    """Runs cells that are chains of probe stages, in one store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Store(folder / "store")
        self.events: list[tuple[int, str, str]] = []

    def cell(self, name: str, *codes: str, priority: int = 0, kind: str = "probe", **recipe: object) -> Cell:
        stages: list[PlannedStage] = []
        for number, code in enumerate(codes):
            needs = {"before": stages[-1].id} if stages else {}
            stages.append(PlannedStage(f"s{number}", kind, ProbeOptions(code=code), needs=needs))
        plan = Plan(Source(kind="onnx", ref="", name=name), tuple(stages), stages[0].id)
        made = Recipe(model=name, out=self.folder / name, **recipe)
        return Cell(name, "tvm", "native", "fp32", "", made, plan, priority)

    def farm(self, *cells: Cell, attempts: int = 2, seconds: float | None = None) -> Farm:
        def finish(state):  # type: ignore[no-untyped-def]
            state_of = "unfinished" if state.unfinished else "yes" if state.build.success else "failed"
            return CellRecord(**state.cell.axes, name=state.cell.name, state=state_of, folder="")

        costs = Costs(self.store)
        return Farm(cells, make_tasks(cells, costs), costs, Poison(self.store), attempts, finish, seconds)

    def run(self, farm: Farm, jobs: int = 2) -> dict[str, list[str]]:
        """The statuses of each cell's stages."""
        with self.store.workspace() as workspace:
            builds = [state.build for state in farm.states]
            hear = lambda index, event: self.events.append((index, event.event, event.stage))  # noqa: E731
            driver = Local(self.store, workspace, farm.cells, builds, farm.tasks, self.folder / "logs", hear, jobs)
            farm.run(driver)
        return {state.cell.model: [record.status for record in state.build.records] for state in farm.states}


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setitem(STAGES, "probe", "probe_stage:Probe")
    monkeypatch.setitem(STAGES, "timed", "probe_stage:Timed")
    monkeypatch.setenv("PYTHONPATH", f"{PROBE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return Runner(tmp_path)


def test_what_cells_share_is_done_once_and_is_in_all_of_them(runner: Runner) -> None:
    cells = [runner.cell(name, MAKE, PASS_ON, f"{PASS_ON} # {name}") for name in ("a", "b", "c")]
    farm = runner.farm(*cells)
    assert len(farm.tasks) == 5
    statuses = runner.run(farm)
    assert sorted(statuses.values()) == [["built", "built", "built"], *[["cached", "cached", "built"]] * 2]
    assert farm.built == 5
    assert [event for event in runner.events if event[1:] == ("built", "s0")] == [(0, "built", "s0")]
    for state in farm.states:
        entry = state.build.entries["s2"]
        assert (runner.store.files(entry.key) / "file").read_text() == "122"
    again = runner.farm(*cells)
    assert set(map(tuple, runner.run(again).values())) == {("cached",) * 3}
    assert again.built == 0


def test_a_cell_that_fails_ends_no_other(runner: Runner) -> None:
    farm = runner.farm(
        runner.cell("good", MAKE, PASS_ON),
        runner.cell("fails", MAKE, FAIL, PASS_ON),
        runner.cell("fails too", MAKE, FAIL, f"{PASS_ON} # other"),
        runner.cell("refused", REFUSE, PASS_ON),
        runner.cell("bug", MAKE, "1 / 0"),
    )
    statuses = runner.run(farm)
    assert statuses["good"] == ["built", "built"]
    assert statuses["fails"][1:] == statuses["fails too"][1:] == ["failed", "skipped"]
    assert statuses["refused"] == ["failed", "skipped"]
    records = {state.cell.model: state.build.records for state in farm.states}
    assert records["fails too"][1].error == "broken"
    assert records["fails too"][2].error == "needs s1, which failed"
    assert records["refused"][0].error == "give another"
    assert farm.bugs == ["s1: bug: ZeroDivisionError: division by zero"]
    assert {state.record.state for state in farm.states if state.record} == {"yes", "failed"}


def test_a_stage_that_crashes_now_and_then_is_tried_again(runner: Runner, tmp_path: Path) -> None:
    mark = tmp_path / "was here"
    code = f"from pathlib import Path\nm = Path({str(mark)!r})\nif not m.exists():\n    m.touch()\n    {CRASH}\n{MAKE}"
    farm = runner.farm(runner.cell("a", code))
    assert runner.run(farm) == {"a": ["built"]}
    assert farm.crashes == 1


def test_what_crashes_each_time_is_given_up_until_it_is_asked_for(runner: Runner) -> None:
    cells = [runner.cell("poisoned", CRASH, PASS_ON), runner.cell("good", MAKE, PASS_ON)]
    farm = runner.farm(*cells, attempts=3)
    assert runner.run(farm) == {"poisoned": ["failed", "skipped"], "good": ["built", "built"]}
    assert farm.crashes == 3
    assert "SIGABRT" in farm.states[0].build.records[0].error
    again = runner.farm(*cells, attempts=3)
    assert runner.run(again)["poisoned"] == ["failed", "skipped"]
    assert again.crashes == 0
    assert again.states[0].build.records[0].error == "given up: it crashed its process 3 times"
    again.poison.forgive(*again.tasks)
    retried = runner.farm(*cells, attempts=3)
    runner.run(retried)
    assert retried.crashes == 3


def test_the_longest_path_comes_first_once_it_is_known(runner: Runner) -> None:
    wait = "import time; time.sleep({}); " + MAKE
    cells = [
        runner.cell("short", wait.format(0.01), f"{PASS_ON} # short"),
        runner.cell("long", f"{wait.format(0.02)} # first", f"import time; time.sleep(1.5); {PASS_ON}"),
    ]
    runner.run(runner.farm(*cells), jobs=1)
    assert [event[0] for event in runner.events if event[1] == "start"][:1] == [0]
    runner.events.clear()
    for entry, _ in list(runner.store.entries()):
        runner.store.remove(entry.key)
    runner.run(runner.farm(*cells), jobs=1)
    assert [event[0] for event in runner.events if event[1] == "start"] == [1, 1, 0, 0]


def test_priority_goes_before_length(runner: Runner) -> None:
    cells = [runner.cell("a", MAKE, PASS_ON), runner.cell("b", f"{MAKE} # b", priority=5)]
    runner.run(runner.farm(*cells), jobs=1)
    assert [event[0] for event in runner.events if event[1] == "start"] == [1, 0, 0]


def test_what_takes_times_runs_alone(runner: Runner) -> None:
    log = runner.folder / "log"
    note = f"import time; f = open({str(log)!r}, 'a', buffering=1); print('+', file=f); time.sleep(0.3); print('-', file=f); "
    cells = [runner.cell(f"t{n}", f"{note}{MAKE} # {n}", kind="timed") for n in range(2)]
    cells += [runner.cell(f"p{n}", f"{MAKE} # {n}") for n in range(2)]
    runner.run(runner.farm(*cells))
    assert log.read_text().split() == ["+", "-", "+", "-"]


def test_after_its_time_no_stage_begins_and_the_next_run_goes_on(runner: Runner) -> None:
    cells = [runner.cell("a", f"import time; time.sleep(1); {MAKE}", PASS_ON, f"{PASS_ON} # 3")]
    farm = runner.farm(*cells, seconds=0.5)
    assert runner.run(farm) == {"a": ["built", "skipped", "skipped"]}
    assert farm.states[0].record is not None
    assert farm.states[0].record.state == "unfinished"
    assert farm.states[0].unfinished.startswith("the run's time of 0.5 s was over before s1")
    assert runner.run(runner.farm(*cells)) == {"a": ["cached", "built", "built"]}


def test_ctrl_c_ends_all_that_runs_and_keeps_what_is_done(runner: Runner) -> None:
    cells = [runner.cell("a", MAKE, "import time; time.sleep(60)"), runner.cell("b", f"{MAKE} # b", PASS_ON)]
    farm = runner.farm(*cells)

    def interrupt() -> None:
        while not farm.states[1].record or "s1" not in farm.states[0].now:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    # a shell's background job, and what it starts, has the signal ignored
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        runner.run(farm)
    signal.signal(signal.SIGINT, usual)
    assert time.monotonic() - started < 30
    assert farm.crashes == 0
    assert list((runner.store.root / "tmp").iterdir()) == []
    done = runner.farm(cells[1])
    assert runner.run(done) == {"b": ["cached", "cached"]}
