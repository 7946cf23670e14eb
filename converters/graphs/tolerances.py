"""How far two stages may differ, by the precision of the lower one. The one place for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """A tensor passes where |found - expected| <= `scale` * max|expected| + `relative` * |expected| for every element."""

    scale: float
    """Absolute, in units of the largest expected magnitude: rounding errors of a sum grow with its largest terms."""
    relative: float
    score: float
    """Absolute difference of a detection's score, in 0..1."""
    iou: float
    """Least overlap of two boxes that are the same detection."""
    top1: float
    """Least share of rows whose best class agrees."""


TOLERANCES = {
    # fp32: sums in another order, of up to 1e5 terms (eps 6e-8), through some 100 layers; measured on torchvision's
    # models between PyTorch, ONNX Runtime and TVM: up to 2e-5 of the scale
    "fp32": Tolerance(scale=2e-4, relative=1e-3, score=5e-3, iou=0.9, top1=1.0),
    # fp16: each result is rounded to 11 bits (eps 4.9e-4), and a hundred layers carry it on; measured on ResNet-50 with
    # random weights, which amplify more than trained ones: 2.2e-2 of the scale, and 1.5e-1 in bf16
    "fp16": Tolerance(scale=3e-2, relative=1e-2, score=2e-2, iou=0.9, top1=0.99),
    # bf16: 8 bits, eight times as coarse
    "bf16": Tolerance(scale=2.4e-1, relative=8e-2, score=1e-1, iou=0.8, top1=0.95),
    # int8: a rounding that falls on the other side is a whole step of 1/127
    "int8": Tolerance(scale=1e-1, relative=5e-2, score=1e-1, iou=0.8, top1=0.95),
}
