"""Models from folders and from the hub: their weights, their parts, and one line for whatever is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from hub_folders import clip, llama, sam, t5, unet, vae, vit
from safetensors.torch import load_file, save_file

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.hub import load_hub_model, loading
from enginesmith.converters.torch_models.loaded import LoadedModel


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No host answers, and a try to connect is an error."""
    monkeypatch.setattr(loading, "reachable", lambda host: False)
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("a connection was tried"))


def load(folder: Path, part: str = "", weights: str = "auto", trust: bool = False, seed: int = 0) -> LoadedModel:
    return load_hub_model(f"#{part}" if part else "", folder, weights, trust, seed)


def test_a_configuration_alone_gets_seeded_weights(tmp_path: Path) -> None:
    first, same, other = (load(vit(tmp_path), seed=seed) for seed in (0, 0, 1))
    assert first.weights.origin == "random"
    assert "has no weights" in first.warnings[0]
    states = [each.module.state_dict() for each in (first, same, other)]
    name = "vit.embeddings.patch_embeddings.projection.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])
    with pytest.raises(UserError, match="has no weights"):
        load(tmp_path, weights="pretrained")


def test_weights_in_the_folder(tmp_path: Path) -> None:
    torch.manual_seed(7)
    made = transformers.ViTForImageClassification(transformers.ViTConfig.from_pretrained(vit(tmp_path))).half()
    made.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert (loaded.weights.origin, loaded.warnings, loaded.task) == ("pretrained", (), "classification")
    assert loaded.module.dtype == torch.float32
    kept = made.state_dict()["vit.layernorm.weight"].float()
    assert torch.equal(loaded.module.state_dict()["vit.layernorm.weight"], kept)

    state = load_file(tmp_path / "model.safetensors")
    state.pop("classifier.weight")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert load(tmp_path).warnings == ("not in the checkpoint, so random: classifier.weight",)
    assert load(tmp_path, weights="random").weights.origin == "random"


def test_a_state_dict_beside_the_folder(tmp_path: Path) -> None:
    torch.manual_seed(7)
    made = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(llama(tmp_path)))
    torch.save(made.state_dict(), tmp_path / "w.pt")
    loaded = load(tmp_path, "decoder", weights=str(tmp_path / "w.pt"))
    assert loaded.weights.origin == "file"
    given = loaded.example.kwargs
    torch.testing.assert_close(loaded.module(**given)["logits"], made.eval()(given["input_ids"]).logits)


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (llama, "#decoder, #decoder_with_past"),
        (t5, "#encoder, #decoder, #decoder_with_past"),
        (sam, "#vision_encoder, #mask_decoder"),
        (vae, "#encoder, #decoder"),
    ],
)
def test_parts_are_listed_where_one_must_be_chosen(make, parts: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"runs as several graphs; choose {parts}$"):
        load(make(tmp_path / "m"))
    with pytest.raises(UserError, match=f"hf:m has no part 'x'; it has {parts}$"):
        load(tmp_path / "m", "x")


@pytest.mark.parametrize(
    ("part", "names", "embeds"),
    [
        ("", ["attention_mask", "input_ids", "pixel_values"], ["image_embeds", "text_embeds"]),
        ("model", ["attention_mask", "input_ids", "pixel_values"], ["image_embeds", "text_embeds"]),
        ("text_model", ["attention_mask", "input_ids"], ["text_embeds"]),
        ("vision_model", ["pixel_values"], ["image_embeds"]),
    ],
)
def test_towers_of_clip(part: str, names: list[str], embeds: list[str], tmp_path: Path) -> None:
    loaded = load(clip(tmp_path), part)
    assert sorted(loaded.example.kwargs) == names
    made = loaded.module(**loaded.example.kwargs)
    assert sorted(name for name in made if name.endswith("_embeds")) == embeds
    assert all(made[name].shape == (1, 16) for name in embeds)


def test_a_mask_decoder_takes_what_the_encoder_gives(tmp_path: Path) -> None:
    whole = load(sam(tmp_path), "mask_decoder")
    encoder = load(tmp_path, "vision_encoder")
    embedding = encoder.module(**encoder.example.kwargs).last_hidden_state
    assert torch.allclose(embedding, whole.example.kwargs["image_embeddings"], atol=1e-5)
    assert whole.module(**whole.example.kwargs).pred_masks.shape == (1, 1, 3, 32, 32)


def test_an_autoencoder_halves(tmp_path: Path) -> None:
    decoder, encoder = load(vae(tmp_path), "decoder"), load(tmp_path, "encoder")
    assert decoder.module(**decoder.example.kwargs)["sample"].shape == encoder.example.kwargs["sample"].shape
    assert encoder.module(**encoder.example.kwargs)["latent_parameters"].shape == (1, 8, 16, 16)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"addition_embed_type": "text_time", "addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 40},
        {"num_class_embeds": 5},
        {"time_cond_proj_dim": 6},
    ],
    ids=["plain", "sdxl", "classes", "guided"],
)
def test_a_denoiser_takes_its_example(changed: dict, tmp_path: Path) -> None:
    loaded = load(unet(tmp_path, **changed))
    given = loaded.example.kwargs
    assert loaded.module(**given).sample.shape == given["sample"].shape == (1, 4, 8, 8)


def test_a_pipeline_names_its_components(tmp_path: Path) -> None:
    vae(tmp_path / "vae")
    unet(tmp_path / "unet")
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"]}
    index |= {"vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "UNet2DConditionModel"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"choose a part: hf:…#NAME of vae, unet"):
        load(tmp_path)
    assert set(load(tmp_path, "vae_decoder").example.kwargs) == {"latent_sample"}
    assert "timestep" in load(tmp_path, "unet").example.kwargs
    with pytest.raises(UserError, match="choose #encoder, #decoder"):
        load(tmp_path, "vae")


def test_nothing_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError, match=r"can't fetch org/name: huggingface\.co does not answer, and it isn't in the cache"
    ):
        load_hub_model("org/name#encoder", None, "auto", False, 0)


def test_a_model_in_the_cache_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    entry = tmp_path / "models--org--name"
    vit(entry / "snapshots" / ("0" * 40))
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text("0" * 40)
    loaded = load_hub_model("org/name", None, "auto", False, 0)
    assert loaded.weights.origin == "random"
    assert (loaded.unreachable, "hf:org/name has no weights" in loaded.warnings[0]) == ("huggingface.co", True)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no config.json and no model_index.json"),
        ({"config.json": "{"}, "can't be read"),
        ({"config.json": "[]"}, "holds no configuration"),
        ({"config.json": '{"model_type": "nonesuch"}'}, "doesn't load with transformers"),
        ({"config.json": '{"_class_name": "Nonesuch"}'}, "has no model Nonesuch"),
        ({"config.json": '{"model_type": "vit", "hidden_size": "wide"}'}, "doesn't load with transformers"),
        ({"model_index.json": '{"_class_name": "P"}'}, "no component with a config.json"),
    ],
)
def test_a_broken_folder_is_one_line(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


def test_code_in_a_folder_runs_with_trust_alone(tmp_path: Path) -> None:
    config = {"model_type": "own", "auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise RuntimeError('mine')\n")
    with pytest.raises(UserError, match="--trust runs the code that it carries"):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()
