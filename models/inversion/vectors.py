"""The vectors of a new token before and while they are learned: their initial values and their range of lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from models.inversion.random_draws import generator_for
from models.sdxl.embedding import Embedding
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.inversion.config import Config
    from models.sdxl.prompt_encoder import Encoder


def check_new(token: str, encoders: Sequence[Encoder]) -> None:
    """Refuse a token that the tokenizer already has: it would be cut out of prompts before the tokenizer sees it."""
    for encoder in encoders:
        if len(encoder.tokenizer(token, add_special_tokens=False).input_ids) == 1:
            raise UserError(f"{token} is already a word of this model's tokenizer: choose another token")


def initial_vectors(config: Config, encoders: Sequence[Encoder]) -> list[torch.Tensor]:
    """Return fp32 [n, width] for each encoder, on the CPU."""
    if isinstance(config.init, Embedding):
        return [table.cpu().clone() for table in matching_tables(config.init, config, encoders)]
    return [_vectors_of_phrase(config.init, config, encoder, place) for place, encoder in enumerate(encoders)]


def matching_tables(embedding: Embedding, config: Config, encoders: Sequence[Encoder]) -> tuple[torch.Tensor, ...]:
    """Return the embedding's tables, if they fit this model and the number of vectors asked for."""
    has, wants = [table.shape[1] for table in embedding.vectors], [encoder.embedding_width for encoder in encoders]
    if has != wants:
        raise UserError(f"{embedding.token} was learned for encoders of width {has}, but this model's are {wants}")
    if embedding.vector_count != config.vectors:
        raise UserError(
            f"{embedding.token} has {embedding.vector_count} vectors, not {config.vectors}: set vectors to that"
        )
    return embedding.vectors


def _vectors_of_phrase(phrase: str, config: Config, encoder: Encoder, place: int) -> torch.Tensor:
    """Return the vectors of the phrase's tokens, repeated with jitter; too many are averaged in groups."""
    vocabulary = _vocabulary_vectors(encoder)
    phrase_vectors = vocabulary[known_ids(phrase, encoder)]  # [tokens, width]
    if len(phrase_vectors) > config.vectors:
        return torch.stack([_average_direction(group) for group in phrase_vectors.tensor_split(config.vectors)])
    repeated = phrase_vectors[torch.arange(config.vectors) % len(phrase_vectors)]
    noise = torch.randn(repeated.shape, generator=generator_for(config.seed, "initial", place)) * vocabulary.std()
    noise[: len(phrase_vectors)] = 0
    return repeated + config.jitter * noise


def known_ids(phrase: str, encoder: Encoder) -> list[int]:
    """Return the phrase's ids. A word of which only single bytes are known means nothing, and is refused."""
    tokenizer, phrase_ids = encoder.tokenizer, []
    for word in phrase.replace(",", " ").split():
        ids = tokenizer(word, add_special_tokens=False).input_ids
        if not ids or tokenizer.unk_token_id in ids or _is_spelled(tokenizer.convert_ids_to_tokens(ids)):
            raise UserError(f"the model does not know {word!r} of the initial phrase {phrase!r}: use plain words")
        phrase_ids += ids
    return phrase_ids


def _is_spelled(pieces: Sequence[str]) -> bool:
    """Tell whether a part of a word, such as what stands before a hyphen, is known byte by byte only."""
    parts = [part.split() for part in " ".join(pieces).split("</w>")]
    return any(len(part) > 1 and all(len(piece) == 1 for piece in part) for part in parts)


def _average_direction(group: torch.Tensor) -> torch.Tensor:
    """Return the mean direction of some vectors at their mean length: a plain mean would be short."""
    mean = group.mean(dim=0)
    return mean / mean.norm().clamp_min(1e-12) * group.norm(dim=1).mean()


def _vocabulary_vectors(encoder: Encoder) -> torch.Tensor:
    return encoder.model.get_input_embeddings().weight.detach().float().cpu()


Band = tuple[float, float]


def norm_bands(config: Config, encoders: Sequence[Encoder]) -> list[Band] | None:
    """Return for each encoder the shortest and the longest that a vector may be."""
    if config.norms is None:
        return None
    shares = torch.tensor(config.norms)
    return [tuple(_vocabulary_vectors(encoder).norm(dim=1).quantile(shares).tolist()) for encoder in encoders]


def keep_norms(tables: Sequence[torch.Tensor], bands: Sequence[Band] | None) -> None:
    """Clamp vectors that are longer or shorter than the vocabulary's range, in place; their direction stays."""
    for table, (low, high) in zip(tables, bands or [], strict=bool(bands)):
        norms = table.norm(dim=1, keepdim=True)
        table.mul_(norms.clamp(low, high) / norms.clamp_min(1e-12))
