"""What the commands do, behind the command line's flags."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.quantities import BYTES, SECONDS, quantity
from enginesmith.pipeline.api.console import escape, open_console, print_json, say
from enginesmith.pipeline.api.files import check_writable
from enginesmith.pipeline.job.events import Event
from enginesmith.pipeline.job.store import Store


def run_build(
    flags: dict[str, Any],
    file: Path | None,
    location: str | None,
    *,
    junit: Path | None,
    sarif: Path | None,
    print_commands: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Build, show, and return the exit status: 0 all passed, 1 something failed, 3 a bug of ours."""
    from enginesmith.pipeline.api.build import run
    from enginesmith.pipeline.api.progress import Progress
    from enginesmith.pipeline.cli.terminal import show_manifest
    from enginesmith.pipeline.job.commands import command_lines
    from enginesmith.pipeline.job.recipe import make_recipe
    from enginesmith.pipeline.report.junit import write_build as write_junit
    from enginesmith.pipeline.report.sarif import write_build as write_sarif

    recipe = make_recipe(flags, file)
    check_writable(junit=junit, sarif=sarif)  # before the build, which may take hours
    store = Store(location)
    console = open_console(stderr=as_json)
    with Progress(console, quiet=as_json) as progress:

        def listen(event: Event) -> None:
            if event.event != "log":
                progress(event)
            elif verbose:
                console.print(f"    {event.text}", style="dim", markup=False, highlight=False)

        result = run(recipe, store, listen)
    if junit is not None:
        write_junit(result.manifest, junit)
    if sarif is not None:
        write_sarif(result.manifest, result.folder, sarif)
    if as_json:
        print_json(result.manifest.model_dump_json(indent=1))
    else:
        show_manifest(console, result.manifest, _short(result.folder))
    if print_commands:
        for line in command_lines(result.manifest, result.folder, store):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if result.bugs:
        return 3
    return 0 if result.success else 1


def run_doctor(
    models: list[Path],
    backends: str,
    out: Path | None,
    shape: str | None,
    inputs: Path | None,
    timeout: float | None,
    memory: float | None,
    *,
    trial: bool,
    junit: Path | None,
    sarif: Path | None,
    as_json: bool,
) -> int:
    """Examine, repair if asked to, show, and return the exit status: 0 all clean (or repaired), 1 findings."""
    from enginesmith.pipeline.api.doctor import doctor
    from enginesmith.pipeline.cli.doctor_view import show_examination, show_repairs
    from enginesmith.pipeline.report.junit import write_examinations as write_junit
    from enginesmith.pipeline.report.sarif import write_examinations as write_sarif

    if out is not None and len(models) > 1:
        raise UserError("--fix writes one graph: give one model")
    check_writable(junit=junit, sarif=sarif)
    checkups = []
    for model in models:
        checkup = doctor(
            model, backends, fix=out, shape=shape, inputs=inputs, trial=trial, timeout=timeout, memory=memory
        )
        checkups.append(checkup)
        if not as_json:
            console = open_console()
            if len(checkups) > 1:
                console.print()
            show_examination(console, checkup)
            if checkup.repairs:
                names = [f"{target.backend} {target.version}" for target in checkup.targets]
                show_repairs(console, names, checkup.repairs, str(checkup.fixed or ""))
    if junit is not None:
        write_junit([(checkup, checkup.repairs) for checkup in checkups], junit)
    if sarif is not None:
        write_sarif([(checkup, checkup.repairs) for checkup in checkups], sarif)
    if as_json:
        told = [{**checkup.model_dump(exclude={"fixed"}), "clean": checkup.clean} for checkup in checkups]
        _print_json(told[0] if len(models) == 1 else told)
    return 0 if all(checkup.clean for checkup in checkups) else 1


