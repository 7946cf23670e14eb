"""What sets TensorRT and TensorRT-RTX apart."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """One of the two: its Python module, the distributions that bring it, and what it builds for."""

    name: str
    module: str
    requirement: str
    packages: tuple[str, ...]
    capabilities: tuple[str, ...]
    """Targets that it builds for on any machine; empty when it builds for the GPU present only."""
    default: str = ""
    """The target on a machine without a GPU."""

    def capability(self, target: str) -> str | None:
        """The compute capability to tell the builder, None for the product that takes the GPU present."""
        return target if self.capabilities else None


DATACENTER = Product(
    name="tensorrt",
    module="tensorrt",
    requirement="pip install tensorrt",
    packages=("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
    capabilities=(),
)
RTX = Product(
    name="tensorrt-rtx",
    module="tensorrt_rtx",
    requirement="pip install tensorrt-rtx-cu12",
    packages=("tensorrt-rtx-cu12", "tensorrt-rtx-cu13", "tensorrt-rtx"),
    # Members of `tensorrt_rtx.ComputeCapability`, version 1.7.1; importing it to ask takes 1.3 s.
    capabilities=("sm_75", "sm_80", "sm_86", "sm_89", "sm_120", "sm_121"),
    default="sm_89",
)
