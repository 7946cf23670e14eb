"""A recipe from flags, from a file, and from both; mistakes name the field."""

from __future__ import annotations

import pytest

from enginesmith.converters.errors import UserError
from enginesmith.pipeline.recipe import Recipe, make_recipe


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
        ("model: lenet\nprecision: 7", "precision = 7 is not known; known: fp32, fp16, bf16"),
        ("model: lenet\nprecision: int8", "precision = 'int8' is not built yet; give fp32, fp16, bf16"),
        ("model: lenet\nprecision: auto", "precision = 'auto' is not built yet"),
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
