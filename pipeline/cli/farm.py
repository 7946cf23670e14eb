"""`enginesmith farm`: a matrix of builds, and what differs between its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from enginesmith.pipeline.cli import options


class _RunByDefault(TyperGroup):
    """`farm matrix.yaml` is `farm run matrix.yaml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunByDefault,
    help="Build a matrix of models, backends, targets, precisions and shapes: `enginesmith farm matrix.yaml`.",
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(help="The matrix, a YAML file.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the results; build/farm/NAME where left out.")]
Address = Annotated[
    str,
    typer.Option(help="local (plain processes on this machine), or a Ray cluster: auto, HOST:PORT, ray://HOST:PORT."),
]
Jobs = Annotated[int, typer.Option(min=0, max=1024, help="Stages side by side on this machine; 0: by its cores.")]
Trust = Annotated[bool, typer.Option("--trust", help="Unpickle weights, and run code that model files carry.")]


@app.command("run")
def run(
    file: File,
    out: Out = None,
    address: Address = "local",
    jobs: Jobs = 0,
    trust: Trust = False,
    store: options.Store = None,
    junit: options.JUnit = None,
    sarif: options.Sarif = None,
    json: options.Json = False,
) -> None:
    """Build every cell of a matrix; what is in the store already is taken from there. Exit status 0 all passed, 1 a cell
    failed or was not finished."""
    raise typer.Exit(_run(file, out, address, jobs, trust, store, junit, sarif, json, retry=False))


@app.command("retry")
def retry(
    file: File,
    failed: Annotated[
        bool, typer.Option("--failed", help="The only choice: cells that failed or weren't finished.")
    ] = True,
    out: Out = None,
    address: Address = "local",
    jobs: Jobs = 0,
    trust: Trust = False,
    store: options.Store = None,
    junit: options.JUnit = None,
    sarif: options.Sarif = None,
    json: options.Json = False,
) -> None:
    """Try the cells again that failed in the last run, those too that were given up."""
    raise typer.Exit(_run(file, out, address, jobs, trust, store, junit, sarif, json, retry=True))


@app.command("diff")
def diff(
    a: Annotated[str, typer.Argument(metavar="RUN1", help="A run's id, the start of it, its file, last or previous.")],
    b: Annotated[str, typer.Argument(metavar="RUN2", help="The same, to hold against it.")],
    out: Annotated[Path, typer.Option(help="The farm's folder, such as build/farm/NAME.")] = Path(),
    json: options.Json = False,
) -> None:
    """What differs between two runs: verdicts, accuracy, latency beyond the noise, sizes, precision, versions. Exit 1 where a
    cell got worse."""
    from enginesmith.pipeline.api.console import open_console, print_json
    from enginesmith.pipeline.cli.farm_view import show_difference
    from enginesmith.pipeline.farm.difference import difference
    from enginesmith.pipeline.farm.records import find_run

    found = difference(find_run(out, a), find_run(out, b))
    if json:
        print_json(found.model_dump_json(indent=1))
    else:
        show_difference(open_console(), found)
    raise typer.Exit(1 if found.worse else 0)


@app.command("gc")
def gc(
    out: Annotated[Path, typer.Argument(help="The farm's folder, such as build/farm/NAME.")],
    keep: Annotated[int, typer.Option(min=1, help="Runs to keep: the last ones.")] = 10,
    store: options.Store = None,
    json: options.Json = False,
) -> None:
    """Forget old runs, and remove from the store what they alone made."""
    from enginesmith.pipeline.api.console import print_json, say
    from enginesmith.pipeline.api.farm import collect
    from enginesmith.pipeline.farm.records import LAST, find_run
    from enginesmith.pipeline.job.store import Store

    find_run(out, LAST)
    runs, artifacts, freed = collect(out.absolute(), Store(store), keep)
    if json:
        print_json(f'{{"runs": {runs}, "artifacts": {artifacts}, "bytes": {freed}}}')
    else:
        say(f"forgot {runs} runs, removed {artifacts} artifacts, {freed / 1e9:.2f} GB")


def _run(
    file: Path,
    out: Path | None,
    address: str,
    jobs: int,
    trust: bool,
    location: str | None,
    junit: Path | None,
    sarif: Path | None,
    as_json: bool,
    *,
    retry: bool,
) -> int:
    from enginesmith.pipeline.api.console import open_console, print_json
    from enginesmith.pipeline.api.farm import PAGE, folder_of, manifests, run_farm
    from enginesmith.pipeline.api.files import check_writable
    from enginesmith.pipeline.cli.farm_view import FarmView, show_run
    from enginesmith.pipeline.job.store import Store
    from enginesmith.pipeline.report.junit import write_farm as write_junit
    from enginesmith.pipeline.report.sarif import write_builds as write_sarif

    check_writable(junit=junit, sarif=sarif)
    console = open_console(stderr=as_json)
    view = FarmView(console, quiet=as_json)
    record, bugs = run_farm(
        file, Store(location), view.watch, out=out, address=address, jobs=jobs, trust=trust, retry=retry
    )
    folder = folder_of(file, out)
    if junit is not None:
        write_junit(record, junit)
    if sarif is not None:
        write_sarif(manifests(record, folder), sarif)
    if as_json:
        print_json(record.model_dump_json(indent=1))
    else:
        show_run(console, record, folder / PAGE)
    return 3 if bugs else 0 if record.passed else 1
