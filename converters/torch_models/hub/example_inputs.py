"""Inputs that a transformers model surely takes: what its own tokenizer, image processor and feature extractor make of a sentence,
a shipped picture and a chord; where the folder has none of them, the same by the configuration alone.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.data import pictures
from enginesmith.converters.data.picture_inputs import as_input, takes_pictures

SENTENCE = "A cat sits in front of a cup of coffee and watches a rocket rise into the evening sky."
TOKENS = 16
"""Of a text that is made up."""
MANY = 30_000
"""Tokens of a vocabulary that a made-up text draws from."""
SIZE = 224
"""Pixels a side of pictures whose size nothing says."""
RATE = 16_000
"""Samples a second of speech, where nothing says it."""

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "spiece.model", "vocab.json")
PROCESSOR = ("preprocessor_config.json", "processor_config.json")


class ExampleInputs:
    """Of one model, by the names of its `forward`'s parameters."""

    def __init__(self, model: Any, folder: Path) -> None:
        self.model, self.folder = model, folder
        self.config = model.config

    def call(self, modalities: Sequence[str] = (), function: Callable[..., Any] | None = None) -> dict[str, Tensor]:
        """Keyword arguments for a call of the model (or of a `function` of it) on these modalities (`text`, `image`, `audio`); all
        of its own where none are given. Batches of one. Raises UserError for a model that takes anything else.
        """
        own = self.model.input_modalities
        wanted = list(modalities or ([own] if isinstance(own, str) else own))
        accepted = set(inspect.signature(function or self.model.forward).parameters)
        makers = {"text": self.text, "image": self.image, "audio": self.audio}
        found: dict[str, Tensor] = {}
        for modality in wanted:
            if modality in makers:
                found |= makers[modality]()
        found = {name: value for name, value in found.items() if name in accepted}
        if not found:
            raise UserError(
                f"nothing is known of the inputs of {type(self.model).__name__}, which takes {' and '.join(wanted)}; "
                "give file.py:factory with a function that returns (model, args, kwargs)"
            )
        if "decoder_input_ids" in accepted and self.config.is_encoder_decoder and "input_ids" in found:
            found["decoder_input_ids"] = found["input_ids"]
        return found

    def text(self) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` and what else the tokenizer gives, int64 [1, tokens]."""
        if self._has(TOKENIZER):
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            return dict(tokenizer(SENTENCE, return_tensors="pt"))
        text = self.config.get_text_config()
        generator = torch.Generator().manual_seed(0)
        special = [getattr(text, f"{name}_token_id", None) for name in ("bos", "eos", "pad")]
        ordinary = [token for token in range(min(text.vocab_size, MANY)) if token not in special]
        ids = torch.tensor(ordinary)[torch.randint(len(ordinary), (1, TOKENS), generator=generator)]
        end = special[1]
        if isinstance(end, int) and end < text.vocab_size:
            ids[:, -1] = end  # CLIP pools there
        found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if getattr(text, "type_vocab_size", 0) > 1:
            found["token_type_ids"] = torch.zeros_like(ids)
        if getattr(text, "max_2d_position_embeddings", 0):
            found["bbox"] = _boxes(TOKENS)
        return found

    def image(self) -> dict[str, Tensor]:
        """`pixel_values`, float32 [1, channels, height, width] as a rule, and what else the processor gives."""
        if self._has(PROCESSOR):
            from transformers import AutoImageProcessor

            processor = AutoImageProcessor.from_pretrained(self.folder, local_files_only=True)
            found = processor(pictures.load(pictures.names()[0], 480, 640), return_tensors="pt")
            return {name: value for name, value in found.items() if isinstance(value, Tensor)}
        vision = next((part for part in self._image_configs() if getattr(part, "image_size", None)), None)
        size = getattr(vision, "image_size", None) or SIZE
        height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
        channels = next((part.num_channels for part in self._image_configs() if hasattr(part, "num_channels")), 3)
        spec = InputSpec.static("pixel_values", (1, channels, height, width))
        if not takes_pictures(spec):  # few pixels, or channels of another kind
            return {spec.name: torch.randn(spec.opt)}
        picture = pictures.load(pictures.names()[0], height, width)[None].astype("float32") / 255
        return {spec.name: torch.from_numpy(as_input(picture, spec, "imagenet"))}

    def _image_configs(self) -> list[Any]:
        inner = [getattr(self.config, name, None) for name in ("vision_config", "backbone_config", "encoder")]
        return [self.config, *(part for part in inner if part is not None)]

    def audio(self) -> dict[str, Tensor]:
        """`input_features` or `input_values`, float32, of a chord."""
        rate = RATE
        extractor = None
        if self._has(PROCESSOR):
            from transformers import AutoFeatureExtractor

            extractor = AutoFeatureExtractor.from_pretrained(self.folder, local_files_only=True)
            rate = extractor.sampling_rate
        times = torch.arange(rate) / rate
        tones = torch.sin(2 * math.pi * torch.tensor([[220.0], [277.2], [329.6]]) * times)
        wave = tones.mean(dim=0) * torch.exp(-times)
        if extractor is not None:
            return dict(extractor(wave.numpy(), sampling_rate=rate, return_tensors="pt"))
        audio = self.config.get_text_config(decoder=False)
        if self.model.main_input_name != "input_features":
            return {"input_values": wave[None]}
        bands = getattr(audio, "num_mel_bins", 80)
        frames = 2 * getattr(audio, "max_source_positions", 50)  # Whisper takes one length alone
        spectrum = torch.linspace(-1, 1, bands)[:, None] * torch.cos(torch.arange(frames) / 7.0)[None]
        return {"input_features": spectrum[None]}

    def _has(self, names: Sequence[str]) -> bool:
        return any((self.folder / name).is_file() for name in names)


def _boxes(count: int) -> Tensor:
    """Places of words on a page, int64 [1, words, 4] in 0..1000: one line below the other."""
    tops = torch.arange(count) * (900 // count)
    return torch.stack([tops // 2, tops, tops // 2 + 80, tops + 40], dim=1)[None]
