"""transformers: which class, with which weights, and the parts that it runs as."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.torch_models.example import Example
from enginesmith.converters.torch_models.hub.example_inputs import ExampleInputs
from enginesmith.converters.torch_models.hub.generation import decoder_parts, encoder_decoder_parts
from enginesmith.converters.torch_models.hub.part import MODEL, Part, Parts

IMAGE_CLASSES = "ForImageClassification"
ATTENTION = "eager"
"""Matrix products and a softmax. PyTorch's fused attention gives zeros where every key is masked, as for the padding on the left
of a prompt, and exporters' translations a mean of all: nobody reads these rows, but they differ.
"""


def build(folder: Path, pretrained: bool, trust: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """The model of a folder's `config.json` in float32, of the class that it names, else the base model of its type; and what
    to warn of. Raises UserError.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    known = {"local_files_only": True, "trust_remote_code": trust}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **known)
        kind = _class(config)
        if not pretrained:
            make = getattr(kind, "_from_config", None) or kind.from_config
            return make(config, dtype=torch.float32, attn_implementation=ATTENTION), ()
        module, info = kind.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
            output_loading_info=True,
            **_only(kind, known),
        )
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{folder} doesn't load with transformers: {first_line(error)}{_remedy(error, trust)}"
        ) from error
    missing = sorted(info["missing_keys"])
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return module, (f"not in the checkpoint, so random: {', '.join(missing[:3])}{more}",)
    return module, ()


def _class(config: Any) -> Any:
    for name in config.architectures or ():
        if hasattr(transformers, name):
            return getattr(transformers, name)
    return transformers.AutoModel


def _only(kind: Any, known: dict[str, Any]) -> dict[str, Any]:
    """The auto classes alone know `trust_remote_code`."""
    return known if kind is transformers.AutoModel else {"local_files_only": True}


def _remedy(error: Exception, trust: bool) -> str:
    return "; --trust runs the code that it carries" if "trust_remote_code" in str(error) and not trust else ""


def parts(model: Any, folder: Path) -> Parts:
    """What a model runs as, by the names that Optimum gives."""
    inputs = ExampleInputs(model, folder)
    if type(model).can_generate():
        return encoder_decoder_parts(model, inputs) if model.config.is_encoder_decoder else decoder_parts(model, inputs)
    if hasattr(model, "get_image_wide_positional_embeddings"):
        return {
            "vision_encoder": partial(_sam_encoder, model, inputs),
            "mask_decoder": partial(_sam_masks, model, inputs),
        }
    whole = {MODEL: partial(_whole, model, inputs)}
    if hasattr(model, "get_text_features") and hasattr(model, "get_image_features"):
        return whole | {
            "text_model": partial(_tower, model, inputs, TextTower, "text"),
            "vision_model": partial(_tower, model, inputs, ImageTower, "image"),
        }
    return whole


def _whole(model: Any, inputs: ExampleInputs) -> Part:
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False
    example = inputs.call()
    task = "classification" if type(model).__name__.endswith(IMAGE_CLASSES) else "tensor"
    return Part(model, Example((), example), task, "imagenet" if "pixel_values" in example else "unknown")


class TextTower(nn.Module):
    """The embedding of a text in the space that it shares with pictures, float[batch, features]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        found = self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask)
        return {"text_embeds": getattr(found, "pooler_output", found)}


class ImageTower(nn.Module):
    """The embedding of a picture in the space that it shares with texts, float[batch, features]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        found = self.model.get_image_features(pixel_values=pixel_values)
        return {"image_embeds": getattr(found, "pooler_output", found)}


def _tower(model: Any, inputs: ExampleInputs, kind: type[TextTower] | type[ImageTower], modality: str) -> Part:
    module = kind(model)
    example = inputs.call((modality,), module.forward)
    return Part(module, Example((), example), pixels="imagenet" if modality == "image" else "unknown")


def _sam_encoder(model: Any, inputs: ExampleInputs) -> Part:
    return Part(
        model.vision_encoder, Example((), inputs.call(("image",), model.vision_encoder.forward)), pixels="imagenet"
    )


def _sam_masks(model: Any, inputs: ExampleInputs) -> Part:
    """SAM's prompt encoder and mask decoder: two points on one picture's embedding."""
    embedding = model.get_image_embeddings(inputs.call(("image",))["pixel_values"])
    size = float(model.config.vision_config.image_size)
    points = torch.tensor([[[[0.3, 0.4], [0.6, 0.7]]]]) * size
    labels = torch.tensor([[[1, 0]]])
    return Part(model, Example((), {"input_points": points, "input_labels": labels, "image_embeddings": embedding}))
