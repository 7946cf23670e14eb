"""Half precision and infinities in compiled TVM modules, against ONNX Runtime."""

import numpy as np
import onnx
from test_tvm import ask, expected

MODELS = {
    "product": "(float16[4, 2048] a, float16[2048, 3] b) => (float16[4, 3] y) { y = MatMul (a, b) }",
    "convolution": "(float16[1, 256, 6, 6] a, float16[4, 128, 3, 3] b) => (float16[1, 4, 4, 4] y)"
    " { y = Conv <group = 2> (a, b) }",
    "softmax": "(float16[3, 400] a) => (float16[3, 400] y) { y = Softmax <axis = 1> (a) }",
    "sum": "(float16[3, 4000] a) => (float16[3, 1] y) <int64[1] axis = {1}> { y = ReduceSum (a, axis) }",
    "two results": "(float16[3, 40] a) => (float16[3, 40] y, float16[3, 1] z) <int64[1] axis = {1}>"
    " { y = Exp (a) z = ReduceSum (y, axis) }",
    "a result in float32": "(float[3, 40] a) => (float16[3, 40] y, float[3, 40] z)"
    " { h = Cast <to = 10> (a) y = Mul (h, h) z = Relu (a) }",
    "largest": "(float[3, 4] a) => (float[3] y) <int64[1] axis = {1}> { y = ReduceMax <keepdims = 0> (a, axis) }",
    "smallest": "(float[3, 4] a) => (float[1, 1] y) { y = ReduceMin (a) }",
    "largest of integers": "(int64[3, 4] a) => (int64[1, 4] y) <int64[1] axis = {-2}> { y = ReduceMax (a, axis) }",
}


def feed_of(model: onnx.ModelProto) -> dict:
    rng = np.random.default_rng(0)
    feed = {}
    for tensor in model.graph.input:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type)
        shape = [dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
        feed[tensor.name] = np.asarray(rng.uniform(0, 9, shape)).astype(kind)
    return feed


def test_sums_of_halves_and_extremes_of_infinities(tmp_path):
    feeds = {}
    for name, text in MODELS.items():
        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> main {text}')
        onnx.save(model, tmp_path / f"{name}.onnx")
        feeds[name] = feed_of(model)
    feeds["largest"]["a"][0] = -np.inf
    feeds["largest"]["a"][1, 2] = np.inf
    feeds["smallest"]["a"][:] = np.inf
    for name, feed in feeds.items():
        np.savez(tmp_path / f"{name}.npz", **feed)
    ask(
        tmp_path,
        f"""
for name in {list(MODELS)}:
    backend.build(request(name), context)
    runner = backend.runner(folder / (name + ".out") / "module.so")
    with runner:
        np.savez(folder / (name + ".got.npz"), **runner.infer(dict(np.load(folder / (name + ".npz")))))
""",
    )
    for name, feed in feeds.items():
        for result, wanted in zip("yz", expected(tmp_path / f"{name}.onnx", feed), strict=False):
            got = np.load(tmp_path / f"{name}.got.npz")[result]
            assert got.dtype == wanted.dtype, name
            # One rounding to half precision is at most half of its last digit; ONNX Runtime's own sum may fall beside it.
            np.testing.assert_allclose(got, wanted, rtol=1e-3 if wanted.dtype == np.float16 else 0, err_msg=name)
