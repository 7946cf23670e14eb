"""`import enginesmith`: what it offers, and what it doesn't import."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import enginesmith
from enginesmith.converters.core.recipe import Recipe

FRAMEWORKS = {"torch", "tvm", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "polygraphy", "numpy", "plotly"}


def test_importing_it_imports_nothing_and_its_functions_no_framework():
    code = f"""
import sys
import enginesmith
print(*sorted({FRAMEWORKS | {"pydantic", "rich"}!r} & set(sys.modules)))
for name in enginesmith.__all__:
    getattr(enginesmith, name)
print(*sorted({FRAMEWORKS!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n\n"


def test_every_name_is_there():
    for name in enginesmith.__all__:
        assert getattr(enginesmith, name).__doc__ or name == "__version__"
    assert {*enginesmith.__all__} <= {*dir(enginesmith)}
    with pytest.raises(AttributeError, match="has no attribute 'biuld'"):
        enginesmith.biuld  # noqa: B018


def test_help_shows_every_field_of_the_recipe():
    for function in (enginesmith.build, enginesmith.sensitivity):
        assert Recipe.model_fields.keys() <= inspect.signature(function).parameters.keys()


def test_type_checkers_see_the_same_names():
    from enginesmith import _PLACES

    assert sorted(_PLACES) == enginesmith.__all__
    source = inspect.getsource(enginesmith)
    for name, module in _PLACES.items():
        assert f"from enginesmith.{module} import {name} as {name}\n" in source
