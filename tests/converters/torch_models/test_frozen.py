"""What an export would freeze of a model: reads of data that matter, and none of those that don't."""

from __future__ import annotations

import itertools
import logging
import random
import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from enginesmith.converters.torch_models.frozen import Examination, examine


class Function(nn.Module):
    """A function as a module, with a buffer and a layer."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("limit", torch.tensor(2.0))
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def found(function: Callable[..., Tensor]) -> Examination:
    torch.manual_seed(0)
    return examine(Function(function).eval(), [torch.rand(2, 8)])


def nested(_: nn.Module, x: Tensor) -> Tensor:
    if x.max() > 3:  # noqa: SIM102
        if x.min() < -3:
            return x.abs()
    return x


def caught(_: nn.Module, x: Tensor) -> Tensor:
    try:
        if x.min() < 0:
            raise ValueError
    except ValueError:
        return -x
    return x


def rare(_: nn.Module, x: Tensor) -> Tensor:
    return x if int(x.sum() * 10) != 417 else -x


def until(_: nn.Module, x: Tensor) -> Tensor:
    while x.max() > 0.1:
        x = x / 2
    return x


WAYS: dict[str, Callable[..., Tensor]] = {
    "branch": lambda _, x: x * 2 if x.sum() > 0 else x * 3,
    "all": lambda _, x: x if (x > -1).all() else x.relu(),
    "item": lambda _, x: x if x.max().item() < 30 else x / 30,
    "nested": nested,
    "caught": caught,
    "rare": rare,
    "until": until,
    "loop": lambda _, x: torch.stack([x] * int(x.max() + 1)).sum(0),
    "layer": lambda m, x: m.layers[int(x[0, 0])](x),
    "python max": lambda _, x: x * max(x[0, 0], x[0, 1]),
    "equal": lambda _, x: x if torch.equal(x, x.abs()) else -x,
    "text": lambda _, x: x if str(x[0, 0]).startswith("tensor(0.4963") else -x,
    "list": lambda _, x: x if x.tolist()[0][0] != 5.0 else -x,
    "written behind its back": lambda _, x: (x.numpy().fill(1), x * 2)[1],
}
VALUES: dict[str, Callable[..., Tensor]] = {
    "constant": lambda _, x: x - float(x.mean()),
    "tensor": lambda _, x: x * torch.tensor([x[0, 0], x[0, 1]]).sum(),
    "numpy": lambda _, x: x * torch.from_numpy(np.sort(x.numpy())),
    "classes": lambda _, x: torch.nn.functional.one_hot((x * 3).long()).float().sum(-2),
    "slice": lambda _, x: x[:, : int(x.max() * 3) + 1],
    "size, never negative": lambda _, x: x.mean() * torch.arange(x.sum().long().item()),
}


def checks(m: nn.Module, x: Tensor) -> Tensor:
    assert x.max() < 1e6
    if torch.isnan(x).any():
        raise ValueError("NaN")
    torch._assert(bool(x.min() > -1e6), "too small")
    if x.max().item() > 1e3:
        warnings.warn("large", stacklevel=1)
    logging.getLogger(__name__).debug("%s %.3f %s", x, x.mean().item(), x.tolist())
    return x * 2


def shapes(m: nn.Module, x: Tensor) -> Tensor:
    if x.shape[0] > 1 and x.dim() == 2 and x.dtype == torch.float32 and not m.training:
        x = x / int(x.shape[1]) ** 0.5
    x = x + torch.zeros_like(x).sum().item() + torch.arange(x.shape[1]).max().item()
    for layer in m.layers:
        x = layer(x)
    return torch.stack([row * len(x) for row in x])


SOUND: dict[str, Callable[..., Tensor]] = {
    "where": lambda _, x: torch.where(x.sum() > 0, x * 2, x * 3),
    "cond": lambda _, x: torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: x * 3, (x,)),
    "checks": checks,
    "shapes": shapes,
    "buffer": lambda m, x: x * 2 if m.limit > 1 and m.limit.item() < 3 else x,
    "classes": lambda _, x: torch.nn.functional.one_hot((x > 0.5).long(), 2).float(),
    "masked": lambda _, x: x.clone().masked_fill_(x < 0, 0),
    "a tensor of a tensor": lambda _, x: (
        torch.as_tensor(torch.asarray(x * 2), dtype=torch.float64) + torch.tensor(x) + x.new_tensor(x)
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_decision_that_data_takes_is_found(name: str) -> None:
    frozen = found(WAYS[name]).frozen
    assert frozen
    assert any(one.way for one in frozen)
    assert frozen[0].source.startswith("test_frozen.py:")


@pytest.mark.parametrize("name", VALUES)
def test_a_number_of_data_is_found_and_left_to_the_exporter_that_follows(name: str) -> None:
    examination = found(VALUES[name])
    assert examination.frozen
    assert not examination.baked("dynamo")
    assert examination.baked("torchscript")
    assert examination.doubt("dynamo") is None
    assert examination.doubt("torchscript") is not None


@pytest.mark.parametrize("name", SOUND)
def test_what_does_not_change_the_graph_is_none(name: str) -> None:
    examination = found(SOUND[name])
    assert not examination.frozen
    assert examination.doubt("torchscript") is None


def test_scripted_parts_keep_their_branches() -> None:
    @torch.jit.script
    def scripted(x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = x * 2
        return x

    assert not found(lambda _, x: scripted(x) + 1).frozen


def test_random_numbers_are_a_doubt_where_the_answer_depends_on_them() -> None:
    noisy = found(lambda _, x: x + torch.rand_like(x) * 1e-9).doubt("dynamo")
    assert noisy is not None
    assert "rand_like" in noisy.reason
    assert found(lambda _, x: torch.rand_like(x) * 0 if x is None else (torch.rand(3), x)[1]).doubt("dynamo") is None


class Remembers(nn.Module):
    """Each way to keep something between calls."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.calls, self.first, self.kept = how, 0, None, []
        self.register_buffer("average", torch.zeros(()))
        self.signs = itertools.cycle([1, 1, 1, -1])
        self.norm = nn.BatchNorm1d(8).train()

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        match self.how:
            case "counter":
                return x if self.calls < 100 else -x
            case "list":
                self.kept.append(0)
                return x if len(self.kept) < 40 else -x
            case "first":
                self.first = x if self.first is None else self.first
                return x - self.first
            case "view":
                self.first = x[:1] if self.first is None else self.first
                return x - self.first
            case "average":
                self.average.mul_(0.9).add_(x.mean() * 1e-6)
                return x + self.average
            case "weight":
                self.norm.weight.data.mul_(0.9999)
                return x * self.norm.weight
            case "iterator":
                return x * next(self.signs)
            case "clock":
                return x * (int(time.time()) % 2)
            case "table":
                self.first = torch.arange(x.shape[1]) / 3 if self.first is None else self.first
                return x + self.first
            case "told":
                self.kept.append(float(x.max()))
                self.average.copy_(x.mean())
                return x * 2
            case "statistics":
                return self.norm(x)
        raise AssertionError(self.how)


