"""An engine on files: pictures, folders, arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from enginesmith.converters.serving.answers import Answer
from enginesmith.pipeline.job import serve


def run(engine: str | Path, *inputs: str | Path, **options: Any) -> list[Answer]:
    """What an engine says about files: an `Answer` for each, with its outputs in figures, its best classes, its boxes.

        for answer in enginesmith.run("build/resnet50/fp32", "cat.jpg"):
            print(answer.classes[0].name, answer.classes[0].share)

    `engine` is a build's output folder (of its engines, the first that runs here), an engine's file, or an .onnx file, which
    runs in ONNX Runtime; an input is a picture, an .npz with an array for each input, an .npy, or a folder of them. Options:
    `backend`, where a build has several engines (`onnxruntime` for its graph); `pixels` as for a build, `shape` of dynamic
    inputs, `names` a file with the classes' names, `top` classes, the least `score` of a box, `save` a folder for outputs
    and drawn pictures, `threads`, `timeout` in seconds. An engine is machine code: one that was not built on this machine
    runs with `trust` alone.

    Raises UserError for what doesn't fit, ConversionError where the engine breaks down.
    """
    return serve.run(Path(engine), [Path(each) for each in inputs], **options)[1]
