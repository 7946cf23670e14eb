"""Whole models with complex numbers as graphs without."""

import pytest
import torch
from operators_support import exported_holds
from torch import nn

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.torch_models.arguments import Arguments
from enginesmith.converters.torch_models.capture import capture
from enginesmith.converters.torch_models.example import Example
from enginesmith.converters.torch_models.exporters import Exporter, Road
from enginesmith.converters.torch_models.outputs import flat, flatten


class Rotary(nn.Module):
    """Rotary embedding with complex frequencies in a buffer, as in the reference code of Llama, and a complex parameter."""

    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", torch.polar(torch.ones(7, 4), torch.randn(7, 4)))
        self.weight = nn.Parameter(torch.randn(4, 3, dtype=torch.complex64))
        self.inner = nn.Linear(4, 5, dtype=torch.complex64)

    def forward(self, x):
        z = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2)) * self.frequencies
        turned = torch.view_as_real(z).flatten(-2)
        return turned, (z @ self.weight).abs(), torch.einsum("btd,de->bte", z, self.weight).real, self.inner(z).imag


def test_rotary_embedding():
    exported_holds(Rotary(), torch.randn(2, 7, 8), tolerance=5e-6, normwise=True)


def test_state_keeps_its_names():
    program = capture(Rotary(), (torch.randn(2, 7, 8),), None)
    assert set(program.state_dict) == {
        *("frequencies_as_pair", "weight_as_pair", "inner.weight_as_pair", "inner.bias_as_pair")
    }


class Border(nn.Module):
    """Complex in, complex out."""

    def forward(self, z, x):
        return z * x + 1j, {"conj": z.conj() / x}


class Transformed(nn.Module):
    """With a Fourier transform."""

    def forward(self, z, x):
        return torch.fft.fft(z) * x, z.abs()


def test_complex_inputs_and_outputs_get_a_last_dimension():
    z, x = torch.randn(2, 3, dtype=torch.complex64), torch.rand(3) + 1
    program = capture(Border(), (z, x), ({0: torch.export.Dim("n", min=1, max=8)}, None))
    made = program.module()(torch.view_as_real(z), x)
    torch.testing.assert_close(torch.view_as_complex(made[0]), z * x + 1j)
    torch.testing.assert_close(torch.view_as_complex(made[1]["conj"].contiguous()), z.conj() / x)


class Written(nn.Module):
    """In-place changes of complex tensors, through views of them too."""

    def forward(self, x):
        z = torch.zeros(4, 6, dtype=torch.complex64)
        z[1:3] = torch.complex(x, x + 1)
        z.real[0] = x[0]
        z *= 2
        return torch.view_as_real(torch.cat([z, z.roll(1, 0)])), torch.where(z.abs() > 1, z, 0).imag


def test_changes_in_place():
    exported_holds(Written(), torch.randn(2, 6), tolerance=2e-6, normwise=True)


class Decomposed(nn.Module):
    """Operators that PyTorch itself takes apart."""

    def forward(self, x):
        z = torch.complex(x, x.flip(0))
        return (
            torch.addcmul(z, z, z.mT.contiguous(), value=2).abs(),
            z.prod(1).real,
            z.var(1),
            torch.lerp(z, -z, 0.25).imag,
        )


def test_operators_that_pytorch_takes_apart():
    exported_holds(Decomposed(), torch.randn(5, 5), tolerance=1e-5, normwise=True)


class Unknown(nn.Module):
    def forward(self, x):
        return torch.linalg.eigvals(torch.complex(x, x)).abs()


def test_an_operator_without_a_form_on_pairs_is_named():
    with pytest.raises(
        ConversionError, match=r"^aten\.linalg_eig\.default on complex numbers can't be written with real ones$"
    ):
        capture(Unknown(), (torch.randn(3, 3),), None)


def test_a_call_with_complex_numbers_is_real_at_an_engines_border():
    z, x = torch.randn(2, 3, dtype=torch.complex64), torch.rand(3) + 1
    arguments = Arguments.of(Border(), Example((z,), {"x": x}))
    assert {name: tuple(tensor.shape) for name, tensor in arguments.tensors.items()} == {"z": (2, 3, 2), "x": (3,)}
    names, found = flatten(arguments.call(Border(), list(arguments.tensors.values())))
    assert [tuple(tensor.shape) for tensor in found] == [(2, 3, 2)] * 2
    for tensor, expected in zip(found, (z * x + 1j, z.conj() / x), strict=True):
        torch.testing.assert_close(torch.view_as_complex(tensor.contiguous()), expected)
    assert len(set(names)) == 2


@pytest.mark.parametrize(("module", "blends"), [(Transformed(), True), (Border(), False)])
def test_fourier_transforms_of_a_model_are_known(module, blends, tmp_path):
    arguments = Arguments.of(module, Example((torch.randn(2, 4, dtype=torch.complex64), torch.rand(4))))
    specs = [InputSpec.static(name, tensor.shape) for name, tensor in arguments.tensors.items()]
    example = {name: tensor.numpy() for name, tensor in arguments.tensors.items()}
    exporter = Exporter(flat(module, arguments), specs, ["first", "second"], example)
    road = Road("dynamo", 18)
    exporter.write(road, tmp_path / "model.onnx")
    assert exporter.blends(road) == blends


class Filtered(nn.Module):
    """A part with a tensor that is no buffer, beside operators that make constants of their own."""

    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.window = [torch.hann_window(16)]

        def forward(self, x):
            spectrum = torch.stft(x, 16, 4, window=self.window[0], return_complex=True)
            return torch.istft(spectrum, 16, 4, window=self.window[0], length=64)

    def __init__(self):
        super().__init__()
        self.part = self.Part()

    def forward(self, x):
        return self.part(x)


def test_constants_that_are_lifted_twice_keep_apart():
    exported_holds(Filtered(), torch.randn(1, 64), tolerance=2e-6, normwise=True)
