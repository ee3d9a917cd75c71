"""The vectors of a new word before and while they are learned: where they begin, and how long they may become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from models.inversion.random_draws import derived
from models.sdxl.embedding import Embedding
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.inversion.config import Config
    from models.sdxl.prompt_encoder import Encoder


def check_new(token: str, encoders: Sequence[Encoder]) -> None:
    """A word that the tokenizer has already would be cut out of prompts before the tokenizer sees it."""
    for encoder in encoders:
        if len(encoder.tokenizer(token, add_special_tokens=False).input_ids) == 1:
            raise UserError(f"{token} is already a word of this model's tokenizer: choose another token")


def initial(config: Config, encoders: Sequence[Encoder]) -> list[torch.Tensor]:
    """fp32 [n, width] for each encoder, on the CPU."""
    if isinstance(config.init, Embedding):
        return [table.cpu().clone() for table in fitting(config.init, config, encoders)]
    return [_of_phrase(config.init, config, encoder, place) for place, encoder in enumerate(encoders)]


def fitting(embedding: Embedding, config: Config, encoders: Sequence[Encoder]) -> tuple[torch.Tensor, ...]:
    """The embedding's tables, if they are for this model and as many vectors as are asked for."""
    has, wants = [table.shape[1] for table in embedding.vectors], [encoder.width for encoder in encoders]
    if has != wants:
        raise UserError(f"{embedding.token} was learned for encoders of width {has}, but this model's are {wants}")
    if embedding.count != config.vectors:
        raise UserError(f"{embedding.token} has {embedding.count} vectors, not {config.vectors}: set vectors to that")
    return embedding.vectors


def _of_phrase(phrase: str, config: Config, encoder: Encoder, place: int) -> torch.Tensor:
    """The vectors of the phrase's tokens, then the same again with jitter; too many of them are averaged in groups."""
    vocabulary = _vocabulary(encoder)
    known = vocabulary[known_ids(phrase, encoder)]  # [tokens, width]
    if len(known) > config.vectors:
        return torch.stack([_average(group) for group in known.tensor_split(config.vectors)])
    repeated = known[torch.arange(config.vectors) % len(known)]
    noise = torch.randn(repeated.shape, generator=derived(config.seed, "initial", place)) * vocabulary.std()
    noise[: len(known)] = 0
    return repeated + config.jitter * noise


def known_ids(phrase: str, encoder: Encoder) -> list[int]:
    """The phrase's ids. A word of which only single bytes are known means nothing to the model, and is refused."""
    tokenizer, found = encoder.tokenizer, []
    for word in phrase.replace(",", " ").split():
        ids = tokenizer(word, add_special_tokens=False).input_ids
        if not ids or tokenizer.unk_token_id in ids or _is_spelled(tokenizer.convert_ids_to_tokens(ids)):
            raise UserError(f"the model does not know {word!r} of the initial phrase {phrase!r}: use plain words")
        found += ids
    return found


def _is_spelled(pieces: Sequence[str]) -> bool:
    """Whether a part of a word, such as what stands before a hyphen, is known byte by byte only."""
    parts = [part.split() for part in " ".join(pieces).split("</w>")]
    return any(len(part) > 1 and all(len(piece) == 1 for piece in part) for part in parts)


def _average(group: torch.Tensor) -> torch.Tensor:
    """The mean direction of some vectors, as long as they are: the plain mean of unlike vectors is short."""
    mean = group.mean(dim=0)
    return mean / mean.norm().clamp_min(1e-12) * group.norm(dim=1).mean()


def _vocabulary(encoder: Encoder) -> torch.Tensor:
    return encoder.model.get_input_embeddings().weight.detach().float().cpu()


Band = tuple[float, float]


def bands(config: Config, encoders: Sequence[Encoder]) -> list[Band] | None:
    """For each encoder the shortest and the longest that a vector may be."""
    if config.norms is None:
        return None
    shares = torch.tensor(config.norms)
    return [tuple(_vocabulary(each).norm(dim=1).quantile(shares).tolist()) for each in encoders]


def keep_norms(tables: Sequence[torch.Tensor], kept: Sequence[Band] | None) -> None:
    """Bring vectors that grew out of the vocabulary's range back to its edge, in place; their direction stays."""
    for table, (low, high) in zip(tables, kept or [], strict=bool(kept)):
        norms = table.norm(dim=1, keepdim=True)
        table.mul_(norms.clamp(low, high) / norms.clamp_min(1e-12))
