"""What compiled TVM modules make of many numbers, and of small ones, against NumPy in float64."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from test_tvm import ask

PLANES, ROWS = (2, 3, 57, 64), (3, 10007)
REDUCTION = "(float[{given}] x) => (float[{left}] y) <int64[{count}] axes = {{{axes}}}> {{ y = {op} <keepdims = {kept}> (x, axes) }}"


def reduction(op: str, given: tuple[int, ...], axes: tuple[int, ...], kept: int) -> str:
    left = "abcd"[: len(given) if kept else len(given) - len(axes)]
    shapes = {"given": ",".join(map(str, given)), "left": ",".join(left), "axes": ",".join(map(str, axes))}
    return REDUCTION.format(op=op, count=len(axes), kept=kept, **shapes)


SUMS: dict[str, tuple[str, tuple[int, ...], Callable[..., np.ndarray]]] = {
    f"{op} {axes} {kept}": (
        reduction(op, given, axes, kept),
        given,
        lambda x, f=f, axes=axes, kept=kept: f(x, axis=axes, keepdims=bool(kept)),
    )
    for op, f in (("ReduceMean", np.mean), ("ReduceSum", np.sum))
    for given, axes, kept in ((PLANES, (1, 2, 3), 1), (PLANES, (1, 2, 3), 0), (PLANES, (0, 2), 0), (ROWS, (1,), 1))
}
OTHERS = {
    "softplus": "(float[7] x) => (float[7] y) { y = Softplus (x) }",
    "scalar axis": "(float[7] x) => (float[7, 1] y) <int64 axis = {-1}> { y = Unsqueeze (x, axis) }",
    "scalar axis of a sum": "(float[7] x) => (float y) <int64 axis = {0}> { y = ReduceMax <keepdims = 0> (x, axis) }",
}


def test_sums_do_not_drift_and_tails_do_not_end(tmp_path: Path) -> None:
    feeds = {name: np.full(given, 0.7, np.float32) for name, (_, given, _) in SUMS.items()}
    feeds |= {name: np.array([-np.inf, -80, -20, -1, 0, 30, np.inf], np.float32) for name in OTHERS}
    for name, text in ({name: text for name, (text, _, _) in SUMS.items()} | OTHERS).items():
        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> main {text}')
        onnx.save(model, tmp_path / f"{name}.onnx")
        np.save(tmp_path / f"{name}.npy", feeds[name])
    ask(
        tmp_path,
        f"""
for name in {list(feeds)}:
    backend.build(request(name), context)
    with backend.runner(folder / (name + ".out") / "module.so") as runner:
        np.save(folder / (name + ".got.npy"), runner.infer({{"x": np.load(folder / (name + ".npy"))}})["y"])
""",
    )
    got = {name: np.load(tmp_path / f"{name}.got.npy") for name in feeds}
    for name, (_, _, reference) in SUMS.items():
        wanted = reference(feeds[name].astype(np.float64))
        assert got[name].shape == wanted.shape, name
        np.testing.assert_allclose(got[name], wanted, rtol=2e-6, err_msg=name)
    wanted = np.logaddexp(0, feeds["softplus"].astype(np.float64))
    np.testing.assert_allclose(got["softplus"], wanted, rtol=1e-6, atol=1e-37)
    np.testing.assert_array_equal(got["scalar axis"], feeds["scalar axis"][:, None])
    assert got["scalar axis of a sum"] == np.inf
