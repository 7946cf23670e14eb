"""`enginesmith run`, `bench`, `inspect`, `package`, `verify`: from the engine to the server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enginesmith.converters.core.samples import Pixels
from enginesmith.pipeline.cli import options

app = typer.Typer()


@app.command()
def run(
    engine: options.Engine,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...", help="Pictures, .npz files with an array for each input, .npy, folders of them."
        ),
    ],
    backend: options.OfBackend = "",
    pixels: options.PicturesAs = None,
    shape: Annotated[str | None, typer.Option(help="Of dynamic inputs, for pictures: x:1x3x224x224.")] = None,
    names: Annotated[Path | None, typer.Option(help="File with the classes' names, one a line.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to show.")] = 5,
    score: Annotated[float, typer.Option(min=0, max=1, help="Boxes that score less are left out.")] = 0.5,
    save: Annotated[
        Path | None, typer.Option(help="Folder for the outputs (.npz) and pictures with their boxes.")
    ] = None,
    threads: options.Threads = None,
    timeout: options.Timeout = 600.0,
    trust: options.Trust = False,
    json: options.Json = False,
) -> None:
    """Run an engine, or a graph in ONNX Runtime, on files: outputs, best classes, boxes."""
    from enginesmith.pipeline.cli.run import run_engine

    raise typer.Exit(
        run_engine(
            engine,
            inputs,
            backend=backend,
            pixels=options.one_of(pixels, Pixels, "pixels"),
            shape=shape,
            names=names,
            top=top,
            score=score,
            save=save,
            threads=threads,
            timeout=timeout,
            trust=trust,
            as_json=json,
        )
    )


@app.command()
def bench(
    engine: options.Engine,
    backend: options.OfBackend = "",
    input: Annotated[
        Path | None, typer.Option(help="A picture, an .npz or an .npy to run on; made up where left out.")
    ] = None,
    pixels: options.PicturesAs = None,
    shape: Annotated[str | None, typer.Option(help="Of dynamic inputs: x:8x3x224x224.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="First size of all inputs, where it is dynamic.")] = None,
    concurrency: Annotated[
        str,
        typer.Option(help="Processes that ask at once, each with an engine of its own; several levels with commas."),
    ] = "1",
    seconds: Annotated[float, typer.Option(min=0.1, help="That each measurement takes.")] = 10.0,
    threads: options.Threads = None,
    timeout: options.Timeout = 600.0,
    trust: options.Trust = False,
    store: options.Store = None,
    json: options.Json = False,
) -> None:
    """Time an engine: cold and warm start, memory, in turn with ONNX Runtime, and with several asking at once."""
    from enginesmith.pipeline.cli.bench import run_bench

    raise typer.Exit(
        run_bench(
            engine,
            backend=backend,
            input=input,
            pixels=options.one_of(pixels, Pixels, "pixels"),
            shape=shape,
            batch=batch,
            concurrency=concurrency,
            seconds=seconds,
            threads=threads,
            timeout=timeout,
            trust=trust,
            store=store,
            as_json=json,
        )
    )


@app.command()
def inspect(
    engine: options.Engine,
    backend: options.OfBackend = "",
    timeout: options.Timeout = 600.0,
    json: options.Json = False,
) -> None:
    """Read what an engine's file says of itself, without loading it, and without a GPU."""
    from enginesmith.pipeline.cli.inspect import run_inspect

    raise typer.Exit(run_inspect(engine, backend=backend, timeout=timeout, as_json=json))


@app.command()
def package(
    engine: options.Engine,
    for_: Annotated[
        str,
        typer.Option("--for", help="python, cpp, wheel, oci (a Dockerfile), triton, or a release of it: triton=26.07."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the package, a new one; packages/NAME-FORM where left out.")
    ] = None,
    backend: options.OfBackend = "",
    shape: Annotated[str | None, typer.Option(help="Of the sample, where sizes are dynamic: x:1x3x224x224.")] = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Pack an engine that nothing proves; the package says so.")
    ] = False,
    timeout: options.Timeout = 600.0,
    trust: options.Trust = False,
    store: options.Store = None,
    json: options.Json = False,
) -> None:
    """Pack an engine for where it runs, with what it runs with, a sample that checks it, and where it comes from."""
    from enginesmith.pipeline.cli.package import run_package

    raise typer.Exit(
        run_package(
            engine,
            for_,
            out,
            backend=backend,
            shape=shape,
            unverified=unverified,
            timeout=timeout,
            trust=trust,
            store=store,
            as_json=json,
        )
    )


@app.command()
def verify(
    package: Annotated[Path, typer.Argument(help="A package's folder.")],
    json: options.Json = False,
) -> None:
    """Hold the files of a package against its record; nothing is run. Exit 1 where one was changed, added or lost."""
    from enginesmith.pipeline.cli.package import run_verify

    raise typer.Exit(run_verify(package, as_json=json))
