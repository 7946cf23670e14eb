"""Further models of transformers and sentence-transformers, as `real_model_cases.py` has them."""

from __future__ import annotations

import torch
from hub_models import BOTH_SIDES, DETR, RESNET, SAM
from real_model_cases import SMALL, Made, hugging, ids, picture, registered
from torch import nn

CASES: dict[str, str] = {}
"""The package of each factory, by its name."""
case = registered(CASES)


def masked(tokens: int = 12) -> dict[str, torch.Tensor]:
    """Ids, and a mask of them all."""
    given = ids(tokens)
    return {"input_ids": given, "attention_mask": torch.ones_like(given)}


@case("transformers")
def albert() -> Made:
    m = hugging("AlbertModel", "AlbertConfig", vocab_size=99, embedding_size=16, **SMALL)
    return m, (), {"input_ids": ids(batch=2)}


@case("transformers")
def deberta() -> Made:
    m = hugging(
        "DebertaV2ForSequenceClassification",
        "DebertaV2Config",
        vocab_size=99,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_buckets=16,
        **SMALL,
    )
    return m, (), masked()


@case("transformers")
def electra_qa() -> Made:
    m = hugging("ElectraForQuestionAnswering", "ElectraConfig", vocab_size=99, embedding_size=16, **SMALL)
    given = masked()
    return m, (), {**given, "token_type_ids": torch.zeros_like(given["input_ids"])}


@case("transformers")
def t5() -> Made:
    m = hugging(
        "T5ForConditionalGeneration",
        "T5Config",
        vocab_size=99,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_heads=4,
        decoder_start_token_id=0,
    )
    return m, (), {"input_ids": ids(), "decoder_input_ids": ids(4)}


@case("transformers")
def bart() -> Made:
    m = hugging(
        "BartModel",
        "BartConfig",
        vocab_size=99,
        **BOTH_SIDES,
    )
    return m, (), {"input_ids": ids(), "decoder_input_ids": ids(5)}


@case("transformers")
def llama() -> Made:
    m = hugging("LlamaForCausalLM", "LlamaConfig", vocab_size=99, num_key_value_heads=2, **SMALL)
    return m, (), masked()


@case("transformers")
def qwen_moe() -> Made:
    m = hugging(
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        vocab_size=99,
        num_key_value_heads=2,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=32,
        use_cache=False,
        **SMALL,
    )
    return m, (), {"input_ids": ids()}


@case("transformers")
def gemma() -> Made:
    m = hugging(
        "Gemma2ForCausalLM",
        "Gemma2Config",
        vocab_size=99,
        num_key_value_heads=2,
        head_dim=8,
        use_cache=False,
        sliding_window=8,
        **SMALL,
    )
    return m, (), {"input_ids": ids()}


@case("transformers")
def mamba() -> Made:
    m = hugging(
        "MambaForCausalLM",
        "MambaConfig",
        vocab_size=99,
        hidden_size=16,
        num_hidden_layers=1,
        state_size=4,
        use_cache=False,
    )
    return m, (), {"input_ids": ids(8)}


@case("transformers")
def detr() -> Made:
    m = hugging("DetrForObjectDetection", "DetrConfig", **DETR, backbone_config=RESNET)
    return m, (), {"pixel_values": picture(96), "pixel_mask": torch.ones(1, 96, 96, dtype=torch.int64)}


@case("transformers")
def layoutlm() -> Made:
    m = hugging("LayoutLMModel", "LayoutLMConfig", vocab_size=99, **SMALL)
    a = torch.randint(0, 400, (1, 12, 2))
    return m, (), {**masked(), "bbox": torch.cat([a, a + torch.randint(1, 500, (1, 12, 2))], -1)}


@case("transformers")
def hubert() -> Made:
    m = hugging(
        "HubertModel",
        "HubertConfig",
        conv_dim=[16, 16],
        conv_stride=[5, 4],
        conv_kernel=[10, 8],
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        **SMALL,
    )
    return m, (torch.randn(1, 2000),), {"attention_mask": torch.ones(1, 2000, dtype=torch.long)}


