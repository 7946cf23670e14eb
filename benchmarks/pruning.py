"""Structured pruning on models of torchvision and timm with random weights: which are cut, and does the proof hold?

    .venv/bin/python benchmarks/pruning.py [MODEL ...] [--ratio 0.3]

A line for each model: groups that were cut, weights and operations left, the largest difference of the proof, and what was
left whole, by reason.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter

MODELS = (
    *("torchvision:resnet18", "torchvision:resnet50", "torchvision:mobilenet_v2", "torchvision:mobilenet_v3_large"),
    *(
        "torchvision:efficientnet_b0",
        "torchvision:regnet_y_400mf",
        "torchvision:densenet121",
        "torchvision:squeezenet1_1",
    ),
    *(
        "torchvision:shufflenet_v2_x1_0",
        "torchvision:vit_b_16",
        "torchvision:swin_t",
        "timm:convnext_tiny",
        "timm:mobilevit_s",
    ),
    *("timm:fastvit_t8", "timm:vit_tiny_patch16_224", "timm:ghostnet_100", "torchvision:fasterrcnn_resnet50_fpn"),
    *("torchvision:retinanet_resnet50_fpn", "torchvision:ssdlite320_mobilenet_v3_large"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--ratio", type=float, default=0.3)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        one(asked.models[0], asked.ratio)
        return
    for model in asked.models:  # each in a process of its own, so that memory comes back
        subprocess.run([sys.executable, __file__, model, "--ratio", str(asked.ratio), "--here"], check=False)


def one(model: str, ratio: float) -> None:
    import torch

    from enginesmith.converters.compression.pruning import prune
    from enginesmith.converters.core.errors import UserError
    from enginesmith.converters.core.inputs import InputSpec
    from enginesmith.converters.stages.prune import flattener
    from enginesmith.converters.torch_models.prepare import PrepareOptions, prepare
    from enginesmith.converters.torch_models.source import is_detector

    kind, _, ref = model.partition(":")
    options = PrepareOptions(
        kind=kind,
        ref=ref,
        path=None,
        sha256="",
        weights="random",
        weights_sha256="",
        trust=False,
        seed=0,
        stock=False,
        proposals=None,
        inputs=(),
        task="auto",
    )
    loaded = options.load()
    if is_detector(loaded.module):
        options = options.model_copy(update={"inputs": (InputSpec.static("images", (1, 3, 320, 320)),)})
    prepared = prepare(loaded, options)
    torch.manual_seed(0)
    tensors = [torch.rand(spec.opt) for spec in prepared.specs]
    started = time.monotonic()
    try:
        _, record = prune(loaded.module, flattener(prepared), tensors, ratio)
    except UserError as error:
        print(f"{model:45} {error}", flush=True)
        return
    (whole, left), (slow, fast) = record.parameters, record.operations
    reasons = ", ".join(f"{count} x {why[:70]}" for why, count in Counter(record.left.values()).most_common(3))
    print(
        f"{model:45} {len(record.groups):3} groups, weights x {left / whole:.2f}, operations x {fast / slow:.2f}, "
        f"proved within {record.difference:.0e}, {time.monotonic() - started:.0f} s; whole: {reasons}",
        flush=True,
    )


if __name__ == "__main__":
    main()
