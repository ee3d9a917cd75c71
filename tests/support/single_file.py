"""Tiny pipelines as one checkpoint with the names of the original code: the way back from diffusers' converters."""

import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import DIFFUSERS_TO_LDM_MAPPING
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

Tensors = dict[str, torch.Tensor]

UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE = {
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1",
    "down_blocks": "down",
    "up_blocks": "up",
    "resnets": "block",
    "samplers.0": "sample",
    "conv_shortcut": "nin_shortcut",
    "group_norm": "norm",
    "to_out.0": "proj_out",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
}
OPEN_CLIP = {
    "encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "fc1": "c_fc",
    "fc2": "c_proj",
    "self_attn": "attn",
    "q_proj.": "in_proj_",
    "final_layer_norm": "ln_final",
    "embeddings.token_embedding": "token_embedding",
    "embeddings.position_embedding.weight": "positional_embedding",
}


def write_single_file(pipe: StableDiffusionXLPipeline | StableDiffusionPipeline, path: Path) -> Path:
    """All weights in one file, with some of the tensors that published files carry beside them."""
    parts = {"model.diffusion_model.": unet(pipe.unet), "first_stage_model.": vae(pipe.vae)}
    if isinstance(pipe, StableDiffusionXLPipeline):
        parts["conditioner.embedders.0.transformer."] = clip(pipe.text_encoder)
        parts["conditioner.embedders.1.model."] = open_clip(pipe.text_encoder_2)
    else:
        parts["cond_stage_model.transformer."] = clip(pipe.text_encoder)
        parts[""] = {"betas": torch.zeros(1000), "model_ema.decay": torch.tensor(1.0)}
    return write({prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}, path)


def write(tensors: Tensors, path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def unet(model: UNet2DConditionModel) -> Tensors:
    return {_unet_name(name, model.config.layers_per_block): each for name, each in model.state_dict().items()}


def vae(model: AutoencoderKL) -> Tensors:
    """Attention was a convolution over single pixels, and up blocks were counted from the picture's side."""
    made: Tensors = {}
    for name, tensor in model.state_dict().items():
        name = DIFFUSERS_TO_LDM_MAPPING["vae"].get(name) or _renamed(name, VAE)
        if up := re.search(r"\.up\.(\d+)", name):
            name = name.replace(up[0], f".up.{len(model.config.block_out_channels) - 1 - int(up[1])}")
        made[name] = tensor[..., None, None] if ".attn_1." in name and tensor.ndim == 2 else tensor
    return made


def clip(model: CLIPTextModel) -> Tensors:
    weights = {f"text_model.{name.removeprefix('text_model.')}": each for name, each in model.state_dict().items()}
    return weights | {"text_model.embeddings.position_ids": torch.arange(77)[None]}


def open_clip(model: CLIPTextModelWithProjection) -> Tensors:
    """Query, key and value are one matrix, and the projection is multiplied from the other side."""
    weights = {name.removeprefix("text_model."): each for name, each in model.state_dict().items()}
    made = {"text_projection": weights.pop("text_projection.weight").T, "logit_scale": torch.tensor(4.6)}
    for name, tensor in weights.items():
        if "q_proj" in name:
            tensor = torch.cat([weights[name.replace("q_proj", each)] for each in ("q_proj", "k_proj", "v_proj")])
        if "k_proj" not in name and "v_proj" not in name:
            made[_renamed(name, OPEN_CLIP)] = tensor
    return made


def _unet_name(name: str, layers: int) -> str:
    known = DIFFUSERS_TO_LDM_MAPPING["unet"]
    if found := (known["layers"] | known["addition_embed_type"]).get(name):
        return found
    if middle := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
        kind, number, rest = middle.groups()
        return f"middle_block.{2 * int(number) + (kind == 'attentions')}.{_unet_rest(kind, rest)}"
    block = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|\w+samplers)\.(\d+)\.(.+)", name)
    assert block, name
    way, number, kind, layer, rest = block.groups()
    first = int(number) * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{1 + first + layers}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":  # tiny up blocks that grow have attention, which comes first
        return f"output_blocks.{first + layers}.2.{rest}"
    stem = f"input_blocks.{1 + first + int(layer)}" if way == "down" else f"output_blocks.{first + int(layer)}"
    return f"{stem}.{int(kind == 'attentions')}.{_unet_rest(kind, rest)}"


def _unet_rest(kind: str, rest: str) -> str:
    return _renamed(rest, UNET_RESNET) if kind == "resnets" else rest


def _renamed(name: str, words: dict[str, str]) -> str:
    for old, new in words.items():
        name = name.replace(old, new)
    return name