def show_pages(id: str | None, out: Path | None) -> None:
    """One page, or all of them into a folder, or the list. Raises UserError for an id that there isn't."""
    from rich.markdown import Markdown

    from enginesmith.compat.pages import index, pages
    from enginesmith.converters.core.names import unknown

    found = list(pages())
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            for page in found:
                (out / page.file).write_text(page.markdown)
            (out / "index.md").write_text(index(found))
        except OSError as error:
            raise UserError(f"can't write into {out}: {error.strerror}") from None
        say(f"{len(found)} pages in {out}, listed in {out / 'index.md'}")
        return
    console = open_console()
    if id is None:
        table = _table("what", "id", "about")
        for page in found:
            table.add_row(*map(escape, (page.kind, page.id, page.about)))
        console.print(table)
        return
    chosen = [page for page in found if page.id == id]
    if not chosen:
        raise unknown("rule, repair or diagnosis", id, [page.id for page in found])
    for page in chosen:
        console.print(Markdown(page.markdown))


def show_schema(of: str) -> None:
    from enginesmith.converters.core.names import unknown
    from enginesmith.pipeline.job.schema import SCHEMAS

    if of not in SCHEMAS:
        raise unknown("schema", of, list(SCHEMAS))
    _print_json(SCHEMAS[of]())


def show_models(*, as_json: bool) -> None:
    from enginesmith.pipeline.job.zoo import zoo

    if as_json:
        _print_json({name: entry.model_dump() for name, entry in zoo().items()})
        return
    table = _table("name", "what", "task", "default shape", "source")
    for name, entry in zoo().items():
        table.add_row(*map(escape, (name, entry.about, entry.task, entry.shape, entry.source)))
    open_console().print(table)
    say(
        "\nand any torchvision:NAME, timm:NAME, hf:DIR, hf:ORG/NAME, ultralytics:NAME, file.py:factory, "
        "package.module:factory, .onnx, .pt2 or TorchScript file"
    )


def show_environment(*, as_json: bool) -> None:
    from enginesmith.pipeline.job.environment import abilities, machine_record

    machine, rows = machine_record(), abilities()
    if as_json:
        _print_json({"machine": machine.model_dump(), "backends": [row.model_dump() for row in rows]})
        return
    say(
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb} GB, {machine.gpu or 'no GPU'}, {machine.os}, Python {machine.python}\n"
    )
    table = _table("backend", "version", "build", "run")
    for row in rows:
        table.add_row(
            escape(row.backend),
            escape(row.version or "-"),
            f"[red]no[/]: {escape(row.build)}" if row.build else f"[green]yes[/], for {escape(row.targets)}",
            f"[yellow]no[/]: {escape(row.run)}" if row.run else "[green]yes[/]",
        )
    open_console().print(table)


def list_store(location: str | None, *, as_json: bool) -> None:
    store = Store(location)
    entries = list(store.entries())
    if as_json:
        _print_json(
            [
                {"used": used, "size": entry.size, **entry.model_dump(mode="json", exclude={"facts"})}
                for entry, used in entries
            ]
        )
        return
    table = _table("key", "stage", "size", "took", "last used")
    for entry, used in entries:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(used))
        table.add_row(
            escape(entry.key[:12]), escape(entry.id), f"{entry.size / 1e6:.1f} MB", f"{entry.seconds:.1f} s", when
        )
    open_console().print(table)
    say(f"\n{len(entries)} artifacts, {sum(entry.size for entry, _ in entries) / 1e9:.2f} GB in {store.root}")


def collect_store(location: str | None, keep: str | None, older: str | None, *, as_json: bool) -> None:
    if keep is None and older is None:
        raise UserError(
            "say what to remove: --keep 20GB (at most this much stays) or --older 30d (not used for so long)"
        )
    keep_bytes = int(quantity(keep, BYTES, "20GB")) if keep is not None else None
    older_seconds = quantity(older, SECONDS, "30d") if older is not None else None
    removed, freed = Store(location).gc(keep_bytes, older_seconds)
    if as_json:
        _print_json({"removed": removed, "bytes": freed})
    else:
        say(f"removed {removed} artifacts, {freed / 1e9:.2f} GB")


def verify_store(location: str | None, *, as_json: bool) -> int:
    store = Store(location)
    damaged = store.verify()
    if as_json:
        _print_json({"damaged": damaged})
    else:
        for key in damaged:
            say(f"damaged, removed: {key}")
        say(f"{len(list(store.entries()))} artifacts are whole" + (f", {len(damaged)} were damaged" if damaged else ""))
    return 1 if damaged else 0


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print_json(value: Any) -> None:
    print_json(json.dumps(value, indent=1))


def _short(folder: Path) -> str:
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
