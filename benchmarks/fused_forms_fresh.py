"""Forms that were written before the third round of mends, from what is in files that people have: what ONNX Runtime's quantizer,
optimizer and block quantizer leave (they are run here), and graphs as skl2onnx, onnxmltools, paddle2onnx, tf2onnx, mmdeploy and
the builders of language models write them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.fused_forms_cases import (
    B3,
    CASES,
    ROWS,
    TREE,
    W3,
    Array,
    Case,
    X,
    form,
    ml,
    model,
    normal,
    votes,
    whole,
)
from benchmarks.fused_forms_further import N, body, graph

F, LONG, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Tool = Callable[[Path, Path, dict[str, Array]], None]


def tool(name: str, nodes: Sequence[onnx.NodeProto], feed: dict[str, Array], held: dict[str, Array], *tools: Tool, opset: int = 17,
         atol: float = 0.0) -> None:  # fmt: skip
    """Register what the tools, one after another, make of a graph with an output `y`."""

    def make() -> Case:
        taken = [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in feed.items()
        ]
        kept = [numpy_helper.from_array(v, k) for k, v in held.items()]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "0.onnx")
            onnx.save(model(nodes, taken, ["y"], kept, feed, opset), path)
            for index, each in enumerate(tools, 1):
                path, given = Path(folder, f"{index}.onnx"), path
                each(given, path, feed)
            return Case(onnx.load(path), [feed], atol)

    CASES[name] = make


def static(**options: Any) -> Tool:
    """ONNX Runtime's quantization with calibration; `activation`, `weight` and `format` by name."""

    def make(given: Path, out: Path, feed: dict[str, Array]) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.left = [
                    feed,
                    {k: v * np.asarray(0.7, v.dtype) if v.dtype.kind == "f" else v for k, v in feed.items()},
                ]

            def get_next(self) -> Any:
                return self.left.pop() if self.left else None

        types = {key: QuantType[options.get(key, "QInt8")] for key in ("activation", "weight")}
        others = {key: value for key, value in options.items() if key not in ("activation", "weight", "format")}
        quantize_static(
            str(given), str(out), Reader(), quant_format=QuantFormat[options.get("format", "QDQ")],
            **{f"{key}_type": kind for key, kind in types.items()}, **others,
        )  # fmt: skip

    return make


def dynamic(**options: Any) -> Tool:
    def make(given: Path, out: Path, feed: dict[str, Array]) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(given, out, weight_type=QuantType[options.get("weight", "QInt8")],
                         **{k: v for k, v in options.items() if k != "weight"})  # fmt: skip

    return make


def blocks(**options: Any) -> Tool:
    def make(given: Path, out: Path, feed: dict[str, Array]) -> None:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
        from onnxruntime.quantization.quant_utils import QuantFormat

        form = QuantFormat[options.get("format", "QOperator")]
        others = {key: value for key, value in options.items() if key != "format"}
        quantizer = MatMulNBitsQuantizer(onnx.load(given), quant_format=form, **others)
        quantizer.process()
        onnx.save(quantizer.model.model, out)

    return make


def optimized(level: str) -> Tool:
    def make(given: Path, out: Path, feed: dict[str, Array]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
        options.optimized_model_filepath = str(out)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(given), options, providers=["CPUExecutionProvider"])

    return make


