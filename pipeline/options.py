"""The options of `enginesmith build`, which other commands share: each a type with its flag and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LOW = "Precision"
TUNE = "Fine-tuning"
SEARCH = "Tuning of TVM modules"
"""Headings of the help."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[
    str | None,
    typer.Argument(
        help="Zoo name, torchvision:NAME, timm:NAME, file.py:factory, package.module:factory, or a .onnx, .pt2 or TorchScript file."
    ),
]
File = Annotated[Path | None, typer.Option("--file", "-f", help="YAML recipe; flags go over it.")]
Backend = Annotated[
    str | None,
    typer.Option(help="auto (all that this machine can build), tensorrt, tensorrt-rtx, tvm; several with commas."),
]
Target = Annotated[str | None, typer.Option(help="sm_89, native, x86-64-v3, an LLVM triple, ...; several with commas.")]
Precision = Annotated[
    str | None, typer.Option(help="fp32, fp16, bf16, int8; auto for the fastest mix within --budget.")
]
Calib = Annotated[
    str | None, typer.Option(help="Calibration data: a folder, file.py:function, data.npz.", rich_help_panel=LOW)
]
Eval = Annotated[str | None, typer.Option(help="Data to measure the accuracy on, with targets.", rich_help_panel=LOW)]
Metric = Annotated[str | None, typer.Option(help="top1, map, cosine or file.py:function.", rich_help_panel=LOW)]
Budget = Annotated[str | None, typer.Option(help="Largest loss of the metric, such as 0.5%.", rich_help_panel=LOW)]
Time = Annotated[str | None, typer.Option(help="What a search may take, such as 10m.", rich_help_panel=LOW)]
Examples = Annotated[int | None, typer.Option(help="Examples to calibrate on, at most.", rich_help_panel=LOW)]
Evaluated = Annotated[
    int | None, typer.Option(help="Examples to measure the accuracy on, at most.", rich_help_panel=LOW)
]
Rest = Annotated[str | None, typer.Option(help="With int8, what is not: fp32, fp16 or bf16.", rich_help_panel=LOW)]
Method = Annotated[
    str | None, typer.Option(help="Calibration: minmax, entropy, percentile or mse.", rich_help_panel=LOW)
]
Keep = Annotated[
    str | None,
    typer.Option(help="No int8 for these: patterns of node names, first, last; with commas.", rich_help_panel=LOW),
]
WeightOnly = Annotated[bool | None, typer.Option("--weight-only", help="int8 for weights alone.", rich_help_panel=LOW)]
Equalize = Annotated[
    bool | None,
    typer.Option("--equalize/--no-equalize", help="Cross-layer equalization.", rich_help_panel=LOW),
]
CorrectBias = Annotated[
    bool | None,
    typer.Option("--correct-bias/--no-correct-bias", help="Bias correction.", rich_help_panel=LOW),
]
LowIo = Annotated[bool | None, typer.Option("--low-io", help="Inputs and outputs in 16 bits too.", rich_help_panel=LOW)]
Pixels = Annotated[
    str | None,
    typer.Option(help="What pictures are fed as: unit (0..1), imagenet, bytes.", rich_help_panel=LOW),
]
Shape = Annotated[
    str | None,
    typer.Option(
        help="1x3x320x320, x:1..4..16x3x224x224 (min..opt..max), ids:1x128:int64; several fixed ones with commas."
    ),
]
Weights = Annotated[str | None, typer.Option(help="pretrained, random, or a state dict's path.")]
Finetune = Annotated[
    str | None,
    typer.Option(help="file.py:function that trains the model; none to prune alone.", rich_help_panel=TUNE),
]
Qat = Annotated[bool | None, typer.Option("--qat", help="Train with int8's rounding.", rich_help_panel=TUNE)]
Sparse = Annotated[
    bool | None,
    typer.Option("--sparse", help="2:4 sparse weights: pruned before the training.", rich_help_panel=TUNE),
]
Trust = Annotated[bool | None, typer.Option("--trust", help="Unpickle weights: they can run any code.")]
Stock = Annotated[bool | None, typer.Option("--stock", help="Keep a detector's own dynamic graph.")]
Proposals = Annotated[int | None, typer.Option(help="Proposals of a static two-stage detector.")]
Exporter = Annotated[str | None, typer.Option(help="auto, dynamo or torchscript.")]
Opset = Annotated[int | None, typer.Option(help="ONNX opset to export to.")]
Simplify = Annotated[bool | None, typer.Option("--simplify/--no-simplify", help="Run the simplifier.")]
Repair = Annotated[bool | None, typer.Option("--repair/--no-repair", help="Repair what a backend refuses.")]
Kernels = Annotated[bool | None, typer.Option("--kernels/--no-kernels", help="Our kernels in TVM modules.")]
Winograd = Annotated[
    bool | None,
    typer.Option("--winograd/--no-winograd", help="Winograd's convolutions in TVM modules: faster, and coarser."),
]
Tune = Annotated[
    str | None,
    typer.Option(help="Search for better schedules in TVM modules, such as 10m.", rich_help_panel=SEARCH),
]
Tuners = Annotated[
    str | None,
    typer.Option(help="Machines to measure on: HOST:PORT/KEY of TVM's RPC tracker.", rich_help_panel=SEARCH),
]
TuneDatabase = Annotated[
    Path | None, typer.Option(help="File of measurements; in the store where left out.", rich_help_panel=SEARCH)
]
Samples = Annotated[int | None, typer.Option(help="Inputs to compare on.")]
Seed = Annotated[int | None, typer.Option(help="Of random weights and inputs.")]
Threads = Annotated[int | None, typer.Option(help="Threads of CPU runs; 0 for all cores.")]
Jobs = Annotated[int | None, typer.Option(help="Stages side by side; 0: by cores and memory.")]
Measure = Annotated[float | None, typer.Option(help="Seconds to time an engine for; 0 for not at all.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds that one stage may take.")]
Memory = Annotated[float | None, typer.Option(help="GB that one stage may use; 0 for 90 % of the machine's.")]
KeepGoing = Annotated[bool | None, typer.Option("--keep-going", help="Go on after a mismatch, and record it.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the results; build/MODEL/PRECISION where left out.")]
Store = Annotated[
    str | None, typer.Option(help="Artifact store: a folder or an fsspec URL.", envvar="ENGINESMITH_STORE")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the tools' own logs.")]
