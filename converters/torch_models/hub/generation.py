"""Models that generate, one step as a graph: the cache of keys and values goes in and comes out as tensors.

A `decoder` takes the prompt, a `decoder_with_past` the next tokens and the cache; a model with an encoder has that as a third graph.
The inputs' names are `past_key_values.0.key` and, with an encoder, `past_key_values.0.decoder.key`; the outputs' begin with
`present`: as in the graphs that Optimum exports.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.example import Example
from enginesmith.converters.torch_models.hub.example_inputs import ExampleInputs
from enginesmith.converters.torch_models.hub.part import Part, Parts

Layers = list[dict[str, Any]]
"""For each layer `key` and `value`, float[batch, heads, tokens, size]; with an encoder, such a pair under `decoder` and under
`encoder`."""


def decoder_parts(model: Any, inputs: ExampleInputs) -> Parts:
    """Of a language model."""
    prefill = Decoder(model)
    prompt = partial(_prompt, model, inputs)
    return {
        "decoder": lambda: Part(prefill, Example((), prompt())),
        "decoder_with_past": lambda: Part(DecoderWithPast(model), Example((), _step(prefill, prompt()))),
    }


def encoder_decoder_parts(model: Any, inputs: ExampleInputs) -> Parts:
    """Of a model that reads with an encoder what it writes about: T5, BART, Whisper, TrOCR."""
    encoder = model.get_encoder()
    first = Writer(model)

    def read() -> dict[str, Tensor]:
        modality = {"pixel_values": "image", "input_ids": "text"}.get(model.main_input_name, "audio")
        return inputs.call((modality,), encoder.forward)

    def begun() -> dict[str, Any]:
        found = read()
        start = model.generation_config.decoder_start_token_id
        ids = torch.tensor([[start or 0, 1, 2]])
        states = {"encoder_hidden_states": encoder(**found).last_hidden_state}
        return {"decoder_input_ids": ids, **states, **_encoder_mask(found)}

    def going() -> dict[str, Any]:
        given = begun()
        present = first(**given)["present"]
        ids = torch.tensor([[3]])
        return {"decoder_input_ids": ids, "past_key_values": present, **_encoder_mask(given)}

    return {
        "encoder": lambda: Part(
            encoder, Example((), read()), pixels="imagenet" if model.main_input_name == "pixel_values" else "unknown"
        ),
        "decoder": lambda: Part(first, Example((), begun())),
        "decoder_with_past": lambda: Part(WriterWithPast(model), Example((), going())),
    }


class _Step(nn.Module):
    """A model that is told explicitly to use a cache."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        accepted = inspect.signature(model.forward).parameters
        self.cache = next((name for name in ("cache", "past_key_values") if name in accepted), "")
        """What the parameter is called; transformers has renamed it."""
        self.positioned = "position_ids" in accepted
        if not self.cache:
            raise UserError(f"{type(model).__name__} keeps no cache of keys and values; its steps can't be exported")


class Decoder(_Step):
    """The prompt of a language model: its logits, and the cache."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor | None = None) -> dict[str, Any]:
        return self.step(input_ids, attention_mask, position_ids, DynamicCache())

    def step(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor | None, cache: DynamicCache
    ) -> dict[str, Any]:
        """`input_ids`, `position_ids` int64[batch, tokens]; `attention_mask` int64[batch, past + tokens]."""
        positions = {"position_ids": position_ids} if self.positioned else {}
        found = self.model(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=True, **positions, **{self.cache: cache}
        )
        return {"logits": found.logits, "present": [_pair(layer) for layer in _layers(cache)]}


class DecoderWithPast(Decoder):
    """The next tokens of a language model, after those that the cache is of."""

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        past_key_values: Layers,
        position_ids: Tensor | None = None,
    ) -> dict[str, Any]:
        return self.step(input_ids, attention_mask, position_ids, _filled(past_key_values))


class Writer(_Step):
    """The first tokens of a model with an encoder: their logits, and the caches of both."""

    def forward(
        self, decoder_input_ids: Tensor, encoder_hidden_states: Tensor, encoder_attention_mask: Tensor | None = None
    ) -> dict[str, Any]:
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        found = self.step(decoder_input_ids, encoder_hidden_states, encoder_attention_mask, cache)
        own, other = cache.self_attention_cache, cache.cross_attention_cache
        pairs = zip(_layers(own), _layers(other), strict=True)
        return found | {"present": [{"decoder": _pair(one), "encoder": _pair(two)} for one, two in pairs]}

    def step(self, ids: Tensor, states: Tensor, mask: Tensor | None, cache: EncoderDecoderCache) -> dict[str, Any]:
        """`ids` int64[batch, tokens], `states` float[batch, read, size], `mask` int64[batch, read]."""
        masked = {"attention_mask": mask} if mask is not None else {}
        found = self.model(
            decoder_input_ids=ids,
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            use_cache=True,
            **masked,
            **{self.cache: cache},
        )
        return {"logits": found.logits}


class WriterWithPast(Writer):
    """The next tokens of a model with an encoder. What it read is in the cache, which keeps that."""

    def forward(  # type: ignore[override]
        self, decoder_input_ids: Tensor, past_key_values: Layers, encoder_attention_mask: Tensor | None = None
    ) -> dict[str, Any]:
        cache = EncoderDecoderCache(
            _filled([layer["decoder"] for layer in past_key_values]),
            _filled([layer["encoder"] for layer in past_key_values]),
        )
        read = past_key_values[0]["encoder"]["key"]
        width = self.model.config.get_text_config(decoder=True).hidden_size
        # only its sizes are asked for
        states = read.new_zeros(read.shape[0], read.shape[2], width)
        found = self.step(decoder_input_ids, states, encoder_attention_mask, cache)
        return found | {"present": [{"decoder": _pair(layer)} for layer in _layers(cache.self_attention_cache)]}


def _prompt(model: Any, inputs: ExampleInputs) -> dict[str, Any]:
    found = inputs.call(("text",))
    given = {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"]}
    if "position_ids" in inspect.signature(model.forward).parameters:
        given["position_ids"] = torch.arange(given["input_ids"].shape[1])[None]
    return given


def _step(prefill: Decoder, prompt: dict[str, Any]) -> dict[str, Any]:
    """A call that goes on where a prompt ends, with one token."""
    present = prefill(**prompt)["present"]
    tokens = prompt["input_ids"].shape[1]
    given = {
        "input_ids": prompt["input_ids"][:, :1],
        "attention_mask": torch.ones(1, tokens + 1, dtype=torch.int64),
        "past_key_values": present,
    }
    return given | ({"position_ids": torch.tensor([[tokens]])} if "position_ids" in prompt else {})


def _encoder_mask(given: dict[str, Any]) -> dict[str, Tensor]:
    mask = given.get("encoder_attention_mask", given.get("attention_mask"))
    return {} if mask is None or mask.dim() != 2 else {"encoder_attention_mask": mask}


def _filled(layers: Layers) -> DynamicCache:
    """A cache without sliding windows, whose layers all hold every token: their masks leave out what is too old."""
    cache = DynamicCache()
    for index, layer in enumerate(layers):
        cache.update(layer["key"], layer["value"], index)
    return cache


def _layers(cache: DynamicCache) -> list[Any]:
    layers = list(cache.layers)
    for layer in layers:
        if not isinstance(layer, DynamicLayer):
            raise UserError(
                f"a cache of {type(layer).__name__}, whose tensors are no keys and values; can't be exported"
            )
    return layers


def _pair(layer: Any) -> dict[str, Tensor]:
    return {"key": layer.keys, "value": layer.values}
