"""What holds for every rule: it fires on its example in each version that it speaks of, and its words are complete."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from enginesmith.compat import support
from enginesmith.compat.checks import MODEL_RULES, RULES, findings, problems
from enginesmith.compat.checks.origin import inputs_behind, origin
from enginesmith.compat.graphs import infer
from enginesmith.compat.miscompiles import table
from enginesmith.compat.target import EVERY, TENSORRT, Target


def parsed(text: str) -> ir.Model:
    return infer(ir.from_proto(onnx.parser.parse_model(text)))


def targets(backends: tuple[str, ...], versions: str) -> list[Target]:
    known = [Target(backend, version) for backend in backends for version in support.versions(backend)]
    return [target for target in known if target.within(versions)]


MISCOMPILED = {entry.id for entry in table()}
"""Known of versions that are not on record too, and tested at those."""


@pytest.mark.parametrize("id", [id for id in RULES if id not in MISCOMPILED])
def test_a_rule_fires_in_the_versions_it_speaks_of_and_in_no_other(id: str) -> None:
    rule = RULES[id]
    model = parsed(rule.example)
    own = targets(rule.backends, rule.versions)
    assert own, "a range that holds no version on record"
    fired = [t for t in targets(EVERY, "") if any(p.finding.rule == id for p in problems(model, t))]
    assert fired
    assert {t.backend for t in fired} == set(rule.backends)
    assert set(fired) <= set(own)


@pytest.mark.parametrize("id", [*RULES, *MODEL_RULES])
def test_a_rule_says_cause_remedy_and_source(id: str) -> None:
    rule = RULES.get(id) or MODEL_RULES[id]
    assert rule.cause.endswith(".")
    assert len(rule.source) > 5
    assert rule.remedy
    assert not rule.remedy.endswith(".")


def nodes(count: int) -> onnx.ModelProto:
    """A chain of every kind of node that rules look at closely, with shapes computed on the way."""
    made, name = [], "x"
    for index in range(count // 8):
        own = [f"{index}_{part}" for part in range(8)]
        made += [
            helper.make_node("Shape", [name], [own[0]]),
            helper.make_node("Gather", [own[0], "zero"], [own[1]]),
            helper.make_node("Concat", [own[1], "minus"], [own[2]], axis=0),
            helper.make_node("Reshape", [name, own[2]], [own[3]]),
            helper.make_node("ReduceMean", [own[3], "minus"], [own[4]]),
            helper.make_node("MatMul", [own[3], "w"], [own[5]]),
            helper.make_node("Add", [own[5], own[4]], [own[6]]),
            helper.make_node("Clip", [own[6]], [own[7]]),
        ]
        name = own[7]
    weights = {"zero": np.array([0]), "minus": np.array([-1]), "w": np.eye(4, dtype=np.float32)}
    return helper.make_model(
        helper.make_graph(
            made,
            "chain",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 4])],
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 4])],
            [numpy_helper.from_array(array, key) for key, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )


@pytest.mark.parametrize("backend", EVERY)
def test_all_rules_take_seconds_on_two_thousand_nodes(backend: str) -> None:
    model = infer(ir.from_proto(nodes(2000)))
    target = Target(backend, support.versions(backend)[-1])
    next(iter(findings(model, target)), None)  # reads the table
    started = time.process_time()
    found = list(findings(model, target))
    assert time.process_time() - started < 10
    assert backend == "tvm" or not [finding for finding in found if finding.severity == "error"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("n = Shape (fixed)  v = Identity (n)", "constant"),
        ("a = Constant <value_ints = [1]> ()  v = Add (a, a)", "constant"),
        ("n = Shape (free)  v = Add (n, n)", "shapes"),
        ("n = Shape (free)  v = Add (n, k)", "data"),
        ("r = RandomUniform <shape = [1]> ()  v = Cast <to = 7> (r)", "data"),
    ],
)
def test_where_a_value_comes_from(body: str, expected: str) -> None:
    model = parsed(
        f"""<ir_version: 10, opset_import: ["" : 18]>
        g (float[2] fixed, float[n] free, int64[1] k) => (int64[1] y) {{ {body}  y = Neg (v) }}"""
    )
    value = next(node.inputs[0] for node in model.graph if node.op_type == "Neg")
    assert origin(value) == expected
    assert {v.name for v in inputs_behind(value)} == ({"k"} if "k)" in body else set())


def test_a_call_of_a_function_that_the_model_brings_is_no_finding() -> None:
    model = parsed(
        """<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        main (float[2] x) => (float[2] y) { y = local.twice (x) }
        <domain: "local", opset_import: ["" : 18]>
        twice (a) => (b) { b = Add (a, a) }"""
    )
    for backend in EVERY:
        assert not list(findings(model, Target(backend, support.versions(backend)[-1])))


def finding_of(text: str, target: Target) -> Iterator[str]:
    yield from (f"{found.rule}: {found.message}" for found in findings(parsed(text), target))


def test_the_version_that_would_take_an_operator_is_named() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[4] x) => (int64[1, n] y) { y = NonZero (x) }"""
    assert list(finding_of(text, Target("tensorrt", "8.4"))) == [
        "unsupported-operator: tensorrt 8.4 has no NonZero; tensorrt 8.5 has"
    ]
    assert list(finding_of(text, Target("tensorrt-rtx", "1.7"))) == [
        "unsupported-operator: tensorrt-rtx 1.7 has no NonZero"
    ]


def test_int64_is_int32_for_old_versions_and_itself_for_new_ones() -> None:
    text = """<ir_version: 10, opset_import: ["" : 13]>
    g (int64[4] x) => (int64[4] y) <int64 big = {5000000000}> { y = Add (x, big) }"""
    assert list(finding_of(text, Target("tensorrt", "8.6"))) == [
        "int64-constant: its input 1 holds 5000000000, which is clamped to int32"
    ]
    assert not list(finding_of(text, Target("tensorrt", "10.3")))


@pytest.mark.parametrize("backend", TENSORRT)
def test_unknown_shapes_and_types_are_not_wrong(backend: str) -> None:
    """Of a graph without any inferred type, nothing is said that a type would decide."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]>
        g (float[a, b, c] x, float[d] w) => (float[e] y) {
            s = Softmax (x)  m = MatMul (s, w)  c = Clip (m)  y = GlobalAveragePool (c)
        }"""
    )
    model.graph.input[0].type.tensor_type.ClearField("shape")
    model.graph.input[1].type.tensor_type.ClearField("shape")
    found = findings(ir.from_proto(model), Target(backend, support.versions(backend)[-1]))
    assert not list(found)
