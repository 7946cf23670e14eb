"""Models of packages on PyPI, as their users make and call them, with random weights of a fixed seed.

Each function is a factory for `enginesmith build benchmarks/real_model_cases.py:NAME`: it returns the module, its positional and its
keyword arguments. The packages are imported in the functions; `CASES` has the names, with the package of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hub_models import SMALL
from torch import nn

Made = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]
CASES: dict[str, str] = {}
"""The package of each factory, by its name."""
Factory = Callable[[], Made]


def registered(cases: dict[str, str]) -> Callable[[str], Callable[[Factory], Factory]]:
    """A decorator of factories that takes their package, and notes it in `cases`."""

    def case(package: str) -> Callable[[Factory], Factory]:
        def note(factory: Factory) -> Factory:
            cases[factory.__name__] = package
            return factory

        return note

    return case


case = registered(CASES)


def picture(side: int = 64, batch: int = 1, channels: int = 3) -> torch.Tensor:
    """Smooth, in 0..1."""
    coarse = torch.rand(batch, channels, 8, 8)
    return nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def ids(tokens: int = 12, most: int = 90, batch: int = 1) -> torch.Tensor:
    return torch.randint(3, most, (batch, tokens))


def hugging(architecture: str, config: str, **values: Any) -> Any:
    import transformers

    return getattr(transformers, architecture)(getattr(transformers, config)(**values)).eval()


# transformers


@case("transformers")
def bert() -> Made:
    given = ids()
    return (
        hugging("BertModel", "BertConfig", vocab_size=99, **SMALL),
        (),
        {"input_ids": given, "attention_mask": torch.ones_like(given)},
    )


@case("transformers")
def distilbert() -> Made:
    model = hugging(
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        vocab_size=99,
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=64,
    )
    given = ids()
    return model, (), {"input_ids": given, "attention_mask": torch.ones_like(given)}


@case("transformers")
def roberta_tokens() -> Made:
    given = ids()
    model = hugging("RobertaForTokenClassification", "RobertaConfig", vocab_size=99, **SMALL)
    return model, (), {"input_ids": given, "attention_mask": torch.ones_like(given)}


@case("transformers")
def gpt2() -> Made:
    model = hugging("GPT2LMHeadModel", "GPT2Config", vocab_size=99, n_embd=32, n_layer=2, n_head=4, use_cache=False)
    return model, (), {"input_ids": ids()}


@case("transformers")
def vit() -> Made:
    model = hugging("ViTForImageClassification", "ViTConfig", image_size=64, patch_size=16, **SMALL)
    return model, (), {"pixel_values": picture() * 2 - 1}


@case("transformers")
def swin() -> Made:
    model = hugging(
        "SwinModel",
        "SwinConfig",
        image_size=64,
        patch_size=4,
        embed_dim=16,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=4,
    )
    return model, (), {"pixel_values": picture() * 2 - 1}


@case("transformers")
def convnext() -> Made:
    model = hugging(
        "ConvNextForImageClassification", "ConvNextConfig", depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32]
    )
    return model, (), {"pixel_values": picture() * 2 - 1}


@case("transformers")
def clip() -> Made:
    text = {**SMALL, "vocab_size": 99, "eos_token_id": 98}
    model = hugging(
        "CLIPModel", "CLIPConfig", text_config=text, vision_config={**SMALL, "image_size": 32, "patch_size": 8}
    )
    given = ids()
    return model, (), {"input_ids": given, "pixel_values": picture(32), "attention_mask": torch.ones_like(given)}


@case("transformers")
def wav2vec2() -> Made:
    model = hugging(
        "Wav2Vec2ForCTC", "Wav2Vec2Config", vocab_size=32, conv_dim=[16, 16, 16], conv_stride=[5, 4, 4], conv_kernel=[10, 8, 4],
        num_feat_extract_layers=3, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, **SMALL,
    )  # fmt: skip
    return model, (torch.randn(1, 4000),), {}


@case("transformers")
def segformer() -> Made:
    model = hugging(
        "SegformerForSemanticSegmentation", "SegformerConfig", depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
    )  # fmt: skip
    return model, (), {"pixel_values": picture()}


# ultralytics


def yolo(name: str, side: int = 128) -> Made:
    import os

    os.environ.setdefault("YOLO_OFFLINE", "true")
    from ultralytics import YOLO

    return YOLO(name).model.eval(), (picture(side),), {}


@case("ultralytics")
def yolo11() -> Made:
    return yolo("yolo11n.yaml")


@case("ultralytics")
def yolo11_seg() -> Made:
    return yolo("yolo11n-seg.yaml")


@case("ultralytics")
def yolov8_cls() -> Made:
    return yolo("yolov8n-cls.yaml")


# diffusers


@case("diffusers")
def unet() -> Made:
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(
        sample_size=16, block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=24, attention_head_dim=4, norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    return model.eval(), (torch.randn(1, 4, 16, 16), torch.tensor([500]), torch.randn(1, 7, 24)), {"return_dict": False}


@case("diffusers")
def vae_decoder() -> Made:
    from diffusers import AutoencoderKL

    model = AutoencoderKL(
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
    )  # fmt: skip
    model.forward = model.decode
    return model.eval(), (torch.randn(1, 4, 8, 8),), {"return_dict": False}


@case("diffusers")
def dit() -> Made:
    from diffusers import DiTTransformer2DModel

    model = DiTTransformer2DModel(num_attention_heads=2, attention_head_dim=8, num_layers=2, sample_size=8)
    return model.eval(), (torch.randn(1, 4, 8, 8),), {"timestep": torch.tensor([3]), "class_labels": torch.tensor([1])}


# timm, torchvision, and those beside them


def timm_model(name: str, side: int = 64, **values: Any) -> Made:
    import timm

    return timm.create_model(name, **values).eval(), (picture(side, 2),), {}


@case("timm")
def timm_resnet() -> Made:
    return timm_model("resnet18")


@case("timm")
def timm_efficientnet() -> Made:
    return timm_model("efficientnet_b0")


@case("timm")
def timm_features() -> Made:
    return timm_model("mobilenetv3_small_050", features_only=True)


@case("timm")
def timm_maxvit() -> Made:
    return timm_model("test_vit", 160)


@case("torchvision")
def deeplab() -> Made:
    from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

    return deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None).eval(), (picture(),), {}


@case("torchvision")
def raft() -> Made:
    from torchvision.models.optical_flow import raft_small

    return raft_small().eval(), (picture(128) * 2 - 1, picture(128) * 2 - 1), {"num_flow_updates": 2}


@case("torchvision")
def video() -> Made:
    from torchvision.models.video import r3d_18

    return r3d_18().eval(), (torch.rand(1, 3, 4, 32, 32),), {}


@case("segmentation-models-pytorch")
def smp_unet() -> Made:
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet18", encoder_weights=None, classes=3).eval(), (picture(),), {}


@case("segmentation-models-pytorch")
def smp_fpn() -> Made:
    import segmentation_models_pytorch as smp

    return smp.FPN("mobilenet_v2", encoder_weights=None).eval(), (picture(),), {}


@case("segmentation-models-pytorch")
def smp_deeplab() -> Made:
    import segmentation_models_pytorch as smp

    return smp.DeepLabV3Plus("resnet18", encoder_weights=None).eval(), (picture(),), {}


@case("efficientnet-pytorch")
def efficientnet() -> Made:
    from efficientnet_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-b0").eval(), (picture(),), {}


@case("pretrainedmodels")
def xception() -> Made:
    import pretrainedmodels

    return pretrainedmodels.xception(pretrained=None).eval(), (picture(96),), {}


@case("facenet-pytorch")
def facenet() -> Made:
    from facenet_pytorch import InceptionResnetV1

    return InceptionResnetV1(pretrained=None, classify=True, num_classes=10).eval(), (picture(128),), {}


@case("facenet-pytorch")
def facenet_onet() -> Made:
    from facenet_pytorch.models.mtcnn import ONet

    return ONet(pretrained=False).eval(), (picture(48, 3),), {}


@case("open-clip-torch")
def open_clip() -> Made:
    import open_clip

    model = open_clip.CLIP(
        embed_dim=16,
        vision_cfg=open_clip.CLIPVisionCfg(layers=2, width=32, head_width=8, image_size=32, patch_size=8),
        text_cfg=open_clip.CLIPTextCfg(context_length=16, vocab_size=99, width=32, heads=4, layers=2),
    )
    return model.eval(), (picture(32), ids(16)), {}


@case("segment-anything")
def sam_encoder() -> Made:
    from segment_anything.modeling import ImageEncoderViT

    model = ImageEncoderViT(
        img_size=64,
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=4,
        out_chans=16,
        window_size=4,
        global_attn_indexes=(1,),
        use_rel_pos=True,
    )
    return model.eval(), (picture(),), {}


@case("spandrel")
def esrgan() -> Made:
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    return RRDBNet(num_filters=8, num_blocks=1).eval(), (picture(32),), {}


@case("spandrel")
def swinir() -> Made:
    from spandrel.architectures.SwinIR.__arch.SwinIR import SwinIR

    model = SwinIR(
        img_size=16,
        embed_dim=12,
        depths=[2],
        num_heads=[2],
        window_size=8,
        mlp_ratio=2,
        upscale=2,
        upsampler="pixelshuffle",
    )
    return model.eval(), (picture(16),), {}


@case("lightly")
def simclr_head() -> Made:
    from lightly.models.modules import SimCLRProjectionHead

    return SimCLRProjectionHead(32, 32, 16).eval(), (torch.randn(4, 32),), {}


@case("python-doctr")
def crnn() -> Made:
    from doctr.models import crnn_mobilenet_v3_small

    model = crnn_mobilenet_v3_small(pretrained=False, pretrained_backbone=False)
    model.exportable = True
    return model.eval(), (torch.rand(1, 3, 32, 128),), {}


@case("python-doctr")
def dbnet() -> Made:
    from doctr.models import db_mobilenet_v3_large

    model = db_mobilenet_v3_large(pretrained=False, pretrained_backbone=False)
    model.exportable = True
    return model.eval(), (picture(128),), {}


@case("easyocr")
def craft() -> Made:
    from easyocr.craft import CRAFT

    return CRAFT(pretrained=False).eval(), (picture(64),), {}


@case("torchxrayvision")
def xray() -> Made:
    import torchxrayvision

    return torchxrayvision.models.DenseNet(num_classes=18).eval(), (torch.randn(1, 1, 64, 64),), {}


# kornia


@case("kornia")
def kornia_blur() -> Made:
    import kornia

    return kornia.filters.GaussianBlur2d((5, 5), (1.5, 1.5)), (picture(),), {}


@case("kornia")
def kornia_hsv() -> Made:
    import kornia

    return kornia.color.RgbToHsv(), (picture(),), {}


@case("kornia")
def kornia_lab() -> Made:
    import kornia

    return kornia.color.RgbToLab(), (picture(),), {}


@case("kornia")
def kornia_canny() -> Made:
    import kornia

    return kornia.filters.Sobel(), (picture(),), {}


@case("kornia")
def hardnet() -> Made:
    import kornia

    return kornia.feature.HardNet(pretrained=False).eval(), (torch.rand(4, 1, 32, 32),), {}


# sound


@case("torchaudio")
def conformer_audio() -> Made:
    import torchaudio

    model = torchaudio.models.Conformer(
        input_dim=16, num_heads=2, ffn_dim=32, num_layers=1, depthwise_conv_kernel_size=7
    )
    return model.eval(), (torch.randn(2, 20, 16), torch.tensor([20, 14])), {}


@case("torchaudio")
def deepspeech() -> Made:
    import torchaudio

    return torchaudio.models.DeepSpeech(16, n_hidden=32).eval(), (torch.randn(1, 1, 20, 16),), {}


@case("torchaudio")
def conv_tasnet() -> Made:
    import torchaudio

    model = torchaudio.models.ConvTasNet(
        enc_num_feats=16, msk_num_feats=8, msk_num_hidden_feats=16, msk_num_layers=2, msk_num_stacks=1
    )
    return model.eval(), (torch.randn(1, 1, 800),), {}


@case("torchaudio")
def mel() -> Made:
    import torchaudio

    return torchaudio.transforms.MelSpectrogram(n_fft=64, n_mels=8), (torch.randn(1, 640),), {}


@case("openai-whisper")
def whisper_encoder() -> Made:
    from whisper.model import AudioEncoder

    return AudioEncoder(16, 20, 32, 4, 2).eval(), (torch.randn(1, 16, 40),), {}


@case("encodec")
def encodec() -> Made:
    from encodec.modules import SEANetEncoder

    return (
        SEANetEncoder(n_filters=4, ratios=[4, 2], norm="none", lstm=1, dimension=16).eval(),
        (torch.randn(1, 1, 512),),
        {},
    )


@case("vocos")
def vocos() -> Made:
    from vocos.models import VocosBackbone

    return VocosBackbone(16, 32, 64, 2).eval(), (torch.randn(1, 16, 20),), {}


@case("demucs")
def demucs() -> Made:
    from demucs.demucs import Demucs

    return Demucs(["a", "b"], channels=4, depth=2, lstm_layers=1, resample=False).eval(), (torch.randn(1, 2, 4096),), {}


@case("torchcrepe")
def crepe() -> Made:
    import torchcrepe

    return torchcrepe.Crepe("tiny").eval(), (torch.randn(2, 1024),), {}


@case("nnaudio")
def nnaudio_stft() -> Made:
    from nnAudio.features import STFT

    return STFT(n_fft=64, hop_length=16, output_format="Magnitude", verbose=False), (torch.randn(1, 512),), {}


@case("conformer")
def conformer() -> Made:
    from conformer import ConformerBlock

    return ConformerBlock(dim=32, dim_head=8, heads=4).eval(), (torch.randn(1, 20, 32),), {}


# transformers of one author each


@case("vit-pytorch")
def vit_pytorch() -> Made:
    from vit_pytorch import ViT

    return (
        ViT(image_size=32, patch_size=8, num_classes=10, dim=32, depth=2, heads=4, mlp_dim=64).eval(),
        (picture(32),),
        {},
    )


@case("vit-pytorch")
def cvt() -> Made:
    from vit_pytorch.cvt import CvT

    return (
        CvT(num_classes=10, s1_emb_dim=8, s2_emb_dim=16, s3_emb_dim=32, s3_depth=1, s2_depth=1).eval(),
        (picture(64),),
        {},
    )


@case("vit-pytorch")
def mobile_vit() -> Made:
    from vit_pytorch.mobile_vit import MobileViT

    model = MobileViT((64, 64), dims=[16, 24, 32], channels=[8, 8, 16, 16, 24, 24, 24, 24, 32, 32, 32], num_classes=10)
    return model.eval(), (picture(64),), {}


@case("x-transformers")
def x_decoder() -> Made:
    from x_transformers import Decoder, TransformerWrapper

    model = TransformerWrapper(
        num_tokens=99, max_seq_len=32, attn_layers=Decoder(dim=32, depth=2, heads=4, rotary_pos_emb=True)
    )
    return model.eval(), (ids(),), {}


@case("x-transformers")
def x_encoder() -> Made:
    from x_transformers import ContinuousTransformerWrapper, Encoder

    model = ContinuousTransformerWrapper(
        dim_in=8, dim_out=4, max_seq_len=32, attn_layers=Encoder(dim=32, depth=2, heads=4)
    )
    return model.eval(), (torch.randn(1, 20, 8),), {"mask": torch.ones(1, 20, dtype=torch.bool)}


@case("perceiver-pytorch")
def perceiver() -> Made:
    from perceiver_pytorch import Perceiver

    model = Perceiver(
        input_channels=3,
        input_axis=2,
        num_freq_bands=4,
        max_freq=8.0,
        depth=2,
        num_latents=8,
        latent_dim=16,
        num_classes=5,
    )
    return model.eval(), (torch.rand(1, 16, 16, 3),), {}


@case("tab-transformer-pytorch")
def tab_transformer() -> Made:
    from tab_transformer_pytorch import TabTransformer

    model = TabTransformer(
        categories=(4, 5, 6), num_continuous=3, dim=16, dim_out=1, depth=2, heads=2, mlp_act=nn.ReLU()
    )
    return model.eval(), (torch.stack([torch.randint(0, n, (2,)) for n in (4, 5, 6)], 1), torch.randn(2, 3)), {}


@case("mlp-mixer-pytorch")
def mixer() -> Made:
    from mlp_mixer_pytorch import MLPMixer

    return MLPMixer(image_size=32, channels=3, patch_size=8, dim=32, depth=2, num_classes=10).eval(), (picture(32),), {}


@case("vector-quantize-pytorch")
def quantizer() -> Made:
    from vector_quantize_pytorch import FSQ

    return FSQ(levels=[8, 5, 5], dim=16).eval(), (torch.randn(1, 12, 16),), {}


@case("denoising-diffusion-pytorch")
def ddpm() -> Made:
    from denoising_diffusion_pytorch import Unet

    return Unet(dim=8, dim_mults=(1, 2), flash_attn=False).eval(), (torch.randn(1, 3, 16, 16), torch.tensor([10])), {}


# tables, time series, graphs, games


@case("rtdl-revisiting-models")
def ft_transformer() -> Made:
    from rtdl_revisiting_models import FTTransformer

    model = FTTransformer(
        n_cont_features=3, cat_cardinalities=[4, 7], d_out=2, **FTTransformer.get_default_kwargs(n_blocks=1)
    )
    return model.eval(), (torch.randn(2, 3), torch.tensor([[1, 2], [3, 6]])), {}


@case("pytorch-tabnet")
def tabnet() -> Made:
    from pytorch_tabnet.tab_network import TabNet

    return TabNet(6, 3, group_attention_matrix=torch.eye(6)).eval(), (torch.randn(4, 6),), {}


@case("torch-geometric")
def gcn() -> Made:
    from torch_geometric.nn import GCN

    edges = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])
    return GCN(8, 16, 2, 4).eval(), (torch.randn(6, 8), edges), {}


@case("torch-geometric")
def gat() -> Made:
    from torch_geometric.nn import GAT

    edges = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])
    return GAT(8, 16, 2, 4, heads=2).eval(), (torch.randn(6, 8), edges), {}


@case("monai")
def monai_unet() -> Made:
    from monai.networks.nets import UNet

    return UNet(3, 1, 2, channels=(4, 8, 16), strides=(2, 2)).eval(), (torch.randn(1, 1, 16, 16, 16),), {}


@case("monai")
def unetr() -> Made:
    from monai.networks.nets import UNETR

    model = UNETR(1, 2, img_size=(32, 32), feature_size=4, hidden_size=32, mlp_dim=64, num_heads=4, spatial_dims=2)
    return model.eval(), (torch.randn(1, 1, 32, 32),), {}


@case("monai")
def segresnet() -> Made:
    from monai.networks.nets import SegResNet

    return SegResNet(spatial_dims=2, init_filters=8).eval(), (torch.randn(1, 1, 32, 32),), {}


@case("stable-baselines3")
def policy() -> Made:
    from gymnasium import spaces
    from stable_baselines3.common.torch_layers import NatureCNN

    return NatureCNN(spaces.Box(0, 255, (4, 64, 64), "uint8"), 32).eval(), (torch.rand(1, 4, 64, 64),), {}


@case("pytorch-tcn")
def tcn() -> Made:
    from pytorch_tcn import TCN

    return TCN(num_inputs=4, num_channels=[8, 8], causal=True).eval(), (torch.randn(2, 4, 20),), {}


@case("lpips")
def lpips() -> Made:
    import lpips

    return (
        lpips.LPIPS(net="squeeze", pretrained=True, pnet_rand=True, verbose=False).eval(),
        (picture() * 2 - 1, picture() * 2 - 1),
        {},
    )


@case("sentence-transformers")
def pooling() -> Made:
    from sentence_transformers.models import Dense

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = Dense(16, 8)

        def forward(self, sentence_embedding: torch.Tensor) -> torch.Tensor:
            return self.dense({"sentence_embedding": sentence_embedding})["sentence_embedding"]

    return Head().eval(), (torch.randn(2, 16),), {}