@pytest.mark.parametrize("how", ["counter", "list", "first", "view", "average", "weight", "iterator", "clock"])
def test_an_answer_that_depends_on_earlier_calls_or_on_the_hour(how: str) -> None:
    module = Remembers(how)
    before = module.norm.weight.clone()
    examination = examine(module, [torch.rand(4, 8)])
    assert examination.remembers
    assert examination.doubt("dynamo") is not None
    assert (module.calls, module.first, module.kept) == (0, None, []), "the model is as it was"
    assert torch.equal(module.norm.weight, before)
    assert module.average == 0


@pytest.mark.parametrize("how", ["table", "told", "statistics"])
def test_state_that_does_not_change_the_answer(how: str) -> None:
    module = Remembers(how)
    assert examine(module, [torch.rand(4, 8)]) == Examination()
    assert module.norm.num_batches_tracked == 0


def test_sizes_that_data_decides_are_a_matter_of_torchscript_alone() -> None:
    examination = found(lambda _, x: x * 2 if x[x > 0.5].shape[0] > 3 else x)
    assert not examination.baked("dynamo"), "which refuses the branch by itself"
    assert "takes a bool" in examination.baked("torchscript")
    assert not found(lambda _, x: x[x > 0.5] * 2).baked("torchscript")


def shortened(_: nn.Module, x: Tensor) -> Tensor:
    """As transformers: a mask that hides nothing is left out, but in no export."""
    mask = x > 0
    if not torch.compiler.is_exporting() and mask.all():
        return x
    return x * mask


