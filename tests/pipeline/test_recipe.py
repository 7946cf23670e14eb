"""A recipe from flags, from a file, and from both; mistakes name the field."""

from __future__ import annotations

import re

import pytest

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.pipeline.job.recipe import make_recipe


@pytest.fixture
def file(tmp_path):
    return tmp_path / "recipe.yaml"


def test_flags_go_over_the_file(file):
    file.write_text("model: frcnn\nsamples: 5\nseed: 7\n")
    recipe = make_recipe({"model": "lenet", "seed": 8}, file)
    assert (recipe.model, recipe.samples, recipe.seed) == ("lenet", 5, 8)


def test_a_manifests_recipe_goes_back_in(file):
    recipe = Recipe(model="lenet", shape="1x1x28x28", measure=0, keep_going=True, out="there")
    file.write_text(recipe.model_dump_json(exclude_defaults=True))
    assert make_recipe({}, file) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: lenet\nbackends: tvm", "unknown key 'backends' in the recipe; did you mean 'backend'?"),
        ("model: lenet\nzzz: 1", "unknown key 'zzz' in the recipe"),
        ("model: lenet\n1: 2", "1"),
        ("model: lenet\nprecision: fp12", "precision = 'fp12' is not known; did you mean fp"),
        ("model: lenet\nprecision: 7", "precision = 7 is not known; known: fp32, fp16, bf16, int8, auto"),
        ("model: lenet\nbudget: half", "can't read budget = 'half'; write it like 0.5% (units: %)"),
        ("model: lenet\nbudget: -1", "budget = -1"),
        ("model: lenet\nbudget: -1%", "can't read budget = '-1%'"),
        ("model: lenet\ntime: 10 minutes", "can't read time = '10 minutes'; write it like 10m (units: s m h d)"),
        ("model: lenet\ntime: 0", "time = 0"),
        ("model: lenet\nmethod: max", "method = 'max'"),
        ("model: lenet\nrest: int8", "rest = 'int8'"),
        ("model: lenet\npixels: rgb", "pixels = 'rgb'"),
        ("model: lenet\nopset: many", "opset = 'many'"),
        ("model: lenet\nsamples: 0", "samples = 0"),
        ("model: lenet\nmemory: .inf", "memory = inf"),
        ("model: lenet\ntimeout: .nan", "timeout = nan"),
        ("model: ", "model = None"),
        ("backend: tvm", "no model; give one"),
        ("", "must be a mapping"),
        ("- a\n- b", "must be a mapping"),
        ("model: [", "is no YAML"),
        ("model: !!python/object/apply:os.getcwd []", "is no YAML"),
    ],
)
def test_a_mistake_is_named(file, text, message):
    file.write_text(text)
    with pytest.raises(UserError) as error:
        make_recipe({}, file)
    assert message in str(error.value)


def test_amounts_have_units(file):
    file.write_text("model: lenet\nprecision: int8\nbudget: 0.5%\ntime: 10m\nkeep: first, /head/*,last")
    recipe = make_recipe({}, file)
    assert (recipe.budget, recipe.time) == (0.005, 600)
    assert Int8Options.asked(recipe).keep == ("first", "/head/*", "last")
    assert make_recipe({"model": "lenet", "budget": "2", "time": "90"}).budget == 2


def test_an_unreadable_file(file, tmp_path):
    with pytest.raises(UserError, match=r"can't read the recipe .*No such file"):
        make_recipe({}, file)
    with pytest.raises(UserError, match=r"can't read the recipe .*directory"):
        make_recipe({}, tmp_path)
    file.write_bytes(b"model: \xff\xfe")
    with pytest.raises(UserError, match="is no YAML"):
        make_recipe({}, file)


def test_no_model_at_all():
    with pytest.raises(UserError, match="no model"):
        make_recipe({})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x]\nmodel: *a", "line 2: it may have no references"),
        ("model: lenet\nmodel: mlp", "'model' stands twice"),
        ("model: lenet\nout: 2024-99-99", "is no YAML: month must be in 1..12"),
        ("[" * 3000, "nested too deep"),
        ('model: "a\\0.onnx"', "a NUL character"),
        ("model: lenet\nmemory: 1.0e-9", "no stage runs in so little"),
        ("model: lenet\nthreads: 99999999999", "less than or equal to 1024"),
        ("# " + "x" * 2_000_000, "more than 1000 kB"),
    ],
)
def test_a_file_that_asks_for_nonsense(file, text, message):
    file.write_text(text)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        make_recipe({}, file)
    assert len(str(error.value)) < 400
