"""The command line. Imports little at the top: `--help` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from enginesmith.pipeline.cli import farm, options, serving

app = typer.Typer(
    name="enginesmith",
    help="From a PyTorch or ONNX model to a verified inference engine: TensorRT, TensorRT-RTX, TVM.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
STOPPED = 130

cache_app = typer.Typer(help="Look after the artifact store.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")
app.add_typer(farm.app, name="farm")
app.add_typer(serving.app)


def _version(value: bool) -> None:
    if value:
        from enginesmith.pipeline import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a PyTorch or ONNX model to a verified inference engine: TensorRT, TensorRT-RTX, TVM."""


@app.command()
@options.takes()
def build(
    given: dict[str, Any],
    *,
    file: options.File = None,
    store: options.Store = None,
    make: Annotated[bool, typer.Option("--make", hidden=True, help="Take make's variables as options.")] = False,
    verbose: options.Verbose = False,
    junit: options.JUnit = None,
    sarif: options.Sarif = None,
    print_commands: Annotated[
        bool,
        typer.Option("--print-commands", help="Print the equal command lines of trtexec and polygraphy at the end."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Build verified engines from a model."""
    from enginesmith.pipeline.cli.command import run_build

    flags = {**options.from_make(), **given} if make else given
    raise typer.Exit(
        run_build(
            flags,
            file,
            store,
            junit=junit,
            sarif=sarif,
            print_commands=print_commands,
            verbose=verbose,
            as_json=json,
        )
    )


@app.command()
@options.takes(
    *("model", "precision", "calib", "eval", "metric", "time", "target", "pixels", "shape", "weights"),
    *("trust", "simplify", "threads", "timeout", "memory", "out"),
    precision="int8 (where left out) or fp16: what each layer alone is lowered to.",
    time="What it may take, such as 10m; the layers that save least are left out then.",
    target="sm_89: what the time that a layer saves is estimated for.",
    out="Folder of the results; build/MODEL/sensitivity-PRECISION where left out.",
)
def sensitivity(given: dict[str, Any], *, store: options.Store = None, json: options.Json = False) -> None:
    """Rank the layers of a model by what each alone loses in a lower precision."""
    from enginesmith.pipeline.cli.sensitivity import run

    raise typer.Exit(run(given, store, as_json=json))


@app.command()
def bisect(
    subject: Annotated[Path, typer.Argument(help="An ONNX file (--fails), or a build's output folder (--diverges).")],
    fails: Annotated[
        str | None,
        typer.Option(
            help="'build on tensorrt-rtx', 'parse on tvm', 'load in onnxruntime', 'run in onnxruntime', 'check', "
            "'inconsistent on tvm', 'differs between onnxruntime and tvm by 1e-3', 'command: CMD {}'."
        ),
    ] = None,
    diverges: Annotated[
        bool,
        typer.Option(
            "--diverges",
            help="Find the first tensor at which two stages of a build differ, and with what change an engine agrees.",
        ),
    ] = False,
    stages: Annotated[
        str | None, typer.Option(help="The two stages to hold against each other, such as export,simplify.")
    ] = None,
    target: Annotated[str, typer.Option(help="What the backend builds for.")] = "auto",
    shape: Annotated[str | None, typer.Option(help="Shapes of dynamic inputs, such as x:1x3x224x224.")] = None,
    any_failure: Annotated[
        bool, typer.Option("--any-failure", help="A smaller model may fail in another way than the whole.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that one test may take.")] = 120.0,
    memory: Annotated[
        float | None, typer.Option(min=0, help="GB that a test may use; 3 and more for a large file where left out.")
    ] = None,
    time: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Seconds for all; the best so far is saved then. With --diverges, of a change: 900 where left out.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The reduced model's file; with --diverges, the folder of the results.")
    ] = None,
    store: options.Store = None,
    json: options.Json = False,
) -> None:
    """Find what is to blame. Exit status 0: found, 1: nothing fails or differs, 2: a bad request."""
    from enginesmith.pipeline.cli import bisect

    raise typer.Exit(
        bisect.run(
            subject,
            fails,
            diverges=diverges,
            stages=stages,
            target=target,
            shape=shape,
            any_failure=any_failure,
            timeout=timeout,
            memory=memory,
            seconds=time,
            out=out,
            store=store,
            as_json=json,
        )
    )


@app.command()
def compare(
    a: Annotated[
        Path,
        typer.Argument(help="A build's output folder or its manifest.json, an .onnx file, or an engine's file in it."),
    ],
    b: Annotated[Path | None, typer.Argument(help="The same, to hold against it.")] = None,
    for_: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            help="Of an .onnx file alone: two versions, tensorrt=10.3,tensorrt=11.1 or jetpack=6.1, the one that you have "
            "first. What the second breaks, mends or makes unknown; neither need be here.",
        ),
    ] = None,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Run both on the same samples, where they can.")] = True,
    shape: Annotated[str | None, typer.Option(help="Of a graph's dynamic inputs: x:1..4..16x3x224x224.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that one side may take to run.")] = 600.0,
    trust: Annotated[bool, typer.Option("--trust", help="Run engines that were not built on this machine.")] = False,
    store: options.Store = None,
    json: options.Json = False,
) -> None:
    """What differs between two builds, two graphs, a graph and an engine, or two versions of TensorRT for a graph. Exit 1
    where it matters."""
    from enginesmith.converters.core.errors import UserError
    from enginesmith.pipeline.cli.compare import run_compare
    from enginesmith.pipeline.cli.upgrade import run_upgrade

    if for_:
        if b is not None:
            raise UserError("--for holds two versions against each other for one graph: leave the second file out")
        raise typer.Exit(run_upgrade(a, ",".join(for_), shape=shape, timeout=timeout, as_json=json))
    if b is None:
        raise UserError("give a second build, graph or engine, or two versions: --for tensorrt=10.3,tensorrt=11.1")
    raise typer.Exit(run_compare(a, b, run=run, shape=shape, timeout=timeout, trust=trust, store=store, as_json=json))


@app.command()
def doctor(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="An .onnx file, or several.")],
    for_: Annotated[
        str,
        typer.Option(
            "--for",
            help="tensorrt=8.6,tensorrt-rtx,tvm: backends, each with a version if wanted, or what ships one (jetpack=6.1), and "
            "a GPU (tensorrt=10.16@sm_120); all where left out.",
        ),
    ] = "",
    fix: Annotated[Path | None, typer.Option(help="Write the repaired graph here.")] = None,
    shape: Annotated[str | None, typer.Option(help="Of dynamic inputs: x:1..4..16x3x224x224.")] = None,
    inputs: Annotated[
        Path | None, typer.Option(help="A .npz file with an array for each input, to prove repairs on.")
    ] = None,
    trial: Annotated[
        bool, typer.Option("--trial/--no-trial", help="Ask the backends that are here, by a real parse and build.")
    ] = True,
    timeout: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds that one backend may take; 50 and more for a large file, for all of it."),
    ] = None,
    memory: Annotated[
        float | None, typer.Option(min=0.1, help="GB that it may use; 3 and more for a large file where left out.")
    ] = None,
    junit: options.JUnit = None,
    sarif: options.Sarif = None,
    json: options.Json = False,
) -> None:
    """Say what backends refuse about an ONNX file, why, and what to do; repair it with --fix. Exit 1 with findings."""
    from enginesmith.pipeline.cli.command import run_doctor

    raise typer.Exit(
        run_doctor(
            models,
            for_,
            fix,
            shape,
            inputs,
            timeout,
            memory,
            trial=trial,
            junit=junit,
            sarif=sarif,
            as_json=json,
        )
    )


@app.command()
def pages(
    id: Annotated[
        str | None, typer.Argument(help="Id of a rule, a repair or a diagnosis; all are listed without.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write every page as Markdown into this folder.")] = None,
) -> None:
    """What is known about conversions: a page for every rule, repair and diagnosis, with an example."""
    from enginesmith.pipeline.cli.command import show_pages

    show_pages(id, out)


@app.command()
def schema(
    of: Annotated[
        str, typer.Argument(help="recipe (a file for `build -f`) or manifest (manifest.json of a build).")
    ] = "recipe",
) -> None:
    """Print the JSON Schema of recipes or manifests, for editors and for checks."""
    from enginesmith.pipeline.cli.command import show_schema

    show_schema(of)


@app.command()
def models(json: options.Json = False) -> None:
    """List the model zoo."""
    from enginesmith.pipeline.cli.command import show_models

    show_models(as_json=json)


@app.command()
def env(json: options.Json = False) -> None:
    """What this machine can build and run, and why not the rest."""
    from enginesmith.pipeline.cli.command import show_environment

    show_environment(as_json=json)


@app.command()
def explain(
    log: Annotated[str, typer.Argument(help="A log file; - or nothing for standard input.")] = "-",
    model: Annotated[Path | None, typer.Option(help="The ONNX file that the log is about.")] = None,
    for_: Annotated[
        str,
        typer.Option(
            "--for", help="With --model: backend and version to ask, such as tensorrt=8.6; else the log's own."
        ),
    ] = "",
    fix: Annotated[Path | None, typer.Option(help="With --model: file for the repaired graph.")] = None,
    json: options.Json = False,
) -> None:
    """Find the first real cause in a log of torch.onnx, ONNX Runtime, TensorRT, TVM and the tools around them."""
    from enginesmith.pipeline.cli.explain import run_explain

    raise typer.Exit(run_explain(log, model=model, for_=for_, fix=fix, as_json=json))


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def migrate(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|COMMAND...",
            help="A Python script, a notebook or a file with commands; or a command of trtexec, polygraphy, onnx2trt or "
            "python, as it is typed.",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Write the recipe here; several with numbers.")] = None,
    json: options.Json = False,
) -> None:
    """Say what a build of another tool is in TensorRT 11 and here, with a recipe; nothing is run. Exit 1 where something was not read."""
    from enginesmith.pipeline.cli.migrate import run_migrate

    raise typer.Exit(run_migrate(words, out=out, as_json=json))


@cache_app.command("ls")
def cache_ls(store: options.Store = None, json: options.Json = False) -> None:
    """List the artifacts, least recently used first."""
    from enginesmith.pipeline.cli.command import list_store

    list_store(store, as_json=json)


@cache_app.command("gc")
def cache_gc(
    keep: Annotated[str | None, typer.Option(help="Keep at most this much, such as 20GB.")] = None,
    older: Annotated[
        str | None, typer.Option(help="Remove what was not used for this long, such as 30d or 12h.")
    ] = None,
    store: options.Store = None,
    json: options.Json = False,
) -> None:
    """Remove artifacts, least recently used first."""
    from enginesmith.pipeline.cli.command import collect_store

    collect_store(store, keep, older, as_json=json)


@cache_app.command("verify")
def cache_verify(store: options.Store = None, json: options.Json = False) -> None:
    """Check every artifact against its hash, and remove the damaged ones."""
    from enginesmith.pipeline.cli.command import verify_store

    raise typer.Exit(verify_store(store, as_json=json))


def main() -> None:
    """The console script: turns errors into one line and an exit status (2 request, 1 conversion, 3 bug, 130 Ctrl-C)."""
    line = ""
    try:
        sys.argv[:] = options.readable(sys.argv)
        status = app(standalone_mode=False) or 0
        if status == STOPPED:  # what typer makes of Ctrl-C
            line = "stopped; what is finished is in the store"
    except Exception as error:  # noqa: BLE001 - the outermost frame: every error becomes a line
        from enginesmith.pipeline.cli.crash import explain

        line, status = explain(error)
    if line:
        from enginesmith.converters.core.printable import one_line

        print(f"enginesmith: {one_line(line)}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
