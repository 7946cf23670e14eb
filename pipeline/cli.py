"""The command line. Imports little at the top: `--help` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="enginesmith",
    help="From a PyTorch or ONNX model to a verified inference engine: TensorRT, TensorRT-RTX, TVM.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
STOPPED = 130
LOW = "Precision"
TUNE = "Fine-tuning"
SEARCH = "Tuning of TVM modules"
"""Where the help shows the options of lower precisions."""

cache_app = typer.Typer(help="Look after the artifact store.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
def build(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Zoo name, torchvision:NAME, timm:NAME, file.py:factory, package.module:factory, or a .onnx, .pt2 or TorchScript file."
        ),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="YAML recipe; flags go over it.")] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="auto (all that this machine can build), tensorrt, tensorrt-rtx, tvm; several with commas."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="sm_89, native, x86-64-v3, an LLVM triple, ...; several with commas.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16, bf16, int8; auto for the fastest mix within --budget.")
    ] = None,
    calib: Annotated[
        str | None, typer.Option(help="Calibration data: a folder, file.py:function, data.npz.", rich_help_panel=LOW)
    ] = None,
    eval: Annotated[
        str | None, typer.Option(help="Data to measure the accuracy on, with targets.", rich_help_panel=LOW)
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="top1, map, cosine or file.py:function.", rich_help_panel=LOW)
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Largest loss of the metric, such as 0.5%.", rich_help_panel=LOW)
    ] = None,
    time: Annotated[str | None, typer.Option(help="What a search may take, such as 10m.", rich_help_panel=LOW)] = None,
    examples: Annotated[
        int | None, typer.Option(help="Examples to calibrate on, at most.", rich_help_panel=LOW)
    ] = None,
    evaluated: Annotated[
        int | None, typer.Option(help="Examples to measure the accuracy on, at most.", rich_help_panel=LOW)
    ] = None,
    rest: Annotated[
        str | None, typer.Option(help="With int8, what is not: fp32, fp16 or bf16.", rich_help_panel=LOW)
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Calibration: minmax, entropy, percentile or mse.", rich_help_panel=LOW)
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(help="No int8 for these: patterns of node names, first, last; with commas.", rich_help_panel=LOW),
    ] = None,
    weight_only: Annotated[
        bool | None, typer.Option("--weight-only", help="int8 for weights alone.", rich_help_panel=LOW)
    ] = None,
    equalize: Annotated[
        bool | None,
        typer.Option("--equalize/--no-equalize", help="Cross-layer equalization.", rich_help_panel=LOW),
    ] = None,
    correct_bias: Annotated[
        bool | None,
        typer.Option("--correct-bias/--no-correct-bias", help="Bias correction.", rich_help_panel=LOW),
    ] = None,
    low_io: Annotated[
        bool | None, typer.Option("--low-io", help="Inputs and outputs in 16 bits too.", rich_help_panel=LOW)
    ] = None,
    pixels: Annotated[
        str | None,
        typer.Option(help="What pictures are fed as: unit (0..1), imagenet, bytes.", rich_help_panel=LOW),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            help="1x3x320x320, x:1..4..16x3x224x224 (min..opt..max), ids:1x128:int64; several fixed ones with commas."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="pretrained, random, or a state dict's path.")] = None,
    finetune: Annotated[
        str | None,
        typer.Option(help="file.py:function that trains the model; none to prune alone.", rich_help_panel=TUNE),
    ] = None,
    qat: Annotated[bool | None, typer.Option("--qat", help="Train with int8's rounding.", rich_help_panel=TUNE)] = None,
    sparse: Annotated[
        bool | None,
        typer.Option("--sparse", help="2:4 sparse weights: pruned before the training.", rich_help_panel=TUNE),
    ] = None,
    trust: Annotated[bool | None, typer.Option("--trust", help="Unpickle weights: they can run any code.")] = None,
    stock: Annotated[bool | None, typer.Option("--stock", help="Keep a detector's own dynamic graph.")] = None,
    proposals: Annotated[int | None, typer.Option(help="Proposals of a static two-stage detector.")] = None,
    exporter: Annotated[str | None, typer.Option(help="auto, dynamo or torchscript.")] = None,
    opset: Annotated[int | None, typer.Option(help="ONNX opset to export to.")] = None,
    simplify: Annotated[bool | None, typer.Option("--simplify/--no-simplify", help="Run the simplifier.")] = None,
    repair: Annotated[bool | None, typer.Option("--repair/--no-repair", help="Repair what a backend refuses.")] = None,
    kernels: Annotated[bool | None, typer.Option("--kernels/--no-kernels", help="Our kernels in TVM modules.")] = None,
    tune: Annotated[
        str | None,
        typer.Option(help="Search for better schedules in TVM modules, such as 10m.", rich_help_panel=SEARCH),
    ] = None,
    tuners: Annotated[
        str | None,
        typer.Option(help="Machines to measure on: HOST:PORT/KEY of TVM's RPC tracker.", rich_help_panel=SEARCH),
    ] = None,
    tune_database: Annotated[
        Path | None, typer.Option(help="File of measurements; in the store where left out.", rich_help_panel=SEARCH)
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Inputs to compare on.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of random weights and inputs.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of CPU runs; 0 for all cores.")] = None,
    measure: Annotated[float | None, typer.Option(help="Seconds to time an engine for; 0 for not at all.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds that one stage may take.")] = None,
    memory: Annotated[
        float | None, typer.Option(help="GB that one stage may use; 0 for 90 % of the machine's.")
    ] = None,
    keep_going: Annotated[
        bool | None, typer.Option("--keep-going", help="Go on after a mismatch, and record it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; build/MODEL/PRECISION where left out.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Artifact store: a folder or an fsspec URL.", envvar="ENGINESMITH_STORE")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the tools' own logs.")] = False,
    json: Json = False,
) -> None:
    """Build verified engines from a model."""
    from enginesmith.pipeline.command import run_build

    given = locals()
    names = [
        "model",
        "backend",
        "target",
        "precision",
        "calib",
        "eval",
        "metric",
        "budget",
        "time",
        "examples",
        "evaluated",
        "rest",
        "method",
        "keep",
        "weight_only",
        "equalize",
        "correct_bias",
        "low_io",
        "pixels",
        "shape",
        "weights",
        "finetune",
        "qat",
        "sparse",
        "trust",
        "stock",
        "proposals",
        "exporter",
        "opset",
        "simplify",
        "repair",
        "kernels",
        "tune",
        "tuners",
        "tune_database",
        "samples",
        "seed",
        "threads",
        "measure",
        "timeout",
        "memory",
        "keep_going",
        "out",
    ]
    flags: dict[str, Any] = {name: given[name] for name in names if given[name] is not None}
    raise typer.Exit(run_build(flags, file, store, verbose=verbose, as_json=json))


@app.command()
def sensitivity(
    model: Annotated[str, typer.Argument(help="An .onnx file, or whatever `build` takes.")],
    precision: Annotated[str | None, typer.Option(help="int8 or fp16: what each layer alone is lowered to.")] = None,
    calib: Annotated[str | None, typer.Option(help="Calibration data: a folder, file.py:function, data.npz.")] = None,
    eval: Annotated[str | None, typer.Option(help="Data to measure the loss on, with targets.")] = None,
    metric: Annotated[str | None, typer.Option(help="top1, map, cosine or file.py:function.")] = None,
    time: Annotated[
        str | None, typer.Option(help="What it may take, such as 10m; the layers that save least are left out then.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="sm_89: what the time that a layer saves is estimated for.")
    ] = None,
    pixels: Annotated[str | None, typer.Option(help="What pictures are fed as: unit (0..1), imagenet, bytes.")] = None,
    shape: Annotated[str | None, typer.Option(help="1x3x320x320, x:1..4..16x3x224x224 (min..opt..max).")] = None,
    weights: Annotated[str | None, typer.Option(help="pretrained, random, or a state dict's path.")] = None,
    trust: Annotated[bool | None, typer.Option("--trust", help="Unpickle weights: they can run any code.")] = None,
    simplify: Annotated[bool | None, typer.Option("--simplify/--no-simplify", help="Run the simplifier.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of CPU runs; 0 for all cores.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; build/MODEL/sensitivity-PRECISION where left out.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Artifact store: a folder or an fsspec URL.", envvar="ENGINESMITH_STORE")
    ] = None,
    json: Json = False,
) -> None:
    """Rank the layers of a model by what each alone loses in a lower precision."""
    given = {name: value for name, value in locals().items() if name not in ("store", "json") and value is not None}
    from enginesmith.pipeline.sensitivity import run

    raise typer.Exit(run(given, store, as_json=json))


@app.command()
def bisect(
    subject: Annotated[Path, typer.Argument(help="An ONNX file (--fails), or a build's output folder (--diverges).")],
    fails: Annotated[
        str | None,
        typer.Option(
            help="'build on tensorrt-rtx', 'parse on tvm', 'load in onnxruntime', 'run in onnxruntime', 'check', "
            "'differs between onnxruntime and tvm by 1e-3', 'command: CMD {}'."
        ),
    ] = None,
    diverges: Annotated[
        bool, typer.Option("--diverges", help="Find the first tensor at which two stages of a build differ.")
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
    time: Annotated[float | None, typer.Option(min=1, help="Seconds for all; the best so far is saved then.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The reduced model's file; with --diverges, the folder of the results.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Artifact store: a folder or an fsspec URL.", envvar="ENGINESMITH_STORE")
    ] = None,
    json: Json = False,
) -> None:
    """Find what is to blame. Exit status 0: found, 1: nothing fails or differs, 2: a bad request."""
    from enginesmith.pipeline import bisect

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
            seconds=time,
            out=out,
            store=store,
            as_json=json,
        )
    )


@app.command()
def doctor(
    model: Annotated[Path, typer.Argument(help="An .onnx file.")],
    for_: Annotated[
        str,
        typer.Option(
            "--for", help="tensorrt=8.6,tensorrt-rtx,tvm: backends, each with a version if wanted; all where left out."
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
    timeout: Annotated[float, typer.Option(help="Seconds that one backend may take.")] = 600.0,
    json: Json = False,
) -> None:
    """Say what backends refuse about an ONNX file, why, and what to do; repair it with --fix. Exit 1 with findings."""
    from enginesmith.pipeline.command import run_doctor

    raise typer.Exit(run_doctor(model, for_, fix, shape, inputs, timeout, trial=trial, as_json=json))


@app.command()
def pages(
    id: Annotated[
        str | None, typer.Argument(help="Id of a rule, a repair or a diagnosis; all are listed without.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write every page as Markdown into this folder.")] = None,
) -> None:
    """What is known about conversions: a page for every rule, repair and diagnosis, with an example."""
    from enginesmith.pipeline.command import show_pages

    show_pages(id, out)


@app.command()
def models(json: Json = False) -> None:
    """List the model zoo."""
    from enginesmith.pipeline.command import show_models

    show_models(as_json=json)


@app.command()
def env(json: Json = False) -> None:
    """What this machine can build and run, and why not the rest."""
    from enginesmith.pipeline.command import show_environment

    show_environment(as_json=json)


@app.command()
def explain(
    log: Annotated[str, typer.Argument(help="A log file; - or nothing for standard input.")] = "-",
    json: Json = False,
) -> None:
    """Find the first real cause in a log of torch.onnx, ONNX Runtime, TensorRT, TVM and the tools around them."""
    from enginesmith.pipeline.explain import run_explain

    raise typer.Exit(run_explain(log, as_json=json))


StoreOption = Annotated[str | None, typer.Option(help="Artifact store.", envvar="ENGINESMITH_STORE")]


@cache_app.command("ls")
def cache_ls(store: StoreOption = None, json: Json = False) -> None:
    """List the artifacts, least recently used first."""
    from enginesmith.pipeline.command import list_store

    list_store(store, as_json=json)


@cache_app.command("gc")
def cache_gc(
    keep: Annotated[str | None, typer.Option(help="Keep at most this much, such as 20GB.")] = None,
    older: Annotated[
        str | None, typer.Option(help="Remove what was not used for this long, such as 30d or 12h.")
    ] = None,
    store: StoreOption = None,
    json: Json = False,
) -> None:
    """Remove artifacts, least recently used first."""
    from enginesmith.pipeline.command import collect_store

    collect_store(store, keep, older, as_json=json)


@cache_app.command("verify")
def cache_verify(store: StoreOption = None, json: Json = False) -> None:
    """Check every artifact against its hash, and remove the damaged ones."""
    from enginesmith.pipeline.command import verify_store

    raise typer.Exit(verify_store(store, as_json=json))


def main() -> None:
    """The console script: turns errors into one line and an exit status (2 request, 1 conversion, 3 bug, 130 Ctrl-C)."""
    try:
        app()
    except SystemExit as end:
        if end.code == STOPPED:  # what typer makes of Ctrl-C
            typer.echo("enginesmith: stopped; what is finished is in the store", err=True)
        raise
    except Exception as error:  # noqa: BLE001 - the outermost frame: every error becomes a line
        from enginesmith.pipeline.crash import explain

        line, status = explain(error)
        typer.echo(f"enginesmith: {line}", err=True)
        sys.exit(status)


if __name__ == "__main__":
    main()
