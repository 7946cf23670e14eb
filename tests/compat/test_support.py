"""The support tables: well formed, and in agreement with the backends that are installed."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import onnx
import pytest
from pydantic import ValidationError

from enginesmith.compat import support
from enginesmith.compat.support import probes
from enginesmith.compat.support.table import ANY, Table
from enginesmith.compat.target import EVERY, Target, numbers
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.trial import TRIAL
from enginesmith.converters.core.isolated import Died, Isolated, Raised

RTX = Target("tensorrt-rtx", get_backend("tensorrt-rtx").version())


def taken(asked: Isolated, path: Path) -> bool:
    try:
        return asked.call(TRIAL, "tensorrt-rtx", str(path), "sm_89", timeout=60) is None
    except (Died, Raised):
        return False


@pytest.mark.parametrize("op", probes.operators())
def test_the_installed_tensorrt_rtx_takes_what_its_table_says_and_nothing_else(
    op: str, asked: Isolated, tmp_path: Path
) -> None:
    known = support.lookup(RTX, op)
    allowed = probes.element_types(op)
    said = [] if known is None else [name for name in allowed if known.types is None or name in known.types]
    # An operator that is not there is refused whatever its type: one is enough.
    asked_for = allowed[:1] if known is None else allowed
    found = []
    for element_type in asked_for:
        onnx.save(probes.probe(op, element_type), tmp_path / "probe.onnx")
        if taken(asked, tmp_path / "probe.onnx"):
            found.append(element_type)
    if op == "Attention":
        # which of its forms have a kernel is for a rule; the probe is not one in every type
        assert set(found) < set(said)
    else:
        assert found == said


CONVERTERS = """
import json, sys
sys.modules["torch"] = None  # importing TVM beside torch takes a minute
from tvm.relax.frontend.onnx import onnx_frontend
found = {op: dir(c) for op, c in onnx_frontend._get_convert_map().items() if c is not None}
print(json.dumps({op: sorted(int(n[7:]) for n in names if n.startswith("_impl_v")) for op, names in found.items()}))
"""


def test_the_installed_tvm_converts_what_its_table_says_and_nothing_else() -> None:
    printed = subprocess.run([sys.executable, "-c", CONVERTERS], capture_output=True, text=True, check=True).stdout
    installed: dict[str, list[int]] = json.loads(printed.splitlines()[-1])
    installed["If"] = [1]  # it is converted apart from the map
    known = support.table("tvm").operators
    assert {op: list(entries["0.27"].opsets) for op, entries in known.items()} == {
        op: forms for op, forms in installed.items() if op in probes.operators()
    }


@pytest.mark.parametrize("op", probes.operators())
def test_a_probe_is_a_model_of_its_operator(op: str) -> None:
    for element_type in probes.element_types(op):
        model = probes.probe(op, element_type)
        # onnx can't infer its own function body of this one
        onnx.checker.check_model(model, full_check=op != "MeanVarianceNormalization")
        assert op in {node.op_type for node in model.graph.node}


def test_every_operator_of_onnx_has_a_probe_and_tables_name_no_others() -> None:
    defined = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert set(probes.operators()) == defined
    gone = {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}  # experimental in ONNX 1.4 and before
    for backend in EVERY:
        assert set(support.table(backend).operators) <= defined | gone


@pytest.mark.parametrize("backend", EVERY)
def test_types_are_named_as_the_tables_do_and_every_version_has_its_source(backend: str) -> None:
    known = support.table(backend)
    for op, entries in known.operators.items():
        for version, entry in entries.items():
            assert entry.types is None or set(entry.types) <= set(support.TYPES), (op, version)
        found = [entry.model_dump() for entry in entries.values()]
        assert all(a != b for a, b in pairwise(found)), f"{op}: an entry repeats the one before"
    assert all(release.source for release in known.versions.values())


# Facts to be found in onnx-tensorrt's docs/operators.md, read again by hand for this test.
@pytest.mark.parametrize(
    ("version", "op", "expected"),
    [
        ("7.2", "NonZero", None),
        ("8.4", "NonZero", None),
        ("8.5", "NonZero", {"float32", "float16"}),
        ("8.6", "TopK", {"float32", "float16", "int32"}),
        ("8.5", "LayerNormalization", None),
        ("8.6", "LayerNormalization", {"float32", "float16"}),
        ("10.1", "Add", {"float32", "float16", "bfloat16", "int32", "int64"}),
        ("10.3", "RotaryEmbedding", None),
        ("10.16", "RotaryEmbedding", {"float32", "float16", "bfloat16"}),
        ("11.0", "Unique", None),
    ],
)
def test_what_versions_of_tensorrt_take(version: str, op: str, expected: set[str] | None) -> None:
    found = support.lookup(Target("tensorrt", version), op)
    assert (None if found is None else found.types) == (None if expected is None else frozenset(expected))


def test_the_first_version_that_takes_an_operator() -> None:
    assert support.first_version_with("tensorrt", "GridSample") == "8.5"
    assert support.first_version_with("tensorrt", "Abs") == support.versions("tensorrt")[0]
    assert support.first_version_with("tensorrt", "GridSample", after="8.6") == "9.0"
    assert support.first_version_with("tensorrt", "Unique") is None
    assert support.first_version_with("tensorrt", "SoftmaxCrossEntropyLoss", after="7.2") is None
    assert support.first_version_with("tvm", "GRU") is None


@pytest.mark.parametrize(
    ("asked_for", "read", "noted"),
    [
        ("8.6", "8.6", False),
        ("8.6.1.6", "8.6", False),
        ("10.2", "10.1", True),
        ("10.10", "10.9", True),
        ("12.0", "11.5", True),
        ("5.0", "7.2", True),
        ("", "11.5", False),
    ],
)
def test_of_an_unknown_version_the_nearest_lower_one_is_read_and_said(asked_for: str, read: str, noted: bool) -> None:
    target = Target("tensorrt", asked_for)
    found = support.lookup(target, "Add")
    assert found is not None
    assert found.version == read
    assert (read in support.version_note(target)) is noted


def test_versions_are_compared_as_numbers() -> None:
    known = support.versions("tensorrt")
    assert known.index("8.6") < known.index("10.1") < known.index("10.9") < known.index("10.12")
    assert known == sorted(known, key=numbers)


def test_an_unknown_backend_has_no_table() -> None:
    with pytest.raises(KeyError):
        support.table("openvino")


@pytest.mark.parametrize(
    "wrong",
    [
        {"1.0": "float33"},
        {"3.0": ANY},
        {"2.0": ANY, "1.0": ANY},
        {"1.0": {"types": None, "opset": 3}},
    ],
)
def test_a_table_with_a_mistake_is_not_read(wrong: dict[str, object]) -> None:
    versions = {"1.0": {"source": "somewhere"}, "2.0": {"source": "somewhere"}}
    Table.model_validate({"backend": "b", "versions": versions, "operators": {"Add": {"1.0": "float32 | a note"}}})
    with pytest.raises(ValidationError):
        Table.model_validate({"backend": "b", "versions": versions, "operators": {"Add": wrong}})
