"""Further models of packages on PyPI, as `real_model_cases.py` has them: other architectures of the same packages."""

from __future__ import annotations

import torch
from real_model_cases import SMALL, Made, hugging, ids, picture, registered, timm_model, yolo
from torch import nn

CASES: dict[str, str] = {}
"""The package of each factory, by its name."""
case = registered(CASES)


@case("transformers")
def albert() -> Made:
    return (
        hugging("AlbertModel", "AlbertConfig", vocab_size=99, embedding_size=16, **SMALL),
        (),
        {"input_ids": ids(batch=2)},
    )


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
    g = ids()
    return m, (), {"input_ids": g, "attention_mask": torch.ones_like(g)}


@case("transformers")
def electra_qa() -> Made:
    g = ids()
    return (
        hugging("ElectraForQuestionAnswering", "ElectraConfig", vocab_size=99, embedding_size=16, **SMALL),
        (),
        {"input_ids": g, "token_type_ids": torch.zeros_like(g), "attention_mask": torch.ones_like(g)},
    )


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
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
    )
    return m, (), {"input_ids": ids(), "decoder_input_ids": ids(5)}


@case("transformers")
def llama() -> Made:
    m = hugging("LlamaForCausalLM", "LlamaConfig", vocab_size=99, num_key_value_heads=2, **SMALL)
    g = ids()
    return m, (), {"input_ids": g, "attention_mask": torch.ones_like(g)}


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
    m = hugging(
        "DetrForObjectDetection",
        "DetrConfig",
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_queries=10,
        num_labels=5,
        backbone_config={
            "model_type": "resnet",
            "embedding_size": 16,
            "hidden_sizes": [16, 32, 48, 64],
            "depths": [1, 1, 1, 1],
        },
    )
    return m, (), {"pixel_values": picture(96), "pixel_mask": torch.ones(1, 96, 96, dtype=torch.int64)}


@case("transformers")
def layoutlm() -> Made:
    m = hugging("LayoutLMModel", "LayoutLMConfig", vocab_size=99, **SMALL)
    g = ids()
    a = torch.randint(0, 400, (1, 12, 2))
    return (
        m,
        (),
        {
            "input_ids": g,
            "bbox": torch.cat([a, a + torch.randint(1, 500, (1, 12, 2))], -1),
            "attention_mask": torch.ones_like(g),
        },
    )


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
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
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
def mask2former_like() -> Made:
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
def informer() -> Made:
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
    g = ids(16)
    return m, (), {"input_ids": g, "attention_mask": torch.ones_like(g)}


@case("transformers")
def siglip() -> Made:
    m = hugging("SiglipVisionModel", "SiglipVisionConfig", image_size=32, patch_size=8, **SMALL)
    return m, (), {"pixel_values": picture(32) * 2 - 1}


@case("transformers")
def sam() -> Made:
    import transformers
    from hub_models import SAM

    m = transformers.SamModel(transformers.SamConfig(**SAM)).eval()
    return m, (), {"pixel_values": picture(128), "input_points": torch.tensor([[[[30.0, 40.0]]]])}


@case("transformers")
def grounding_text() -> Made:
    m = hugging(
        "OwlViTModel",
        "OwlViTConfig",
        text_config={**SMALL, "vocab_size": 99, "eos_token_id": 98},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
    )
    g = ids()
    return m, (), {"input_ids": g, "pixel_values": picture(32), "attention_mask": torch.ones_like(g)}


@case("ultralytics")
def yolo_pose() -> Made:
    return yolo("yolo11n-pose.yaml")


@case("ultralytics")
def yolo_obb() -> Made:
    return yolo("yolo11n-obb.yaml")


@case("ultralytics")
def yolov5() -> Made:
    return yolo("yolov5n.yaml")


@case("ultralytics")
def yolov10() -> Made:
    return yolo("yolov10n.yaml")


@case("ultralytics")
def rtdetr() -> Made:
    import os

    os.environ.setdefault("YOLO_OFFLINE", "true")
    from ultralytics.nn.tasks import RTDETRDetectionModel

    return RTDETRDetectionModel("rtdetr-resnet50.yaml", verbose=False).eval(), (picture(128),), {}


@case("ultralytics")
def yolo26() -> Made:
    return yolo("yolo26n.yaml")