def test_what_only_speeds_up_a_run_is_no_branch_of_an_export() -> None:
    examination = found(shortened)
    assert examination.baked("dynamo") == ""
    assert "takes a bool" in examination.baked("torchscript")


def test_a_branch_that_an_export_takes_too_is_seen_there() -> None:
    assert "takes a bool" in found(lambda m, x: x if shortened(m, x).sum() > 0 else -x).baked("dynamo")


@pytest.mark.parametrize(("dropout", "drawn"), [(0.0, False), (0.5, True)])
def test_attention_without_dropout_draws_nothing(dropout: float, drawn: bool) -> None:
    def attend(_: nn.Module, x: Tensor) -> Tensor:
        rows = x.reshape(1, 1, 2, 8)
        return nn.functional.scaled_dot_product_attention(rows, rows, rows, dropout_p=dropout)

    assert bool(found(attend).random) is drawn


@pytest.mark.parametrize("training", [False, True])
def test_random_slopes_are_drawn_in_training_alone(training: bool) -> None:
    assert bool(found(lambda _, x: nn.functional.rrelu(x, training=training)).random) is training


@pytest.mark.parametrize(("train", "drawn"), [(None, True), (True, True), (False, False)])
def test_dropout_of_which_nothing_is_said_is_training(train: bool | None, drawn: bool) -> None:
    assert bool(found(lambda _, x: torch.ops.aten.native_dropout(x, 0.5, train)[0]).random) is drawn


def test_pythons_own_random_numbers() -> None:
    assert found(lambda _, x: x if random.random() < 0.999 else -x).doubt("dynamo") is not None


def test_a_number_that_no_other_input_of_the_same_size_has_is_none() -> None:
    """The longest of a padded batch: the mask fits with no other. Elsewhere the same number decides on what is computed."""

    def padded(_: nn.Module, x: Tensor) -> Tensor:
        lengths = (x.sum(dim=1) * 0 + 8).long()
        longest = int(lengths.max())
        mask = torch.arange(longest)[None] < lengths[:, None]
        return x.masked_fill(~mask.view(2, 8), 0)

    def cut(_: nn.Module, x: Tensor) -> Tensor:
        return x[:, : int((x.sum() * 0 + 8).long())]

    assert not found(padded).baked("torchscript")
    assert found(cut).baked("torchscript")


def test_the_line_is_the_authors_and_not_of_the_process_that_runs_it() -> None:
    (place,) = found(lambda _, x: x if x.sum() > 0 else -x).frozen
    assert "test_frozen.py" in place.source


def test_a_check_of_torchs_own_is_none() -> None:
    def drawn(_: nn.Module, x: Tensor) -> Tensor:
        return torch.distributions.Categorical(logits=x).probs

    assert not found(drawn).frozen


def test_a_script_that_writes_a_buffer_is_watched_without_its_storage() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("state", torch.zeros(2, 8))

        def forward(self, x: Tensor) -> Tensor:
            if self.state.size(0) != x.size(0):
                self.state = torch.zeros_like(x)
            self.state = torch.relu(self.state + x)
            return self.state

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        examined = examine(torch.jit.script(Keeps().eval()), [torch.rand(2, 8)])
    assert not examined.frozen
    assert examined.remembers
