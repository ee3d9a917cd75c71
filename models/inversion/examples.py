"""The training pictures as the UNet sees them: cut, mirrored, encoded once, with their true sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps

from models.inversion.random_draws import generator_for
from models.picture import environment, reading
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.inversion.config import Config
    from models.sdxl.renderer import Renderer

Size = tuple[int, int]  # width, height, and left, top


@dataclass(frozen=True, eq=False)
class TrainingExample:
    """A picture and its captions."""

    image: Image.Image | Path
    captions: Sequence[str]
    """Each one with the word in it; one of them is drawn each time."""
    mask: Image.Image | Path | None = None
    """Light where the subject is; None takes the picture's own transparency, if it has any."""
    original: Size | None = None
    """Width and height of the picture that this one was cut from, in this one's pixels; None: it is whole."""
    corner: Size = (0, 0)
    """Where in the original it was cut out: left, top."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "captions", (self.captions,) if isinstance(self.captions, str) else (*self.captions,))


@dataclass(frozen=True)
class Pixels:
    """An example read from disk."""

    name: str
    image: Image.Image
    mask: Image.Image | None
    original: Size
    corner: Size

    @property
    def hash(self) -> str:
        parts = [environment.pixel_hash(self.image), str(self.original), str(self.corner)]
        return " ".join([*parts, environment.pixel_hash(self.mask) if self.mask else ""])


def read_example(example: TrainingExample, masks: bool, number: int) -> Pixels:
    """Read the picture and its mask; `number` counts from 1 and names a picture that has no file."""
    name = str(example.image) if isinstance(example.image, Path) else f"picture {number}"
    image = _open_image(example.image)
    mask = _open_image(example.mask).convert("L") if example.mask is not None else None
    if mask is None and image.has_transparency_data:
        mask = image.convert("RGBA").getchannel("A")
    if mask is not None and mask.size != image.size:
        sizes = [f"{picture.width}x{picture.height}" for picture in (mask, image)]
        raise UserError(f"the mask of {name} is {sizes[0]} and the picture {sizes[1]}: make them equal")
    ends = [at + length for at, length in zip(example.corner, image.size, strict=True)]
    if example.original and (
        min(example.corner) < 0 or any(a > b for a, b in zip(ends, example.original, strict=True))
    ):
        raise UserError(f"{name} does not fit into its original of {example.original} at {example.corner}: mend these")
    return Pixels(
        name, reading.convert_to_rgb(image), mask if masks else None, example.original or image.size, example.corner
    )


def _open_image(image: Image.Image | Path) -> Image.Image:
    return reading.open_picture(image) if isinstance(image, Path) else image


class Cut(NamedTuple):
    """A square of a picture that is scaled so that the square becomes `side` wide."""

    scale: float
    left: int
    top: int
    side: int

    @property
    def pixel_box(self) -> tuple[float, float, float, float]:
        """Return the square in the picture's own pixels."""
        right, bottom = self.left + self.side, self.top + self.side
        return self.left / self.scale, self.top / self.scale, right / self.scale, bottom / self.scale


def draw_cuts(size: Size, side: int, config: Config, number: int) -> Iterator[Cut]:
    """Yield the middle square, then closer ones at places that follow from the seed and the picture's number."""
    for version in range(config.crops):
        draw = torch.rand(3, generator=generator_for(config.seed, "cut", number, version)).tolist() if version else None
        scale = side / min(size) * (1 + draw[0] * (config.zoom - 1) if draw else 1)
        spare = [max(0, math.floor(length * scale + 1e-6) - side) for length in size]
        share = draw[1:] if draw else [0.5, 0.5]
        left, top = (math.floor(room * part) for room, part in zip(spare, share, strict=True))
        yield Cut(scale, left, top, side)


class LatentView(NamedTuple):
    """A version of a picture at one size, ready to be trained on."""

    mean: torch.Tensor  # [C, h, w], as the UNet knows latents
    deviation: torch.Tensor  # [C, h, w]
    weights: torch.Tensor  # [1, h, w], 1 on average
    time_ids: tuple[int, ...]  # SDXL's sizes: original height and width, top, left, target height and width


