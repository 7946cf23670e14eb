"""A model that generates, step by step with its cache in and out, says what it says of all tokens at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hub_folders import llama, mistral, t5, whisper

from enginesmith.converters.torch_models.hub import load_hub_model


def load(folder: Path, part: str) -> Any:
    return load_hub_model(f"#{part}", folder, "random", False, 0)


@pytest.mark.parametrize("make", [llama, mistral])
def test_steps_of_a_language_model(make: Any, tmp_path: Path) -> None:
    first, next_ = load(make(tmp_path), "decoder"), load(tmp_path, "decoder_with_past")
    prompt = first.example.kwargs
    assert set(next_.example.kwargs) == {*prompt, "past_key_values"}
    with torch.no_grad():
        whole = first.module(**prompt)["logits"]
        cut = {name: value[:, :9] for name, value in prompt.items()}
        begun = first.module(**cut)
        rest = {name: value[:, 9:] for name, value in prompt.items()} | {"attention_mask": prompt["attention_mask"]}
        gone = next_.module(**rest, past_key_values=begun["present"])
    assert torch.allclose(torch.cat([begun["logits"], gone["logits"]], dim=1), whole, atol=1e-5)
    assert gone["present"][1]["key"].shape[2] == prompt["input_ids"].shape[1]


def test_padding_on_the_left_changes_nothing(tmp_path: Path) -> None:
    loaded = load(llama(tmp_path), "decoder")
    given = loaded.example.kwargs
    padded = {
        "input_ids": torch.cat([torch.full((1, 3), 5), given["input_ids"]], dim=1),
        "attention_mask": torch.cat([torch.zeros(1, 3, dtype=torch.int64), given["attention_mask"]], dim=1),
        "position_ids": torch.cat([torch.zeros(1, 3, dtype=torch.int64), given["position_ids"]], dim=1),
    }
    with torch.no_grad():
        assert torch.allclose(loaded.module(**padded)["logits"][:, 3:], loaded.module(**given)["logits"], atol=1e-5)


@pytest.mark.parametrize(("make", "main"), [(t5, "input_ids"), (whisper, "input_features")])
def test_steps_of_a_model_with_an_encoder(make: Any, main: str, tmp_path: Path) -> None:
    encoder, first, next_ = (load(make(tmp_path), part) for part in ("encoder", "decoder", "decoder_with_past"))
    assert main in encoder.example.kwargs
    given = first.example.kwargs
    with torch.no_grad():
        read = encoder.module(**encoder.example.kwargs).last_hidden_state
        assert torch.allclose(read, given["encoder_hidden_states"], atol=1e-5)
        whole = first.module(**given)["logits"]
        ids = given["decoder_input_ids"]
        begun = first.module(**{**given, "decoder_input_ids": ids[:, :2]})
        mask = {name: value for name, value in given.items() if name == "encoder_attention_mask"}
        gone = next_.module(decoder_input_ids=ids[:, 2:], past_key_values=begun["present"], **mask)
    assert torch.allclose(gone["logits"], whole[:, 2:], atol=1e-5)
    assert gone["present"][0]["decoder"]["key"].shape[2] == 3
    assert set(next_.example.kwargs) == {"decoder_input_ids", "past_key_values", *mask}
