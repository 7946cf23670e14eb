"""What `enginesmith migrate` shows: each part with what became of it, the recipe, and what was not read."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.api.console import escape, open_console, print_json
from enginesmith.pipeline.api.files import check_writable
from enginesmith.pipeline.api.migrate import migrate
from enginesmith.pipeline.job.migrate import MigratedJob, MigratedPart, Migration

COLOURS = {
    "removed": "red",
    "renamed": "yellow",
    "changed": "yellow",
    "deprecated": "yellow",
    "no effect": "dim",
    "same": "green",
}


def run_migrate(words: list[str], *, out: Path | None, as_json: bool) -> int:
    """Read, show, write, and return the exit status: 0 all was read, 1 something was not."""
    words, out, as_json = _own(words, out, as_json)
    check_writable(out=out)
    migration = migrate(words)
    if as_json:
        print_json(migration.model_dump_json(indent=1))
    else:
        show(open_console(), migration)
    if out is not None:
        for path in write(migration, out):
            open_console(stderr=as_json).print(f"recipe: {escape(str(path))}", highlight=False, soft_wrap=True)
    return 1 if migration.unread else 0


def _own(words: list[str], out: Path | None, as_json: bool) -> tuple[list[str], Path | None, bool]:
    """Our options behind a file's name; those behind a command, `python build.py` too, are the command's."""
    if not Path(words[0]).is_file():
        return words, out, as_json
    left, others = words[1:], words[:1]
    while left:
        word = left.pop(0)
        if word == "--json":
            as_json = True
        elif word == "--out" and left:
            out = Path(left.pop(0))
        elif word.startswith("--out="):
            out = Path(word.removeprefix("--out="))
        else:
            others.append(word)
    return others, out, as_json


def write(migration: Migration, out: Path) -> list[Path]:
    """The recipe of each build: into the file, and of several into others beside it, with numbers. Raises UserError."""
    builds = [job for job in migration.jobs if job.builds]
    if not builds:
        raise UserError(f"{migration.source} builds nothing: there is no recipe to write")
    written = []
    for number, job in enumerate(builds, 1):
        path = out if number == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
        notes = "".join(f"# {note}\n" for note in job.notes)
        try:
            path.write_text(notes + job.yaml, encoding="utf-8")
        except OSError as error:
            raise UserError(f"can't write {path}: {error.strerror}") from None
        written.append(path)
    return written


def show(console: Console, migration: Migration) -> None:
    for number, job in enumerate(migration.jobs):
        if number:
            console.print()
        _show_job(console, job, migration.source)
    if migration.unread:
        console.print()
        for each in migration.unread:
            text = f" {escape(each.text)}" if each.text else ""
            console.print(f"[yellow]not read:[/] line {each.line},{text}: {escape(each.reason)}", highlight=False)


def _show_job(console: Console, job: MigratedJob, source: str) -> None:
    what = escape(job.text or source)
    console.print(f"[bold]{escape(job.tool)}[/], line {job.line}: {what}", highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("line", "part", "", "in TensorRT 11", "in Enginesmith"):
        table.add_column(column, overflow="fold")
    for part in job.parts:
        what = escape(part.text) + (f"\n[dim]where {escape(part.where)}[/]" if part.where else "")
        table.add_row(str(part.line), what, _status(part), escape(part.now), escape(part.ours))
    console.print(table)
    if job.same:
        console.print(f"[dim]and {job.same} uses of the API that are the same in TensorRT 11[/]")
    if job.builds:
        console.print("\n[bold]recipe[/]")
        for line in job.yaml.splitlines():
            console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
        console.print(f"[bold]or[/]\n  {escape(job.command)}", highlight=False, soft_wrap=True)
    for note in job.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", highlight=False)


def _status(part: MigratedPart) -> str:
    """When it was there."""
    colour = COLOURS[part.status]
    since = f"since {part.since}" if part.since and part.status in ("same", "no effect") else ""
    gone = f"last in {part.last}" if part.last else f"since {part.deprecated}" if part.status == "deprecated" else ""
    when = ", ".join(filter(None, (since, gone)))
    return f"[{colour}]{part.status}[/]" + (f"\n[dim]{when}[/]" if when else "")
