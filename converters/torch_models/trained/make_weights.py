"""Trains a model of this folder again, and says how good it is on what it was not trained on.

    python -m enginesmith.converters.torch_models.trained.make_weights frcnn-mini|digits [--out FOLDER]

The weights go beside this file, where the package takes them from, or into a folder of yours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from enginesmith.converters.data.metrics import load_metric
from enginesmith.converters.torch_models.detectors import is_detector, make_static
from enginesmith.converters.torch_models.trained import digits, digits_data, frcnn_mini, frcnn_mini_training, scenes
from enginesmith.converters.torch_models.trained.weights import loaded, path_of, saved

OUTPUTS = {"detection": ("boxes", "scores", "labels"), "classification": ("logits",)}


@dataclass(frozen=True)
class Subject:
    """Something to train."""

    build: Callable[[], nn.Module]
    train: Callable[[Callable[[str], None]], nn.Module]
    evaluation: Callable[[], Iterable[tuple[Any, Any]]]
    task: str


SUBJECTS = {
    "frcnn-mini": Subject(frcnn_mini.build, frcnn_mini_training.train, scenes.evaluation, "detection"),
    "digits": Subject(digits.build, digits.train, digits_data.evaluation, "classification"),
}


def measure(model: nn.Module, of: Subject) -> str:
    """The task's own metric on held-out data; of a detector, as the static graph that is exported from it."""
    metric = load_metric("", of.task, labelled=True)
    examples = 0
    if is_detector(model):
        model = make_static(model, scenes.SIZE, scenes.SIZE)
    with torch.no_grad():
        for image, target in of.evaluation():
            made = model(torch.from_numpy(image))
            tensors = made if isinstance(made, tuple) else (made,)
            outputs = {name: tensor.numpy() for name, tensor in zip(OUTPUTS[of.task], tensors, strict=True)}
            metric.add(outputs, outputs, target)
            examples += 1
    return f"{metric.name} {metric.value():.4f} on {examples} held-out examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=list(SUBJECTS))
    parser.add_argument("--out", type=Path, help="a folder; this package's own where left out")
    arguments = parser.parse_args()
    of = SUBJECTS[arguments.model]
    torch.set_num_threads(1)  # with two threads each waits for the other on a busy machine; and the sums are the same
    started = time.process_time()
    model = of.train(partial(print, flush=True))
    file = path_of(arguments.model)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        file = arguments.out / file.name
    saved(model, file)
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB after {time.process_time() - started:.0f} s of one core")
    print(measure(loaded(of.build(), arguments.model, file), of))


if __name__ == "__main__":
    main()
