"""Runs the TVM module in engine/ with the libraries in runtime/: numpy in, numpy out. Needs nothing else but numpy.

    python runner.py inputs.npz outputs.npz

An .npz has an array for each input; TVM_NUM_THREADS bounds the threads. Python 3.8 and newer.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
# kinds of values, of objects among them, and what an object has before its content: of tvm/ffi/c_api.h
NONE, INT, BOOL, POINTER, DTYPE, DEVICE, TEXT = 0, 1, 2, 4, 5, 6, 8
OBJECTS, SHAPE, TENSOR, ARRAY = 64, 69, 70, 71
HEADER = 24
KINDS = {"i": 0, "u": 1, "f": 2, "b": 6}  # of DLPack


class _Value(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("padding", ctypes.c_uint32), ("bits", ctypes.c_uint64))


class _Bytes(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("width", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


class _Object:
    """One of the runtime's objects, which is let go with this one."""

    def __init__(self, library, kind, handle):
        self.library, self.kind, self.handle = library, kind, handle

    def __del__(self):
        self.library.TVMFFIObjectDecRef(ctypes.c_void_p(self.handle))


class _Runtime:
    def __init__(self, folder, names):
        self.library = ctypes.CDLL(str(folder / "libtvm_ffi.so"), ctypes.RTLD_GLOBAL)
        for name in names:
            ctypes.CDLL(str(folder / f"lib{name}.so"), ctypes.RTLD_GLOBAL)

    def function(self, name):
        handle, text = ctypes.c_void_p(), name.encode()
        held = _Bytes(ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p), len(text))
        self.check(self.library.TVMFFIFunctionGetGlobal(ctypes.byref(held), ctypes.byref(handle)))
        if not handle.value:
            raise RuntimeError(f"the libraries have no {name}: they are of another version")
        return lambda *arguments: self.call(handle.value, *arguments)

    def call(self, handle, *arguments):
        # texts live as long as the call
        held = [each.encode() if isinstance(each, str) else each for each in arguments]
        values = (_Value * max(len(held), 1))(*map(_packed, held))
        result = _Value(NONE, 0, 0)
        self.check(
            self.library.TVMFFIFunctionCall(ctypes.c_void_p(handle), values, len(arguments), ctypes.byref(result))
        )
        return _Object(self.library, result.kind, result.bits) if result.kind >= OBJECTS else result.bits

    def check(self, status):
        """Raises RuntimeError with what the runtime says."""
        if status == 0:
            return
        handle = ctypes.c_void_p()
        self.library.TVMFFIErrorMoveFromRaised(ctypes.byref(handle))
        if not handle.value:
            raise RuntimeError(f"TVM's runtime failed with status {status}")
        kind, message = (_Bytes.from_address(handle.value + HEADER + place * ctypes.sizeof(_Bytes)) for place in (0, 1))
        said = [ctypes.string_at(each.data, each.size).decode(errors="replace") for each in (kind, message)]
        self.library.TVMFFIObjectDecRef(handle)
        raise RuntimeError(": ".join(said))


def _packed(value):
    if isinstance(value, _Object):
        return _Value(value.kind, 0, value.handle)
    if isinstance(value, bytes):
        return _Value(TEXT, 0, ctypes.cast(ctypes.c_char_p(value), ctypes.c_void_p).value)
    if isinstance(value, tuple):  # a kind and its bits
        return _Value(value[0], 0, value[1])
    return _Value(NONE, 0, 0) if value is None else _Value(INT, 0, value)


