"""diffusers: the models of a pipeline, one by one; an autoencoder as an encoder and a decoder. Inputs are called as Optimum calls them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.torch_models.example import Example
from enginesmith.converters.torch_models.hub.part import MODEL, Part, Parts

SIZE = 64
"""A side of the latents of a model that says none."""
TEXT = 77
"""Tokens of a prompt, as CLIP pads it."""
STEP = 500
"""Of the noise's schedule, which has 1000 as a rule."""


def build(folder: Path, pretrained: bool, trust: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """The model of a folder's `config.json` in float32. Raises UserError."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    try:
        config = json.loads((folder / "config.json").read_text())
        name = str(config["_class_name"])
        kind = getattr(diffusers, name, None)
        if kind is None or not issubclass(kind, diffusers.ModelMixin):
            raise UserError(f"{folder}: diffusers {diffusers.__version__} has no model {name}")
        if not pretrained:
            return kind.from_config(config).float(), ()
        return kind.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True), ()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{folder} doesn't load with diffusers: {first_line(error)}") from error


def parts(model: Any, folder: Path) -> Parts:
    """The two halves of an autoencoder; else the whole."""
    if callable(getattr(model, "encode", None)) and callable(getattr(model, "decode", None)):
        return {"encoder": partial(_encoder, model), "decoder": partial(_decoder, model)}
    return {MODEL: partial(_whole, model)}


class Encoder(nn.Module):
    """Pictures to latents: float[batch, channels, height, width] in -1..1 to the mean and the logarithm of the variance where
    latents are drawn, to the latents themselves where they aren't.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, sample: Tensor) -> dict[str, Tensor]:
        found = self.model.encode(sample)
        if hasattr(found, "latent_dist"):
            return {"latent_parameters": found.latent_dist.parameters}
        return {"latent_sample": found[0]}


class Decoder(nn.Module):
    """Latents to pictures, float[batch, channels, height, width]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, latent_sample: Tensor) -> dict[str, Tensor]:
        return {"sample": self.model.decode(latent_sample).sample}


def _encoder(model: Any) -> Part:
    return Part(
        Encoder(model), Example((), {"sample": _noise(1, model.config.in_channels, *_picture(model)).clamp(-1, 1)})
    )


def _decoder(model: Any) -> Part:
    height, width = (max(side // _reduction(model), 1) for side in _picture(model))
    channels = next((model.config[name] for name in ("latent_channels", "vq_embed_dim") if model.config.get(name)), 4)
    return Part(Decoder(model), Example((), {"latent_sample": _noise(1, channels, height, width)}))


def _picture(model: Any) -> tuple[int, int]:
    size = model.config.get("sample_size") or 256
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _reduction(model: Any) -> int:
    """Pixels to a side of a latent."""
    levels = model.config.get("block_out_channels") or model.config.get("encoder_block_out_channels") or (1,) * 4
    return int(2 ** (len(levels) - 1))


def _whole(model: Any) -> Part:
    """A denoiser: the makers below know what its parameters hold, by their names."""
    parameters = inspect.signature(model.forward).parameters
    example = {
        name: value for name in parameters if name in MAKERS and (value := MAKERS[name](model.config)) is not None
    }
    unknown = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and name not in example
    ]
    if not example or unknown:
        raise UserError(
            f"nothing is known of the inputs of {type(model).__name__} ({', '.join(unknown or parameters)}); give "
            "file.py:factory with a function that returns (model, args, kwargs)"
        )
    return Part(model, Example((), example))


def _noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _sides(config: Any) -> tuple[int, int]:
    size = config.get("sample_size") or SIZE
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _packed(config: Any) -> bool:
    """Does it take latents as a sequence, with the place of each, as Flux does?"""
    return "axes_dims_rope" in config


def _latents(config: Any) -> Tensor:
    height, width = _sides(config)
    if _packed(config):
        return _noise(1, height * width // 4, config.in_channels)
    return _noise(1, config.in_channels, height, width)


def _places(config: Any) -> Tensor | None:
    if not _packed(config):
        return None
    height, width = (side // 2 for side in _sides(config))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3).float()


def _prompt(config: Any) -> Tensor | None:
    names = ("encoder_hid_dim", "cross_attention_dim", "joint_attention_dim", "caption_channels")
    # the width before the model's own projection, where it has one
    widths = [config[name] for name in (names[3], *names[:3]) if config.get(name)]
    if not widths:
        return None
    width = widths[0] if isinstance(widths[0], int) else widths[0][0]
    return _noise(1, TEXT, width)


def _pooled(config: Any) -> Tensor | None:
    return _noise(1, config.pooled_projection_dim) if config.get("pooled_projection_dim") else None


def _label(config: Any) -> Tensor | None:
    classes = config.get("num_class_embeds") or (
        config.get("norm_type") == "ada_norm_zero" and config.num_embeds_ada_norm
    )
    return torch.tensor([min(int(classes), 8) - 1]) if classes else None


def _conditions(config: Any) -> dict[str, Any] | None:
    """SDXL's pooled text and its sizes: original height and width, crop, target height and width."""
    if config.get("addition_embed_type") == "text_time":
        height, width = (8.0 * side for side in _sides(config))
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        return {"text_embeds": _noise(1, pooled), "time_ids": torch.tensor([[height, width, 0.0, 0.0, height, width]])}
    return {"resolution": None, "aspect_ratio": None} if "use_additional_conditions" in config else None


def _hint(config: Any) -> Tensor:
    """A picture that the latents follow; the model's own convolutions bring it to their size."""
    factor = 2 ** (len(config.conditioning_embedding_out_channels) - 1)
    height, width = (factor * side for side in _sides(config))
    return _noise(1, config.conditioning_channels, height, width).sigmoid()


MAKERS: dict[str, Callable[[Any], Any]] = {
    "sample": _latents,
    "hidden_states": _latents,
    "timestep": lambda config: torch.tensor([STEP / 1000 if _packed(config) else STEP]),
    "encoder_hidden_states": _prompt,
    "pooled_projections": _pooled,
    "img_ids": _places,
    "txt_ids": lambda config: torch.zeros(TEXT, 3) if _packed(config) else None,
    "guidance": lambda config: torch.tensor([3.5]) if config.get("guidance_embeds") else None,
    "class_labels": _label,
    "timestep_cond": lambda config: _noise(1, config.time_cond_proj_dim) if config.get("time_cond_proj_dim") else None,
    "added_cond_kwargs": _conditions,
    "controlnet_cond": _hint,
}
"""What a denoiser's parameters hold, by their names; None where its configuration has no such input."""
