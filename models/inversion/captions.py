"""The captions that pictures are trained with: checked, varied, and cut into chunks of one number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from models.inversion.random_draws import DrawKey, generator_for
from models.sdxl import prompt_encoder
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.inversion.config import Config
    from models.sdxl.prompt_encoder import Chunk, Encoder

_COMMA = re.compile(r",\s*(?![^(\[]*[)\]])")  # none within brackets: they belong to the syntax of weights


MAX_CACHED_TEXTS = 1000


class TrainingCaptions:
    """The captions of each picture. Weights such as (word:1.2) play no part in training."""

    def __init__(self, texts: Sequence[Sequence[str]], encoders: Sequence[Encoder], config: Config) -> None:
        self.texts, self.encoders, self.config = texts, encoders, config
        self._chunks_of_text: dict[str, list[list[Chunk]]] = {}
        for number, captions in enumerate(texts, 1):
            if not captions:
                raise UserError(f"picture {number} has no caption: write one with {config.token} in it")
            for text in captions:
                self._check_token(text, number)
        # All prompts are filled up to one number: a longer neighbour in the batch would change what a picture teaches.
        self.count = max(self._count_chunks(text) for captions in texts for text in captions)

    def first_caption(self, example: int) -> str:
        return self.texts[example][0]

    def vary_caption(self, example: int, key: DrawKey) -> str:
        """Return the caption that the picture of this draw is shown with."""
        config, captions = self.config, self.texts[example]
        generator = generator_for(config.seed, "caption", *key)
        dropped, choice = torch.rand(2, generator=generator).tolist()
        if dropped < config.caption_dropout:
            return config.token
        text = captions[int(choice * len(captions))]
        varied = _vary_tags(text, config, generator)
        return varied if self._count_chunks(varied) <= self.count else text

    def prompt_chunks(self, text: str) -> list[list[Chunk]]:
        """Return `count` chunks for each encoder."""
        return [
            part + prompt_encoder.split_into_chunks("", encoder.tokenizer, {}) * (self.count - len(part))
            for encoder, part in zip(self.encoders, self._split_chunks(text), strict=True)
        ]

    def _split_chunks(self, text: str) -> list[list[Chunk]]:
        if len(self._chunks_of_text) > MAX_CACHED_TEXTS:  # shuffled tags are nearly always new
            self._chunks_of_text.clear()
        if text not in self._chunks_of_text:
            counts = {self.config.token: self.config.vectors}
            self._chunks_of_text[text] = [
                prompt_encoder.split_into_chunks(text, encoder.tokenizer, counts) for encoder in self.encoders
            ]
        return self._chunks_of_text[text]

    def _count_chunks(self, text: str) -> int:
        return max(len(part) for part in self._split_chunks(text))

    def _check_token(self, text: str, number: int) -> None:
        if not all(any(chunk.slots for chunk in part) for part in self._split_chunks(text)):
            raise UserError(
                f"the caption {text!r} of picture {number} lacks {self.config.token}: say where the word stands in it"
            )


def _vary_tags(text: str, config: Config, generator: torch.Generator) -> str:
    """Shuffle and leave out parts between commas; parts with the token stay where they are."""
    tags = [tag.strip() for tag in _COMMA.split(text)]
    loose = [place for place, tag in enumerate(tags) if config.token not in tag]
    if not loose or not (config.shuffle_tags or config.tag_dropout):
        return text
    order = torch.randperm(len(loose), generator=generator).tolist() if config.shuffle_tags else range(len(loose))
    is_kept = torch.rand(len(loose), generator=generator) >= config.tag_dropout
    varied: list[str | None] = [*tags]
    for place, source in zip(loose, order, strict=True):
        varied[place] = tags[loose[source]] if is_kept[source] else None
    return ", ".join(tag for tag in varied if tag)
