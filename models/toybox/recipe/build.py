"""Make toybox from nothing: `python -m models.toybox.build`. Stages that are done are not done again; one that was killed
goes on from its last checkpoint."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path

# Threads that wait by spinning starve each other as soon as anything else runs beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from transformers import CLIPTokenizer

from models.toybox import folder
from models.toybox.recipe.drawings import critter_at, drawings, reduced
from models.toybox.recipe.latents import SHAPES, Bucket, bucket_seed, encode_shapes
from models.toybox.recipe.numbers import STANDARD, TINY, Recipe
from models.toybox.recipe.progress import Row, shown
from models.toybox.recipe.resumable_training import finished
from models.toybox.recipe.tokenizers import END, write_tokenizer

STAGES = ("draw", "vae", "words", "latents", "unet", "decoded", "scorer", "polish", "export", "oracle", "families", "identity",
          "quick", "report")  # fmt: skip
SHAPED_DRAWINGS = 2000
"""How many drawings of each other shape the oracle learns from."""


class Build:
    """One toybox in the making: its working folder and where the weights go."""

    def __init__(
        self, recipe: Recipe, work: Path, out: Path, device: torch.device, minutes: float | None = None
    ) -> None:
        self.recipe, self.work, self.out, self.device, self.minutes = recipe, work, out, device, minutes
        self.processes = torch.get_num_threads()

    @cached_property
    def drawn(self) -> np.ndarray:
        """The drawings that are learnt from."""
        return drawings(self.recipe.seed, self.recipe.drawings, self.work / "drawings.npy", processes=self.processes)

    @cached_property
    def held_out(self) -> np.ndarray:
        """Drawings that nothing learns from."""
        return drawings(
            self.recipe.seed + 1, self.recipe.held_out, self.work / "held_out.npy", processes=self.processes
        )

    @cached_property
    def small(self) -> np.ndarray:
        """The drawings as the scoring CLIP and the oracle see them."""
        return reduced(self.drawn, self.recipe.clip_side, self.work / "drawings-small.npy")

    @cached_property
    def shaped(self) -> list[tuple[int, np.ndarray]]:
        """Drawings of the other shapes, squeezed into squares as the oracle sees them, with their seeds."""
        side, pictures = self.recipe.clip_side, []
        for number, size in enumerate(SHAPES[1:], 1):
            seed, path = bucket_seed(self.recipe, number), self.work / f"squeezed-{size[0]}x{size[1]}.npy"
            count = min(SHAPED_DRAWINGS, self.recipe.drawings)
            drawn = drawings(seed, count, path, size=size, kept=(side, side), processes=self.processes)
            pictures.append((seed, drawn))
        return pictures

    @cached_property
    def round_trips(self) -> np.ndarray:
        """The first drawings again, after a round trip through the VAE."""
        from models.toybox.recipe.vae import round_trips

        first = self.drawn[: self.recipe.worn]
        vae_of = partial(self._vae, polished=False)
        return round_trips(
            vae_of, first, self.work / "decoded.npy", self.recipe.seed, self.device, self.recipe.clip_side
        )

    @cached_property
    def tokenizers(self) -> tuple[CLIPTokenizer, CLIPTokenizer]:
        """The first pads with its end token, the second with `!`, as SDXL's do."""
        paths = (self.work / "tokenizer", self.work / "tokenizer_2")
        for path, pad in zip(paths, (END, "!"), strict=True):
            if not (path / "vocab.json").exists():
                write_tokenizer(path, pad)
        return CLIPTokenizer.from_pretrained(paths[0]), CLIPTokenizer.from_pretrained(paths[1])

    @cached_property
    def buckets(self) -> list[Bucket]:
        """Latents of every shape."""
        return encode_shapes(self.recipe, partial(self._vae, polished=False), self.drawn, self.work, self.device)

    @cached_property
    def family_pictures(self) -> np.ndarray:
        """Families, drawn, and touched by the toybox that was exported."""
        from models.toybox.recipe.families import family_pictures

        def pipeline() -> StableDiffusionXLPipeline:
            return StableDiffusionXLPipeline.from_pretrained(self.out, torch_dtype=torch.float32).to(self.device)

        seed, count = self.recipe.seed + 10, self.recipe.families
        return family_pictures(pipeline, seed, count, self.work / "families.npy", self.recipe.clip_side)

    def _vae(self, polished: bool = True) -> AutoencoderKL:
        from models.toybox.recipe.vae import load_vae

        return load_vae(self.recipe, self.drawn, self.work, polished)

    def draw(self) -> None:
        """Make the drawings."""
        print(f"{len(self.drawn)} drawings to learn from, {len(self.held_out)} held out")

    def vae(self) -> None:
        """Train the VAE."""
        from models.toybox.recipe.vae import train_vae

        drawn = self.drawn[: self.recipe.vae_drawings]
        self._train("vae", lambda: train_vae(self.recipe, drawn, self.work, self.device, self.minutes))
        self._measure_vae(polished=False)

    def _measure_vae(self, polished: bool) -> None:
        from models.toybox.recipe.vae import measure

        rates = measure(self._vae(polished), self.held_out)
        name = "polished vae" if polished else "vae"
        print(f"{name}: {rates['psnr']:.2f} dB, sharpness {rates['sharpness']:.3f} on {len(self.held_out)} drawings")

    def words(self) -> None:
        """Teach the text encoders to read."""
        from models.toybox.recipe.text_encoders import train_words

        self._train("words", lambda: train_words(self.recipe, self.tokenizers, self.work, self.device, self.minutes))

    def latents(self) -> None:
        """Encode drawings of all shapes."""
        print("latents: " + ", ".join(f"{len(b.latents)} of {b.size[0]}x{b.size[1]}" for b in self.buckets))

    def unet(self) -> None:
        """Train the UNet."""
        from models.toybox.recipe.text_encoders import load_words_stage
        from models.toybox.recipe.unet import train_unet

        def rows() -> Iterator[Row]:
            lessons = load_words_stage(self.recipe, self.tokenizers, self.work)
            return train_unet(self.recipe, self.buckets, lessons, self.tokenizers, self.work, self.device, self.minutes)

        self._train("unet", rows)

    def decoded(self) -> None:
        """Pass drawings through the VAE."""
        print(f"{len(self.round_trips)} drawings after a round trip through the VAE")

    def scorer(self) -> None:
        """Train the scoring CLIP."""
        from models.toybox.recipe.scorer import train_scorer

        def rows() -> Iterator[Row]:
            materials = (self.recipe, self.small, self.round_trips, self.tokenizers)
            return train_scorer(*materials, self.work, self.device, self.minutes)

        self._train("scorer", rows)

    def polish(self) -> None:
        """Train the decoder further, for edges."""
        from models.toybox.recipe.polish import train_polish
        from models.toybox.recipe.scorer import load_scorer

        def rows() -> Iterator[Row]:
            clip = load_scorer(self.recipe, self.tokenizers, self.work)
            drawn = self.drawn[: self.recipe.vae_drawings]
            return train_polish(self.recipe, drawn, clip, self.work, self.device, self.minutes)

        self._train("polish", rows)
        self._measure_vae(polished=True)

    def export(self) -> None:
        """Write what is trained so far as the folder that ships."""
        from models.toybox.recipe.export import export

        print(export(self.recipe, self._vae(), self.tokenizers, self.work, self.out))

    def oracle(self) -> None:
        """Train the judge, and measure it."""
        from models.toybox.recipe.export import sign
        from models.toybox.recipe.oracle import accuracy, export_oracle, load_oracle, train_oracle
        from models.toybox.recipe.pixels import to_tensor

        def rows() -> Iterator[Row]:
            materials = (self.recipe, self.small, self.round_trips, self.shaped)
            return train_oracle(*materials, self.work, self.device, self.minutes)

        self._train("oracle", rows)
        export_oracle(self.work, self.out)
        sign(self.recipe, self.work, self.out)
        small = reduced(self.held_out, self.recipe.clip_side, self.work / "held_out-small.npy")
        critters = [critter_at(self.recipe.seed + 1, number) for number in range(len(small))]
        rates = accuracy(load_oracle(self.out), to_tensor(small), critters)
        print("oracle on held-out drawings: " + ", ".join(f"{name} {rate:.3f}" for name, rate in rates.items()))

    def families(self) -> None:
        """Make pictures of families."""
        print(f"{len(self.family_pictures)} pictures of families to tell apart")

    def identity(self) -> None:
        """Train the identity scorer."""
        from models.toybox.recipe.export import export_identity
        from models.toybox.recipe.identity import train_identity
        from models.toybox.recipe.scorer import load_scorer

        def rows() -> Iterator[Row]:
            clip = load_scorer(self.recipe, self.tokenizers, self.work)
            return train_identity(self.recipe, self.family_pictures, clip, self.work, self.device, self.minutes)

        self._train("identity", rows)
        export_identity(self.recipe, self.tokenizers, self.work, self.out)

    def quick(self) -> None:
        """Train the adapter for four steps."""
        from models.toybox.recipe.export import sign
        from models.toybox.recipe.quick import export_quick, train_quick

        materials = (self.recipe, self.buckets, self.tokenizers)
        self._train("quick", lambda: train_quick(*materials, self.work, self.device, self.minutes))
        print(export_quick(self.recipe, self.tokenizers, self.work, self.out))
        sign(self.recipe, self.work, self.out)

    def report(self) -> None:
        """Write the page that shows how it went."""
        from models.toybox.recipe.report import write_report

        print(write_report(self.out, self.work, self.held_out[:8]))

    def _train(self, stage: str, rows: Callable[[], Iterator[Row]]) -> None:
        if finished(self.work / f"{stage}.pt"):
            print(f"{stage}: done before", flush=True)
            return
        for _ in shown(rows(), stage):
            pass


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m models.toybox.build", description=__doc__)
    parser.add_argument("stages", nargs="*", help=f"some of {', '.join(STAGES)} (default: all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--work", type=Path, default=Path("bench/work/toybox"), help="drawings and checkpoints")
    parser.add_argument("--out", type=Path, help="where the weights go (default: this package's own weights folder)")
    parser.add_argument("--minutes", type=float, help="end each training after so many minutes of computing")
    parser.add_argument("--threads", type=int, help="how many threads may compute (default: one a core)")
    parser.add_argument("--tiny", action="store_true", help="seconds instead of hours, to try the machinery")
    options = parser.parse_args()
    if unknown := set(options.stages) - set(STAGES):
        parser.error(f"no such stage: {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    if options.threads:
        torch.set_num_threads(options.threads)
    out = options.out or (options.work / "weights" if options.tiny else folder())
    recipe = TINY if options.tiny else STANDARD
    build = Build(recipe, options.work, out, torch.device(options.device), options.minutes)
    for stage in options.stages or STAGES:
        getattr(build, stage)()


if __name__ == "__main__":
    main()
