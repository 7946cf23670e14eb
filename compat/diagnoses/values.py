"""What the numbers in a message mean: error codes, types, versions of two sides."""

from __future__ import annotations

import re
from collections.abc import Mapping

from enginesmith.compat.diagnoses.apis import version_said

CUDA_ERRORS = {
    1: "invalid value (cudaErrorInvalidValue)",
    2: "out of memory (cudaErrorMemoryAllocation)",
    3: "CUDA could not be initialized (cudaErrorInitializationError)",
    35: "the driver is older than the CUDA libraries (cudaErrorInsufficientDriver)",
    46: "all GPUs are busy or unavailable (cudaErrorDevicesUnavailable)",
    77: "illegal memory access (cudaErrorIllegalAddress, before CUDA 10.1)",
    100: "no GPU is visible (cudaErrorNoDevice)",
    101: "no GPU has this number (cudaErrorInvalidDevice)",
    201: "invalid device context",
    209: "no kernel for this GPU (cudaErrorNoKernelImageForDevice)",
    222: "PTX of a newer CUDA than the driver's (cudaErrorUnsupportedPtxVersion)",
    304: "the operating system refused a call (cudaErrorOperatingSystem)",
    400: "invalid handle: a stream or event of another context (cudaErrorInvalidResourceHandle)",
    700: "illegal memory access (cudaErrorIllegalAddress)",
    701: "a kernel asks for more resources than the GPU has (cudaErrorLaunchOutOfResources)",
    702: "a kernel ran too long (cudaErrorLaunchTimeout)",
    719: "a kernel crashed (cudaErrorLaunchFailure)",
    800: "not permitted (cudaErrorNotPermitted)",
    801: "not supported here (cudaErrorNotSupported)",
    803: "the driver and the library of CUDA do not fit (cudaErrorSystemDriverMismatch)",
    804: "forward compatibility, which this GPU does not have (cudaErrorCompatNotSupportedOnDevice)",
    999: "unknown error of the driver (cudaErrorUnknown)",
}
ONNX_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4e2m1",
}  # fmt: skip
WINDOWS_ERRORS = {
    "80004005": "unspecified error of the driver (E_FAIL)",
    "80070057": "an argument that DirectML does not take (E_INVALIDARG)",
    "8007000E": "out of memory (E_OUTOFMEMORY)",
    "887A0005": "the GPU was taken away (DXGI_ERROR_DEVICE_REMOVED)",
    "887A0006": "the GPU hung (DXGI_ERROR_DEVICE_HUNG)",
    "887A0020": "an internal error of the driver (DXGI_ERROR_DRIVER_INTERNAL_ERROR)",
}
SIGNALS = {
    132: "SIGILL: an instruction that this processor lacks",
    134: "SIGABRT: the program stopped itself (an assertion)",
    135: "SIGBUS",
    136: "SIGFPE: a division by zero",
    137: "SIGKILL: most often the system had no memory left",
    139: "SIGSEGV: a crash in a library",
    143: "SIGTERM: stopped from outside",
}
_STATUSES = {
    0xC0000005: "access violation: native code crashed (0xC0000005)",
    0xC000001D: "an instruction that this processor lacks (0xC000001D)",
    0xC00000FD: "stack overflow (0xC00000FD)",
    0xC0000135: "a library (DLL) is missing (0xC0000135)",
    0xC0000139: "a library (DLL) of another version lacks a function (0xC0000139)",
    0xC0000142: "a library (DLL) failed to start (0xC0000142)",
    0xC0000374: "the heap is corrupt: native code wrote beyond its memory, or freed it twice (0xC0000374)",
    0xC0000409: "the program stopped itself: a C++ exception that nothing caught, or a buffer overrun (0xC0000409)",
}
STATUSES = {str(written): meaning for code, meaning in _STATUSES.items() for written in (code, code - (1 << 32))}
"""Of a process that ended on Windows, as programs write them: with a sign or without."""
LIBRARY_ERRORS = {
    "126": "a library that this one needs is missing (Windows error 126)",
    "127": "a library of another version is found first (Windows error 127)",
    "193": "a file for another processor (Windows error 193)",
    "1114": "a library failed to start (Windows error 1114)",
}

