"""What hangs together is cut together, and what is left computes as the whole model does without the same channels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from enginesmith.converters.compression import pruning, rules
from enginesmith.converters.compression.record import Pruning
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.arguments import Arguments
from enginesmith.converters.torch_models.cut import Cut, apply
from enginesmith.converters.torch_models.example import Example
from enginesmith.converters.torch_models.outputs import flat

PICTURE = (2, 3, 12, 12)


def conv(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = conv(3, 32), conv(32, 48), conv(48, 32)
        self.head = nn.Linear(32 * 9, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(F.max_pool2d(x + self.two(self.one(x)), 4).flatten(1))


class Squeezed(nn.Module):
    """Depthwise, with squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = conv(3, 32, 1), conv(32, 32, groups=32)
        self.down, self.up = nn.Conv2d(32, 16, 1), nn.Conv2d(16, 32, 1)
        self.head = nn.Conv2d(32, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.deep(self.stem(x))
        return self.head(x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()).mean((2, 3))


class Shuffled(nn.Module):
    """Branches, concatenation, shuffle, chunk, and a convolution of two groups."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.wide = conv(3, 32), conv(3, 32), conv(32, 64, groups=2)
        self.head = nn.Conv2d(64 + 32, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.one(x), self.two(x)], 1)
        n, c, h, w = both.shape
        first, second = both.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w).chunk(2, 1)
        return self.head(torch.cat([self.wide(first), second], 1))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 32)
        self.num_heads, self.width = 16, 4
        self.norm, self.qkv, self.proj = nn.LayerNorm(32), nn.Linear(32, 192), nn.Linear(64, 32)
        self.mlp = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.head = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x.flatten(2).transpose(1, 2))
        n, tokens, _ = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, tokens, 3, self.num_heads, self.width).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*qkv.unbind(0))
        x = x + self.proj(mixed.transpose(1, 2).reshape(n, tokens, self.num_heads * self.width))
        x = x + self.mlp(x)
        return self.head(x.mean(1))


class Normalized(nn.Module):
    """GroupNorm, a gated unit, a transposed convolution, and a weight that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 64, 3), nn.GroupNorm(8, 64)
        self.gate, self.again = nn.Conv2d(64, 64, 1), nn.Conv2d(32, 32, 1)
        self.head = nn.Conv2d(32, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.glu(self.gate(self.norm(self.stem(x))), 1)
        return self.head(self.again(self.again(x).relu()))


class Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = conv(3, 32), conv(32, 64, stride=2)
        self.inner, self.other, self.head = nn.Conv2d(32, 32, 1), nn.Conv2d(64, 32, 1), conv(32, 32)
        self.score = nn.Conv2d(32, 5, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        low = self.low(x)
        high = self.other(self.high(low))
        mixed = self.inner(low) + F.interpolate(high, size=low.shape[-2:])
        return self.score(self.head(mixed)), self.score(self.head(high))


MODELS: dict[type[nn.Module], list[str]] = {
    Residual: ["stem.0", "one.0"],
    Squeezed: ["stem.0", "down"],
    Shuffled: ["one.0"],
    Attention: ["qkv", "mlp.1"],
    Normalized: ["stem", "gate"],
    Pyramid: ["low.0", "high.0", "other", "head.0"],
}


def pruned(model: nn.Module, x: torch.Tensor, ratio: float = 0.5, **options: str) -> tuple[Cut, Pruning]:
    arguments = Arguments.of(model, Example((x,)))
    return pruning.prune(model, lambda module: flat(module, arguments), [x], ratio, **options)  # type: ignore[arg-type]


def made(kind: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    model = kind().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return model


def without(model: nn.Module, cut: Cut) -> nn.Module:
    """The whole model with zeros in all weights that read what was cut: another way to the same thing than the proof's."""
    masked = copy.deepcopy(model)
    for name, kept in cut.kept.items():
        weight = masked.get_parameter(name) if 1 in kept else torch.empty(0)
        if weight.dim() > 1:
            gone = sorted(set(range(weight.shape[1])) - set(kept[1]))
            weight.data.index_fill_(1, torch.tensor(gone), 0)
    return masked


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_what_is_left_computes_what_the_whole_does_without_the_channels(kind: type[nn.Module]) -> None:
    model, x = made(kind), torch.randn(PICTURE)
    whole = copy.deepcopy(model)
    cut, record = pruned(model, x)
    assert [group.name for group in record.groups] == MODELS[kind], record.left
    assert record.parameters[1] < 0.75 * record.parameters[0]
    with torch.no_grad():
        given, wanted = model(x), without(whole, cut)(x)
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-5)
    model.train()(x)  # it can be trained on
    again = copy.deepcopy(whole)
    apply(again, Cut.model_validate_json(cut.model_dump_json()))
    again.load_state_dict(model.state_dict())


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_every_layer_keeps_a_multiple(kind: type[nn.Module]) -> None:
    model = made(kind)
    whole = copy.deepcopy(model)
    pruned(model, torch.randn(PICTURE), 0.3)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and len(module.weight) != len(
            whole.get_parameter(f"{name}.weight")
        ):
            assert len(module.weight) % pruning.MULTIPLE == 0


def test_the_least_filters_go() -> None:
    model = made(Residual)
    model.one[0].weight.data[::2] *= 0.01  # type: ignore[index, union-attr, operator]
    cut, _ = pruned(model, torch.randn(PICTURE))
    assert cut.kept["one.0.weight"][0] == list(range(1, 48, 2))


def test_a_rule_that_is_wrong_is_found_by_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """A normalization's mean is over all channels, so none can go; whoever forgets that isn't believed."""
    monkeypatch.setitem(rules.RULES, "aten.layer_norm", lambda flow, node: flow.of(node.args[0]))
    _, record = pruned(made(Attention), torch.randn(PICTURE))
    assert "embed" not in [group.name for group in record.groups]
    assert record.left["embed"]


class Odd(nn.Module):
    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.one, self.two, self.head, self.between = nn.Linear(6, 32), nn.Linear(32, 32), nn.Linear(32, 5), between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.two(self.between(self.one(x))).relu())


@pytest.mark.parametrize(
    ("between", "why"),
    [
        (lambda x: x.softmax(-1), "each of them depends on the others"),
        (lambda x: x / x.norm(dim=-1, keepdim=True), "a value is made of all of them"),
        (lambda x: torch.fft.fft(x).real, "isn't known"),
        (lambda x: x * torch.arange(32), "never cut"),
    ],
)
def test_a_group_that_meets_something_else_is_left_with_the_reason(
    between: Callable[[torch.Tensor], torch.Tensor], why: str
) -> None:
    _, record = pruned(Odd(between).eval(), torch.randn(4, 6))
    assert [group.name for group in record.groups] == ["two"]
    assert why in record.left["one"]
    assert record.left["head"] == "it is the model's output"


def test_a_forward_with_sizes_of_its_own_is_left_whole() -> None:
    _, record = pruned(Odd(lambda x: x.reshape(-1, 4, 8).flip(1).reshape(-1, 32)).eval(), torch.randn(4, 6))
    assert [group.name for group in record.groups] == ["two"]


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([nn.Linear(4, 5)], "it is the model's output"),
        ([nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3)], "a multiple of 8"),
        ([nn.ReLU()], "no layer with weights"),
    ],
)
def test_a_model_of_which_nothing_can_be_cut(layers: Sequence[nn.Module], why: str) -> None:
    with pytest.raises(UserError, match=f"no channel of the model can be cut .*{why}"):
        pruned(nn.Sequential(*layers).eval(), torch.randn(2, 4))


def test_a_model_that_torch_export_does_not_take() -> None:
    with pytest.raises(UserError, match=r"torch\.export can't take the model"):
        pruned(Odd(lambda x: x if x.sum() > 0 else -x).eval(), torch.randn(4, 6))


@pytest.mark.parametrize("kind", ["l1", "l2", "bn", "random"])
def test_each_importance_cuts_as_much(kind: str) -> None:
    _, record = pruned(made(Residual), torch.randn(PICTURE), kind=kind)
    assert [group.cut for group in record.groups] == [16, 24]
