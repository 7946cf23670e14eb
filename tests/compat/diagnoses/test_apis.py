"""Names of TensorRT's API that are not there: which side is too old."""

from __future__ import annotations

import pytest

from enginesmith.compat.diagnoses import diagnose
from enginesmith.compat.diagnoses.apis import version_said
from enginesmith.compat.migrations.facts import facts, same_names

REMOVED = [
    (owner, name, fact.last)
    for entry, fact in facts("python").items()
    if fact.last and entry.count(".") == 1
    for owner, name in [entry.split(".")]
    if owner[:1].isupper()
]


@pytest.mark.parametrize(
    "form", ["'tensorrt.tensorrt.{}' object has no attribute '{}'", "type object '{}' has no attribute '{}'"]
)
def test_what_was_removed_is_too_new_for_the_program(form):
    for owner, name, last in REMOVED:
        said = version_said(form.format(owner, name))
        assert f"up to TensorRT {last}" in said
        assert "newer than the program" in said


def test_what_the_newest_release_has_is_missing_in_an_older_one():
    gone = {(owner, name) for owner, name, _ in REMOVED}
    for owner, names in same_names().items():
        for name in names:
            if (owner, name) not in gone:
                assert "older than the program" in version_said(f"'{owner}' object has no attribute '{name}'")


def test_the_c_plus_plus_spelling():
    said = version_said("a.cpp:1:2: error: 'class nvinfer1::IBuilder' has no member named 'buildSerializedNetwork'")
    assert "older than the program" in said


@pytest.mark.parametrize(
    "line", ["'Odd' object has no attribute 'max_workspace_size'", "'IBuilderConfig' object has no attribute 'oddity'"]
)
def test_what_is_not_known_is_not_guessed(line):
    assert version_said(line) == ""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/home/me/tensorrt.py", True),
        ("/usr/lib/python3.9/site-packages/tensorrt/__init__.py", False),
        ("/home/me/other.py", False),
    ],
)
def test_a_script_of_a_packages_name(path, said):
    log = f'''Traceback (most recent call last):
  File "{path}", line 9, in <module>
    import tensorrt
AttributeError: module 'tensorrt' has no attribute 'Odd'
'''
    cause = diagnose(log).cause
    assert cause is not None
    assert any("imported in its place" in meaning for meaning in cause.meanings) is said


def test_a_check_that_stopped_the_program_goes_before_the_crash():
    cause = diagnose("odd.cpp:5: void odd(): Assertion `engine_ != nullptr' failed.\nAborted (core dumped)").cause
    assert cause is not None
    assert cause.id == "cpp-assertion"


def test_the_code_of_the_last_frame_is_no_sentence():
    log = """Traceback (most recent call last):
  File "/v/site-packages/odd/convert.py", line 9, in get
    if named[prefix + '.weight'].dtype != dtype:
KeyError: 'odd.weight'
"""
    cause = diagnose(log).cause
    assert cause is not None
    assert cause.reading is not None
    assert cause.reading.family == "key-missing"
    assert cause.reading.details["name"] == "odd.weight"
