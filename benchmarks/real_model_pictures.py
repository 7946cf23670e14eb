"""Further models of packages for pictures, as `real_model_cases.py` has them."""

from __future__ import annotations

import torch
from real_model_cases import Made, picture, registered, timm_model, yolo
from torch import nn

CASES: dict[str, str] = {}
"""The package of each factory, by its name."""
case = registered(CASES)


def small_unet() -> nn.Module:
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=16,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ).eval()


def doctr_model(name: str, x: torch.Tensor) -> Made:
    """One of doctr's models as it is exported: logits alone."""
    from doctr import models

    m = getattr(models, name)(pretrained=False, pretrained_backbone=False)
    m.exportable = True
    return m.eval(), (x,), {}


def line() -> torch.Tensor:
    """Of text, in 0..1."""
    return torch.rand(1, 3, 32, 128)


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


@case("ultralytics")
def yolov3_tiny() -> Made:
    return yolo("yolov3-tiny.yaml")


@case("diffusers")
def unet2d() -> Made:
    return small_unet(), (torch.randn(2, 3, 16, 16), torch.tensor(10)), {}


@case("diffusers")
def unet_timestep_number() -> Made:
    return small_unet(), (torch.randn(2, 3, 16, 16), 7), {}


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


@case("python-doctr")
def vitstr() -> Made:
    return doctr_model("vitstr_small", line())


@case("python-doctr")
def linknet() -> Made:
    return doctr_model("linknet_resnet18", picture(128))


@case("python-doctr")
def crnn_raw() -> Made:
    from doctr.models import crnn_vgg16_bn

    return (
        crnn_vgg16_bn(pretrained=False, pretrained_backbone=False).eval(),
        (line(),),
        {"return_model_output": True},
    )


@case("python-doctr")
def sar() -> Made:
    return doctr_model("sar_resnet31", line())


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
def highresnet() -> Made:
    from monai.networks.nets import HighResNet

    return HighResNet(3, 1, 2).eval(), (torch.rand(1, 1, 16, 16, 16),), {}


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
            "resnet18",
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
def timm_evonorm() -> Made:
    return timm_model("test_efficientnet_evos", 64)


@case("timm")
def timm_byobnet() -> Made:
    return timm_model("test_byobnet", 64)


@case("timm")
def timm_edgenext() -> Made:
    return timm_model("edgenext_xx_small", 64)


@case("timm")
def timm_mobilevit() -> Made:
    return timm_model("mobilevitv2_050", 64)


@case("piq")
def piq_ssim() -> Made:
    import piq

    return piq.SSIMLoss(data_range=1.0), (picture(), picture()), {}


@case("piq")
def piq_haarpsi() -> Made:
    import piq

    return piq.HaarPSILoss(data_range=1.0), (picture(), picture()), {}


@case("spandrel")
def compact() -> Made:
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    return SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2).eval(), (picture(32),), {}


@case("spandrel")
def nafnet() -> Made:
    from spandrel.architectures.NAFNet.__arch.NAFNet_arch import NAFNet

    return NAFNet(width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]).eval(), (picture(32),), {}


@case("torchvision")
def tv_ssdlite() -> Made:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    return (
        ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5).eval(),
        ([picture(64)[0]],),
        {},
    )


@case("torchvision")
def tv_maxvit() -> Made:
    from torchvision.models import maxvit_t

    return maxvit_t(input_size=(224, 224)).eval(), (picture(224),), {}


@case("lightly")
def lightly_dino() -> Made:
    from lightly.models.modules import DINOProjectionHead

    return DINOProjectionHead(32, 32, 8, 16).eval(), (torch.randn(4, 32),), {}