NET = [
    N("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]), N("Relu", ["c"], ["r"]),
    N("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
    N("Conv", ["p", "w2"], ["d"], pads=[1, 1, 1, 1]), N("Sigmoid", ["d"], ["g"]), N("Mul", ["d", "g"], ["s"]), N("Add", ["s", "p"], ["a"]),
    N("Resize", ["a", "", "twice"], ["u"], mode="nearest"), N("Concat", ["u", "r"], ["j"], axis=1), N("LeakyRelu", ["j"], ["l"], alpha=0.1),
    N("GlobalAveragePool", ["l"], ["v"]), N("Flatten", ["v"], ["f"]), N("Gemm", ["f", "w3", "b3"], ["y"], transB=1)]  # fmt: skip
PICTURE = {"x": normal(1, 3, 8, 8)}
HELD = {"w": normal(8, 3, 3, 3, scale=0.3), "b": normal(8), "w2": normal(8, 8, 3, 3, scale=0.1), "w3": normal(5, 16), "b3": normal(5),
        "twice": np.array([1, 1, 2, 2], np.float32)}  # fmt: skip
BLOCK = [
    N("Gather", ["words", "ids"], ["e"]), N("LayerNormalization", ["e", "g", "b"], ["n"]), N("MatMul", ["n", "wq"], ["q0"]),
    N("Add", ["q0", "bq"], ["q"]),
    N("MatMul", ["n", "wk"], ["k"]), N("Transpose", ["k"], ["kt"], perm=[0, 2, 1]), N("MatMul", ["q", "kt"], ["t"]),
    N("Softmax", ["t"], ["p"]),
    N("MatMul", ["p", "n"], ["o"]), N("Add", ["o", "e"], ["a"]), N("LayerNormalization", ["a", "g", "b"], ["m"]),
    N("MatMul", ["m", "wi"], ["h0"]),
    N("Add", ["h0", "bi"], ["h"]), N("Div", ["h", "root"], ["h1"]), N("Erf", ["h1"], ["h2"]), N("Add", ["h2", "one"], ["h3"]),
    N("Mul", ["h", "h3"], ["h4"]),
    N("Mul", ["h4", "half"], ["i"]), N("MatMul", ["i", "wo"], ["z"]), N("Add", ["z", "a"], ["y"])]  # fmt: skip
WORDS = {"ids": np.array([[3, 1, 4, 1, 5]])}
BLOCK_HELD = {"words": normal(12, 32), "g": normal(32, seed=1), "b": normal(32, seed=2), "wq": normal(32, 32, scale=0.1), "bq": normal(32),
              "wk": normal(32, 32, scale=0.1, seed=4), "wi": normal(32, 64, scale=0.2), "bi": normal(64), "wo": normal(64, 32, scale=0.1),
              "root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}  # fmt: skip

# A level or two of 8 bits in products of some ten terms.
tool("quantizer: QOperator, uint8 and int8, by channel", NET, PICTURE, HELD,
     static(format="QOperator", activation="QUInt8", per_channel=True), atol=0.1)  # fmt: skip
tool("quantizer: QOperator, asymmetric uint8 weights", NET, PICTURE, HELD, static(format="QOperator", activation="QUInt8", weight="QUInt8"),
     atol=0.1)  # fmt: skip
tool(
    "quantizer: QDQ, asymmetric int8, then the optimizer",
    NET,
    PICTURE,
    HELD,
    static(),
    optimized("ENABLE_ALL"),
    atol=0.1,
)
tool("quantizer: QDQ of 16 and 8 bits", NET, PICTURE, HELD, static(activation="QUInt16", weight="QUInt8"), atol=0.01)
tool("quantizer: QDQ of int4 weights by channel", NET, PICTURE, HELD, static(activation="QUInt16", weight="QInt4", per_channel=True),
     opset=21, atol=0.01)  # fmt: skip
tool("quantizer: dynamic, of convolutions", NET, PICTURE, HELD, dynamic(weight="QUInt8"), atol=0.1)
tool("quantizer: dynamic, of a transformer, then the optimizer", BLOCK, WORDS, BLOCK_HELD, dynamic(per_channel=True),
     optimized("ENABLE_ALL"), atol=0.1)  # fmt: skip
tool(
    "quantizer: static, of a transformer, QOperator",
    BLOCK,
    WORDS,
    BLOCK_HELD,
    static(format="QOperator", activation="QUInt8"),
    atol=0.2,
)
tool("optimizer: convolutions in blocks", NET, PICTURE, HELD, optimized("ENABLE_ALL"))
tool("optimizer: a transformer", BLOCK, WORDS, BLOCK_HELD, optimized("ENABLE_ALL"))
tool("blocks of 4 bits, asymmetric, the table too", BLOCK, WORDS, BLOCK_HELD,
     blocks(block_size=16, is_symmetric=False, op_types_to_quantize=("MatMul", "Gather"), quant_axes=(("MatMul", 0), ("Gather", 1))),
     atol=0.01)  # fmt: skip
tool("blocks of 4 bits as QDQ, asymmetric", BLOCK, WORDS, BLOCK_HELD, blocks(block_size=16, is_symmetric=False, format="QDQ"), opset=21,
     atol=0.01)  # fmt: skip

form("MatMulNBits with an order of groups", "MatMulNBits", [normal(3, 64)],
     [whole(10, 2, 16), normal(20, scale=0.1), whole(10), np.random.default_rng(0).permutation(64).astype(np.int32) // 32], K=64, N=10,
     bits=4, block_size=32)  # fmt: skip
form("MatMulNBits with zero points of floats, K not whole blocks", "MatMulNBits", [normal(2, 3, 40)],
     [whole(7, 3, 8), normal(21, scale=0.1), normal(21, scale=3)], K=40, N=7, bits=4, block_size=16)  # fmt: skip
form("MultiHeadAttention of keys' lengths",
    "MultiHeadAttention", [X, normal(2, 5, 8, seed=6), normal(2, 5, 8, seed=7), np.array([3, 5], np.int32)],
     [B3], order=[0, 1, 2, 4, 3], num_heads=2)  # fmt: skip
form("Attention with a mask of pairs", "Attention", [X, np.tril(np.ones((2, 5, 5), np.int32))], [W3, B3], order=[0, 2, 3, 1],
     num_heads=2)  # fmt: skip
ANGLE = normal(16, 8)
form("GroupQueryAttention packed, rotated, of the first words", "GroupQueryAttention",
     [normal(2, 5, 128), normal(2, 2, 0, 16), normal(2, 2, 0, 16), np.array([2, 4], np.int32), np.array(5, np.int32)],
     [np.cos(ANGLE), np.sin(ANGLE)], order=[0, -1, -1, 1, 2, 3, 4, 5, 6], outputs=3, num_heads=4, kv_num_heads=2, do_rotary=1)  # fmt: skip
form("GroupQueryAttention of a batch, one more word each", "GroupQueryAttention",
     [normal(2, 1, 64), normal(2, 1, 32, seed=1), normal(2, 1, 32, seed=2), normal(2, 2, 6, 16), normal(2, 2, 6, 16, seed=3),
      np.array([6, 3], np.int32), np.array(7, np.int32)], [np.cos(ANGLE), np.sin(ANGLE)], outputs=3, num_heads=4, kv_num_heads=2,
     do_rotary=1)  # fmt: skip

# Of skl2onnx and onnxmltools.
graph("nearest neighbours", [
    N("CDist", ["x", "train"], ["d"], domain="com.microsoft", metric="euclidean"), N("TopK", ["d", "k"], ["near", "at"], axis=1, largest=0),
    N("Reshape", ["at", "any"], ["line"]), N("ArrayFeatureExtractor", ["labels", "line"], ["picked"], domain="ai.onnx.ml"),
    N("Reshape", ["picked", "three"], ["votes"]), N("ReduceMean", ["votes"], ["y"], axes=[1], keepdims=0)],
    {"x": ROWS}, ["y"], {"train": normal(9, 3, seed=5), "k": np.array([3]), "labels": normal(1, 9), "any": np.array([-1]),
                         "three": np.array([-1, 3])}, opset=17)  # fmt: skip
graph("logistic regression, its probabilities normalized", [
    N("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.1, 0.2, 0.3], scale=[1.0, 2.0, 0.5]),
    N("LinearClassifier", ["s"], ["label", "raw"], domain="ai.onnx.ml", coefficients=[*normal(9)], intercepts=[0.1, 0.2, 0.3],
      classlabels_ints=[0, 1, 2], post_transform="LOGISTIC", multi_class=1),
    N("Normalizer", ["raw"], ["p"], domain="ai.onnx.ml", norm="L1"), N("Cast", ["label"], ["y"], to=LONG)],
    {"x": ROWS}, ["y", "p"])  # fmt: skip
graph("k-means", [
    N("ReduceSumSquare", ["x"], ["xx"], axes=[1], keepdims=1), N("Gemm", ["x", "centres"], ["xc"], alpha=-2.0, transB=1),
    N("Add", ["xx", "xc"], ["s"]),
    N("Add", ["cc", "s"], ["d2"]), N("Sqrt", ["d2"], ["d"]), N("ArgMin", ["d2"], ["y"], axis=1, keepdims=0)],
    {"x": ROWS}, ["y", "d"], {"centres": normal(4, 3, seed=8), "cc": (normal(4, 3, seed=8) ** 2).sum(1)}, opset=17)  # fmt: skip
MISSING = np.where(np.abs(ROWS) < 0.4, np.nan, ROWS).astype(np.float32)
ml("xgboost: less than, rows with nothing known", "TreeEnsembleClassifier", [MISSING], 2, 3, classlabels_int64s=[0, 1],
   base_values=[-0.2], post_transform="LOGISTIC",
   **{**TREE, "nodes_modes": ["LEAF" if mode == "LEAF" else "BRANCH_LT" for mode in TREE["nodes_modes"]],
      "nodes_missing_value_tracks_true": [1, 0, 0, 0, 1, 0, 0, 0]}, **votes("class", [0], normal(5)))  # fmt: skip
graph("lightgbm: doubles, the sum of two ensembles", [
    N("Cast", ["x"], ["f"], to=F),
    *(N("TreeEnsembleRegressor", ["f"], [f"t{i}"], domain="ai.onnx.ml", n_targets=1, **TREE, **votes("target", [0], normal(5, seed=i)))
      for i in range(2)),
    N("Sum", ["t0", "t1"], ["s"]), N("Sigmoid", ["s"], ["y"])], {"x": ROWS.astype(np.float64)}, ["y"])  # fmt: skip
ml("TreeEnsemble of version 5", "TreeEnsemble", [ROWS], version=5, n_targets=2, aggregate_function=1, post_transform=0, tree_roots=[0, 2],
   nodes_featureids=[0, 1, 2], nodes_splits=numpy_helper.from_array(np.array([0.2, -0.4, 0.1], np.float32)),
   nodes_modes=numpy_helper.from_array(np.array([0, 1, 3], np.uint8)), nodes_truenodeids=[1, 0, 3], nodes_trueleafs=[0, 1, 1],
   nodes_falsenodeids=[2, 1, 4], nodes_falseleafs=[1, 1, 1], leaf_targetids=[0, 1, 0, 1, 0],
   leaf_weights=numpy_helper.from_array(normal(5)))  # fmt: skip
graph("isolation of outliers", [
    N("TreeEnsembleRegressor", ["x"], ["depth"], domain="ai.onnx.ml", n_targets=1, **TREE, **votes("target", [0], [2.0, 3, 1, 3, 3])),
    N("Div", ["depth", "mean"], ["d"]), N("Neg", ["d"], ["n"]), N("Pow", ["two", "n"], ["p"]), N("Neg", ["p"], ["s"]),
    N("Sub", ["s", "offset"], ["score"]),
    N("Less", ["score", "zero"], ["out"]), N("Where", ["out", "minus", "plus"], ["y"])],
    {"x": ROWS}, ["y", "score"], {"mean": np.float32(3.7), "two": np.float32(2), "offset": np.float32(-0.6), "zero": np.float32(0),
                                 "minus": np.array(-1), "plus": np.array(1)})  # fmt: skip

# Of paddle2onnx, tf2onnx and mmdeploy.
BOXES = np.cumsum(np.abs(normal(1, 20, 4)), axis=2)
graph("paddle2onnx: suppression of all classes, the best kept", [
    N("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["at"]), N("Gather", ["at", "i1"], ["c"], axis=1),
    N("Gather", ["at", "i2"], ["b"], axis=1), N("Squeeze", ["c", "one"], ["cs"]), N("Squeeze", ["b", "one"], ["bs"]),
    N("Transpose", ["scores"], ["st"], perm=[0, 2, 1]), N("Reshape", ["st", "any"], ["flat"]), N("Mul", ["bs", "classes"], ["m"]),
    N("Add", ["m", "cs"], ["where"]),
    N("Gather", ["flat", "where"], ["s"]), N("Shape", ["s"], ["n"]), N("Concat", ["n", "keep"], ["nk"], axis=0),
    N("ReduceMin", ["nk"], ["k"], keepdims=1),
    N("TopK", ["s", "k"], ["best", "order"]), N("Squeeze", ["boxes", "zero"], ["boxes1"]), N("Gather", ["boxes1", "bs"], ["picked"]),
    N("Gather", ["picked", "order"], ["y"])],
    {"boxes": BOXES.astype(np.float32), "scores": np.abs(normal(1, 3, 20))}, ["y", "best"],
    {"most": np.array([10]), "overlap": np.array([0.5], np.float32), "least": np.array([0.1], np.float32), "i1": np.array([1]),
    "i2": np.array([2]),
     "one": np.array([1]), "zero": np.array([0]), "any": np.array([-1]), "classes": np.array(3),
     "keep": np.array([8])}, opset=17)  # fmt: skip
graph("paddle2onnx: two maps, one sized as the other", [
    N("Shape", ["z"], ["s"]), N("Slice", ["s", "two", "four", "zero"], ["hw"]), N("Shape", ["x"], ["t"]),
    N("Slice", ["t", "zero", "two", "zero"], ["nc"]),
    N("Concat", ["nc", "hw"], ["size"], axis=0), N("Resize", ["x", "", "",
    "size"], ["u"], mode="linear", coordinate_transformation_mode="align_corners"),
    N("HardSigmoid", ["u"], ["h"], alpha=1 / 6, beta=0.5), N("Mul", ["u", "h"], ["y"])],
    {"x": normal(1, 2, 4, 5), "z": normal(1, 1, 9, 7)}, ["y"], {"zero": np.array([0]), "two": np.array([2]),
    "four": np.array([4])}, opset=13)  # fmt: skip
graph("paddle2onnx: recurrent both ways, of lengths", [
    N("LSTM", ["x", "w", "r", "b", "n", "h0", "c0"], ["all", "h", "c"], hidden_size=4, direction="bidirectional"),
    N("Transpose", ["all"], ["t"], perm=[0, 2, 1, 3]), N("Reshape", ["t", "size"], ["y"])],
    {"x": normal(6, 2, 3), "n": np.array([6, 4], np.int32)}, ["y", "h"],
    {"w": normal(2, 16, 3), "r": normal(2, 16, 4, scale=0.5), "b": normal(2, 32), "h0": np.zeros((2, 2, 4), np.float32),
     "c0": np.zeros((2, 2, 4), np.float32), "size": np.array([0, 0, -1])})  # fmt: skip
graph("tf2onnx: one map at a time", [
    N("Loop", ["n", "go"], ["y"], body=body(
        [N("Gather", ["x", "i"], ["one"]), N("ReduceMax", ["one"], ["m"], keepdims=0), N("Div", ["one", "m"], ["scaled"]),
        N("Identity", ["c"], ["on"])],
        {"i": (LONG, []), "c": (BOOL, [])}, {"on": (BOOL, []), "scaled": (F, [4])}))],
    {"x": normal(3, 4)}, ["y"], {"n": np.array(3), "go": np.array(True)})  # fmt: skip
graph("tf2onnx: a band of a matrix, reflected, by einsum", [
    N("Trilu", ["x", "one"], ["u"], upper=1), N("Pad", ["u", "by"], ["p"], mode="reflect"),
    N("Einsum", ["p", "w"], ["e"], equation="bij,jk->bki"),
    N("CumSum", ["e", "axis"], ["y"], exclusive=1, reverse=1)],
    {"x": normal(2, 4, 4)}, ["y"], {"one": np.array(1), "by": np.array([0, 1, 2, 0, 1, 1]), "w": normal(7, 3),
    "axis": np.array(1, np.int32)})  # fmt: skip
graph("tflite: quantized along axes, asymmetric", [
    N("QuantizeLinear", ["x", "xs", "xz"], ["q"]), N("DequantizeLinear", ["q", "xs", "xz"], ["d"]),
    N("Transpose", ["d"], ["t"], perm=[0, 3, 1, 2]),
    N("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0), N("DequantizeLinear", ["b", "bs"], ["bd"], axis=0),
    N("Conv", ["t", "wd", "bd"], ["c"], auto_pad="SAME_UPPER", strides=[2, 2]), N("Clip", ["c", "zero", "six"], ["r"]),
    N("QuantizeLinear", ["r", "ys", "yz"], ["rq"]), N("DequantizeLinear", ["rq", "ys", "yz"], ["rd"]),
    N("Transpose", ["rd"], ["y"], perm=[0, 2, 3, 1])],
    {"x": normal(1, 7, 7, 3)}, ["y"], {"xs": np.float32(0.02), "xz": np.int8(-4), "w": whole(4, 3, 3, 3, low=-127, high=127, dtype=np.int8),
    "ws": np.linspace(0.002, 0.005, 4, dtype=np.float32), "wz": np.zeros(4, np.int8), "b": whole(4, low=-900, high=900, dtype=np.int32),
    "bs": np.linspace(0.002, 0.005, 4, dtype=np.float32) * np.float32(0.02), "zero": np.float32(0), "six": np.float32(6),
    "ys": np.float32(0.0235),
    "yz": np.int8(-128)})  # fmt: skip
graph("mmdeploy: the best before, suppressed, filled up", [
    N("ReduceMax", ["scores"], ["m"], axes=[2], keepdims=0), N("TopK", ["m", "k"], ["v", "at"]), N("Unsqueeze", ["at", "last"], ["a"]),
    N("Tile", ["a", "by4"], ["a4"]),
    N("GatherElements", ["boxes", "a4"], ["b"], axis=1), N("Tile", ["a", "by3"], ["a3"]),
    N("GatherElements", ["scores", "a3"], ["s"], axis=1),
    N("Transpose", ["s"], ["t"], perm=[0, 2, 1]), N("NonMaxSuppression", ["b", "t", "most", "overlap", "least"], ["kept"]),
    N("GatherND", ["t", "kept"], ["sk"]), N("ConstantOfShape", ["size"], ["none"]), N("ScatterND", ["none", "kept", "sk"], ["y"])],
    {"boxes": BOXES.astype(np.float32), "scores": np.abs(normal(1, 20, 3))}, ["y"],
    {"k": np.array([12]), "last": np.array([-1]), "by4": np.array([1, 1, 4]), "by3": np.array([1, 1, 3]), "most": np.array([5]),
     "overlap": np.array([0.5], np.float32), "least": np.array([0.3], np.float32), "size": np.array([1, 3, 12])}, opset=17)  # fmt: skip
