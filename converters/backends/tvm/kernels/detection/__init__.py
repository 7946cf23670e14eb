"""Kernels for what a static detector does beside its network: pooling of boxes, suppression, selection."""
