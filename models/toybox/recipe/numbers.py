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


@dataclass(frozen=True)
class Recipe:
    """One whole toybox."""

    seed: int = 7
    drawings: int = 24_000
    held_out: int = 512
    worn: int = 4_000  # how many of them also exist as the VAE gives them back
    # VAE: f8, so that sizes are multiples of 8 as in SDXL; 16 channels, because 4 lose the eyes and the marks.
    vae_channels: tuple[int, ...] = (16, 32, 64, 96)
    latent_channels: int = 16
    vae_crop: int = 64
    kl: float = 1e-3
    vae: Schedule = field(default_factory=lambda: Schedule(steps=4200, batch=8, peak=1e-3))
    polish: Schedule = field(default_factory=lambda: Schedule(steps=2000, batch=8, peak=5e-4))
    # Text encoders and the scoring CLIP.
    encoder_widths: tuple[int, int] = (96, 128)
    encoder_layers: tuple[int, int] = (3, 3)
    clip_width: int = 16
    clip_layers: tuple[int, int, int, int] = (1, 1, 2, 1)
    clip_embedding: int = 128
    words: Schedule = field(default_factory=lambda: Schedule(steps=3000, batch=64, peak=1e-3))
    scorer: Schedule = field(default_factory=lambda: Schedule(steps=5000, batch=64, peak=1.5e-3))
    # UNet
    unet_channels: tuple[int, ...] = (64, 128, 160)
    unet_layers: int = 1
    unet: Schedule = field(default_factory=lambda: Schedule(steps=14_000, batch=32, peak=1.2e-3))
    marked: float = 3.0  # how much more than the background the eyes, marks, bellies and accessories count
    reading: float = 0.05  # share of the encoders' own lessons beside the UNet's
    traits_named: tuple[float, float, float] = (0.4, 0.25, 0.35)  # share of captions that name none, half, all
    open_share: float = 0.1
    empty_share: float = 0.1
    oracle: Schedule = field(default_factory=lambda: Schedule(steps=3000, batch=64, peak=2e-3))
    # The identity scorer: families of critters, 32 pictures each. Longer, it knows these families better and generated pictures
    # worse.
    kin: int = 16_000
    identity: Schedule = field(default_factory=lambda: Schedule(steps=2300, batch=96, peak=1e-3))


STANDARD = Recipe()
TINY = Recipe(
    drawings=48,
    held_out=16,
    vae_channels=(8, 8, 16, 16),
    vae=Schedule(steps=4, batch=4, peak=1e-3),
    polish=Schedule(steps=2, batch=4, peak=1e-4),
    encoder_widths=(32, 32),
    encoder_layers=(2, 2),
    clip_width=8,
    clip_layers=(1, 1, 1, 1),
    clip_embedding=16,
    words=Schedule(steps=4, batch=8, peak=1e-3),
    scorer=Schedule(steps=4, batch=8, peak=1e-3),
    unet_channels=(16, 16, 32),
    unet=Schedule(steps=4, batch=4, peak=1e-3),
    oracle=Schedule(steps=4, batch=8, peak=1e-3),
    kin=64,
    identity=Schedule(steps=4, batch=64, peak=1e-3),
)
"""Too small to learn anything: for trying the machinery in seconds."""
