"""The prompt compiler: from a prompt as people write it to the tensors a UNet reads.

A chunk is what an encoder takes at once: 75 tokens between start and end of text. Without weights the result is bit-equal
to diffusers' `encode_prompt`.

Learned words are not added to the tokenizer. Their positions hold an ordinary id, and a hook puts their vectors in after
the embedding lookup. That keeps the end of text the highest id of the prompt, which matters because SDXL's second encoder
pools at the highest id: with added tokens it would pool at the learned word and ignore everything after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from models.sdxl.prompt_syntax import BREAK, Span, parse
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

    from models.sdxl.embedding import Embedding


@dataclass
class Encoder:
    """A tokenizer and its text encoder. SDXL has two, SD 1.x and the SDXL refiner one."""

    tokenizer: Any
    model: Any
    penultimate: bool
    """SDXL reads the hidden states before the last layer, SD 1.x those after it and after the final norm."""
    projected: bool
    """Whether the encoder also gives one pooled vector for the whole prompt."""

    @property
    def width(self) -> int:
        return int(self.model.get_input_embeddings().embedding_dim)


def encoders_of(pipe: Any) -> list[Encoder]:
    """The encoders of a pipeline, in the order in which the UNet expects their features."""
    is_sdxl = getattr(pipe, "text_encoder_2", None) is not None
    found = []
    for suffix in ("", "_2"):
        tokenizer, model = getattr(pipe, f"tokenizer{suffix}", None), getattr(pipe, f"text_encoder{suffix}", None)
        if tokenizer is not None and model is not None:
            found.append(Encoder(tokenizer, model, penultimate=is_sdxl, projected=hasattr(model, "text_projection")))
    if not found:
        raise UserError("this model has no text encoder, so it cannot read a prompt")
    return found


@dataclass(frozen=True)
class Chunk:
    """What an encoder takes at once: ids from start of text to the last padding, and a weight for each."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    slots: tuple[tuple[int, str, int], ...]
    """Where learned vectors go: position, token, which of the token's vectors."""
    end: int
    """The position of the end of text, where the pooled vector is taken."""


class _Item(NamedTuple):
    id: int
    weight: float
    slot: tuple[str, int] | None = None


def chunks(prompt: str, tokenizer: Any, counts: Mapping[str, int]) -> list[Chunk]:
    """Cut the prompt into chunks; `counts` says how many positions each learned token takes."""
    room = tokenizer.model_max_length - 2
    contents: list[list[_Item]] = [[]]
    for span in parse(prompt):
        if span is BREAK:
            contents.append([])
            continue
        for group in _groups(span, tokenizer, counts):
            if len(group) > room:
                token = group[0].slot[0] if group[0].slot else ""
                raise UserError(f"{token} has {len(group)} vectors, but a chunk of this model holds only {room}")
            if len(contents[-1]) + len(group) > room:
                contents.append([])
            contents[-1].extend(group)
    if len(contents) > 1 and not contents[-1]:
        contents.pop()  # after a BREAK at the end
    return [_chunk(content, tokenizer) for content in contents]


def _groups(span: Span, tokenizer: Any, counts: Mapping[str, int]) -> Iterator[list[_Item]]:
    """What must stay within one chunk: a single id of plain text, or all the vectors of a learned token."""
    stand_in = _stand_in(tokenizer)
    for number, text in enumerate(_split(span.text, counts)):
        if number % 2:
            yield [_Item(stand_in, span.weight, (text, index)) for index in range(counts[text])]
        elif text:
            # verbose=False: the tokenizer would warn of more than 77 ids, which is what chunks are for.
            for id_ in tokenizer(text, add_special_tokens=False, verbose=False).input_ids:
                yield [_Item(id_, span.weight)]


def _split(text: str, counts: Mapping[str, int]) -> list[str]:
    """Plain text at even places, learned tokens at odd ones; the longest token wins where several begin alike."""
    if not counts:
        return [text]
    tokens = sorted(counts, key=len, reverse=True)
    return re.split("(" + "|".join(re.escape(token) for token in tokens) + ")", text)


