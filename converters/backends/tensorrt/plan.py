"""What can be read in an engine of TensorRT without a GPU, which alone loads one: its header, and the text of what is compiled.

Measured on engines of TensorRT-RTX 1.7.1; what isn't found in another's is not told.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from enginesmith.converters.core.errors import UserError

MAGICS = (b"vtrt", b"ftrt", b"ptrt")
VERSION = slice(24, 28)
"""Of the builder: major, minor, patch and build, in a byte each, of what begins with `vtrt`."""
SETTINGS = {
    b"tf32": "TF32 allowed",
    b"version_compatible": "version compatible",
    b"hardware_forward_compatibility": "for later GPUs",
    b"hardware_compute_capability_compatibility": "for all GPUs of the capability",
}


def contents(engine: Path) -> dict[str, str]:
    """In words. Raises UserError for what is no engine."""
    if engine.stat().st_size < VERSION.stop:
        raise UserError(f"{engine} is no engine of TensorRT: it has {engine.stat().st_size} bytes")
    with engine.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] not in MAGICS:
            raise UserError(f"{engine} is no engine of TensorRT: it begins with none of their marks")
        found = {"builder": ".".join(map(str, data[VERSION]))} if data[:4] == b"vtrt" else {}
        gpus = {name for each in re.findall(rb"accelerators=\{([^}]{1,200})\}", data) for name in each.decode().split()}
        if gpus:
            found["GPUs"] = ", ".join(sorted(name.replace("sm", "sm_") for name in gpus))
        for key, words in SETTINGS.items():
            values = set(re.findall(rb"\b" + key + rb"=([01])\b", data))
            if len(values) == 1:
                found[words] = "yes" if values == {b"1"} else "no"
        nodes = len(set(re.findall(rb"\[ONNX Layer: ([^\]\0]{1,1000})\]", data)))
        if nodes:
            found["ONNX nodes"] = str(nodes)
        kernels = set(re.findall(rb"__myl_\w+?_0x[0-9a-f]{32}(?!\w)", data))
        if kernels:
            found["kernels, compiled at load"] = str(len(kernels))
        return found
