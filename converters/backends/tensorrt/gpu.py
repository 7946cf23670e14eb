"""Which NVIDIA GPUs this machine has, asked of the driver itself: no framework is imported."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

# Values of CUdevice_attribute, cuda.h
_CAPABILITY_MAJOR = 75
_CAPABILITY_MINOR = 76


@dataclass(frozen=True)
class Gpu:
    """One GPU: its marketing name and its compute capability as `sm_89`."""

    name: str
    target: str


@cache
def local_gpus() -> tuple[Gpu, ...]:
    """The GPUs that the driver offers to this process, in its order; empty without a driver or a device."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple(_gpu(cuda, ordinal) for ordinal in range(count.value))


def _gpu(cuda: ctypes.CDLL, ordinal: int) -> Gpu:
    device = ctypes.c_int()
    cuda.cuDeviceGet(ctypes.byref(device), ordinal)
    name = ctypes.create_string_buffer(128)
    cuda.cuDeviceGetName(name, len(name), device)
    major, minor = ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
    return Gpu(name.value.decode(errors="replace"), f"sm_{major.value}{minor.value}")
