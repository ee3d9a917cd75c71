"""Real models, only small: random weights from configs, no network, the same weights for the same seed.

They are the classes that full-size checkpoints load into, so what a test shows on them holds for the code path, not for
the pictures (which are noise).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from models.picture.shot import Ref
from models.sdxl.locate import file_hash

Model = TypeVar("Model", bound=torch.nn.Module)

START, END = "<|startoftext|>", "<|endoftext|>"

# What CLIP says for `eos_token_id` in SDXL's published configs; transformers then pools at the highest id it sees.
LEGACY_EOS = 2

# These become one or a few token ids each, so that prompts of ordinary length fit in 75 tokens.
WORDS = (
    "a an and at beach black blue cat city dog face forest full garden green hair hat high in light long man of on "
    "painting person photo portrait quality red river short smiling street sunset the tree walking water white with woman"
)


def tiny_sdxl(seed: int = 0, eos_token_id: int | None = None) -> StableDiffusionXLPipeline:
    """SDXL with two text encoders 32 and 48 wide. `eos_token_id` (say LEGACY_EOS) replaces the true one in their configs."""
    with _seeded(seed):
        return StableDiffusionXLPipeline(
            vae=_vae(scaling_factor=0.13025),
            text_encoder=_lively(CLIPTextModel(_text_config(32, eos_token_id))),
            text_encoder_2=_lively(CLIPTextModelWithProjection(_text_config(48, eos_token_id, projection_dim=40))),
            tokenizer=tokenizer(pad=END),
            tokenizer_2=tokenizer(pad="!"),
            unet=_unet(
                cross_attention_dim=32 + 48,
                transformer_layers_per_block=(1, 2),
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + 40,
            ),
            scheduler=_scheduler(),
            force_zeros_for_empty_prompt=True,
            add_watermarker=False,
        )


def tiny_sd1(seed: int = 0) -> StableDiffusionPipeline:
    """SD 1.x: one text encoder, no pooled embedding."""
    with _seeded(seed):
        return StableDiffusionPipeline(
            vae=_vae(scaling_factor=0.18215),
            text_encoder=_lively(CLIPTextModel(_text_config(32, None))),
            tokenizer=tokenizer(pad=END),
            unet=_unet(cross_attention_dim=32),
            scheduler=_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def tiny_clip(folder: Path, seed: int = 0) -> Path:
    """An open_clip model as a folder that `local-dir:` reads, with open_clip's own bundled tokenizer."""
    from open_clip.model import CLIP

    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    with _seeded(seed):
        model = CLIP(**config)
    means, deviations = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"model_cfg": config, "preprocess_cfg": {"mean": means, "std": deviations}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


def save(pipe: DiffusionPipeline, folder: Path) -> Path:
    """The pipeline as a local folder that `from_pretrained` reads."""
    pipe.save_pretrained(folder)
    return folder


def tokenizer(pad: str = END) -> CLIPTokenizer:
    """CLIP's tokenizer over bytes, byte ends and the words above; '!' is id 0, start and end of text are the last two."""
    letters = _byte_letters()
    merges = list(dict.fromkeys(merge for word in WORDS.split() for merge in _merges(word)))
    pieces = [*letters, *(letter + "</w>" for letter in letters), *(first + second for first, second in merges)]
    vocab = {piece: number for number, piece in enumerate([*dict.fromkeys(pieces), START, END])}
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token=pad, model_max_length=77)


def _byte_letters() -> list[str]:
    """GPT-2's printable letter for each of the 256 bytes, in the order CLIP's vocabulary lists them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(hidden))]


def _merges(word: str) -> Iterator[tuple[str, str]]:
    """Grow the word from its left: p+h, ph+o, pho+t, phot+o</w>."""
    for end in range(1, len(word)):
        last = end == len(word) - 1
        yield word[:end], word[end] + ("</w>" if last else "")


def _text_config(width: int, eos_token_id: int | None, projection_dim: int = 32) -> CLIPTextConfig:
    words = tokenizer()
    return CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=projection_dim,
        num_hidden_layers=3,
        num_attention_heads=4,
        hidden_act="gelu",
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id if eos_token_id is None else eos_token_id,
        pad_token_id=words.pad_token_id,
    )


def _lively(model: Model) -> Model:
    """Fresh norms have no bias, so every output would have mean zero, which no trained encoder has."""
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            torch.nn.init.normal_(module.weight, mean=1.0, std=0.2)
            torch.nn.init.normal_(module.bias, mean=0.1, std=0.2)
    return model.eval()


def _vae(scaling_factor: float) -> AutoencoderKL:
    """Four blocks, hence eight pixels to a latent, as in the full size."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=128,
        scaling_factor=scaling_factor,
    ).eval()


def _unet(cross_attention_dim: int, **extra: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        norm_num_groups=8,
        cross_attention_dim=cross_attention_dim,
        **extra,
    ).eval()


def _scheduler() -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Model constructors draw from torch's global CPU generator: lend it the seed and put it back as it was."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def tiny_refiner(seed: int = 0) -> StableDiffusionXLImg2ImgPipeline:
    """SDXL's refiner: only the second text encoder, and an aesthetic score in place of the target size."""
    base = tiny_sdxl(seed)
    with _seeded(seed):
        unet = _unet(
            cross_attention_dim=48,
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=5 * 8 + 40,
        )
    parts = {name: base.components[name] for name in ("vae", "text_encoder_2", "tokenizer_2", "scheduler")}
    return StableDiffusionXLImg2ImgPipeline(
        **parts,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def lora(folder: Path, seed: int, part: str = "unet") -> Ref:
    """A LoRA file for the tiny SDXL, as peft and diffusers write them, for its UNet or one of its text encoders."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    model = getattr(tiny_sdxl(), part)
    targets = ["to_q", "to_v"] if part == "unet" else ["q_proj", "v_proj"]
    model.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=targets))
    layers = get_peft_model_state_dict(model)
    generator = torch.Generator().manual_seed(seed)
    layers = {name: torch.randn(tensor.shape, generator=generator) for name, tensor in layers.items()}
    name = f"lora{seed}.safetensors"
    StableDiffusionXLPipeline.save_lora_weights(folder, **{f"{part}_lora_layers": layers}, weight_name=name)
    path = folder / f"lora{seed}.safetensors"
    return Ref(str(path), file_hash(path))
