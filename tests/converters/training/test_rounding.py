"""Fake quantization in a torch model: what it computes, learns, and leaves."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stripes import Net, accuracy, stripes, train, unbalanced
from torch import nn

from enginesmith.converters.precision.int8.weights import along, rounded, scales
from enginesmith.converters.stages.finetune import fine_tune
from enginesmith.converters.training.rounding import Rounding
from enginesmith.converters.training.weighted import output_axis, settle, weighted

LAYERS = {
    "conv": lambda: nn.Conv2d(4, 6, 3),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, groups=4),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3),
    "transposed depthwise": lambda: nn.ConvTranspose2d(4, 4, 3, groups=4),
    "linear": lambda: nn.Linear(4, 6),
    "conv1d": lambda: nn.Conv1d(4, 6, 3),
}


def rounding(model: nn.Module) -> Rounding:
    return Rounding(weighted(model)[0])


@pytest.mark.parametrize("kind", LAYERS)
def test_weights_are_rounded_as_the_graph_will_round_them(kind: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    with torch.no_grad():
        layer.weight *= torch.logspace(-3, 2, layer.weight.numel()).reshape(layer.weight.shape)
    weights, axis = layer.weight.detach().numpy().copy(), output_axis(layer)
    scale = scales(weights, axis)
    expected = rounded(weights, scale, axis) * along(scale, weights.ndim, axis)
    rounding(nn.Sequential(layer))
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, rtol=1e-5, atol=1e-9)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20))
def test_inputs_are_rounded_to_127_steps_of_their_largest_magnitude(values: list[float]) -> None:
    layer = nn.Linear(1, 1)
    seen = []
    held = rounding(nn.Sequential(layer))
    layer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x = torch.tensor(values)[:, None]
    layer(x)
    peak = float(x.abs().max())
    assert held.remove() == ({"0": pytest.approx(peak)} if peak else {})
    assert float((seen[0] - x).abs().max()) <= peak / 127 * 0.501 + 1e-30


def test_ranges_follow_the_training_and_not_an_evaluation() -> None:
    layer = nn.Linear(2, 2)
    held = rounding(nn.Sequential(layer))
    layer(torch.ones(1, 2))
    with torch.no_grad():
        layer(torch.full((1, 2), 1e6))
    layer(input=torch.full((1, 2), 3.0))
    assert held.remove() == {"0": pytest.approx(0.99 + 0.01 * 3)}


def test_a_copy_of_the_model_has_ranges_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    held = rounding(model)
    model(torch.ones(1, 2))
    copy.deepcopy(model)(torch.full((1, 2), 50.0))
    assert held.remove() == {"0": pytest.approx(1.0)}


def test_empty_and_integer_inputs_pass() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    held = rounding(model)
    assert model(torch.zeros(0, 2)).shape == (0, 2)
    assert held.remove() == {}


def test_afterwards_the_model_is_as_it_was_but_for_its_weights() -> None:
    model = Net()
    keys, pictures = list(model.state_dict()), stripes(8, 0)[0]
    layers, _ = weighted(model)
    held = Rounding(layers)
    model(pictures)
    held.remove()
    settle(layers.values())
    assert sorted(model.state_dict()) == sorted(keys)
    assert [type(module) for module in model] == [type(module) for module in Net()]
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(isinstance(module.weight, nn.Parameter) and module.weight.requires_grad for module in layers.values())


def test_rounded_weights_stay_as_they_are_when_they_are_rounded_again() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3)
    for _ in range(2):
        rounding(nn.Sequential(layer))
        settle([layer])
    once = layer.weight.detach().clone()
    rounding(nn.Sequential(layer))
    torch.testing.assert_close(layer.weight.detach(), once, rtol=1e-6, atol=0)


def test_a_layer_that_never_runs_is_named() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    record = fine_tune(Half(), lambda model: model(torch.ones(1, 2)), qat=True, sparse=False)
    assert list(record.ranges) == ["used"]
    assert record.left["unused"].startswith("no input reached it")


def test_what_computes_its_weight_or_has_products_in_functions_is_left() -> None:
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.MultiheadAttention(4, 2), nn.Linear(4, 4)
    )
    layers, left = weighted(model)
    assert list(layers) == ["2"]
    assert set(left) == {"0", "1"}


def test_training_recovers_what_int8_loses(trained: Net) -> None:
    model = unbalanced(trained)
    before = accuracy(model)
    assert before == accuracy(trained) > 0.98
    untrained = copy.deepcopy(model)
    held = rounding(untrained)
    untrained(stripes(512, 3)[0])
    lost = accuracy(untrained)
    assert lost < before - 0.03

    rounded_accuracy = []

    def function(model: nn.Module) -> None:
        for _ in train(model):
            pass
        rounded_accuracy.append(accuracy(model))

    record = fine_tune(model, function, qat=True, sparse=False)
    assert rounded_accuracy[0] > lost + 0.4 * (before - lost)  # 0.54 on one processor, above 0.6 on others
    assert set(record.ranges) == set(record.rounded) == {"0", "3", "6", "11"}
    held.remove()
