"""In which order repairs are tried, where it matters. What is not listed comes after what is."""

from __future__ import annotations

GRAPHS = (
    # The form that all others read: one graph without functions, constants as tensors, operators of opset 18.
    "inline-functions",
    "initializers-as-inputs",
    "constant-tensors",
    "modern-opset",
    "blocked-layout",
    # A branch that is never taken need not be mended.
    "if-constant",
    "if-same-rank",
    # The patterns of detectors are recognized as they were exported, before folding changes them. Those of masks and
    # pyramids have known sizes only when the selections before them have bounds.
    "bounded-sizes",
    "pasted-masks",
    "roi-align-pyramid",
    # What nothing reads needs no other dtype.
    "unused",
    # Constants are folded in the dtype that carries them, and what sequences hold is known when their lengths are.
    "carried-integers",
    "fold",
    # Sizes are known then, and few axes are what all that follows reads.
    "many-axes",
    "sequences",
    "uint8-to-int8",
)
"""Repairs of whole graphs."""

NODES = (
    # What is declared is the simplest answer to a value that is known at run time only, and others need it constant.
    "declared-k",
    "declared-split",
    "declared-depth",
    # The type first: in parts or in pieces, what is int8 would be refused again.
    "int8-in-int32",
    "topk-in-parts",
    "split-empty-parts",
    "onehot-of-integers",
    # A loop that is kept is less than its steps one by one.
    "loop-condition",
    "loop-unrolled",
    # The rank that a layer needs, before what else it lacks.
    "unsqueezed",
    # Nothing to sum needs no axes; one reduction by known axes is less than a choice among several.
    "reduce-nothing",
    "reduce-number",
    "reduce-runtime-axes",
    "reduce-bool",
    # A fixed number of samples is less work than one for each region.
    "roi-align-by-gather",
    "roi-align-adaptive",
    # Padding that is written out is what all that follows reads.
    "conv-explicit-pads",
    "conv-transpose-explicit",
    "conv-1d-as-2d",
    "conv-transpose-undilated",
    "pool-explicit-pads",
    "max-pool-float",
    # The indices go first: a maximum of slices has none.
    "max-pool-indices",
    "max-pool-dilated",
    "average-pool-by-convolution",
    "lp-pool-by-convolution",
    # The same operator in a plainer form is faster than another one that does its work.
    "pad-cropped",
    "pad-by-gather",
    "resize-plain",
    "resize-by-matrix",
    "col2im-by-gather",
    "col2im-by-matrix",
    # A backend's own integer kernels are faster than exact sums in floats.
    "qlinear-conv-by-qdq",
    "qlinear-conv-in-float",
    "qlinear-matmul-by-qdq",
    "qlinear-matmul-in-float",
    # A few steps are exact; comparing is for as many updates as steps are too many for.
    "scatter-elements-by-steps",
    "scatter-elements-by-comparison",
    "scatter-elements-last-wins",
    "scatter-nd-by-steps",
    "scatter-nd-by-comparison",
)
"""Repairs of nodes: of those for one operator the first that applies is made."""