class Engine:
    """Call it with a dict from the inputs' names to arrays; it returns such a dict of the outputs.

    `inputs` has each input's dtype and shape, by name. One thread at a time may call it.
    """

    def __init__(self, folder=HERE, threads=None):
        folder = Path(folder)
        if threads is not None:  # read when the first kernel runs
            os.environ["TVM_NUM_THREADS"] = str(threads)
        about = json.loads((folder / "engine" / "module.json").read_text())
        self.inputs = {each["name"]: (each["dtype"], each["shape"]) for each in (*about["inputs"], *about["held"])}
        self.outputs = about["outputs"]
        self._order = [each["name"] for each in about["inputs"]]
        self._shapes = about["shapes"]
        self._held = {each["name"]: each["values"] for each in about["held"]}
        self._tvm = tvm = _Runtime(folder / "runtime", about["libraries"])
        self._allocate, self._fill, self._shape, self._size, self._item, of = map(
            tvm.function,
            (
                "runtime.TVMTensorAllocWithScope",
                "runtime.TVMTensorCopyFromBytes",
                "ffi.Shape",
                "ffi.ArraySize",
                "ffi.ArrayGetItem",
                "ffi.ModuleGetFunction",
            ),
        )
        module = tvm.function("ffi.ModuleLoadFromFile")(str(folder / "engine" / "module.so"))
        self._machine = tvm.call(of(module, "vm_load_executable", (BOOL, 0)).handle)
        start = of(self._machine, "vm_initialization", (BOOL, 0))
        tvm.call(start.handle, 1, 0, 2)  # on the CPU, the first of them, with a pool of memory
        self._main = of(self._machine, "main", (BOOL, 0))

    def __call__(self, feed):
        """Raises ValueError for inputs that don't fit; nothing is cast."""
        feed = self._checked(feed)
        result = self._tvm.call(self._main.handle, *(self._given(feed[name]) for name in self._order))
        many = result.kind == ARRAY
        results = [self._item(result, place) for place in range(self._size(result))] if many else [result]
        return dict(zip(self.outputs, map(_array, results)))

    def _checked(self, feed):
        if set(feed) != set(self.inputs):
            raise ValueError(f"the inputs are {', '.join(self.inputs)}, and not {', '.join(feed) or 'none'}")
        arrays = {name: np.asarray(array) for name, array in feed.items()}
        for name, (dtype, shape) in self.inputs.items():
            if str(arrays[name].dtype) != dtype:
                raise ValueError(f"{name} is {arrays[name].dtype}, and the engine takes {dtype}")
            if (not self._shapes or name in self._held) and list(arrays[name].shape) != shape:
                raise ValueError(f"{name} has the shape {list(arrays[name].shape)}, and the engine takes {shape}")
        shapes = {name: list(arrays[name].shape) for name in self._order}
        if self._shapes and shapes not in self._shapes:
            raise ValueError(f"the engine was not built for {shapes}, only for {self._shapes}")
        for name, values in self._held.items():
            if arrays[name].ravel().tolist() != values:
                raise ValueError(f"the engine was built for {name}={values} alone")
        return arrays

    def _given(self, array):
        """A copy in memory of TVM's own, which is aligned as vector instructions want it."""
        array = np.ascontiguousarray(array)
        dtype = KINDS[array.dtype.kind] | (array.dtype.itemsize * 8) << 8 | 1 << 16
        tensor = self._allocate(self._shape(*array.shape), (DTYPE, dtype), (DEVICE, 1), None)
        self._fill(tensor, (POINTER, array.ctypes.data), array.nbytes)
        return tensor


def _array(value):
    """A copy of a tensor, or of a shape, which is a vector of int64."""
    if value.kind == SHAPE:
        cell = _Bytes.from_address(value.handle + HEADER)
        return np.frombuffer(ctypes.string_at(cell.data, cell.size * 8), np.int64).copy()
    tensor = _Tensor.from_address(value.handle + HEADER)
    kind = next(kind for kind, code in KINDS.items() if code == tensor.code)
    dtype = np.dtype(bool if kind == "b" else f"{kind}{tensor.width // 8}")
    shape = tensor.shape[: tensor.ndim]
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    content = ctypes.string_at(tensor.data + tensor.offset, size) if size else b""
    return np.frombuffer(content, dtype).reshape(shape).copy()


if __name__ == "__main__":
    source, target = sys.argv[1:]
    np.savez(target, **Engine()(dict(np.load(source))))
