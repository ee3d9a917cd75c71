"""The numbers of the recipe: what is trained, how wide, how long. Everything derives from one seed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Schedule:
    """How long a part trains and how fast it may move."""

    steps: int
    batch: int
    peak: float
    ema: float = 0.999
    muon: bool = False  # orthogonal updates for matrices, see `optimiser.py`
    level: float = 0.02  # until which share of the schedule the rate stays at its peak
    minutes: float = 0.0  # stop after so many minutes of training although steps are left; 0: never


@dataclass(frozen=True)
class Recipe:
    """One whole toybox."""

    seed: int = 7
    drawings: int = 24_000
    held_out: int = 1024
    worn: int = 6_000  # how many of them also exist as the VAE gives them back
    # VAE: f16, so that 256 pixels cost the UNet what 128 did at f8; few channels where there are many pixels.
    vae_channels: tuple[int, ...] = (8, 16, 32, 64, 128)
    latent_channels: int = 32
    vae_crop: int = 128
    kl: float = 1e-3
    vae_drawings: int = 8_000  # how many drawings the VAE learns from
    vae: Schedule = field(
        default_factory=lambda: Schedule(steps=14_000, batch=4, peak=1.5e-3, muon=True, level=0.3, minutes=150)
    )
    polish: Schedule = field(default_factory=lambda: Schedule(steps=5000, batch=4, peak=5e-4, minutes=60))
    perceptual: float = 0.5  # what the scoring CLIP's layers count in the polish
    adversarial: float = 0.05  # what the critic's opinion counts in the polish
    # Text encoders and the scoring CLIP, which looks at pictures at 128 pixels.
    encoder_widths: tuple[int, int] = (96, 128)
    encoder_layers: tuple[int, int] = (3, 3)
    clip_side: int = 128
    clip_width: int = 16
    clip_layers: tuple[int, int, int, int] = (1, 1, 2, 1)
    clip_embedding: int = 128
    words: Schedule = field(default_factory=lambda: Schedule(steps=4000, batch=64, peak=1e-3, minutes=15))
    scorer: Schedule = field(default_factory=lambda: Schedule(steps=6000, batch=64, peak=1.5e-3, muon=True, minutes=60))
    # UNet
    unet_channels: tuple[int, ...] = (64, 128, 160)
    unet_layers: int = 1
    latents: int = 36_000  # square drawings that exist as latents only
    shaped_latents: int = 4_000  # and of each other shape
    square_share: float = 0.6  # how many of the UNet's steps look at squares
    unet: Schedule = field(
        default_factory=lambda: Schedule(
            steps=60_000, batch=32, peak=1.2e-3, ema=0.9995, muon=True, level=0.5, minutes=600
        )
    )
    taught_together: float = 0.35  # share of the UNet's schedule in which the text encoders learn beside it
    details: float = 3.0  # how much more than the background the face, hands, and things count
    reading: float = 0.05  # share of the encoders' own lessons beside the UNet's
    traits_named: tuple[float, float, float] = (0.4, 0.25, 0.35)  # share of captions that name none, half, all
    open_share: float = 0.1
    empty_share: float = 0.1
    oracle: Schedule = field(default_factory=lambda: Schedule(steps=6000, batch=64, peak=2e-3, muon=True, minutes=60))
    # The identity scorer: families of critters, 32 pictures each. Longer, it knows these families better and generated pictures
    # worse.
    families: int = 8_000
    identity: Schedule = field(default_factory=lambda: Schedule(steps=2300, batch=96, peak=1e-3, minutes=30))
    # The quick adapter: four steps without guidance.
    lora_rank: int = 16
    quick: Schedule = field(default_factory=lambda: Schedule(steps=3000, batch=16, peak=1e-3, ema=0.995, minutes=120))
    quick_guidance: float = 3.0


STANDARD = Recipe()
TINY = Recipe(
    drawings=48,
    held_out=16,
    worn=16,
    vae_channels=(8, 8, 8, 16, 16),
    latent_channels=8,
    vae_crop=64,
    vae=Schedule(steps=4, batch=4, peak=1e-3, muon=True),
    polish=Schedule(steps=2, batch=4, peak=1e-4),
    encoder_widths=(32, 32),
    encoder_layers=(2, 2),
    clip_width=8,
    clip_layers=(1, 1, 1, 1),
    clip_embedding=16,
    words=Schedule(steps=4, batch=8, peak=1e-3),
    scorer=Schedule(steps=4, batch=8, peak=1e-3),
    unet_channels=(16, 16, 32),
    latents=32,
    shaped_latents=8,
    unet=Schedule(steps=6, batch=4, peak=1e-3),
    oracle=Schedule(steps=4, batch=8, peak=1e-3),
    families=64,
    identity=Schedule(steps=4, batch=64, peak=1e-3),
    lora_rank=4,
    quick=Schedule(steps=3, batch=4, peak=1e-3),
)
"""Too small to learn anything: for trying the machinery in seconds."""