@case("diffusers")
def unet2d() -> Made:
    from diffusers import UNet2DModel

    return (
        UNet2DModel(
            sample_size=16,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        ).eval(),
        (torch.randn(2, 3, 16, 16), torch.tensor(10)),
        {},
    )


@case("diffusers")
def unet_timestep_number() -> Made:
    from diffusers import UNet2DModel

    return (
        UNet2DModel(
            sample_size=16,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        ).eval(),
        (torch.randn(2, 3, 16, 16), 7),
        {},
    )


@case("diffusers")
def autoencoder() -> Made:
    from diffusers import AutoencoderKL

    return (
        AutoencoderKL(
            block_out_channels=(16, 32),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=8,
        ).eval(),
        (picture(32),),
        {},
    )


@case("diffusers")
def autoencoder_tiny() -> Made:
    from diffusers import AutoencoderTiny

    return (
        AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        ).eval(),
        (picture(32),),
        {},
    )


@case("diffusers")
def controlnet() -> Made:
    from diffusers import ControlNetModel

    m = ControlNetModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        cross_attention_dim=24,
        attention_head_dim=4,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        conditioning_embedding_out_channels=(8, 16),
    )
    return (
        m.eval(),
        (torch.randn(1, 4, 16, 16), torch.tensor([5]), torch.randn(1, 7, 24), torch.rand(1, 3, 128, 128)),
        {"return_dict": False},
    )


@case("diffusers")
def flux() -> Made:
    from diffusers import FluxTransformer2DModel

    m = FluxTransformer2DModel(
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    return (
        m.eval(),
        (),
        {
            "hidden_states": torch.randn(1, 16, 4),
            "encoder_hidden_states": torch.randn(1, 6, 32),
            "pooled_projections": torch.randn(1, 32),
            "timestep": torch.tensor([0.5]),
            "img_ids": torch.stack([torch.zeros(16), torch.arange(16) // 4, torch.arange(16) % 4], 1).float(),
            "txt_ids": torch.zeros(6, 3),
            "guidance": torch.tensor([3.5]),
        },
    )


@case("diffusers")
def sd3() -> Made:
    from diffusers import SD3Transformer2DModel

    m = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        out_channels=4,
    )
    return (
        m.eval(),
        (),
        {
            "hidden_states": torch.randn(1, 4, 8, 8),
            "encoder_hidden_states": torch.randn(1, 6, 32),
            "pooled_projections": torch.randn(1, 64),
            "timestep": torch.tensor([3.0]),
        },
    )


@case("kornia")
def kornia_warp() -> Made:
    import kornia

    class Warp(nn.Module):
        def forward(self, x, m):
            return kornia.geometry.transform.warp_perspective(x, m, dsize=(48, 48))

    return Warp(), (picture(), torch.eye(3)[None] + torch.tensor([[[0.0, 0.1, 2.0], [-0.1, 0, 3.0], [0, 0, 0]]])), {}


@case("kornia")
def kornia_rotate() -> Made:
    import kornia

    class Rotate(nn.Module):
        def forward(self, x, a):
            return kornia.geometry.transform.rotate(x, a)

    return Rotate(), (picture(), torch.tensor([30.0])), {}


@case("kornia")
def kornia_real_canny() -> Made:
    import kornia

    return kornia.filters.Canny(), (picture(),), {}


@case("kornia")
def kornia_median() -> Made:
    import kornia

    return kornia.filters.MedianBlur((3, 3)), (picture(),), {}


@case("kornia")
def kornia_bilateral() -> Made:
    import kornia

    return kornia.filters.BilateralBlur((3, 3), 0.1, (1.5, 1.5)), (picture(),), {}


@case("kornia")
def kornia_morph() -> Made:
    import kornia

    class D(nn.Module):
        def forward(self, x):
            return kornia.morphology.dilation(x, torch.ones(3, 3)) - kornia.morphology.erosion(x, torch.ones(3, 3))

    return D(), (picture(),), {}


@case("kornia")
def kornia_clahe() -> Made:
    import kornia

    class D(nn.Module):
        def forward(self, x):
            return kornia.enhance.equalize_clahe(x, grid_size=(4, 4))

    return D(), (picture(),), {}


@case("kornia")
def kornia_equalize() -> Made:
    import kornia

    class D(nn.Module):
        def forward(self, x):
            return kornia.enhance.equalize(x)

    return D(), (picture(),), {}


@case("kornia")
def kornia_ssim() -> Made:
    import kornia

    return kornia.losses.SSIMLoss(5), (picture(), picture()), {}


@case("kornia")
def kornia_harris() -> Made:
    import kornia

    return kornia.feature.CornerHarris(0.04), (picture(channels=1),), {}


@case("kornia")
def kornia_sift() -> Made:
    import kornia

    return kornia.feature.SIFTDescriptor(32), (torch.rand(4, 1, 32, 32),), {}


@case("kornia")
def kornia_disk() -> Made:
    import kornia

    class D(nn.Module):
        def __init__(self):
            super().__init__()
            self.d = kornia.feature.DISK()

        def forward(self, x):
            return self.d.heatmap_and_dense_descriptors(x)

    return D().eval(), (picture(64),), {}


@case("kornia")
def kornia_dexined() -> Made:
    import kornia

    return (
        kornia.models.dexined.DexiNed(pretrained=False).eval()
        if hasattr(kornia, "models") and hasattr(kornia.models, "dexined")
        else kornia.filters.DexiNed(pretrained=False).eval(),
        (picture(64),),
        {},
    )


@case("kornia")
def kornia_normalize_homography() -> Made:
    import kornia

    class D(nn.Module):
        def forward(self, a, b):
            return kornia.geometry.homography.find_homography_dlt(a, b)

    a = torch.rand(1, 8, 2)
    return D(), (a, a * 1.2 + 0.1), {}


@case("kornia")
def kornia_quaternion() -> Made:
    import kornia

    class D(nn.Module):
        def forward(self, a):
            return kornia.geometry.conversions.rotation_matrix_to_axis_angle(
                kornia.geometry.conversions.quaternion_to_rotation_matrix(a)
            )

    return D(), (torch.nn.functional.normalize(torch.randn(3, 4), dim=-1),), {}


@case("torch-geometric")
def sage_pool() -> Made:
    from torch_geometric.nn import GraphSAGE, global_mean_pool

    class N(nn.Module):
        def __init__(self):
            super().__init__()
            self.g = GraphSAGE(8, 16, 2)
            self.l = nn.Linear(16, 3)

        def forward(self, x, edge_index, batch):
            return self.l(global_mean_pool(self.g(x, edge_index), batch))

    e = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 0, 4, 5, 3, 2]])
    return N().eval(), (torch.randn(6, 8), e, torch.tensor([0, 0, 0, 1, 1, 1])), {}


