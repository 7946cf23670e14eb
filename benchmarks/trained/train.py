"""Trains a model once, and keeps its weights in the artifact store; the next run takes them from there.

    python benchmarks/trained/train.py detector|digits [--store FOLDER]

The key is made from the code that draws the data and trains, and from the versions of the packages that it uses.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.hashing import hash_value, package_versions
from enginesmith.converters.data.metrics import load_metric
from enginesmith.converters.torch_models.detectors import is_detector, make_static
from enginesmith.pipeline.job.store import Entry, Store, record_files

WEIGHTS = "weights.pt"
PACKAGES = ("numpy", "pillow", "scikit-image", "scikit-learn", "torch", "torchvision")
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Subject:
    """Something to train."""

    train: Callable[[Callable[[str], None]], nn.Module]
    evaluation: Callable[[], Iterable[tuple[torch.Tensor, Any]]]
    task: str
    code: tuple[str, ...]
    """The modules here that the weights depend on."""


def subject(name: str) -> Subject:
    if name == "digits":
        import digits

        return Subject(digits.train, digits.evaluation, "classification", ("digits",))
    import detector
    import detector_training

    code = ("photos", "shapes", "scenes", "detector", "detector_training")
    return Subject(detector_training.train, detector.evaluation, "detection", code)


def weights(name: str, store: Store, progress: Callable[[str], None] = print) -> tuple[Path, str]:
    """Where the state dict is, and how good the model is on held-out data, in words. Trains if the store has none."""
    of = subject(name)
    tools = package_versions(PACKAGES)
    key = hash_value({"trained": name, "code": {m: hash_file(HERE / f"{m}.py") for m in of.code}, "tools": tools})
    with store.lock(key, waiting=lambda: progress("another process trains it; waiting")):
        entry = store.lookup(key)
        if entry is None:
            entry = _train(name, of, key, tools, store, progress)
    return store.files(key) / WEIGHTS, entry.facts.note


def _train(
    name: str, of: Subject, key: str, tools: dict[str, str], store: Store, progress: Callable[[str], None]
) -> Entry:
    # With two threads each waits for the other, and on a busy machine takes ten times as long.
    torch.set_num_threads(1)
    wall, cpu = time.perf_counter(), time.process_time()
    model = of.train(progress)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    with store.workspace() as folder:
        files = folder / "files"
        files.mkdir()
        torch.save(model.state_dict(), files / WEIGHTS)
        note = f"{measure(model, of)}; trained in {wall:.0f} s ({cpu:.0f} s of one CPU, load {os.getloadavg()[0]:.1f})"
        entry = Entry(
            key=key,
            stage="trained",
            id=f"trained {name}",
            files=record_files(files),
            facts=Facts(note=note),
            seconds=wall,
            peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            tools=tools,
        )
        store.publish(entry, files)
    return entry


def measure(model: nn.Module, of: Subject) -> str:
    """The task's own metric on held-out data; of a detector, as the static graph that is exported from it."""
    metric = load_metric("", of.task, labelled=True)
    examples = 0
    if is_detector(model):
        import scenes

        model = make_static(model, scenes.SIZE, scenes.SIZE)
    with torch.no_grad():
        for image, target in of.evaluation():
            made = model(image)
            named = (
                dict(zip(("boxes", "scores", "labels"), made, strict=True))
                if of.task == "detection"
                else {"logits": made}
            )
            outputs = {name: value.numpy() for name, value in named.items()}
            metric.add(outputs, outputs, target)
            examples += 1
    return f"{metric.name} {metric.value():.4f} on {examples} held-out examples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("detector", "digits"))
    parser.add_argument("--store", help="a folder or an fsspec URL; the user's store where left out")
    arguments = parser.parse_args()
    path, note = weights(arguments.model, Store(arguments.store), lambda text: print(text, flush=True))
    print(f"{path}\n{note}")


if __name__ == "__main__":
    main()