LIBRARY_STATUSES = {
    "NOT_INITIALIZED": "the library could not be set up: no memory is left for it, or the driver is too old for it",
    "ALLOC_FAILED": "no memory was left on the GPU",
    "BAD_PARAM": "a size, a stride, a type or a pointer that the call does not take",
    "INVALID_VALUE": "a size, a stride, a type or a pointer that the call does not take",
    "ARCH_MISMATCH": "the GPU lacks a feature that the call needs",
    "MAPPING_ERROR": "memory of the GPU could not be reached",
    "EXECUTION_FAILED": "its kernel failed on the GPU: an earlier error there, memory, or a version that does not go with the GPU",
    "EXECUTION_FAILED_CUDART": "the CUDA runtime refused its kernel: cuDNN, CUDA, driver and GPU do not go together",
    "NOT_SUPPORTED": "this combination of sizes, types and layouts is not supported by it",
    "VERSION_MISMATCH": "its parts are of different versions",
    "SUBLIBRARY_LOADING_FAILED": "a part of it could not be loaded: it is missing, or of another version",
    "SUBLIBRARY_VERSION_MISMATCH": "its parts are of different versions",
}
"""Of cuDNN, cuBLAS, cuFFT and cuSOLVER, whose names for a status are alike."""


def _texts(codes: Mapping[int, str]) -> dict[str, str]:
    return {str(code): meaning for code, meaning in codes.items()}


_CODES: tuple[tuple[re.Pattern[str], str, Mapping[str, str]], ...] = tuple(
    (re.compile(pattern), name, meanings)
    for pattern, name, meanings in (
        (
            r"(?i)cuda (?:runtime )?(?:initiali[sz]ation )?(?:failure|error)(?: in \w+| with error)?:*\s*:*\s*(\d{1,3})\b",
            "CUDA error",
            _texts(CUDA_ERRORS),
        ),
        (r"(?i)\b(?:onnx )?(?:data ?type|elem_type|dtype|tensor type)[ :=(]{1,3}(\d{1,2})\b", "ONNX type", _texts(ONNX_TYPES)),
        (r"\b(?:source|target)=(\d{1,2})\b", "ONNX type", _texts(ONNX_TYPES)),
        (r"\b(8000[0-9A-F]{4}|8007[0-9A-F]{4}|887A[0-9A-F]{4})\b", "Windows error", WINDOWS_ERRORS),
        (r"(?i)(?:exit(?:ed)?(?: with)?(?: code| status)?|return(?:ed)? code)[ :=]{1,3}(1[34]\d)\b", "exit status", _texts(SIGNALS)),
        (r"(-107374\d{4}|\b32212\d{5})\b", "Windows status", STATUSES),
        (r"\bCU(?:DNN|BLAS|FFT|SPARSE|SOLVER)_STATUS_([A-Z_]{6,40})\b", "status", LIBRARY_STATUSES),
        (r"(?:LoadLibrary failed with error|Failed to load library, error code:) (\d{1,4})", "error", LIBRARY_ERRORS),
    )
)  # fmt: skip
_SM = re.compile(r"(?:\bSM[: _]{1,2}|sm_|compute_)(0x\d{3,4}|\d{2,3})\b", re.IGNORECASE)
ARCHITECTURES = {
    5: "Maxwell", 6: "Pascal", 7: "Volta, or Turing where it is 7.5", 8: "Ampere, or Ada where it is 8.9", 9: "Hopper",
    10: "Blackwell (data centre)", 11: "Blackwell (Thor)", 12: "Blackwell (RTX 50, RTX PRO)",
}  # fmt: skip


def meanings(text: str) -> list[str]:
    """What the codes in a line mean, each as a phrase; none is said twice."""
    said: list[str] = []
    for pattern, name, known in _CODES:
        said += [f"{name} {code}: {known[code]}" for code in pattern.findall(text) if code in known]
    for code in _SM.findall(text):
        major, minor = _capability(code)
        if major in ARCHITECTURES:
            said.append(f"compute capability {major}.{minor}: {ARCHITECTURES[major]}")
    if (" has no " in text) and (version := version_said(text)):
        said.append(version)
    return list(dict.fromkeys(said))


def _capability(code: str) -> tuple[int, int]:
    """Major and minor number of `120`, `89` or TensorRT's `0x809`."""
    if code.startswith("0x"):
        return int(code[2:]) // 100, int(code[-2:])
    return int(code[:-1]), int(code[-1])


def older(details: Mapping[str, str], sides: Mapping[str, str]) -> str:
    """Which of two sides is the older one, by the versions that a message gives for them; empty where it doesn't."""
    if len(sides) != 2 or any(name not in details for name in sides):
        return ""
    (first, one), (second, other) = sides.items()
    left, right = _numbers(details[first]), _numbers(details[second])
    if not left or not right or left == right:
        return ""
    old, new = ((one, first), (other, second)) if left < right else ((other, second), (one, first))
    return f"{old[0]} ({details[old[1]]}) is older than {new[0]} ({details[new[1]]})"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]
