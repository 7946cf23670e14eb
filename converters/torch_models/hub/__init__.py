"""Models of Hugging Face's libraries, from a folder as `save_pretrained` writes it or from the hub: transformers and diffusers.

    load_hub_model("#decoder_with_past", Path("smol"), "auto", trust=False, seed=0)
    load_hub_model("google/vit-base-patch16-224", None, "auto", trust=False, seed=0)

A model that runs as several graphs has parts, called as Optimum calls them: a `decoder` takes the prompt, a `decoder_with_past`
the next tokens and the cache.
"""

from enginesmith.converters.torch_models.hub.loading import load_hub_model

__all__ = ["load_hub_model"]