LatentViews = dict[tuple[int, int], list[LatentView]]  # by size and picture its versions


def encode_views(model: Renderer, pixels: Sequence[Pixels], sides: Sequence[int], config: Config) -> LatentViews:
    """Encode every version once with the VAE, one at a time, and keep the results on the CPU."""
    vae = model.pipe.vae
    before = next(vae.parameters()).dtype
    vae.to(torch.float32)  # half precision would cost accuracy, or overflow; exact there and back again
    try:
        return {
            (side, number): [
                _encode_view(vae, example_pixels, *version, config)
                for version in _list_versions(example_pixels, side, config, number)
            ]
            for side in sides
            for number, example_pixels in enumerate(pixels)
        }
    finally:
        vae.to(before)


def _list_versions(pixels: Pixels, side: int, config: Config, number: int) -> Iterator[tuple[Cut, bool]]:
    """Yield the cuts, and each one mirrored if asked for. A cut without the subject is replaced by the whole."""
    whole, *closer = draw_cuts(pixels.image.size, side, config, number)
    if not _shows_subject(pixels, whole):
        raise UserError(
            f"the mask of {pixels.name} is black in the middle square, which is learned: crop it or mend it"
        )
    for cut in [whole, *(closer_cut if _shows_subject(pixels, closer_cut) else whole for closer_cut in closer)]:
        yield from [(cut, False), (cut, True)][: 1 + config.mirror]


def _shows_subject(pixels: Pixels, cut: Cut) -> bool:
    return pixels.mask is None or float(np.asarray(_cut_square(pixels.mask, cut)).mean()) > 1


def _encode_view(vae: Any, pixels: Pixels, cut: Cut, mirrored: bool, config: Config) -> LatentView:
    image = _cut_square(pixels.image, cut, mirrored)
    array = torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        posterior = vae.encode(array.to(vae.device)).latent_dist
    mean, deviation = (part[0].float().cpu() * vae.config.scaling_factor for part in (posterior.mean, posterior.std))
    if not (mean.isfinite().all() and deviation.isfinite().all()):
        raise UserError(f"the VAE makes not-a-number of {pixels.name}: use another VAE (models.vae)")
    height, width = mean.shape[1:]
    weights = torch.ones(1, height, width)
    if pixels.mask:
        small = _cut_square(pixels.mask, cut, mirrored).resize((width, height), Image.Resampling.BOX)
        weights = _loss_weights(torch.from_numpy(np.array(small, dtype=np.float32))[None] / 255, config.mask_floor)
    return LatentView(mean, deviation, weights, time_ids(pixels, cut, mirrored))


def _cut_square(image: Image.Image, cut: Cut, mirrored: bool = False) -> Image.Image:
    left, top, right, bottom = cut.pixel_box
    inside = left, top, min(right, image.width), min(bottom, image.height)  # a rounding error could lead out of it
    square = image.resize((cut.side, cut.side), Image.Resampling.LANCZOS, inside)
    return ImageOps.mirror(square) if mirrored else square


def _loss_weights(share: torch.Tensor, floor: float) -> torch.Tensor:
    """Return each latent's loss weight, 1 on average, so that a small subject learns as fast as a large one."""
    weights = floor + (1 - floor) * share
    return weights / weights.mean()


def time_ids(pixels: Pixels, cut: Cut, mirrored: bool) -> tuple[int, ...]:
    """Return SDXL's size conditioning: the size before scaling, the corner of the cut, and the final size."""
    width, height = pixels.original
    left, top = (round(at * cut.scale) for at in pixels.corner)
    left, top = left + cut.left, top + cut.top
    if mirrored:  # the left of the mirrored original
        left = round(width * cut.scale) - cut.side - left
    return height, width, top, left, cut.side, cut.side
