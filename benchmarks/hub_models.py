"""Models of transformers, diffusers and Ultralytics, part by part, through the whole road.

    python benchmarks/hub_models.py [--out build/hub_models] [--backend tensorrt-rtx,tvm] [NAME …]

Each model is a folder with a small configuration of its class, as the package ships it, and seeded weights; of Ultralytics the
smallest architecture. Each part is built with a range of sizes, so that ONNX Runtime is compared at the optimum, at the ends
and at a size that the export did not see; TVM's module has the optimum. A build that has a result in `--out` isn't run
again. Prints one line a part, and the counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
BOTH_SIDES = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
"""Of a small encoder and a decoder."""
TEXT = "input_ids:1x{s=2..16..32}:int64 attention_mask:1x{s}:int64"
PROMPT = "input_ids:1x{s=2..16..32}:int64 attention_mask:1x{s}:int64 position_ids:1x{s}:int64"


def past(prefixes: list[str], heads: int, length: str) -> str:
    """Keys and values of a cache, 8 numbers a head: the first one says the range of a named length."""
    name = length.partition("=")[0].rstrip("}") + "}" if "{" in length else length
    names = [f"past_key_values.{prefix}.{kind}" for prefix in prefixes for kind in ("key", "value")]
    return " ".join(f"{each}:1x{heads}x{length if each == names[0] else name}x8" for each in names)


OWN, READ = ["0.decoder", "1.decoder"], ["0.encoder", "1.encoder"]


def transformers_model(architecture: str, config: str, **values: Any) -> Callable[[Path], None]:
    """Writes the folder of a model of transformers."""

    def write(folder: Path) -> None:
        import transformers

        made = getattr(transformers, config)(**values)
        made.architectures = [architecture]
        made.save_pretrained(folder)

    return write


def diffusers_model(name: str, **values: Any) -> Callable[[Path], None]:
    """Writes the folder of a model of diffusers."""

    def write(folder: Path) -> None:
        import diffusers

        folder.mkdir(parents=True, exist_ok=True)
        getattr(diffusers, name)(**values).save_config(folder)

    return write


VIT = {**SMALL, "image_size": 64, "patch_size": 16}
DETR = {
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
    **BOTH_SIDES,
    "num_queries": 10,
    "num_labels": 5,
}
RESNET = {"model_type": "resnet", "embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
WHISPER = {
    "vocab_size": 128,
    **BOTH_SIDES,
    "decoder_layers": 2,
    "max_source_positions": 50,
    "max_target_positions": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 3,
}
SAM = {
    "vision_config": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mlp_dim": 64,
        "image_size": 128,
        "patch_size": 16,
        "output_channels": 16,
        "global_attn_indexes": [1],
        "window_size": 4,
        "num_pos_feats": 8,
    },
    "prompt_encoder_config": {
        "hidden_size": 16,
        "image_size": 128,
        "patch_size": 16,
        "image_embedding_size": 8,
        "mask_input_channels": 4,
    },
    "mask_decoder_config": {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
}

MODELS: dict[str, Callable[[Path], None]] = {
    "vit": transformers_model("ViTForImageClassification", "ViTConfig", **VIT),
    "clip": transformers_model(
        "CLIPModel",
        "CLIPConfig",
        text_config={**SMALL, "vocab_size": 128, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 98},
        vision_config=VIT,
        projection_dim=16,
    ),
    "bert": transformers_model("BertForSequenceClassification", "BertConfig", vocab_size=128, **SMALL),
    "modernbert": transformers_model(
        "ModernBertForMaskedLM", "ModernBertConfig", vocab_size=128, pad_token_id=0, local_attention=8, **SMALL
    ),
    "t5": transformers_model(
        "T5ForConditionalGeneration",
        "T5Config",
        vocab_size=128,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
    ),
    "whisper": transformers_model("WhisperForConditionalGeneration", "WhisperConfig", **WHISPER),
    "llama": transformers_model("LlamaForCausalLM", "LlamaConfig", vocab_size=128, num_key_value_heads=2, **SMALL),
    "detr": transformers_model("DetrForObjectDetection", "DetrConfig", backbone_config=RESNET, **DETR),
    "rtdetr": transformers_model(
        "RTDetrForObjectDetection",
        "RTDetrConfig",
        backbone_config={
            "model_type": "rt_detr_resnet",
            "embedding_size": 16,
            "hidden_sizes": [16, 24, 32, 48],
            "depths": [1, 1, 1, 1],
            "layer_type": "basic",
            "out_features": ["stage2", "stage3", "stage4"],
        },
        encoder_in_channels=[24, 32, 48],
        encoder_hidden_dim=32,
        encoder_ffn_dim=64,
        d_model=32,
        num_queries=30,
        decoder_in_channels=[32, 32, 32],
        decoder_layers=2,
        decoder_ffn_dim=64,
        num_labels=5,
        freeze_backbone_batch_norms=False,
    ),
    "segformer": transformers_model(
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        depths=[1, 1, 1, 1],
        hidden_sizes=[16, 16, 32, 32],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=32,
    ),
    "sam": transformers_model("SamModel", "SamConfig", **SAM),
    "dinov2": transformers_model("Dinov2Model", "Dinov2Config", **{**VIT, "patch_size": 14, "image_size": 56}),
    "depth_anything": transformers_model(
        "DepthAnythingForDepthEstimation",
        "DepthAnythingConfig",
        backbone_config={
            "model_type": "dinov2",
            **SMALL,
            "num_hidden_layers": 4,
            "image_size": 56,
            "patch_size": 14,
            "out_indices": [1, 2, 3, 4],
            "reshape_hidden_states": False,
            "apply_layernorm": True,
        },
        reassemble_hidden_size=32,
        patch_size=14,
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
        head_hidden_size=8,
    ),
    "vae": diffusers_model(
        "AutoencoderKL",
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        sample_size=32,
    ),
    "unet": diffusers_model(
        "UNet2DConditionModel",
        sample_size=16,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=24,
        attention_head_dim=4,
        norm_num_groups=8,
    ),
}

PARTS: dict[str, str] = {
    "hf:vit": "pixel_values:1..2..5x3x64x64",
    "hf:clip": "",
    "hf:clip#text_model": TEXT,
    "hf:clip#vision_model": "pixel_values:1..2..5x3x64x64",
    "hf:bert": f"{TEXT} token_type_ids:1x{{s}}:int64",
    "hf:modernbert": TEXT,
    "hf:t5#encoder": TEXT,
    "hf:t5#decoder": "decoder_input_ids:1x{s=2..3..16}:int64 encoder_hidden_states:1x{r=2..16..32}x32 "
    "encoder_attention_mask:1x{r}:int64",
    "hf:t5#decoder_with_past": f"decoder_input_ids:1x1:int64 {past(OWN, 4, '{p=2..3..16}')} {past(READ, 4, '{r=2..16..32}')} "
    "encoder_attention_mask:1x{r}:int64",
    "hf:whisper#encoder": "input_features:1..2..5x80x100",
    "hf:whisper#decoder": "decoder_input_ids:1x{s=2..3..16}:int64",
    "hf:whisper#decoder_with_past": f"decoder_input_ids:1x1:int64 {past(OWN, 4, '{p=2..3..16}')} {past(READ, 4, '50')}",
    "hf:llama#decoder": PROMPT,
    "hf:llama#decoder_with_past": f"input_ids:1x1:int64 {past(['0', '1'], 2, '{p=2..16..32}')} attention_mask:1x{{p+1}}:int64 "
    "position_ids:1x1:int64",
    "hf:detr": "pixel_values:1x3x64..96..160x64..96..160",
    "hf:rtdetr": "pixel_values:1..2..3x3x128x128",
    "hf:segformer": "pixel_values:1..2..3x3x64x64",
    "hf:sam#vision_encoder": "pixel_values:1..2..3x3x128x128",
    "hf:sam#mask_decoder": "input_points:1x1x{n=1..2..5}x2 input_labels:1x1x{n}:int64",
    "hf:dinov2": "pixel_values:1..2..5x3x56x56",
    "hf:depth_anything": "pixel_values:1..2..5x3x56x56",
    "hf:vae#encoder": "sample:1x3x16..32..48x16..32..48",
    "hf:vae#decoder": "latent_sample:1x4x8..16..24x8..16..24",
    "hf:unet": "sample:{b=1..2..4}x4x16x16 timestep:{b}:int64 encoder_hidden_states:{b}x77x24",
    "ultralytics:yolo11n": "1x3x96..160..224x160",
    "ultralytics:yolo11n-seg": "1x3x96..160..224x160",
    "ultralytics:yolo11n-pose": "1x3x96..160..224x160",
}
"""Each with the sizes to build it for; empty: those of its example."""


def folder_of(spec: str, out: Path) -> str:
    """What the command line is given for a part."""
    library, _, rest = spec.partition(":")
    if library != "hf":
        return spec
    name, mark, part = rest.partition("#")
    folder = out / "models" / name
    if not (folder / "config.json").is_file():
        MODELS[name](folder)
    return f"hf:{folder}{mark}{part}"


def built(spec: str, shape: str, backend: str, out: Path, limit: float) -> dict[str, Any]:
    """Each stage's verdict and reason, `error` where the build ended without any."""
    place = out / spec.replace(":", "_").replace("#", "_")
    done = place / "result.json"
    if done.is_file():
        return dict(json.loads(done.read_text()))
    command = [sys.executable, "-m", "enginesmith.pipeline.cli.app", "build", folder_of(spec, out)]
    command += ["--backend", backend, "--measure", "0", "--keep-going", "--out", str(place)]
    command += ["--target", "sm_89,native" if "tvm" in backend else "sm_89"]
    command += ["--shape", shape] if shape else []
    found: dict[str, Any] = {"spec": spec, "stages": {}, "error": ""}
    (place / "manifest.json").unlink(missing_ok=True)
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        lines = [line for line in (run.stderr + run.stdout).splitlines() if line.strip()]
        found["error"] = "" if run.returncode == 0 else (lines[-1] if lines else f"exit {run.returncode}")
    except subprocess.TimeoutExpired:
        found["error"] = f"not done in {limit:.0f} s"
    if (place / "manifest.json").is_file():
        manifest = json.loads((place / "manifest.json").read_text())
        for stage in manifest["stages"]:
            found["stages"][stage["id"]] = {
                "status": stage["status"],
                "reason": stage["error"],
            }
    place.mkdir(parents=True, exist_ok=True)
    done.write_text(json.dumps(found, indent=1, default=str))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts whose names contain one of these; all where left out")
    parser.add_argument("--out", type=Path, default=Path("build/hub_models"))
    parser.add_argument("--backend", default="tensorrt-rtx,tvm")
    parser.add_argument("--limit", type=float, default=1800, help="seconds a part")
    given = parser.parse_args()
    chosen = [spec for spec in PARTS if not given.names or any(name in spec for name in given.names)]
    good = 0
    for spec in chosen:
        found = built(spec, PARTS[spec], given.backend, given.out.resolve(), given.limit)
        good += not found["error"]
        failed = {name: stage["reason"] for name, stage in found["stages"].items() if stage["status"] == "failed"}
        print(
            f"{'✓' if not found['error'] else '✗'} {spec:32} {found['error'] and (failed or found['error'])}",
            flush=True,
        )
    print(f"{good} of {len(chosen)}")


if __name__ == "__main__":
    main()