@case("torch-geometric")
def gin() -> Made:
    from torch_geometric.nn import GIN

    e = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])
    return GIN(8, 16, 2, 4).eval(), (torch.randn(6, 8), e), {}


@case("torch-geometric")
def pna() -> Made:
    from torch_geometric.nn import PNA

    e = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])
    return (
        PNA(8, 16, 2, 4, aggregators=["mean", "max", "std"], scalers=["identity"], deg=torch.tensor([0, 5, 1])).eval(),
        (torch.randn(6, 8), e),
        {},
    )


@case("torch-geometric")
def rgcn() -> Made:
    from torch_geometric.nn import RGCNConv

    e = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])
    return RGCNConv(8, 4, 3).eval(), (torch.randn(6, 8), e, torch.tensor([0, 1, 2, 0, 1, 2, 0])), {}


@case("torch-geometric")
def gatv2_edge() -> Made:
    from torch_geometric.nn import TransformerConv

    e = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])
    return TransformerConv(8, 4, heads=2, edge_dim=5).eval(), (torch.randn(6, 8), e, torch.randn(7, 5)), {}


@case("torch-geometric")
def pointnet() -> Made:
    from torch_geometric.nn import MLP, global_max_pool

    class N(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = MLP([3, 16, 32])
            self.b = MLP([32, 5])

        def forward(self, pos, batch):
            return self.b(global_max_pool(self.a(pos), batch))

    return N().eval(), (torch.randn(10, 3), torch.tensor([0] * 5 + [1] * 5)), {}


@case("python-doctr")
def vitstr() -> Made:
    from doctr.models import vitstr_small

    m = vitstr_small(pretrained=False, pretrained_backbone=False)
    m.exportable = True
    return m.eval(), (torch.rand(1, 3, 32, 128),), {}


@case("python-doctr")
def linknet() -> Made:
    from doctr.models import linknet_resnet18

    m = linknet_resnet18(pretrained=False, pretrained_backbone=False)
    m.exportable = True
    return m.eval(), (picture(128),), {}


@case("python-doctr")
def crnn_raw() -> Made:
    from doctr.models import crnn_vgg16_bn

    return (
        crnn_vgg16_bn(pretrained=False, pretrained_backbone=False).eval(),
        (torch.rand(1, 3, 32, 128),),
        {"return_model_output": True},
    )


@case("python-doctr")
def sar() -> Made:
    from doctr.models import sar_resnet31

    m = sar_resnet31(pretrained=False, pretrained_backbone=False)
    m.exportable = True
    return m.eval(), (torch.rand(1, 3, 32, 128),), {}


@case("python-doctr")
def orientation() -> Made:
    from doctr.models import mobilenet_v3_small_page_orientation

    return mobilenet_v3_small_page_orientation(pretrained=False).eval(), (picture(128),), {}


@case("monai")
def swin_unetr() -> Made:
    from monai.networks.nets import SwinUNETR

    return (
        SwinUNETR(in_channels=1, out_channels=2, feature_size=12, spatial_dims=2).eval(),
        (torch.randn(1, 1, 64, 64),),
        {},
    )


@case("monai")
def attention_unet() -> Made:
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(2, 1, 2, channels=(4, 8, 16), strides=(2, 2)).eval(), (torch.randn(1, 1, 32, 32),), {}


@case("monai")
def dynunet() -> Made:
    from monai.networks.nets import DynUNet

    return (
        DynUNet(
            2, 1, 2, kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], deep_supervision=False
        ).eval(),
        (torch.randn(1, 1, 32, 32),),
        {},
    )


