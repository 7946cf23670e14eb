"""Small models of transformers and diffusers, as `save_pretrained` writes their folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import transformers

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def configured(folder: Path, config: Any, architecture: str) -> Path:
    """A folder with a configuration alone."""
    config.architectures = [architecture]
    config.save_pretrained(folder)
    return folder


def llama(folder: Path, **changed: Any) -> Path:
    config = transformers.LlamaConfig(
        vocab_size=99, num_key_value_heads=2, max_position_embeddings=64, **SMALL, **changed
    )
    return configured(folder, config, "LlamaForCausalLM")


def mistral(folder: Path) -> Path:
    """Layers that see the last five tokens alone."""
    config = transformers.MistralConfig(vocab_size=99, num_key_value_heads=2, sliding_window=5, head_dim=8, **SMALL)
    return configured(folder, config, "MistralForCausalLM")


def t5(folder: Path) -> Path:
    config = transformers.T5Config(
        vocab_size=99, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0
    )
    return configured(folder, config, "T5ForConditionalGeneration")


def whisper(folder: Path) -> Path:
    config = transformers.WhisperConfig(
        vocab_size=99,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=50,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
    )
    return configured(folder, config, "WhisperForConditionalGeneration")


def vit(folder: Path) -> Path:
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SMALL)
    return configured(folder, config, "ViTForImageClassification")


def clip(folder: Path) -> Path:
    text = {**SMALL, "vocab_size": 99, "max_position_embeddings": 32, "bos_token_id": 0, "eos_token_id": 98}
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    return configured(folder, config, "CLIPModel")


def sam(folder: Path) -> Path:
    vision = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mlp_dim": 32,
        "image_size": 64,
        "patch_size": 8,
        "output_channels": 16,
        "global_attn_indexes": [1],
        "window_size": 2,
        "num_pos_feats": 8,
    }
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 8, "image_embedding_size": 8, "mask_input_channels": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    config = transformers.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    return configured(folder, config, "SamModel")


def vae(folder: Path) -> Path:
    made = diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        sample_size=32,
    )
    made.save_config(folder)
    return folder


def unet(folder: Path, **changed: Any) -> Path:
    made = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
        norm_num_groups=4,
        **changed,
    )
    made.save_config(folder)
    return folder