def _stand_in(tokenizer: Any) -> int:
    """An ordinary id below the end of text, so that every way of pooling still finds the true end."""
    return next(id_ for id_ in range(3) if id_ not in (tokenizer.bos_token_id, tokenizer.eos_token_id))


def _chunk(content: list[_Item], tokenizer: Any) -> Chunk:
    length = tokenizer.model_max_length
    items = [_Item(tokenizer.bos_token_id, 1.0), *content, _Item(tokenizer.eos_token_id, 1.0)]
    items += [_Item(tokenizer.pad_token_id, 1.0)] * (length - len(items))
    ids = tuple(item.id for item in items)
    return Chunk(
        ids=ids,
        weights=tuple(item.weight for item in items),
        slots=tuple((at, *item.slot) for at, item in enumerate(items) if item.slot),
        # The first one, as the encoder itself would: a prompt may spell out <|endoftext|>.
        end=ids.index(tokenizer.eos_token_id),
    )


def embed(
    encoder: Encoder, chunk_list: Sequence[Chunk], vectors: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """One forward over all chunks: hidden states [B, 77, width] and, if the encoder projects, pooled [B, P].

    Gradients reach `vectors` ([n, width] for each token), also through the pooled vector. Weights play no part here.
    """
    import torch
    from diffusers.utils.torch_utils import get_module_execution_device

    # With offloading the weights are elsewhere until the moment they are used; this says where that will be.
    device = get_module_execution_device(encoder.model)
    ids = _send([chunk.ids for chunk in chunk_list], device)
    with _learned(encoder.model.get_input_embeddings(), chunk_list, vectors):
        output = encoder.model(ids, output_hidden_states=encoder.penultimate)
    hidden = output.hidden_states[-2] if encoder.penultimate else output.last_hidden_state
    if not encoder.projected:
        return hidden, None
    # At the end of text as we know it, and not where the encoder's config makes it look.
    ends = _send([chunk.end for chunk in chunk_list], output.last_hidden_state.device)
    rows = torch.arange(len(chunk_list), device=ends.device)
    return hidden, encoder.model.text_projection(output.last_hidden_state[rows, ends])


@contextmanager
def _learned(
    lookup: torch.nn.Module, chunk_list: Sequence[Chunk], vectors: Mapping[str, torch.Tensor]
) -> Iterator[None]:
    """While this lasts, the lookup gives the learned vectors at their positions."""
    import torch

    slots = [(row, at, token, n) for row, chunk in enumerate(chunk_list) for at, token, n in chunk.slots]
    if not slots:
        yield
        return
    rows, places, tokens, numbers = zip(*slots, strict=True)
    # All vectors in one table, read once: a slice for each slot would be a kernel for each, forward and backward.
    first, total = {}, 0
    for token in dict.fromkeys(tokens):
        first[token], total = total, total + len(vectors[token])
    which = [first[token] + n for token, n in zip(tokens, numbers, strict=True)]

    def put(module: torch.nn.Module, args: tuple[torch.Tensor, ...], looked_up: torch.Tensor) -> torch.Tensor:
        # A copy: what the lookup returned belongs to the encoder.
        filled = looked_up.clone()
        table = torch.cat([vectors[token] for token in first]).to(filled.device, filled.dtype)
        at = _send([rows, places, which], filled.device)
        filled[at[0], at[1]] = table[at[2]]
        return filled

    handle = lookup.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()


def _send(numbers: Sequence[Any], device: Any) -> torch.Tensor:
    """Onto the device without waiting for what it still computes, which a plain copy to a GPU does."""
    import torch

    made = torch.tensor(numbers)
    return made.pin_memory().to(device, non_blocking=True) if torch.device(device).type == "cuda" else made.to(device)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A prompt as the UNet takes it."""

    hidden: torch.Tensor
    """[1, 77 * chunks, sum of the encoders' widths]"""
    pooled: torch.Tensor | None
    """[1, P]; None for models without a projection (SD 1.x)."""
    chunks: int


def encode(
    encoders: Sequence[Encoder], prompt: str, embeddings: Sequence[Embedding] = (), min_chunks: int = 1
) -> Encoded:
    """Compile a prompt. `min_chunks` appends empty chunks, to match the length of another prompt."""
    return _forward(encoders, _plan(encoders, prompt, embeddings), embeddings, min_chunks)


def pair(
    encoders: Sequence[Encoder],
    prompt: str,
    negative: str = "",
    embeddings: Sequence[Embedding] = (),
    zero_negative: bool = False,
) -> tuple[Encoded, Encoded]:
    """A prompt and its negative, of the same length.

    With `zero_negative` (what SDXL's `force_zeros_for_empty_prompt` asks for) an empty negative is zeros.
    """
    import torch

    plan = _plan(encoders, prompt, embeddings)
    if zero_negative and not negative.strip():
        positive = _forward(encoders, plan, embeddings)
        pooled = None if positive.pooled is None else torch.zeros_like(positive.pooled)
        return positive, replace(positive, hidden=torch.zeros_like(positive.hidden), pooled=pooled)
    negative_plan = _plan(encoders, negative, embeddings)
    count = max(len(part) for part in [*plan, *negative_plan])
    return _forward(encoders, plan, embeddings, count), _forward(encoders, negative_plan, embeddings, count)


def _plan(encoders: Sequence[Encoder], prompt: str, embeddings: Sequence[Embedding]) -> list[list[Chunk]]:
    """The chunks for each encoder. Their numbers may differ, since each tokenizer cuts words its own way."""
    counts = {embedding.token: embedding.count for embedding in embeddings}
    if len(counts) < len(embeddings):
        raise UserError(f"two embeddings have the same token among {', '.join(counts)}; rename one of them")
    return [chunks(prompt, encoder.tokenizer, counts) for encoder in encoders]


def _forward(
    encoders: Sequence[Encoder], plan: list[list[Chunk]], embeddings: Sequence[Embedding], min_chunks: int = 1
) -> Encoded:
    """Each chunk goes through alone: within a batch its bits would depend on how many neighbours it has."""
    import torch

    count = max(min_chunks, *(len(part) for part in plan))
    features, pooled = [], None
    with torch.no_grad():
        for place, (encoder, part) in enumerate(zip(encoders, plan, strict=True)):
            padded = part + chunks("", encoder.tokenizer, {}) * (count - len(part))
            vectors = {embedding.token: _table(embedding, place, encoders) for embedding in embeddings}
            results = [embed(encoder, [chunk], vectors) for chunk in padded]
            features.append(
                torch.cat([_weigh(hidden, c.weights) for c, (hidden, _) in zip(padded, results, strict=True)], 1)
            )
            pooled = results[0][1] if encoder.projected else pooled
    return Encoded(torch.cat(features, dim=-1), pooled, count)


def _table(embedding: Embedding, place: int, encoders: Sequence[Encoder]) -> torch.Tensor:
    """The embedding's vectors for one of the encoders."""
    tables, width = embedding.vectors, encoders[place].width
    if len(tables) == len(encoders) and tables[place].shape[1] == width:
        return tables[place]
    # The refiner has only SDXL's second encoder, which is told by its width.
    fitting = [table for table in tables if table.shape[1] == width]
    if len(encoders) < len(tables) and encoders[place].penultimate and len(fitting) == 1:
        return fitting[0]
    has = ", ".join(str(table.shape[1]) for table in tables)
    wants = ", ".join(str(encoder.width) for encoder in encoders)
    raise UserError(f"{embedding.token} was learned for encoders of width {has}, but this model's are {wants}")


def _weigh(hidden: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Multiply each position by its weight and restore the chunk's mean, as A1111 does."""
    import torch

    if all(weight == 1.0 for weight in weights):
        return hidden
    exact = hidden.float()
    weighted = exact * torch.tensor(weights, device=hidden.device)[None, :, None]
    before, after = exact.mean(), weighted.mean()
    # A mean that is only rounding noise says nothing about the strength: restoring it would multiply by anything.
    if before.abs() > 1e-4 * exact.abs().mean() and after.abs() > 1e-4 * weighted.abs().mean():
        weighted = weighted * (before / after)
    return weighted.to(hidden.dtype)