@case("monai")
def vnet() -> Made:
    from monai.networks.nets import VNet

    return VNet(spatial_dims=3, in_channels=1, out_channels=2).eval(), (torch.randn(1, 1, 32, 32, 32),), {}


@case("segmentation-models-pytorch")
def smp_segformer() -> Made:
    import segmentation_models_pytorch as smp

    return smp.Segformer("mit_b0", encoder_weights=None).eval(), (picture(),), {}


@case("segmentation-models-pytorch")
def smp_pspnet() -> Made:
    import segmentation_models_pytorch as smp

    return smp.PSPNet("resnet18", encoder_weights=None).eval(), (picture(96),), {}


@case("segmentation-models-pytorch")
def smp_aux() -> Made:
    import segmentation_models_pytorch as smp

    return (
        smp.Unet(
            "timm-mobilenetv3_small_075" if 0 else "resnet18",
            encoder_weights=None,
            aux_params={"classes": 4, "pooling": "max"},
            decoder_attention_type="scse",
        ).eval(),
        (picture(),),
        {},
    )


@case("segmentation-models-pytorch")
def smp_manet() -> Made:
    import segmentation_models_pytorch as smp

    return smp.MAnet("resnet18", encoder_weights=None).eval(), (picture(),), {}


@case("timm")
def timm_swin() -> Made:
    return timm_model("swin_tiny_patch4_window7_224", 224)


@case("timm")
def timm_beit() -> Made:
    return timm_model("test_efficientnet_evos", 64)


@case("timm")
def timm_naflex() -> Made:
    return timm_model("test_byobnet", 64)


@case("timm")
def timm_edgenext() -> Made:
    return timm_model("edgenext_xx_small", 64)


@case("timm")
def timm_mvit() -> Made:
    return timm_model("mobilevitv2_050", 64)


@case("torchaudio")
def ta_wav2vec2() -> Made:
    import torchaudio

    m = torchaudio.models.wav2vec2_model(
        "group_norm", [(16, 10, 5), (16, 8, 4)], False, 32, 0.0, 16, 4, 1, 4, 0.0, 0.0, 64, 0.0, 0.0, False, 0.0, 10
    )
    return m.eval(), (torch.randn(1, 1600),), {}


@case("torchaudio")
def ta_mfcc() -> Made:
    import torchaudio

    return torchaudio.transforms.MFCC(8000, 8, melkwargs={"n_fft": 64, "n_mels": 16}), (torch.randn(1, 640),), {}


@case("torchaudio")
def ta_resample() -> Made:
    import torchaudio

    return torchaudio.transforms.Resample(8000, 6000), (torch.randn(1, 640),), {}


