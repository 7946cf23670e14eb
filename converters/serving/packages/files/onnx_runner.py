"""Runs the graph in engine/ with ONNX Runtime on the CPU: numpy in, numpy out.

    python runner.py inputs.npz outputs.npz

An .npz has an array for each input.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent


class Engine:
    """Call it with a dict from the inputs' names to arrays; it returns such a dict of the outputs.

    `inputs` has each input's dtype and shape, by name, a text where a size is open.
    """

    def __init__(self, folder=HERE, threads=None):
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(Path(folder) / "engine" / "model.onnx"),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=DISABLED,
        )
        self.inputs = {each.name: (_dtype(each.type), each.shape) for each in self._session.get_inputs()}
        self.outputs = [each.name for each in self._session.get_outputs()]

    def __call__(self, feed):
        """Raises ValueError for inputs that don't fit; nothing is cast."""
        if set(feed) != set(self.inputs):
            raise ValueError(f"the inputs are {', '.join(self.inputs)}, and not {', '.join(feed) or 'none'}")
        for name, (dtype, shape) in self.inputs.items():
            found = np.asarray(feed[name])
            if str(found.dtype) != dtype:
                raise ValueError(f"{name} is {found.dtype}, and the graph takes {dtype}")
            if len(found.shape) != len(shape) or any(
                isinstance(size, int) and size != given for size, given in zip(shape, found.shape)
            ):
                raise ValueError(f"{name} has the shape {list(found.shape)}, and the graph takes {shape}")
        return dict(zip(self.outputs, self._session.run(None, dict(feed))))


# what changes results: Pad_Fusion lets a MaxPool do the Pad before it, with another value
DISABLED = ["Pad_Fusion"]
TYPES = {"float": "float32", "double": "float64"}


def _dtype(text):
    name = text[len("tensor(") : -1]
    return TYPES.get(name, name)


if __name__ == "__main__":
    source, target = sys.argv[1:]
    np.savez(target, **Engine()(dict(np.load(source))))
