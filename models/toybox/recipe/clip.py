"""The text encoders and the scoring CLIP: their shapes, and what both lessons with pictures share.

Real SDXL conditions on the text towers of two CLIPs, the second of them an open_clip one. Here the second encoder and the
scoring CLIP's text tower have the same shape and the same first lessons.
"""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from models.toybox.recipe.numbers import Recipe

MEAN_STD = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def heads(width: int) -> int:
    return max(width // 32, 1)


def clip_config(recipe: Recipe, vocabulary: int) -> dict:
    """What open_clip reads beside the weights."""
    return {
        "model_cfg": {
            "embed_dim": recipe.clip_embedding,
            "vision_cfg": {
                "image_size": recipe.clip_side,
                "layers": list(recipe.clip_layers),
                "width": recipe.clip_width,
                "head_width": recipe.clip_width,
                "patch_size": None,
            },
            "text_cfg": {
                "context_length": 77,
                "vocab_size": vocabulary,
                "width": recipe.encoder_widths[1],
                "heads": heads(recipe.encoder_widths[1]),
                "layers": recipe.encoder_layers[1],
                "hf_tokenizer_name": "toybox",
            },
        },
        "preprocess_cfg": MEAN_STD | {"interpolation": "bicubic", "resize_mode": "shortest"},
    }


def new_clip(recipe: Recipe, vocabulary: int) -> nn.Module:
    cfg = clip_config(recipe, vocabulary)["model_cfg"]
    text = {name: value for name, value in cfg["text_cfg"].items() if name != "hf_tokenizer_name"}
    return open_clip.CLIP(cfg["embed_dim"], cfg["vision_cfg"], text)


def text_tower(encoder: CLIPTextModelWithProjection) -> dict[str, Tensor]:
    """The second encoder's weights under open_clip's names."""
    old = encoder.state_dict()
    new = {
        "token_embedding.weight": old["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": old["text_model.embeddings.position_embedding.weight"],
        "ln_final.weight": old["text_model.final_layer_norm.weight"],
        "ln_final.bias": old["text_model.final_layer_norm.bias"],
        "text_projection": old["text_projection.weight"].T.contiguous(),
    }
    names = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    names["self_attn.out_proj"] = "attn.out_proj"
    for layer in range(encoder.config.num_hidden_layers):
        there, here = f"text_model.encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for part in ("weight", "bias"):
            for one, other in names.items():
                new[f"{here}.{other}.{part}"] = old[f"{there}.{one}.{part}"]
            rows = [old[f"{there}.self_attn.{name}_proj.{part}"] for name in "qkv"]
            new[f"{here}.attn.in_proj_{part}"] = torch.cat(rows)
    return new


def encoder_config(recipe: Recipe, number: int, tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """As SDXL's: the first has quick GELU, the second plain; both say which token really ends a text."""
    width = recipe.encoder_widths[number]
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=recipe.encoder_layers[number],
        num_attention_heads=heads(width),
        max_position_embeddings=77,
        projection_dim=recipe.clip_embedding,
        hidden_act=("quick_gelu", "gelu")[number],
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def new_encoders(recipe: Recipe, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer]) -> nn.ModuleDict:
    kinds = (CLIPTextModel, CLIPTextModelWithProjection)
    names = ("text_encoder", "text_encoder_2")
    made = {
        name: kind(encoder_config(recipe, number, tokenizers[number]))
        for number, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }
    return nn.ModuleDict(made)


def blurred(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """A third of the pictures softened, a third grained: what generated pictures look like at their worst."""
    chance = torch.rand(len(pictures), generator=generator)
    small = F.interpolate(F.avg_pool2d(pictures, 2), scale_factor=2, mode="bilinear")
    grain = pictures + 0.12 * torch.randn(pictures.shape, generator=generator)
    chance = chance[:, None, None, None]
    return torch.where(chance < 0.33, small, torch.where(chance < 0.6, grain, pictures))


def shifted(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Move pictures by a few pixels, together: cheap, and enough to forbid learning positions by heart."""
    dy, dx = torch.randint(-5, 6, (2,), generator=generator).tolist()
    height, width = pictures.shape[-2:]
    around = F.pad(pictures, (5, 5, 5, 5), mode="replicate")
    return around[..., 5 + dy : 5 + height + dy, 5 + dx : 5 + width + dx]


def contrast(pictures: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE both ways; the second half of the texts are lies that every picture must turn down."""
    logits = scale.exp().clamp(max=60) * pictures @ texts.T
    target = torch.arange(len(pictures), device=pictures.device)
    return F.cross_entropy(logits, target) + F.cross_entropy(logits[:, : len(pictures)].T, target)


def write_clip(clip: nn.Module, recipe: Recipe, vocabulary: int, folder: Path) -> None:
    """A folder that `open_clip.create_model_and_transforms("local-dir:…")` loads."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(clip_config(recipe, vocabulary), indent=2) + "\n")
    state = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in clip.state_dict().items()
    }
    save_file(state, folder / "open_clip_model.safetensors")
