"""Small graphs of one operator each, and the wide but legal inputs that TVM's modules are held against ONNX Runtime on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

Pool = Sequence[float | int]
KINDS = ("ordinary", "ties", "big", "tiny", "infinite", "special", "same")
"""Of inputs: of either sign, halves and repeats, near and beyond the types' ends, denormal, with infinities, with NaN, all
equal.
"""


SUMS = {"Add", "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "CumSum", "Einsum", "Gemm", "GlobalAveragePool",
        "GlobalLpPool", "GridSample", "GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization", "LpNormalization",
        "LpPool", "MatMul", "Mean", "MeanVarianceNormalization", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceMean", "ReduceSum",
        "ReduceSumSquare", "Resize", "RoiAlign", "Sum"}  # fmt: skip
WIDEST = 1e4
"""The largest number that is added to others."""
WEIGHS = {"GridSample", "Resize", "RoiAlign"}
"""Between pixels: whether one of weight 0 counts, which makes NaN of an infinite one, ONNX doesn't say."""


@dataclass(frozen=True)
class Case:
    """A graph and what its inputs may be: `pools` names those that mayn't be anything, such as indices and divisors."""

    name: str
    model: onnx.ModelProto
    pools: dict[str, Pool] = field(default_factory=dict)

    @property
    def sums(self) -> bool:
        """Does it add? Then what is large hides what is small, and how much of it depends on the order."""
        return any(node.op_type in SUMS for node in self.model.graph.node)

    def numbers(self, name: str, dtype: np.dtype[np.generic], kind: str) -> NDArray[np.generic]:
        """What an input's numbers are drawn from."""
        if name in self.pools:
            return np.array(self.pools[name]).astype(dtype)
        found = pool(dtype, kind)
        if self.sums and dtype.kind == "f":
            found = found[~(np.isfinite(found) & (np.abs(found) > WIDEST))]
        if any(node.op_type in WEIGHS for node in self.model.graph.node):
            found = found[np.isfinite(found)] if np.isfinite(found).any() else np.zeros(1, dtype)
        return found

    def feed(self, kind: str, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        """One input of a kind for each of the graph's."""
        feed: dict[str, NDArray[np.generic]] = {}
        for value in self.model.graph.input:
            tensor = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            shape = [dim.dim_value for dim in tensor.shape.dim]
            numbers = self.numbers(value.name, dtype, kind)
            taken = rng.choice(numbers, shape) if kind != "same" else np.full(shape, rng.choice(numbers), dtype)
            feed[value.name] = np.asarray(taken, dtype)
        return feed

    def usual(self, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        """What a build without the user's samples takes: floats in 0..1, integers in 0..9."""
        feed: dict[str, NDArray[np.generic]] = {}
        for value in self.model.graph.input:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            drawn = rng.random(shape) if dtype.kind == "f" else rng.integers(0, 2 if dtype.kind == "b" else 10, shape)
            if value.name in self.pools:
                drawn = rng.choice(np.array(self.pools[value.name]), shape)
            feed[value.name] = np.asarray(drawn).astype(dtype)
        return feed


def pool(dtype: np.dtype[np.generic], kind: str) -> NDArray[np.generic]:
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        big = [x for x in (1e4, 300.7, 255.5, 128.0, 7e4, 88.5, 88.9, 104.0, 1e9, 3e9, 1e19, 1e30, most) if x <= most]
        least = float(np.finfo(dtype).tiny)
        return np.array(
            {
                "ordinary": [-3.0, -2.3, -1.5, -0.7, -0.1, 0.0, 0.2, 0.6, 1.0, 1.9, 3.2, 7.7],
                "ties": [-3.5, -2.5, -1.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, 0.125, 4.5, 1.5],
                "big": [sign * x for x in big for sign in (1, -1)],
                "tiny": [0.0, -0.0, least, -least, least / 4, -least / 4, 1e-5, -1e-5, 1e-7],
                "infinite": [np.inf, -np.inf, 0.0, 1.0, -1.0, 2.0],
                "special": [np.inf, -np.inf, np.nan, -0.0, 0.0, 1.0, -1.0, 0.5],
                "same": [-2.0, 0.0, np.nan, np.inf, -np.inf, most],
            }[kind]
        ).astype(dtype)
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    ends = [low, low + 1, high, high - 1, 2**31 - 1, 2**31, 2**31 + 1, 2**33 + 5, -(2**31), -(2**35) - 3, 10, 11, 0]
    numbers = {
        "ordinary": [-7, -3, -2, -1, 0, 1, 2, 5, 7, 17, 128, 200],
        "ties": [-1, -1, 0, 0, 1, 1, 2],
        "big": ends,
        "tiny": [-1, 0, 1],
        "infinite": [low, high],
        "special": [low, high, 0, 1, -1, 15, 11, -20, -11],
        "same": [low, high, 0, 3],
    }[kind]
    return np.array([x for x in numbers if low <= x <= high]).astype(dtype)


CASES: dict[str, Case] = {}


def case(name: str, inputs: str, output: str, body: str, constants: str = "", opset: int = 18, **pools: Pool) -> None:
    """`inputs` and `constants` as ONNX writes them, `output` the type of `y`, `body` what it is computed by."""
    outputs = output if " " in output else f"{output}[] y"
    nodes = body if "=" in body.split("(")[0].split("<")[0] else f"y = {body}"
    text = f'<ir_version: 9, opset_import: ["" : {opset}]> main ({inputs}) => ({outputs})'
    text += f" <{constants}>" if constants else ""
    model = onnx.parser.parse_model(f"{text} {{ {nodes} }}")
    if name in CASES:
        raise ValueError(f"two cases {name}")
    CASES[name] = Case(name, onnx.shape_inference.infer_shapes(model), dict(pools))


INTS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float", "float16", "double")
SMALL = [-7, -3, -2, -1, 1, 2, 3, 5]
INDEX = {"i": [-5, -4, -1, 0, 1, 3, 4]}


def unary() -> None:
    for op in [
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Ceil",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Neg",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "Mish",
        "Celu",
        "LogSoftmax",
        "Softmax",
        "Hardmax",
        "Identity",
    ]:
        case(op, "float[2,6] x", "float", f"{op} (x)")
        case(f"{op} long", "float[3,70] x", "float", f"{op} (x)")
    for op in [
        "Abs",
        "Ceil",
        "Exp",
        "Floor",
        "Log",
        "Neg",
        "Relu",
        "Round",
        "Sigmoid",
        "Sign",
        "Sqrt",
        "Tanh",
        "Softmax",
        "LogSoftmax",
        "Erf",
    ]:
        for kind in ("float16", "double"):
            case(f"{op} {kind}", f"{kind}[2,12] x", kind, f"{op} (x)")
    for op in ("Abs", "Neg", "Sign"):
        for kind in ("int8", "int16", "int32", "int64"):
            case(f"{op} {kind}", f"{kind}[2,6] x", kind, f"{op} (x)")
    for kind in ("int32", "int8"):
        case(f"Relu {kind}", f"{kind}[2,6] x", kind, "Relu (x)")
    for form in ("none", "tanh"):
        case(f"Gelu {form}", "float[2,20] x", "float", f'Gelu <approximate = "{form}"> (x)', opset=20)
    case("Elu alpha", "float[2,20] x", "float", "Elu <alpha = 2.5> (x)")
    case("Celu alpha", "float[2,20] x", "float", "Celu <alpha = 2.5> (x)")
    case("Selu alpha", "float[2,20] x", "float", "Selu <alpha = 2.5, gamma = 0.5> (x)")
    case("LeakyRelu negative", "float[2,20] x", "float", "LeakyRelu <alpha = -0.5> (x)")
    case("LeakyRelu above 1", "float[2,20] x", "float", "LeakyRelu <alpha = 1.5> (x)")
    case("LeakyRelu zero", "float[2,20] x", "float", "LeakyRelu <alpha = 0.0> (x)")
    case("HardSigmoid alpha", "float[2,20] x", "float", "HardSigmoid <alpha = 0.5, beta = 0.6> (x)")
    case("ThresholdedRelu negative", "float[2,20] x", "float", "ThresholdedRelu <alpha = -1.0> (x)")
    case("Shrink", "float[2,20] x", "float", "Shrink <bias = 0.5, lambd = 0.7> (x)")
    case("PRelu", "float[2,6] x", "float", "PRelu (x, s)", "float[1] s = {0.1}")
    case("PRelu negative", "float[1,3,4] x", "float", "PRelu (x, s)", "float[3,1] s = {-0.5, 1.5, 0}")
    case("PRelu planes", "float[1,3,4,4] x", "float", "PRelu (x, s)", "float[3,1,1] s = {-0.5, 1.5, 0}")
    case("PRelu input", "float[2,6] x, float[2,6] s", "float", "PRelu (x, s)")
    for axis in (0, 1, -2):
        case(f"Softmax axis {axis}", "float[3,4,5] x", "float", f"Softmax <axis = {axis}> (x)")
        case(f"LogSoftmax axis {axis}", "float[3,4,5] x", "float", f"LogSoftmax <axis = {axis}> (x)")
        case(f"Hardmax axis {axis}", "float[3,4,5] x", "float", f"Hardmax <axis = {axis}> (x)")
    case("Softmax 11", "float[3,4,5] x", "float", "Softmax <axis = 1> (x)", opset=11)
    case("IsNaN", "float[2,6] x", "bool", "IsNaN (x)", opset=20)
    case("IsNaN double", "double[2,6] x", "bool", "IsNaN (x)", opset=20)
    case("IsInf", "float[2,6] x", "bool", "IsInf (x)", opset=20)
    case("IsInf down", "float[2,6] x", "bool", "IsInf <detect_positive = 0> (x)", opset=20)
    case("IsInf up", "float[2,6] x", "bool", "IsInf <detect_negative = 0> (x)", opset=20)
    case("IsInf none", "float[2,6] x", "bool", "IsInf <detect_negative = 0, detect_positive = 0> (x)", opset=20)
    case("Not", "bool[2,6] x", "bool", "Not (x)")
    for upper in (0, 1):
        for k in (-1, 0, 2):
            case(f"Trilu {upper} {k}", "float[4,5] x", "float", f"Trilu <upper = {upper}> (x, k)", f"int64 k = {{{k}}}")
    case("Trilu int64", "int64[4,5] x", "int64", "Trilu (x)")
    case("MVN", "float[2,6] x", "float", "MeanVarianceNormalization <axes = [0, 1]> (x)")
    case("LpNorm", "float[2,6] x", "float", "LpNormalization (x)")
    case("LpNorm 1", "float[2,6] x", "float", "LpNormalization <p = 1, axis = 0> (x)")


def binary() -> None:
    for op in ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"]:
        case(op, "float[2,6] x, float[2,6] z", "float", f"{op} (x, z)")
        case(f"{op} long", "float[3,70] x, float[3,70] z", "float", f"{op} (x, z)")
        case(f"{op} broadcast", "float[3,8] x, float[3,1] z", "float", f"{op} (x, z)")
        for kind in ("float16", "double"):
            case(f"{op} {kind}", f"{kind}[2,6] x, {kind}[2,6] z", kind, f"{op} (x, z)")
    for op in ["Add", "Sub", "Mul", "Max", "Min"]:
        for kind in INTS:
            case(f"{op} {kind}", f"{kind}[2,6] x, {kind}[2,6] z", kind, f"{op} (x, z)")
    for op in ("Max", "Min", "Sum", "Mean"):
        case(f"{op} of three", "float[2,6] x, float[2,6] z, float[2,6] w", "float", f"{op} (x, z, w)")
    case("Max of one", "float[2,6] x", "float", "Max (x)")
    for number in ("0", "1.5", "-1", "nan", "inf"):
        for op in ("Max", "Min"):
            case(f"{op} with {number}", "float[2,20] x", "float", f"{op} (x, k)", f"float[1] k = {{{number}}}")
    for kind, sizes in (
        ("int64", SMALL),
        ("int32", SMALL),
        ("int8", SMALL),
        ("uint8", [1, 2, 3, 5]),
        ("uint64", [1, 2, 3]),
    ):
        for op, attribute in (("Div", ""), ("Mod", ""), ("Mod", "<fmod = 1>")):
            if not (op == "Div" and kind in ("int8", "uint8")):
                label = f"{op} {kind} {'fmod' if attribute else ''}".strip()
                case(
                    label,
                    f"{kind}[2,6] x, {kind}[2,6] z",
                    kind,
                    f"{op} {attribute} (x, z)",
                    z=[s for s in sizes if s != -1],
                )
    for kind in ("int64", "int32"):
        for k in (3, -3, 4):
            for op, attribute in (("Div", ""), ("Mod", ""), ("Mod", "<fmod = 1>")):
                label = f"{op} {kind} by {k} {'fmod' if attribute else ''}".strip()
                case(label, f"{kind}[2,6] x", kind, f"{op} {attribute} (x, k)", f"{kind} k = {{{k}}}")
    for k in ("0.3", "-0.3", "inf"):
        case(f"Mod float by {k}", "float[2,6] x", "float", "Mod <fmod = 1> (x, k)", f"float k = {{{k}}}",
             x=[-3.5, 2.5, -0.7, 0.0, 100.25, float("inf"), float("nan")])  # fmt: skip
    for k in ("0.5", "2", "3", "-1", "-0.5", "0", "1.5", "-2", "0.33333", "4", "inf"):
        case(f"Pow by {k}", "float[2,20] x", "float", "Pow (x, k)", f"float k = {{{k}}}")
    for k in ("2", "-2", "0.5", "1", "0"):
        case(f"Pow of {k}", "float[2,20] x", "float", "Pow (k, x)", f"float k = {{{k}}}")
    case("Pow int64", "int64[2,6] x, int64[2,6] z", "int64", "Pow (x, z)", z=[0, 1, 2, 3], x=SMALL)
    case("Pow int32", "int32[2,6] x, int32[2,6] z", "int32", "Pow (x, z)", z=[0, 1, 2, 3], x=SMALL)
    case("Pow mixed", "float[2,6] x, int64[2,6] z", "float", "Pow (x, z)", z=[-2, -1, 0, 1, 2, 3])
    steps = ", ".join(str(step / 4) for step in range(-8, 7))
    for op in ["Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual"]:
        for kind in ("float", "double", "float16", "int32", "int64", "uint8"):
            if op == "Equal" or kind in ("float", "double", "int32", "int64"):
                case(f"{op} {kind}", f"{kind}[2,6] x, {kind}[2,6] z", "bool", f"{op} (x, z)")
        case(f"Not {op}", "float[2,20] x, float[2,20] z", "bool", f"p = {op} (x, z) y = Not (p)")
        counted = f"u = Unsqueeze (x, a) p = {op} (k, u) q = Not (p) n = Cast <to = 7> (q) y = ReduceSum <keepdims = 0> (n, a)"
        case(
            f"Not {op} counted", "float[2,7] x", "int64", counted, "float[1,1,15] k = {" + steps + "}, int64[1] a = {2}"
        )
        case(
            f"Not {op} chosen",
            "float[2,20] x",
            "float",
            f"p = {op} (x, k) q = Not (p) y = Where (q, x, k)",
            "float k = {1}",
        )
        case(f"{op} itself", "float[2,20] x", "bool", f"{op} (x, x)")
        made = f"p = Less (x, k) z = Where (p, x, n) y = {op} (z, z)"
        case(f"{op} itself made", "float[2,20] x", "bool", made, "float k = {1}, float n = {nan}")
    case("Div itself", "float[2,20] x", "float", "Div (x, x)")
    for one, other in (("nan", "0"), ("0", "nan"), ("nan", "1"), ("inf", "0"), ("inf", "nan")):
        made = "p = Less (x, z) y = Where (p, a, b)"
        case(
            f"Where {one} {other}",
            "float[2,20] x, float[20] z",
            "float",
            made,
            f"float a = {{{one}}}, float b = {{{other}}}",
        )
    for op, number in (("Mul", 0), ("Mul", 1), ("Add", 0), ("Pow", 0), ("Div", 1)):
        case(f"{op} number {number}", "float[2,20] x", "float", f"{op} (x, k)", f"float k = {{{number}}}")
    case("Sub again", "float[2,20] x, float[20] z", "float", "p = Add (x, z) y = Sub (p, z)")
    case("Equal bool true", "bool[2,6] x", "bool", "Equal (x, k)", "bool k = {1}")
    for op in ["And", "Or", "Xor", "Equal"]:
        case(f"{op} bool" if op == "Equal" else op, "bool[2,6] x, bool[2,6] z", "bool", f"{op} (x, z)")
    for op in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]:
        for kind in ("int64", "uint8", "int8"):
            case(f"{op} {kind}", f"{kind}[2,6] x, {kind}[2,6] z", kind, f"{op} (x, z)")
    for kind in ("int64", "uint8"):
        case(f"BitwiseNot {kind}", f"{kind}[2,6] x", kind, "BitwiseNot (x)")
    for way in ("LEFT", "RIGHT"):
        for kind, most in (("uint8", 7), ("uint32", 31), ("uint64", 63)):
            case(f"BitShift {way} {kind}", f"{kind}[2,6] x, {kind}[2,6] z", kind, f'BitShift <direction = "{way}"> (x, z)',
                 z=[0, 1, 3, most])  # fmt: skip
    where = "p = Greater (x, z) y = Where (p, x, z)"
    case("Where", "float[2,20] x, float[2,20] z", "float", where)
    case("Where zero", "float[2,20] x", "float", where, "float[1] z = {0}")
    case("Where mask", "bool[2,20] p, float[2,20] x, float[2,20] z", "float", "Where (p, x, z)")
    case("Where int64", "bool[2,6] p, int64[2,6] x, int64[2,6] z", "int64", "Where (p, x, z)")
    case("Where chain", "float[2,20] x", "float", "p = IsNaN (x) z = Where (p, k, x) y = Mul (z, z)", "float k = {0}")
    case(
        "Greater chain",
        "float[2,20] x",
        "float",
        "p = Greater (x, k) m = Cast <to = 1> (p) y = Mul (m, x)",
        "float k = {0}",
    )
    for low, high in ((-0.5, 0.5), (0.5, -0.5), (0.0, 6.0), (float("nan"), 1.0)):
        case(
            f"Clip {low} {high}",
            "float[2,20] x",
            "float",
            "Clip (x, a, b)",
            f"float a = {{{low}}}, float b = {{{high}}}",
        )
    case("Clip low", "float[2,20] x", "float", "Clip (x, a)", "float a = {-0.5}")
    case("Clip high", "float[2,20] x", "float", 'Clip (x, "", b)', "float b = {0.5}")
    case("Clip input", "float[2,20] x, float a, float b", "float", "Clip (x, a, b)", a=[-1.0, 0.5], b=[0.0, 2.0])
    case("Clip int64", "int64[2,6] x", "int64", "Clip (x, a, b)", "int64 a = {-3}, int64 b = {4294967296}")
    case("Clip int8", "int8[2,6] x", "int8", "Clip (x, a, b)", "int8 a = {-3}, int8 b = {100}")
    case("Clip 6", "float[2,20] x", "float", "Clip <min = -0.5, max = 0.5> (x)", opset=6)


NUMBERS = {"float": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
           "double": 11, "uint32": 12, "uint64": 13, "bfloat16": 16}  # fmt: skip


def casts() -> None:
    for name, number in NUMBERS.items():
        for source in ("float", "double", "float16", "int64", "int32", "uint8", "bool", "int8", "uint64"):
            if source != name and name != "bfloat16":
                # C, and so ONNX, leaves open what unsigned integer a negative or larger float is.
                fits = {"x": [0.0, 0.7, 1.5, 300.7, 7e4 if source != "float16" else 6e4]}
                floats = source in FLOATS and name in ("uint32", "uint64")
                case(
                    f"Cast {source} {name}",
                    f"{source}[2,12] x",
                    name,
                    f"Cast <to = {number}> (x)",
                    **(fits if floats else {}),
                )


def reductions() -> None:
    plain = "ReduceMax ReduceMin ReduceSum ReduceMean ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare"
    for op in plain.split():
        axes = "int64[1] a = {1}"
        case(op, "float[2,6] x", "float", f"{op} (x, a)", axes)
        case(f"{op} long", "float[3,70] x", "float", f"{op} (x, a)", axes)
        case(f"{op} first", "float[3,7] x", "float", f"{op} <keepdims = 0> (x, a)", "int64[1] a = {-2}")
        case(f"{op} all", "float[3,7] x", "float", f"{op} (x)")
        case(f"{op} planes", "float[1,4,5,5] x", "float", f"{op} (x, a)", "int64[2] a = {2, 3}")
        case(f"{op} noop", "float[3,7] x", "float", f"{op} <noop_with_empty_axes = 1> (x, a)", "int64[0] a = {}")
        case(f"{op} double", "double[2,6] x", "double", f"{op} (x, a)", axes)
        for kind in ("int32", "int64"):
            # ONNX Runtime's mean is wrong beyond 2^31; of squares that overflow ONNX says nothing.
            wide = {"ReduceMean": [-(2**31), 2**31 - 1, 7, -7, 0, 3], "ReduceSumSquare": [-7000, 7000, 7, 0, 3]}
            big: dict[str, Pool] = {"x": wide[op]} if op in wide else {}
            case(f"{op} {kind}", f"{kind}[2,6] x", kind, f"{op} (x, a)", axes, **big)
    for op in ("ReduceMax", "ReduceMin"):
        for kind in ("int8", "uint8", "float16"):
            case(f"{op} {kind}", f"{kind}[2,6] x", kind, f"{op} (x, a)", "int64[1] a = {1}")
        case(f"{op} bool", "bool[2,6] x", "bool", f"{op} (x, a)", "int64[1] a = {1}", opset=20)
    for op in ("ArgMax", "ArgMin"):
        for last in (0, 1):
            for kind in ("float", "double", "int64", "int32", "uint8", "float16"):
                case(
                    f"{op} {kind} {last}", f"{kind}[3,6] x", "int64", f"{op} <axis = 1, select_last_index = {last}> (x)"
                )
        case(f"{op} first", "float[3,6] x", "int64", f"{op} <axis = 0, keepdims = 0> (x)")
    for kind in ("float", "double", "int64", "int32"):
        for exclusive in (0, 1):
            for reverse in (0, 1):
                case(f"CumSum {kind} {exclusive} {reverse}", f"{kind}[2,6] x", kind,
                     f"CumSum <exclusive = {exclusive}, reverse = {reverse}> (x, a)", "int64 a = {-1}")  # fmt: skip
    for largest in (0, 1):
        for kind in ("float", "int64", "double", "int32"):
            case(f"TopK {kind} {largest}", f"{kind}[3,6] x", f"{kind}[3,3] v, int64[3,3] y",
                 f"v, y = TopK <largest = {largest}> (x, k)", "int64[1] k = {3}")  # fmt: skip
            case(f"TopK {kind} {largest} long", f"{kind}[2,40] x", f"{kind}[2,17] v, int64[2,17] y",
                 f"v, y = TopK <largest = {largest}> (x, k)", "int64[1] k = {17}")  # fmt: skip
    case(
        "TopK first", "float[6,3] x", "float[2,3] v, int64[2,3] y", "v, y = TopK <axis = 0> (x, k)", "int64[1] k = {2}"
    )
    case(
        "TopK unsorted",
        "float[3,6] x",
        "float[3,3] v, int64[3,3] y",
        "v, y = TopK <sorted = 0> (x, k)",
        "int64[1] k = {3}",
    )


def indices() -> None:
    table = "float[5,2] t = {0,1,2,3,4,5,6,7,8,9}"
    for kind in ("int64", "int32"):
        case(f"Gather {kind}", f"{kind}[4] i", "float", "Gather (t, i)", table, **INDEX)
        case(f"GatherElements {kind}", f"{kind}[4,2] i", "float", "GatherElements (t, i)", table, **INDEX)
    case("Gather axis", "float[2,5,3] x, int64[2,2] i", "float", "Gather <axis = 1> (x, i)", **INDEX)
    case("Gather scalar", "float[5,3] x, int64 i", "float", "Gather (x, i)", **INDEX)
    case("Gather bool", "bool[5] x, int64[3] i", "bool", "Gather (x, i)", **INDEX)
    case("GatherND", "int64[3,1] i", "float", "GatherND (t, i)", table, **INDEX)
    case("GatherND batch", "float[2,5,3] x, int64[2,1] i", "float", "GatherND <batch_dims = 1> (x, i)", **INDEX)
    case("GatherElements axis", "float[2,5] x, int64[2,3] i", "float", "GatherElements <axis = 1> (x, i)", **INDEX)
    for reduction in ("none", "add", "mul", "min", "max"):
        for kind in ("float", "int64"):
            # Which of two updates of one place comes last is not said.
            free = {"i": [-4, -1, 2]} if reduction != "none" else {}
            case(f"ScatterND {reduction} {kind}", f"{kind}[5,2] x, int64[2,1] i, {kind}[2,2] u", kind,
                 f'ScatterND <reduction = "{reduction}"> (x, i, u)', **(free or {"i": [3]}))  # fmt: skip
            case(f"ScatterElements {reduction} {kind}", f"{kind}[5,2] x, int64[1,2] i, {kind}[1,2] u", kind,
                 f'ScatterElements <reduction = "{reduction}"> (x, i, u)', **INDEX)  # fmt: skip
    case("ScatterElements axis", "float[2,5] x, int64[2,1] i, float[2,1] u", "float", "ScatterElements <axis = -1> (x, i, u)",
         **INDEX)  # fmt: skip
    for axis in (-1, 0):
        case(f"OneHot {axis}", "int64[4] i", "int64", f"OneHot <axis = {axis}> (i, d, v)",
             "int64 d = {5}, int64[2] v = {3, 7}", i=[-6, -5, -1, 0, 4, 5, 2**33])  # fmt: skip
    case(
        "OneHot float",
        "int64[4] i",
        "float",
        "OneHot (i, d, v)",
        "int64 d = {5}, float[2] v = {0, 1}",
        i=[-6, -5, -1, 0, 4, 5],
    )
    case("NonZero", "float[2,6] x", "int64", "NonZero (x)")
    case("NonZero bool", "bool[2,6] x", "int64", "NonZero (x)")
    case("Unique", "float[12] x", "float", "Unique (x)")
    case("Unique int64", "int64[12] x", "int64", "Unique (x)")
    case("Compress", "float[5,2] x, bool[5] p", "float", "Compress <axis = 0> (x, p)")
    for kind in ("float", "int64"):
        shape = f"{kind}[3,7] x"
        for start, end, step in (
            (1, 5, 2),
            (-1, -8, -1),
            (6, 0, -2),
            (-3, 1000, 1),
            (5, -1000, -3),
            (0, 0, 1),
            (-7, -1, 1),
        ):
            case(f"Slice {kind} {start} {end} {step}", shape, kind, "Slice (x, s, e, a, k)",
                 f"int64[1] s = {{{start}}}, int64[1] e = {{{end}}}, int64[1] a = {{-1}}, int64[1] k = {{{step}}}")  # fmt: skip
        for mode in ("constant", "reflect", "edge", "wrap"):
            for pads in ("0,2,0,1", "1,0,1,3", "0,-1,0,-2", "1,-1,0,2"):
                case(
                    f"Pad {kind} {mode} {pads}",
                    shape,
                    kind,
                    f'Pad <mode = "{mode}"> (x, p)',
                    f"int64[4] p = {{{pads}}}",
                    opset=19,
                )
        case(f"Pad {kind} value", shape, kind, "Pad (x, p, v)", f"int64[4] p = {{0,2,1,1}}, {kind} v = {{7}}")
    case("Pad inf", "float[3,7] x", "float", "Pad (x, p, v)", "int64[4] p = {0,2,1,1}, float v = {-inf}")
    case("Pad planes", "float[1,2,4,4] x", "float", 'Pad <mode = "reflect"> (x, p)', "int64[8] p = {0,0,1,2,0,0,2,1}")
    case("ReverseSequence", "float[5,2] x, int64[2] n", "float", "ReverseSequence (x, n)", n=[1, 2, 3, 5])
    for mode in ("DCR", "CRD"):
        case(f"DepthToSpace {mode}", "float[1,8,2,3] x", "float", f'DepthToSpace <blocksize = 2, mode = "{mode}"> (x)')
    case("SpaceToDepth", "float[1,2,4,6] x", "float", "SpaceToDepth <blocksize = 2> (x)")
    case("Expand", "float[3,1] x", "float", "Expand (x, s)", "int64[3] s = {2,1,4}")
    case("Tile", "int64[2,3] x", "int64", "Tile (x, r)", "int64[2] r = {2,3}")
    case("EyeLike", "float[3,4] x", "float", "EyeLike <k = 1> (x)")
    case("Concat", "float[2,3] x, float[2,4] z", "float", "Concat <axis = -1> (x, z)")
    case("Transpose", "float[2,3,4] x", "float", "Transpose <perm = [2, 0, 1]> (x)")
    case("Split", "float[2,7] x", "float[2,3] y, float[2,4] z", "y, z = Split <axis = 1> (x, s)", "int64[2] s = {3, 4}")
    corners, usual = {"b": [0.0, 1.0, 2.0, 3.0]}, {"s": [0.1, 0.5, 0.5, 0.9, 0.2, -0.5]}
    boxes, most = "float[1,6,4] b, float[1,2,6] s", "int64[1] n = {3}"
    for center in (0, 1):
        for overlap in (0, 0.5, 0.33333334, 1):
            limits = f"{most}, float[1] o = {{{overlap}}}, float[1] t = {{0.2}}"
            nms = f"NonMaxSuppression <center_point_box = {center}> (b, s, n, o, t)"
            case(f"NonMaxSuppression {center} {overlap}", boxes, "int64", nms, limits, **corners, **usual)
    case("NonMaxSuppression no scores", boxes, "int64", "NonMaxSuppression (b, s, n, o)", f"{most}, float[1] o = {{0.3}}",
         **corners, **usual)  # fmt: skip
    case("NonMaxSuppression no limits", boxes, "int64", "NonMaxSuppression (b, s, n)", most, **corners, **usual)
    case("NonMaxSuppression nothing", boxes, "int64", "NonMaxSuppression (b, s)", **corners, **usual)


def windows() -> None:
    spatial = {1: "float[1,2,9] x", 2: "float[1,3,9,8] x", 3: "float[1,2,5,6,5] x"}
    for rank, given in spatial.items():
        kernel, pads = [3] * rank, [1] * (2 * rank)
        for op, more in (
            ("MaxPool", ""),
            ("AveragePool", ""),
            ("AveragePool", "count_include_pad = 1, "),
            ("LpPool", ""),
        ):
            label = f"{op}{'+pads' if more else ''} {rank}"
            case(label, given, "float", f"{op} <{more}kernel_shape = {kernel}> (x)")
            case(f"{label} pads", given, "float", f"{op} <{more}kernel_shape = {kernel}, pads = {pads}> (x)")
            case(
                f"{label} strides",
                given,
                "float",
                f"{op} <{more}kernel_shape = {kernel}, pads = {pads}, strides = {[2] * rank}> (x)",
            )
            case(f"{label} same", given, "float",
                 f'{op} <{more}kernel_shape = {[2] * rank}, auto_pad = "SAME_UPPER", strides = {[2] * rank}> (x)')  # fmt: skip
            case(f"{label} lower", given, "float",
                 f'{op} <{more}kernel_shape = {[2] * rank}, auto_pad = "SAME_LOWER", strides = {[2] * rank}> (x)')  # fmt: skip
            if op != "LpPool":
                case(
                    f"{label} ceil",
                    given,
                    "float",
                    f"{op} <{more}kernel_shape = {kernel}, pads = {pads}, strides = {[2] * rank}, ceil_mode = 1> (x)",
                    opset=19,
                )
                case(f"{label} dilated", given, "float",
                     f"{op} <{more}kernel_shape = {[2] * rank}, dilations = {[2] * rank}, pads = {pads}> (x)", opset=19)  # fmt: skip
        for op in ("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"):
            case(f"{op} {rank}", given, "float", f"{op} (x)")
    case("MaxPool int8", "int8[1,3,6,6] x", "int8", "MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)")
    case("MaxPool uint8", "uint8[1,3,6,6] x", "uint8", "MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)")
    case("MaxPool double", "double[1,3,6,6] x", "double", "MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)")
    case("LRN", "float[1,5,2,2] x", "float", "LRN <size = 3> (x)")
    weights = ", ".join(f"{x:.2f}" for x in np.sin(np.arange(8 * 3 * 9)))
    conv = "y0 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)"
    w = f"float[8,3,3,3] w = {{{weights}}}"
    case("Conv", "float[1,3,6,6] x", "float", conv.replace("y0", "y"), w)
    for name, body in (
        ("Relu", "y = Relu (y0)"),
        ("Clip", "y = Clip (y0, a, b)"),
        ("HardSwish", "y = HardSwish (y0)"),
        ("HardSigmoid", "y = HardSigmoid (y0)"),
        ("LeakyRelu", "y = LeakyRelu (y0)"),
        ("LeakyRelu steep", "y = LeakyRelu <alpha = 1.5> (y0)"),
        ("Sigmoid", "y = Sigmoid (y0)"),
        ("Silu", "s = Sigmoid (y0) y = Mul (s, y0)"),
        ("Tanh", "y = Tanh (y0)"),
        ("Exp", "y = Exp (y0)"),
        ("Elu", "y = Elu <alpha = 2.0> (y0)"),
        ("Softplus", "y = Softplus (y0)"),
        ("Mish", "y = Mish (y0)"),
        ("Max", "y = Max (y0, y0)"),
        ("Sign", "y = Sign (y0)"),
        ("Abs", "y = Abs (y0)"),
        ("Round", "y = Round (y0)"),
        ("Gelu", "d = Div (y0, a) e = Erf (d) f = Add (e, b) y = Mul (f, y0)"),
        ("Neg", "y = Neg (y0)"),
        ("Floor", "y = Floor (y0)"),
        ("max pool", "y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (y0)"),
        ("Where", "p = Less (y0, a) y = Where (p, y0, b)"),
        ("Mask", "p = Greater (y0, a) m = Cast <to = 1> (p) y = Mul (m, y0)"),
        ("Min Max", "m = Max (y0, a) y = Min (m, b)"),
        ("IsNaN", "p = IsNaN (y0) y = Where (p, a, y0)"),
        ("Softmax", "y = Softmax (y0)"),
        ("Upsample", 'y = Resize <mode = "nearest"> (y0, "", u)'),
        ("GlobalAveragePool", "y = GlobalAveragePool (y0)"),
        ("GlobalMaxPool", "y = GlobalMaxPool (y0)"),
    ):
        case(
            f"Conv {name}",
            "float[1,3,6,6] x",
            "float",
            f"{conv} {body}",
            f"{w}, float a = {{0}}, float b = {{6}}, float[4] u = {{1,1,2,2}}",
        )
    case("Conv depthwise", "float[1,8,6,6] x", "float", "Conv <group = 8, kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)",
         f"float[8,1,3,3] w = {{{', '.join(weights.split(', ')[:72])}}}")  # fmt: skip
    case(
        "Conv one",
        "float[1,3,6,6] x",
        "float",
        "Conv (x, w)",
        f"float[8,3,1,1] w = {{{', '.join(weights.split(', ')[:24])}}}",
    )
    case("ConvTranspose", "float[1,3,4,4] x", "float", "ConvTranspose <strides = [2, 2]> (x, w)",
         f"float[3,2,3,3] w = {{{', '.join(weights.split(', ')[:54])}}}")  # fmt: skip
    for mode in ("nearest", "linear", "cubic"):
        for way in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"):
            for sizes in ("1,2,8,6", "1,2,7,9", "1,2,2,2", "1,2,1,1"):
                case(f"Resize {mode} {way} {sizes}", "float[1,2,4,3] x", "float",
                     f'Resize <mode = "{mode}", coordinate_transformation_mode = "{way}"> (x, "", "", n)',
                     f"int64[4] n = {{{sizes}}}", opset=19)  # fmt: skip
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        for way in ("half_pixel", "asymmetric", "align_corners"):
            for sizes in ("1,2,8,6", "1,2,2,2", "1,2,6,4"):
                case(f"Resize {rounding} {way} {sizes}", "float[1,2,4,3] x", "float",
                     f'Resize <mode = "nearest", nearest_mode = "{rounding}", coordinate_transformation_mode = "{way}"> (x, "", "", n)',
                     f"int64[4] n = {{{sizes}}}", opset=19)  # fmt: skip
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            for corners in (0, 1):
                case(f"GridSample {mode} {padding} {corners}", "float[1,2,4,4] x, float[1,3,3,2] g", "float",
                     f'GridSample <mode = "{mode}", padding_mode = "{padding}", align_corners = {corners}> (x, g)', opset=16,
                     g=[-1.5, -1.0, -0.9, -0.3, 0.0, 0.2, 0.5, 1.0, 1.2, 2.0])  # fmt: skip
    case("RoiAlign", "float[1,2,8,8] x, float[3,4] r, int64[3] i", "float",
         'RoiAlign <coordinate_transformation_mode = "output_half_pixel", output_height = 2, output_width = 2, sampling_ratio = 2>'
         " (x, r, i)",
         r=[0.0, 1.0, 2.5, 5.0, 7.0], i=[0])  # fmt: skip


def products() -> None:
    case("MatMul", "float[3,5] x, float[5,8] z", "float", "MatMul (x, z)")
    case("MatMul vector", "float[5] x, float[5,8] z", "float", "MatMul (x, z)")
    case("MatMul batch", "float[2,3,5] x, float[2,5,8] z", "float", "MatMul (x, z)")
    case("MatMul int64", "int64[3,5] x, int64[5,4] z", "int64", "MatMul (x, z)")
    case("MatMul double", "double[3,5] x, double[5,4] z", "double", "MatMul (x, z)")
    case(
        "Gemm",
        "float[3,5] x, float[8,5] z, float[8] c",
        "float",
        "Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x, z, c)",
    )
    case("Gemm A", "float[5,3] x, float[5,8] z", "float", "Gemm <transA = 1> (x, z)")
    case("Gemm beta zero", "float[3,5] x, float[5,8] z, float[8] c", "float", "Gemm <beta = 0.0> (x, z, c)")
    case("Einsum", "float[2,3,5] x, float[2,5,4] z", "float", 'Einsum <equation = "bij,bjk->bik"> (x, z)')
    case("Einsum trace", "float[4,4] x", "float", 'Einsum <equation = "ii->i"> (x)')
    case(
        "LayerNorm",
        "float[3,8] x, float[8] s, float[8] b",
        "float",
        "LayerNormalization (x, s, b)",
        s=[1.0, 0.5],
        b=[0.0, 1.0],
    )
    case("LayerNorm two", "float[3,4,8] x, float[4,8] s", "float", "LayerNormalization <axis = 1> (x, s)", s=[1.0, 0.5])
    case("InstanceNorm", "float[2,3,4,4] x", "float", "InstanceNormalization (x, s, b)",
         "float[3] s = {1,2,0.5}, float[3] b = {0,1,-1}")  # fmt: skip
    case("GroupNorm", "float[2,4,3,3] x", "float", "GroupNormalization <num_groups = 2> (x, s, b)",
         "float[4] s = {1,2,0.5,1}, float[4] b = {0,1,-1,0}", opset=21)  # fmt: skip
    case("BatchNorm", "float[2,3,4,4] x", "float", "BatchNormalization (x, s, b, m, v)",
         "float[3] s = {1,2,0.5}, float[3] b = {0,1,-1}, float[3] m = {0,3,1}, float[3] v = {1,0.25,0}")  # fmt: skip
    case("Attention", "float[2,8,16] q, float[2,8,16] k, float[2,8,16] v, float[8,8] m", "float",
         "t = Transpose <perm = [0, 2, 1]> (k) s = MatMul (q, t) a = Add (s, m) p = Softmax <axis = -1> (a) y = MatMul (p, v)",
         m=[0.0, 0.0, -float("inf"), -1e9])  # fmt: skip


def quantized() -> None:
    for kind, zero in (("uint8", 128), ("int8", 3), ("uint16", 1000), ("int16", -5)):
        for scale in (0.01, 0.5, 0.1):
            case(f"QuantizeLinear {kind} {scale}", "float[2,20] x", kind, "QuantizeLinear (x, s, z)",
                 f"float s = {{{scale}}}, {kind} z = {{{zero}}}", opset=21)  # fmt: skip
        case(f"DequantizeLinear {kind}", f"{kind}[2,6] x", "float", "DequantizeLinear (x, s, z)",
             f"float s = {{0.01}}, {kind} z = {{{zero}}}", opset=21)  # fmt: skip
        case(f"Quantize there and back {kind}", "float[2,20] x", "float", "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)",
             f"float s = {{0.05}}, {kind} z = {{{zero}}}", opset=21)  # fmt: skip
    case("DequantizeLinear int32", "int32[2,6] x", "float", "DequantizeLinear (x, s)", "float s = {0.01}", opset=21)
    case("QuantizeLinear axis", "float[2,3,4] x", "int8", "QuantizeLinear <axis = 1> (x, s, z)",
         "float[3] s = {0.1,0.5,2}, int8[3] z = {0,3,-3}")  # fmt: skip
    case("QuantizeLinear none", "float[2,20] x", "uint8", "QuantizeLinear (x, s)", "float s = {0.25}")
    case(
        "DynamicQuantizeLinear",
        "float[2,20] x",
        "uint8[2,20] y, float s, uint8 z",
        "y, s, z = DynamicQuantizeLinear (x)",
    )
    for a in ("int8", "uint8"):
        for b in ("int8", "uint8"):
            case(f"MatMulInteger {a} {b}", f"{a}[3,5] x, {b}[5,4] z", "int32", "MatMulInteger (x, z, p, q)",
                 f"{a} p = {{3}}, {b} q = {{5}}")  # fmt: skip
    case("MatMulInteger plain", "uint8[3,5] x, uint8[5,4] z", "int32", "MatMulInteger (x, z)")
    case(
        "ConvInteger",
        "uint8[1,2,5,5] x, uint8[3,2,3,3] w",
        "int32",
        "ConvInteger (x, w, p, q)",
        "uint8 p = {3}, uint8 q = {5}",
    )
    case("QLinearMatMul", "uint8[3,5] x, uint8[5,4] z", "uint8", "QLinearMatMul (x, s, p, z, s, p, t, p)",
         "float s = {0.1}, uint8 p = {128}, float t = {0.7}")  # fmt: skip
    case("QLinearConv", "uint8[1,2,5,5] x, uint8[3,2,3,3] w", "uint8", "QLinearConv (x, s, p, w, s, p, t, p)",
         "float s = {0.1}, uint8 p = {128}, float t = {0.7}")  # fmt: skip


def folded() -> None:
    """Constants that our importer and TVM's compute while they compile."""
    numbers = "float[8] k = {-2, -0.5, 0, 0.5, 1.5, 2.5, 89, -104}"
    for op in [
        "Exp",
        "Sigmoid",
        "Tanh",
        "Erf",
        "Sign",
        "Round",
        "Floor",
        "Relu",
        "Neg",
        "Log",
        "Sqrt",
        "Softplus",
        "HardSwish",
        "Reciprocal",
        "Softmax",
        "Abs",
    ]:
        case(f"folded {op}", "float[8] x", "float", f"c = {op} (k) y = Add (x, c)", numbers)
    special = "float[6] k = {-inf, inf, nan, 0, 1, -1}"
    for op in ["Exp", "Sigmoid", "Tanh", "Erf", "Sign", "Relu", "IsNaN", "IsInf"]:
        last = "d = Cast <to = 1> (c) y = Add (x, d)" if op.startswith("Is") else "y = Add (x, c)"
        case(f"folded special {op}", "float[6] x", "float", f"c = {op} (k) {last}", special)
    case("folded Max", "float[6] x", "float", "c = Max (k, z) y = Add (x, c)", f"{special}, float z = {{0}}")
    case(
        "folded Div",
        "int64[6] x",
        "int64",
        "c = Div (k, z) y = Add (x, c)",
        "int64[6] k = {-7,7,-3,3,-8,8}, int64 z = {3}",
    )
    case(
        "folded Mod",
        "int64[6] x",
        "int64",
        "c = Mod (k, z) y = Add (x, c)",
        "int64[6] k = {-7,7,-3,3,-8,8}, int64 z = {3}",
    )
    case(
        "folded Mul",
        "int64[2] x",
        "int64",
        "c = Mul (k, z) y = Add (x, c)",
        "int64[2] k = {4294967296,3}, int64 z = {8}",
    )
    case(
        "folded Cast",
        "int64[6] x",
        "int64",
        "c = Cast <to = 7> (k) y = Add (x, c)",
        "float[6] k = {-2.5,2.5,-0.5,0.5,1e9,3e9}",
    )
    case(
        "folded Gather",
        "int64[2] i",
        "int64",
        "c = Add (k, k) y = Gather (c, i)",
        "int64[3] k = {4294967296,3,-5}",
        i=[-3, -1, 0, 2],
    )
    case("wide index", "int64[4] x", "int64", "y = Mul (x, k)", "int64 k = {3}")
    case(
        "shape arithmetic",
        "float[2,6] x",
        "int64",
        "s = Shape (x) m = Mul (s, k) y = Add (m, k)",
        "int64[1] k = {4294967296}",
    )
    case(
        "Range",
        "int64 a",
        "int64",
        "b = Range (z, n, o) y = Mul (b, a)",
        "int64 z = {10}, int64 n = {0}, int64 o = {-3}",
    )


for family in (unary, binary, casts, reductions, indices, windows, products, quantized, folded):
    family()
