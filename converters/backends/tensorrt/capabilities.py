"""NVIDIA's compute capabilities by name, and which product builds for them."""

from __future__ import annotations

from collections.abc import Sequence

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.names import unknown

GPUS = {
    "sm_50": "Maxwell: GTX 750, Quadro K2200",
    "sm_52": "Maxwell: GTX 900, Tesla M40 and M60",
    "sm_53": "Maxwell: Jetson Nano and TX1",
    "sm_60": "Pascal: P100",
    "sm_61": "Pascal: GTX 10, P4 and P40",
    "sm_62": "Pascal: Jetson TX2",
    "sm_70": "Volta: V100, Titan V",
    "sm_72": "Volta: Jetson Xavier",
    "sm_75": "Turing: RTX 20, GTX 16, T4",
    "sm_80": "Ampere: A100, A30",
    "sm_86": "Ampere: RTX 30, A10, A40, RTX A6000",
    "sm_87": "Ampere: Jetson Orin",
    "sm_89": "Ada: RTX 40, L4, L40S",
    "sm_90": "Hopper: H100, H200, GH200",
    "sm_100": "Blackwell: B100, B200, GB200",
    "sm_101": "Blackwell: Jetson Thor, before CUDA 13",
    "sm_103": "Blackwell: B300, GB300",
    "sm_110": "Blackwell: Jetson Thor",
    "sm_120": "Blackwell: RTX 50, RTX PRO",
    "sm_121": "Blackwell: GB10, DGX Spark",
}
"""From NVIDIA's page «CUDA GPU Compute Capability»."""
LAST = {
    **dict.fromkeys(("sm_50", "sm_52", "sm_60", "sm_61"), "8.6"),
    **dict.fromkeys(("sm_53", "sm_62"), "8.2"),
    "sm_70": "10.4",
    "sm_72": "8.5",
}
"""The last TensorRT for what it no longer builds for: its release notes (Maxwell and Pascal went with 9 and 10, Volta with 10.5), and
for the Jetsons the last JetPack that they have (4.6 and 5.1)."""


def not_built_for(product: str, target: str, known: Sequence[str]) -> UserError:
    """Why a product doesn't build for a target, and which one does; `known` are those that it builds for here."""
    if target not in GPUS:
        return unknown(f"target of {product}", target, known)
    here = f"{product} builds for {', '.join(known)} here, and {target} is {GPUS[target]}"
    if target in LAST:
        return UserError(f"{here}: TensorRT {LAST[target]} was the last to build for it, on a machine that has one")
    where = "on a machine that has one, which TensorRT builds for"
    return UserError(f"{here}: build for it with --backend tensorrt {where}")