@case("transformers")
def whisper() -> Made:
    m = hugging(
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        vocab_size=128,
        **BOTH_SIDES,
        max_source_positions=50,
        max_target_positions=32,
        num_mel_bins=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
    )
    return m, (), {"input_features": torch.randn(1, 16, 100), "decoder_input_ids": ids(4)}


@case("transformers")
def videomae() -> Made:
    m = hugging("VideoMAEModel", "VideoMAEConfig", image_size=32, patch_size=16, num_frames=4, **SMALL)
    return m, (torch.randn(1, 4, 3, 32, 32),), {}


@case("transformers")
def swin2sr() -> Made:
    m = hugging(
        "Swin2SRForImageSuperResolution",
        "Swin2SRConfig",
        image_size=32,
        embed_dim=12,
        depths=[1],
        num_heads=[2],
        window_size=4,
        upscale=2,
    )
    return m, (picture(32),), {}


@case("transformers")
def maskformer_swin() -> Made:
    m = hugging(
        "MaskFormerSwinModel",
        "MaskFormerSwinConfig",
        image_size=64,
        embed_dim=16,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=4,
    )
    return m, (picture(64),), {}


@case("transformers")
def patch_tst() -> Made:
    m = hugging(
        "PatchTSTForPrediction",
        "PatchTSTConfig",
        num_input_channels=2,
        context_length=32,
        patch_length=8,
        patch_stride=8,
        prediction_length=6,
        d_model=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=32,
    )
    return m, (), {"past_values": torch.randn(2, 32, 2)}


@case("transformers")
def xlnet() -> Made:
    m = hugging("XLNetModel", "XLNetConfig", vocab_size=99, d_model=32, n_layer=1, n_head=4, d_inner=64)
    return m, (), {"input_ids": ids()}


@case("transformers")
def longformer() -> Made:
    m = hugging("LongformerModel", "LongformerConfig", vocab_size=99, attention_window=8, **SMALL)
    return m, (), masked(16)


@case("transformers")
def siglip() -> Made:
    m = hugging("SiglipVisionModel", "SiglipVisionConfig", image_size=32, patch_size=8, **SMALL)
    return m, (), {"pixel_values": picture(32) * 2 - 1}


@case("transformers")
def sam() -> Made:
    import transformers

    m = transformers.SamModel(transformers.SamConfig(**SAM)).eval()
    return m, (), {"pixel_values": picture(128), "input_points": torch.tensor([[[[30.0, 40.0]]]])}


@case("transformers")
def owlvit() -> Made:
    m = hugging(
        "OwlViTModel",
        "OwlViTConfig",
        text_config={**SMALL, "vocab_size": 99, "eos_token_id": 98},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
    )
    return m, (), {**masked(), "pixel_values": picture(32)}


@case("transformers")
def superpoint() -> Made:
    m = hugging(
        "SuperPointForKeypointDetection",
        "SuperPointConfig",
        encoder_hidden_sizes=[8, 8, 16, 16],
        decoder_hidden_size=32,
        keypoint_decoder_dim=65,
        descriptor_decoder_dim=32,
    )
    return m, (), {"pixel_values": picture()}


@case("sentence-transformers")
def sentence() -> Made:
    from sentence_transformers.models import Normalize, Pooling

    bert = hugging("BertModel", "BertConfig", vocab_size=99, **SMALL)

    class T(nn.Module):
        def __init__(self):
            super().__init__()
            self.auto_model = bert

        def forward(self, features):
            out = self.auto_model(input_ids=features["input_ids"], attention_mask=features["attention_mask"])
            features["token_embeddings"] = out.last_hidden_state
            return features

    m = nn.Sequential(T(), Pooling(32), Normalize()).eval()
    g = ids(batch=2)
    mask = torch.ones_like(g)
    mask[1, 8:] = 0
    return m, ({"input_ids": g, "attention_mask": mask},), {}
