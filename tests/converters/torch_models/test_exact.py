"""A PyTorch model in float64, which tells what rounding alone does."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from enginesmith.converters.torch_models.exact import exact_results, shaken_results


def results(module: nn.Module, *inputs: np.ndarray, seconds: float = 60.0):
    feeds = [OrderedDict(x=array) for array in inputs]
    with torch.no_grad():
        own = [{"y": module(torch.from_numpy(array)).numpy()} for array in inputs]
        return own, exact_results(module, lambda module: module, feeds, own, len(feeds), seconds)


def test_rounding_is_what_is_between_the_two():
    module = nn.Linear(64, 32)
    x = np.random.default_rng(0).random((2, 64), np.float32)
    ((own,), (exact,)) = results(module, x)
    weight, bias = (array.detach().numpy().astype(np.float64) for array in (module.weight, module.bias))
    assert np.allclose(exact["y"], x.astype(np.float64) @ weight.T + bias, rtol=0, atol=1e-7)
    assert exact["y"].dtype == np.float32
    assert 0 < np.abs(exact["y"] - own["y"]).max() < 1e-6


def test_the_model_itself_is_left_alone():
    class Makes(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            return self.inner(x) + torch.ones(4)

    module = Makes()
    (_, (exact,)) = results(module, np.ones((1, 4), np.float32))
    assert exact
    assert module.inner.weight.dtype == torch.float32
    assert torch.get_default_dtype() == torch.float32


def test_types_that_the_code_names_are_widened_too():
    """Half of the rounding in a model would be in both runs else, and excuse nothing."""

    class Says(nn.Module):
        def forward(self, x):
            return (x.bfloat16() / 3).float() @ torch.eye(4, dtype=torch.float32)

    reference, exact = results(Says(), np.ones((1, 4), np.float32))
    np.testing.assert_allclose(exact[0]["y"], np.full((1, 4), 1 / 3), rtol=1e-7)
    assert abs(reference[0]["y"] - 1 / 3).max() > 1e-4


def test_complex_weights_keep_their_imaginary_parts():
    class Turns(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("turns", torch.polar(torch.ones(4), torch.arange(4.0)))

        def forward(self, x):
            return torch.view_as_real(torch.view_as_complex(x.view(4, 2)).to(torch.complex64) * self.turns)

    reference, exact = results(Turns(), np.random.default_rng(0).random((1, 8), np.float32))
    assert 0 < np.abs(reference[0]["y"] - exact[0]["y"]).max() < 1e-6


def test_a_model_in_float64_is_run_in_float32():
    """Which is what engines compute in."""
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh()).double()
    reference, exact = results(module, np.linspace(0, 1, 4).reshape(1, 4))
    assert exact[0]["y"].dtype == np.float64
    difference = abs(reference[0]["y"] - exact[0]["y"]).max()
    assert 1e-10 < difference < 1e-6


def test_time_is_limited_and_equal_samples_share():
    one, two = np.ones((1, 4), np.float32), np.zeros((1, 4), np.float32)
    found = results(nn.Linear(4, 4), one, two, one.copy(), seconds=0.0)[1]
    assert [bool(each) for each in found] == [True, False, True]
    assert np.array_equal(found[0]["y"], found[2]["y"])


def test_roundings_that_happen_to_be_none_are_seen_where_they_are_shaken():
    """The mean of equal numbers is exact in PyTorch, and off by a step elsewhere, which the division by their deviation magnifies."""
    module = nn.Sequential(nn.ReLU(), nn.InstanceNorm2d(1, eps=1e-12))
    feeds = [OrderedDict(x=np.ones((1, 1, 8, 8), np.float32))]
    with torch.no_grad():
        own = [{"y": module(torch.from_numpy(feed["x"])).numpy()} for feed in feeds]
        (exact,) = exact_results(module, lambda module: module, feeds, own, 0)
        (shaken,) = shaken_results(module, lambda module: module, feeds, own, 0)
        assert shaken_results(module, lambda module: module, feeds, own, 1) == [{}], "an ordinary one"
    assert np.abs(exact["y"] - own[0]["y"]).max() == 0
    assert np.abs(shaken["y"] - exact["y"]).max() > 1e-3


def test_a_sum_is_shaken_by_all_its_additions():
    """The mean of 112 x 112 equal numbers drifts: every partial sum is rounded the same way."""
    feeds = [OrderedDict(x=np.full((1, 8, side, side), 0.7, np.float32)) for side in (1, 112)]
    module = nn.AdaptiveAvgPool2d(1)
    own = [{"y": feed["x"].mean((2, 3), keepdims=True)} for feed in feeds]
    one, many = shaken_results(module, lambda module: module, feeds, own, 0)
    assert 1e-8 < np.abs(one["y"] / 0.7 - 1).max() < 1e-6
    assert 5e-6 < np.abs(many["y"] / 0.7 - 1).max() < 1e-4


@pytest.mark.parametrize(
    "module",
    [nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), nn.LayerNorm([64, 64])],
    ids=lambda module: type(module).__name__,
)
def test_normalizations_are_shaken_by_what_they_subtract(module: nn.Module):
    """The result on a plane of one color is 0, or its shift, and nothing of that is what rounding does."""
    feeds = [OrderedDict(x=np.full((1, 8, 64, 64), 200, np.float32))]
    with torch.no_grad():
        own = [{"y": module(torch.from_numpy(feed["x"])).numpy()} for feed in feeds]
        (exact,) = exact_results(module, lambda module: module, feeds, own, 0)
        (shaken,) = shaken_results(module, lambda module: module, feeds, own, 0)
    assert 1e-2 < np.abs(shaken["y"] - exact["y"]).max() < 10


def test_a_deviation_of_equal_numbers_is_one_of_their_mean():
    class Deviation(nn.Module):
        def forward(self, x):
            return torch.stack([x.std(1), x.std((1,), correction=0), x.var(1) ** 0.5, torch.var_mean(x, 1)[0] ** 0.5])

    feeds = [OrderedDict(x=np.full((4, 4096), 0.7, np.float32)), OrderedDict(x=np.eye(4, 4096, dtype=np.float32))]
    with torch.no_grad():
        own = [{"y": Deviation()(torch.from_numpy(feed["x"])).numpy()} for feed in feeds]
        exact = exact_results(Deviation(), lambda module: module, feeds, own, 0)
        shaken = shaken_results(Deviation(), lambda module: module, feeds, own, 0)
    equal, other = ((np.abs(one["y"] - two["y"])).max(1) for one, two in zip(shaken, exact, strict=True))
    assert ((equal > 1e-7) & (equal < 1e-4)).all()
    assert (other < 2e-5 * exact[1]["y"].max(1)).all()
