"""Runs a TVM module: numpy in, numpy out, with TVM's runtime (3.4 MB) and tvm_ffi, and without TVM's compiler.

    python run_tvm_module.py module.so inputs.npz outputs.npz

`module.json` beside the module says what it takes and returns, and which of TVM's libraries it needs. They are found in an
installed apache-tvm, else in LD_LIBRARY_PATH. A module for several shapes picks its code by the inputs. TVM_NUM_THREADS
bounds the threads.
"""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np
import tvm_ffi

path, source, target = map(Path, sys.argv[1:])
about = json.loads(path.with_suffix(".json").read_text())
for library in about["libraries"]:
    tvm_ffi.libinfo.load_lib_ctypes("apache-tvm", library, "RTLD_GLOBAL")
if about["python"]:  # NonZero and Unique are written in Python there
    import tvm  # noqa: F401
machine = tvm_ffi.load_module(path.resolve())["vm_load_executable"]()
machine["vm_initialization"](1, 0, 2)  # on the CPU, the first of them, with a pool of memory


def to_tvm(array):
    """A copy in memory of TVM's own, which is aligned as vector instructions want it."""
    array = np.ascontiguousarray(array)
    allocate, copy = map(tvm_ffi.get_global_func, ("runtime.TVMTensorAllocWithScope", "runtime.TVMTensorCopyFromBytes"))
    tensor = allocate(tvm_ffi.Shape(array.shape), tvm_ffi.dtype(str(array.dtype)), tvm_ffi.device("cpu:0"), None)
    copy(tensor, array.ctypes.data_as(ctypes.c_void_p), array.nbytes)
    return tensor


given = np.load(source)
result = machine["main"](*(to_tvm(given[tensor["name"]]) for tensor in about["inputs"]))
results = result if isinstance(result, tvm_ffi.Array) else [result]
np.savez(target, **dict(zip(about["outputs"], map(np.from_dlpack, results), strict=True)))
