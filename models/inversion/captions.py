"""The captions that pictures are trained with: checked, varied, and cut into chunks of one number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from models.inversion.random_draws import Place, derived
from models.sdxl import prompt_encoder
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.inversion.config import Config
    from models.sdxl.prompt_encoder import Chunk, Encoder

_COMMA = re.compile(r",\s*(?![^(\[]*[)\]])")  # none within brackets: they belong to the syntax of weights


MOST_KNOWN = 1000


class Captions:
    """For each picture its captions. Weights such as (word:1.2) play no part in training."""

    def __init__(self, texts: Sequence[Sequence[str]], encoders: Sequence[Encoder], config: Config) -> None:
        self.texts, self.encoders, self.config = texts, encoders, config
        self._known: dict[str, list[list[Chunk]]] = {}
        for number, own in enumerate(texts, 1):
            if not own:
                raise UserError(f"picture {number} has no caption: write one with {config.token} in it")
            for text in own:
                self._check(text, number)
        # All prompts are filled up to one number: a longer neighbour in the batch would change what a picture teaches.
        self.count = max(self._length(text) for own in texts for text in own)

    def first(self, example: int) -> str:
        return self.texts[example][0]

    def vary(self, example: int, at: Place) -> str:
        """The caption that the picture of this place is shown with."""
        config, own = self.config, self.texts[example]
        generator = derived(config.seed, "caption", *at)
        dropped, chosen = torch.rand(2, generator=generator).tolist()
        if dropped < config.caption_dropout:
            return config.token
        text = own[int(chosen * len(own))]
        varied = _vary_tags(text, config, generator)
        return varied if self._length(varied) <= self.count else text

    def chunks(self, text: str) -> list[list[Chunk]]:
        """For each encoder `count` chunks."""
        return [
            part + prompt_encoder.chunks("", encoder.tokenizer, {}) * (self.count - len(part))
            for encoder, part in zip(self.encoders, self._cut(text), strict=True)
        ]

    def _cut(self, text: str) -> list[list[Chunk]]:
        if len(self._known) > MOST_KNOWN:  # shuffled tags are nearly always new
            self._known.clear()
        if text not in self._known:
            counts = {self.config.token: self.config.vectors}
            self._known[text] = [prompt_encoder.chunks(text, encoder.tokenizer, counts) for encoder in self.encoders]
        return self._known[text]

    def _length(self, text: str) -> int:
        return max(len(part) for part in self._cut(text))

    def _check(self, text: str, number: int) -> None:
        if not all(any(chunk.slots for chunk in part) for part in self._cut(text)):
            raise UserError(
                f"the caption {text!r} of picture {number} lacks {self.config.token}: say where the word stands in it"
            )


def _vary_tags(text: str, config: Config, generator: torch.Generator) -> str:
    """Shuffle and leave out parts between commas; those with the word stay where they are."""
    tags = [tag.strip() for tag in _COMMA.split(text)]
    loose = [place for place, tag in enumerate(tags) if config.token not in tag]
    if not loose or not (config.shuffle_tags or config.tag_dropout):
        return text
    order = torch.randperm(len(loose), generator=generator).tolist() if config.shuffle_tags else range(len(loose))
    kept = torch.rand(len(loose), generator=generator) >= config.tag_dropout
    varied: list[str | None] = [*tags]
    for place, source in zip(loose, order, strict=True):
        varied[place] = tags[loose[source]] if kept[source] else None
    return ", ".join(tag for tag in varied if tag)