@case("torchaudio")
def ta_spec_db() -> Made:
    import torchaudio

    return (
        nn.Sequential(torchaudio.transforms.Spectrogram(64), torchaudio.transforms.AmplitudeToDB()),
        (torch.randn(1, 640),),
        {},
    )


@case("torchaudio")
def ta_emformer() -> Made:
    import torchaudio

    return (
        torchaudio.models.Emformer(16, 2, 32, 1, 4, right_context_length=1).eval(),
        (torch.randn(1, 9, 16), torch.tensor([8])),
        {},
    )


@case("torchaudio")
def ta_hdemucs() -> Made:
    import torchaudio

    return (
        torchaudio.models.HDemucs(["a", "b"], audio_channels=1, channels=8, growth=2, nfft=256, depth=3).eval(),
        (torch.randn(1, 1, 2048),),
        {},
    )


@case("torchaudio")
def ta_griffin() -> Made:
    import torchaudio

    return torchaudio.transforms.GriffinLim(n_fft=64, n_iter=2, rand_init=False), (torch.rand(1, 33, 20),), {}


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


@case("silero-vad")
def silero() -> Made:
    from silero_vad import load_silero_vad

    return load_silero_vad(), (torch.randn(1, 512) * 0.1, 16000), {}


@case("local-attention")
def local_attention() -> Made:
    from local_attention import LocalTransformer

    return (
        LocalTransformer(num_tokens=99, max_seq_len=32, dim=32, depth=1, heads=4, local_attn_window_size=8).eval(),
        (ids(16),),
        {},
    )


@case("linformer")
def linformer() -> Made:
    from linformer import Linformer

    return Linformer(32, 16, 1, heads=4, k=8).eval(), (torch.randn(1, 16, 32),), {}


@case("egnn-pytorch")
def egnn() -> Made:
    from egnn_pytorch import EGNN

    return EGNN(dim=8).eval(), (torch.randn(1, 6, 8), torch.randn(1, 6, 3)), {}


@case("piq")
def piq_ssim() -> Made:
    import piq

    return piq.SSIMLoss(data_range=1.0), (picture(), picture()), {}


@case("piq")
def piq_haarpsi() -> Made:
    import piq

    return piq.HaarPSILoss(data_range=1.0), (picture(), picture()), {}


@case("e3nn")
def e3nn_spherical() -> Made:
    from e3nn import o3

    class N(nn.Module):
        def forward(self, x):
            return o3.spherical_harmonics([0, 1, 2], x, normalize=True)

    return N(), (torch.randn(5, 3),), {}


@case("e3nn")
def e3nn_linear() -> Made:
    from e3nn import o3

    return (
        o3.FullyConnectedTensorProduct("2x0e+1x1o", "1x0e+1x1o", "2x0e+1x1o").eval(),
        (torch.randn(5, 5), torch.randn(5, 4)),
        {},
    )


@case("spandrel")
def compact() -> Made:
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    return SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2).eval(), (picture(32),), {}


@case("spandrel")
def hat_like() -> Made:
    from spandrel.architectures.NAFNet.__arch.NAFNet_arch import NAFNet

    return NAFNet(width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]).eval(), (picture(32),), {}


@case("vector-quantize-pytorch")
def vq() -> Made:
    from vector_quantize_pytorch import VectorQuantize

    return VectorQuantize(dim=16, codebook_size=32).eval(), (torch.randn(1, 12, 16),), {}


@case("stable-baselines3")
def sb3_policy() -> Made:
    from gymnasium import spaces
    from stable_baselines3.common.policies import ActorCriticPolicy

    p = ActorCriticPolicy(spaces.Box(-1, 1, (6,)), spaces.Discrete(3), lambda _: 1e-3).eval()

    class N(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = p

        def forward(self, obs):
            return self.p(obs, deterministic=True)

    return N(), (torch.randn(1, 6),), {}


@case("torchvision")
def tv_maskrcnn() -> Made:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    return (
        ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5).eval(),
        ([picture(64)[0]],),
        {},
    )


@case("torchvision")
def tv_swin3d() -> Made:
    from torchvision.models import maxvit_t

    return maxvit_t(input_size=(224, 224)).eval(), (picture(224),), {}


@case("lightly")
def lightly_dino() -> Made:
    from lightly.models.modules import DINOProjectionHead

    return DINOProjectionHead(32, 32, 8, 16).eval(), (torch.randn(4, 32),), {}
