"""One conversion by another tool, with that tool's defaults. Runs in the peers' own environment: see `precision.py`.

    python precision_peers.py TOOL MODEL.onnx CALIBRATION.npz OUT.onnx

The archive holds each input's examples along the first axis. Prints JSON: the seconds, and the tool's version.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path


def onnxruntime_int8(model: Path, calibration: Path, out: Path) -> str:
    """ONNX Runtime's `quantize_static` as it is called without options: QDQ, int8, per tensor, MinMax, asymmetric."""
    return _quantize_static(model, calibration, out)


def onnxruntime_int8_symmetric(model: Path, calibration: Path, out: Path) -> str:
    """The same as one has to call it for TensorRT: no zero points, no int32 bias, and the weights by channel."""
    symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    return _quantize_static(model, calibration, out, per_channel=True, extra_options=symmetric)


def _quantize_static(model: Path, calibration: Path, out: Path, **options: object) -> str:
    import numpy as np
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            arrays = dict(np.load(calibration))
            count = len(next(iter(arrays.values())))
            self.feeds = iter([{name: array[i : i + 1] for name, array in arrays.items()} for i in range(count)])

        def get_next(self) -> dict[str, object] | None:
            return next(self.feeds, None)

    quantize_static(str(model), str(out), Reader(), **options)
    return f"onnxruntime {version('onnxruntime')}"


def onnxconverter_fp16(model: Path, calibration: Path, out: Path) -> str:
    """onnxconverter-common's `convert_float_to_float16`; it takes no data."""
    import onnx
    from onnxconverter_common import float16

    onnx.save(float16.convert_float_to_float16(onnx.load(model), keep_io_types=True), out)
    return f"onnxconverter-common {version('onnxconverter-common')}"


def modelopt_fp16(model: Path, calibration: Path, out: Path) -> str:
    """ModelOpt's AutoCast, with the calibration data as its reference."""
    import onnx
    from modelopt.onnx.autocast import convert_to_mixed_precision

    onnx.save(convert_to_mixed_precision(str(model), keep_io_types=True, calibration_data=str(calibration)), out)
    return f"nvidia-modelopt {version('nvidia-modelopt')}"


def modelopt_int8(model: Path, calibration: Path, out: Path) -> str:
    """ModelOpt's int8, with the entropy calibration and the fp16 remainder that it takes by default."""
    import numpy as np
    from modelopt.onnx.quantization import quantize

    data = dict(np.load(calibration))
    quantize(str(model), calibration_data=data, calibration_eps=["cpu"], output_path=str(out), log_level="WARNING")
    return f"nvidia-modelopt {version('nvidia-modelopt')}"


TOOLS = {
    "onnxruntime-int8": onnxruntime_int8,
    "onnxruntime-int8-symmetric": onnxruntime_int8_symmetric,
    "onnxconverter-fp16": onnxconverter_fp16,
    "modelopt-fp16": modelopt_fp16,
    "modelopt-int8": modelopt_int8,
}


def main() -> None:
    tool, *paths = sys.argv[1:]
    started = time.perf_counter()
    used = TOOLS[tool](*map(Path, paths))
    print(json.dumps({"tool": used, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
