"""SDXL at its full size with random weights: what only the real shapes can show, without a download.

`python -m bench.full_size` builds the model from its published configuration into bench/work/full-size (about 7 GB; what is
there is kept), then loads it through the ordinary code, compares prompts with diffusers' own encoding, and makes one small
picture twice.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from models.system.progress import show_progress

WORK = Path(__file__).parent / "work" / "full-size"
CLIP_L = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
CLIP_G = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}
UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}


def tokenizer(pad: str) -> Any:
    """CLIP's own, from the vocabulary that open_clip brings along."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    known = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {names.get(piece, piece): number for piece, number in known.encoder.items()}
    merges = sorted(known.bpe_ranks, key=known.bpe_ranks.__getitem__)
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token=pad, model_max_length=77)


def build(folder: Path, dtype: torch.dtype = torch.bfloat16) -> Path:
    """The model as a folder. Each part is written once; a run that was killed goes on with the missing ones."""
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    if (folder / "model_index.json").exists():
        return folder
    parts: dict[str, Callable[[], Any]] = {
        "text_encoder": lambda: CLIPTextModel(CLIPTextConfig(eos_token_id=2, **CLIP_L)),
        "text_encoder_2": lambda: CLIPTextModelWithProjection(CLIPTextConfig(eos_token_id=2, **CLIP_G)),
        "vae": lambda: AutoencoderKL(**VAE),
        "unet": lambda: UNet2DConditionModel(**UNET),
        "tokenizer": lambda: tokenizer("<|endoftext|>"),
        "tokenizer_2": lambda: tokenizer("!"),
        "scheduler": lambda: EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
    }
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)  # made in their final precision: in fp32 the UNet alone would take 10 GB
    with show_progress("building SDXL with random weights", len(parts), "parts") as advance:
        made = {}
        for name, maker in parts.items():
            made[name] = maker()
            advance(1)
    torch.set_default_dtype(torch.float32)
    StableDiffusionXLPipeline(**made, add_watermarker=False).save_pretrained(folder)
    return folder


def timed(what: str, work: Callable[[], Any]) -> Any:
    begun = time.monotonic()
    result = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what:44} {time.monotonic() - begun:8.1f} s   peak {peak:5.1f} GiB", flush=True)
    return result


def same_prompts(model: Any, prompts: list[str]) -> int:
    """How many prompts are encoded to the same bits as by diffusers."""
    from models.sdxl import prompt_encoder

    equal = 0
    for text in prompts:
        ours = prompt_encoder.encode_prompt(model.encoders, text)
        with torch.no_grad():
            hidden, _, pooled, _ = model.pipe.encode_prompt(text, do_classifier_free_guidance=False)
        equal += torch.equal(ours.hidden, hidden) and torch.equal(ours.pooled, pooled)
    return equal


def main() -> None:
    from models.picture.shot import Shot
    from models.sdxl import locate, renderer
    from models.sdxl.pipeline import Options

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    folder = timed("build", lambda: build(WORK))
    memory = WORK.parent / "hashes.json"
    source = timed("find and hash, first time", lambda: locate.locate_model(str(folder), memory=memory))
    timed("find and hash, later", lambda: locate.locate_model(str(folder), memory=memory))
    model = timed("load", lambda: renderer.load_renderer(source, Options(device=asked.device, precision="bf16")))
    prompts = ["", "a teal fox in the forest", "a portrait of an old sailor, oil on canvas, 1890", "ünïcödé 狐 🦊"]
    equal = timed("prompts against encode_prompt", lambda: same_prompts(model, prompts))
    print(f"prompts encoded to the same bits as by diffusers: {equal} of {len(prompts)}")
    size = {"width": asked.size, "height": asked.size}
    shot = Shot(prompt="a (teal:1.2) fox", model=source.ref, seed=1, steps=asked.steps, **size)
    first, again = (
        timed(f"{asked.size}x{asked.size}, {asked.steps} steps", lambda: next(model.generate([shot]))) for _ in range(2)
    )
    same = first.provenance.pixels == again.provenance.pixels
    print(f"the same shot twice: {'identical pixels' if same else 'DIFFERENT PIXELS'}")
    sys.exit(not (same and equal == len(prompts)))


if __name__ == "__main__":
    main()
