"""Make toybox from nothing: `python -m models.toybox.build`. Stages that are done are not done again."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

# Threads that wait by spinning starve each other as soon as anything else runs beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from transformers import CLIPTokenizer

from models.toybox import folder
from models.toybox.recipe.drawings import drawings
from models.toybox.recipe.progress import Row, sharing, shown
from models.toybox.recipe.numbers import STANDARD, TINY, Recipe
from models.toybox.recipe.warm_start import take_up
from models.toybox.recipe.tokenizers import END, write_tokenizer

STAGES = ("draw", "vae", "worn", "words", "latents", "unet", "polish", "scorer", "export", "kin", "identity", "report")


class Build:
    """One toybox in the making: its working folder and where the weights go."""

    def __init__(
        self,
        recipe: Recipe,
        work: Path,
        out: Path,
        device: torch.device,
        share: bool = False,
        minutes: float | None = None,
    ) -> None:
        self.recipe, self.work, self.out, self.device = recipe, work, out, device
        self.share, self.minutes = share, minutes

    @cached_property
    def shelf(self) -> np.ndarray:
        """The drawings that are learnt from."""
        return drawings(self.recipe.seed, self.recipe.drawings, self.work / "drawings.npy")

    @cached_property
    def held_out(self) -> np.ndarray:
        return drawings(self.recipe.seed + 1, self.recipe.held_out, self.work / "held_out.npy")

    @cached_property
    def worn_shelf(self) -> np.ndarray:
        """The first drawings again, after a round trip through the VAE."""
        from models.toybox.recipe.vae import load_vae, round_trips

        return round_trips(
            lambda: load_vae(self.recipe, self.shelf, self.work),
            self.shelf[: self.recipe.worn],
            self.work / "worn.npy",
            self.recipe.seed,
            self.device,
        )

    @cached_property
    def tokenizers(self) -> tuple[CLIPTokenizer, CLIPTokenizer]:
        """The first pads with its end token, the second with `!`, as SDXL's do."""
        for name, pad in (("tokenizer", END), ("tokenizer_2", "!")):
            write_tokenizer(self.work / name, pad)
        return CLIPTokenizer.from_pretrained(self.work / "tokenizer"), CLIPTokenizer.from_pretrained(
            self.work / "tokenizer_2"
        )

    def draw(self) -> None:
        print(f"{len(self.shelf)} drawings to learn from, {len(self.held_out)} held out")

    def vae(self) -> None:
        from models.toybox.recipe.vae import load_vae, psnr, to_tensor, train_vae

        self._train(train_vae(self.recipe, self.shelf, self.work, self.device, self.minutes), "vae")
        found = psnr(load_vae(self.recipe, self.shelf, self.work), to_tensor(self.held_out[:64]))
        print(f"vae: {found:.2f} dB on held-out drawings")

    def worn(self) -> None:
        print(f"{len(self.worn_shelf)} drawings worn by a round trip through the VAE")

    def words(self) -> None:
        from models.toybox.recipe.text_encoders import train_words

        self._train(train_words(self.recipe, self.tokenizers, self.work, self.device, self.minutes), "words")

    def latents(self) -> None:
        print(f"{len(self._known())} drawings as latents, with what counts in {len(self._places())} of them")

    def _known(self) -> torch.Tensor:
        from models.toybox.recipe.unet import latents
        from models.toybox.recipe.vae import load_vae

        vae = load_vae(self.recipe, self.shelf, self.work)
        return latents(vae, self.shelf, self.work / "latents.pt", self.device)

    def _places(self) -> torch.Tensor:
        from models.toybox.recipe.small_details import weights

        return weights(self.recipe.seed, len(self.shelf), self.recipe.marked, self.work / "places.npy")

    def unet(self) -> None:
        from models.toybox.recipe.unet import train_unet
        from models.toybox.recipe.text_encoders import load_words_stage

        lessons = load_words_stage(self.recipe, self.tokenizers, self.work)
        materials = (self.recipe, self._known(), self._places(), lessons, self.tokenizers)
        rows = train_unet(*materials, self.work, self.device, self.minutes)
        self._train(rows, "unet")

    def scorer(self) -> None:
        from models.toybox.recipe.scorer import train_scorer

        materials = (self.recipe, self.shelf, self.worn_shelf, self.tokenizers)
        self._train(train_scorer(*materials, self.work, self.device, self.minutes), "scorer")

    @cached_property
    def kin_shelf(self) -> np.ndarray:
        """Families, drawn, and touched by the toybox that was exported."""
        from diffusers import StableDiffusionXLPipeline

        from models.toybox.recipe.families import kin_at, touched

        seed, path = self.recipe.seed + 10, self.work / "kin.npy"
        return touched(
            lambda: StableDiffusionXLPipeline.from_pretrained(self.out, torch_dtype=torch.float32).to(self.device),
            lambda: drawings(seed, self.recipe.kin, self.work / "kin-drawn.npy", at=kin_at),
            seed,
            path,
        )

    def kin(self) -> None:
        print(f"{len(self.kin_shelf)} pictures of families to tell apart")

    def identity(self) -> None:
        from models.toybox.recipe.export import export_identity
        from models.toybox.recipe.identity import train_identity
        from models.toybox.recipe.scorer import load_scorer

        clip = load_scorer(self.recipe, self.tokenizers, self.work)
        self._train(train_identity(self.recipe, self.kin_shelf, clip, self.work, self.device, self.minutes), "identity")
        export_identity(self.recipe, self.tokenizers, self.work, self.out)

    def polish(self) -> None:
        from models.toybox.recipe.vae import polish

        self._train(polish(self.recipe, self.shelf, self.work, self.device, self.minutes), "polish")

    def export(self) -> None:
        from models.toybox.recipe.export import export

        print(export(self.recipe, self.shelf, self.tokenizers, self.work, self.out))

    def report(self) -> None:
        from models.toybox.recipe.report import write_report

        print(write_report(self.out, self.work, self.held_out[:8]))

    def _train(self, rows: Iterator[Row], stage: str) -> None:
        for _ in shown(sharing(rows) if self.share else rows, stage):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.toybox.build", description=__doc__)
    parser.add_argument("stages", nargs="*", help=f"some of {', '.join(STAGES)} (default: all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--work", type=Path, default=Path("bench/work/toybox"), help="drawings and checkpoints")
    parser.add_argument("--out", type=Path, help="where the weights go (default: this package's own weights folder)")
    parser.add_argument("--share", action="store_true", help="other work runs here: use the threads that pay off")
    parser.add_argument("--minutes", type=float, help="fit each training into so many minutes instead of so many steps")
    parser.add_argument("--take-up", action="store_true", help="start from the shipped weights where no checkpoint is")
    parser.add_argument("--threads", type=int, help="how many threads may compute (default: one a core)")
    parser.add_argument("--tiny", action="store_true", help="seconds instead of hours, to try the machinery")
    options = parser.parse_args()
    if unknown := set(options.stages) - set(STAGES):
        parser.error(f"no such stage: {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    out = options.out or (options.work / "weights" if options.tiny else folder())
    build = Build(
        TINY if options.tiny else STANDARD,
        options.work,
        out,
        torch.device(options.device),
        options.share,
        options.minutes,
    )
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.take_up:
        print(f"taken up from {folder()}: {', '.join(take_up(folder(), options.work)) or 'nothing'}")
    for stage in options.stages or STAGES:
        getattr(build, stage)()


if __name__ == "__main__":
    main()
