"""Compiles a prompt as people write it to the tensors that a UNet reads.

A chunk is what an encoder reads at once: 75 tokens between start and end of text. Without weights the result is bit-equal
to diffusers' `encode_prompt`.

Learned tokens are not added to the tokenizer. Their positions hold an ordinary id, and a hook inserts their vectors after
the embedding lookup. That keeps the end of text the highest id of the prompt, which matters because SDXL's second encoder
pools at the highest id: with added tokens it would pool at the learned token and ignore everything after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from models.sdxl.prompt_syntax import BREAK, WeightedText, parse_prompt
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
    """True for SDXL, which reads the hidden states before the last layer; SD 1.x reads those after the final norm."""
    projected: bool
    """True if the encoder also returns one pooled vector for the whole prompt."""

    @property
    def embedding_width(self) -> int:
        return int(self.model.get_input_embeddings().embedding_dim)


def list_encoders(pipe: Any) -> list[Encoder]:
    """List the encoders of a pipeline in the order in which the UNet expects their features."""
    is_sdxl = getattr(pipe, "text_encoder_2", None) is not None
    encoders = []
    for suffix in ("", "_2"):
        tokenizer, model = getattr(pipe, f"tokenizer{suffix}", None), getattr(pipe, f"text_encoder{suffix}", None)
        if tokenizer is not None and model is not None:
            encoders.append(Encoder(tokenizer, model, penultimate=is_sdxl, projected=hasattr(model, "text_projection")))
    if not encoders:
        raise UserError("this model has no text encoder, so it cannot read a prompt")
    return encoders


@dataclass(frozen=True)
class Chunk:
    """The input of one forward pass: ids from start of text to the last padding, and a weight for each."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    slots: tuple[tuple[int, str, int], ...]
    """The places of learned vectors: position, token, number of the vector within the token."""
    end: int
    """The position of the end of text, where the pooled vector is taken."""


class _Item(NamedTuple):
    id: int
    weight: float
    slot: tuple[str, int] | None = None


def split_into_chunks(prompt: str, tokenizer: Any, counts: Mapping[str, int]) -> list[Chunk]:
    """Cut the prompt into chunks; `counts` says how many positions each learned token takes."""
    room = tokenizer.model_max_length - 2
    contents: list[list[_Item]] = [[]]
    for span in parse_prompt(prompt):
        if span is BREAK:
            contents.append([])
            continue
        for group in _inseparable_groups(span, tokenizer, counts):
            if len(group) > room:
                token = group[0].slot[0] if group[0].slot else ""
                raise UserError(f"{token} has {len(group)} vectors, but a chunk of this model holds only {room}")
            if len(contents[-1]) + len(group) > room:
                contents.append([])
            contents[-1].extend(group)
    if len(contents) > 1 and not contents[-1]:
        contents.pop()  # a BREAK at the end adds no chunk
    return [_build_chunk(content, tokenizer) for content in contents]


def _inseparable_groups(span: WeightedText, tokenizer: Any, counts: Mapping[str, int]) -> Iterator[list[_Item]]:
    """Yield the items that must stay within one chunk: one id of plain text, or all vectors of a learned token."""
    stand_in_id = _stand_in_id(tokenizer)
    for number, text in enumerate(_split_at_tokens(span.text, counts)):
        if number % 2:
            yield [_Item(stand_in_id, span.weight, (text, index)) for index in range(counts[text])]
        elif text:
            # verbose=False: no warning of more than 77 ids, since they are split into chunks.
            for id_ in tokenizer(text, add_special_tokens=False, verbose=False).input_ids:
                yield [_Item(id_, span.weight)]


def _split_at_tokens(text: str, counts: Mapping[str, int]) -> list[str]:
    """Split into plain text (even indices) and learned tokens (odd ones); of several matching tokens the longest wins."""
    if not counts:
        return [text]
    tokens = sorted(counts, key=len, reverse=True)
    return re.split("(" + "|".join(re.escape(token) for token in tokens) + ")", text)


def _stand_in_id(tokenizer: Any) -> int:
    """Return an ordinary id below the end of text, so that every way of pooling still finds the true end."""
    return next(id_ for id_ in range(3) if id_ not in (tokenizer.bos_token_id, tokenizer.eos_token_id))


def _build_chunk(content: list[_Item], tokenizer: Any) -> Chunk:
    length = tokenizer.model_max_length
    items = [_Item(tokenizer.bos_token_id, 1.0), *content, _Item(tokenizer.eos_token_id, 1.0)]
    items += [_Item(tokenizer.pad_token_id, 1.0)] * (length - len(items))
    ids = tuple(item.id for item in items)
    return Chunk(
        ids=ids,
        weights=tuple(item.weight for item in items),
        slots=tuple((at, *item.slot) for at, item in enumerate(items) if item.slot),
        # The first end of text, as in the encoder itself: a prompt may contain a typed <|endoftext|>.
        end=ids.index(tokenizer.eos_token_id),
    )


def embed_chunks(
    encoder: Encoder, chunk_list: Sequence[Chunk], vectors: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Encode all chunks in one batch: hidden states [B, 77, width] and, if the encoder projects, pooled [B, P].

    Gradients reach `vectors` ([n, width] for each token), also through the pooled vector. Weights are ignored here.
    """
    import torch
    from diffusers.utils.torch_utils import get_module_execution_device

    # With offloading, the weights move to this device only when they are used.
    device = get_module_execution_device(encoder.model)
    ids = _send_to_device([chunk.ids for chunk in chunk_list], device)
    with _learned_vectors(encoder.model.get_input_embeddings(), chunk_list, vectors):
        output = encoder.model(ids, output_hidden_states=encoder.penultimate)
    hidden = output.hidden_states[-2] if encoder.penultimate else output.last_hidden_state
    if not encoder.projected:
        return hidden, None
    # Pool at the end of text of our chunks, not at the position that the encoder's config implies.
    ends = _send_to_device([chunk.end for chunk in chunk_list], output.last_hidden_state.device)
    rows = torch.arange(len(chunk_list), device=ends.device)
    return hidden, encoder.model.text_projection(output.last_hidden_state[rows, ends])


@contextmanager
def _learned_vectors(
    lookup: torch.nn.Module, chunk_list: Sequence[Chunk], vectors: Mapping[str, torch.Tensor]
) -> Iterator[None]:
    """Make the lookup return the learned vectors at their positions."""
    import torch

    slots = [(row, at, token, n) for row, chunk in enumerate(chunk_list) for at, token, n in chunk.slots]
    if not slots:
        yield
        return
    rows, places, tokens, numbers = zip(*slots, strict=True)
    # One table for all vectors: a slice for each slot would start a kernel for each, forward and backward.
    first, total = {}, 0
    for token in dict.fromkeys(tokens):
        first[token], total = total, total + len(vectors[token])
    table_rows = [first[token] + n for token, n in zip(tokens, numbers, strict=True)]

    def insert_vectors(
        module: torch.nn.Module, args: tuple[torch.Tensor, ...], looked_up: torch.Tensor
    ) -> torch.Tensor:
        # A copy, since the lookup's output belongs to the encoder.
        filled = looked_up.clone()
        table = torch.cat([vectors[token] for token in first]).to(filled.device, filled.dtype)
        at = _send_to_device([rows, places, table_rows], filled.device)
        filled[at[0], at[1]] = table[at[2]]
        return filled

    handle = lookup.register_forward_hook(insert_vectors)
    try:
        yield
    finally:
        handle.remove()


def _send_to_device(numbers: Sequence[Any], device: Any) -> torch.Tensor:
    """Copy to the device without waiting for its pending work, for which a plain copy to a GPU waits."""
    import torch

    tensor = torch.tensor(numbers)
    is_cuda = torch.device(device).type == "cuda"
    return tensor.pin_memory().to(device, non_blocking=True) if is_cuda else tensor.to(device)


@dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """A prompt as the UNet reads it."""

    hidden: torch.Tensor
    """[1, 77 * chunks, sum of the encoders' widths]"""
    pooled: torch.Tensor | None
    """[1, P]; None for models without a projection (SD 1.x)."""
    chunks: int


def encode_prompt(
    encoders: Sequence[Encoder], prompt: str, embeddings: Sequence[Embedding] = (), min_chunks: int = 1
) -> EncodedPrompt:
    """Compile a prompt. `min_chunks` appends empty chunks, to match the length of another prompt."""
    return _encode_chunks(encoders, _plan_chunks(encoders, prompt, embeddings), embeddings, min_chunks)


def encode_pair(
    encoders: Sequence[Encoder],
    prompt: str,
    negative: str = "",
    embeddings: Sequence[Embedding] = (),
    zero_negative: bool = False,
) -> tuple[EncodedPrompt, EncodedPrompt]:
    """Compile a prompt and its negative to the same length.

    With `zero_negative` (what SDXL's `force_zeros_for_empty_prompt` asks for) an empty negative is zeros.
    """
    import torch

    plan = _plan_chunks(encoders, prompt, embeddings)
    if zero_negative and not negative.strip():
        positive = _encode_chunks(encoders, plan, embeddings)
        pooled = None if positive.pooled is None else torch.zeros_like(positive.pooled)
        return positive, replace(positive, hidden=torch.zeros_like(positive.hidden), pooled=pooled)
    negative_plan = _plan_chunks(encoders, negative, embeddings)
    count = max(len(part) for part in [*plan, *negative_plan])
    return _encode_chunks(encoders, plan, embeddings, count), _encode_chunks(encoders, negative_plan, embeddings, count)


def _plan_chunks(encoders: Sequence[Encoder], prompt: str, embeddings: Sequence[Embedding]) -> list[list[Chunk]]:
    """Return the chunks for each encoder; their numbers may differ, since each tokenizer splits words its own way."""
    counts = {embedding.token: embedding.vector_count for embedding in embeddings}
    if len(counts) < len(embeddings):
        raise UserError(f"two embeddings have the same token among {', '.join(counts)}; rename one of them")
    return [split_into_chunks(prompt, encoder.tokenizer, counts) for encoder in encoders]


def _encode_chunks(
    encoders: Sequence[Encoder], plan: list[list[Chunk]], embeddings: Sequence[Embedding], min_chunks: int = 1
) -> EncodedPrompt:
    """Encode each chunk alone: in a batch, its bits would depend on the size of the batch."""
    import torch

    count = max(min_chunks, *(len(part) for part in plan))
    features, pooled = [], None
    with torch.no_grad():
        for index, (encoder, part) in enumerate(zip(encoders, plan, strict=True)):
            padded = part + split_into_chunks("", encoder.tokenizer, {}) * (count - len(part))
            vectors = {embedding.token: _table_for_encoder(embedding, index, encoders) for embedding in embeddings}
            results = [embed_chunks(encoder, [chunk], vectors) for chunk in padded]
            features.append(
                torch.cat(
                    [_apply_weights(hidden, c.weights) for c, (hidden, _) in zip(padded, results, strict=True)], 1
                )
            )
            pooled = results[0][1] if encoder.projected else pooled
    return EncodedPrompt(torch.cat(features, dim=-1), pooled, count)


def _table_for_encoder(embedding: Embedding, index: int, encoders: Sequence[Encoder]) -> torch.Tensor:
    """Return the embedding's vectors for one of the encoders."""
    tables, width = embedding.vectors, encoders[index].embedding_width
    if len(tables) == len(encoders) and tables[index].shape[1] == width:
        return tables[index]
    # The refiner has only SDXL's second encoder, which is recognised by its width.
    fitting = [table for table in tables if table.shape[1] == width]
    if len(encoders) < len(tables) and encoders[index].penultimate and len(fitting) == 1:
        return fitting[0]
    has = ", ".join(str(table.shape[1]) for table in tables)
    wants = ", ".join(str(encoder.embedding_width) for encoder in encoders)
    raise UserError(f"{embedding.token} was learned for encoders of width {has}, but this model's are {wants}")


def _apply_weights(hidden: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Multiply each position by its weight and restore the chunk's mean, as A1111 does."""
    import torch

    if all(weight == 1.0 for weight in weights):
        return hidden
    exact = hidden.float()
    weighted = exact * torch.tensor(weights, device=hidden.device)[None, :, None]
    before, after = exact.mean(), weighted.mean()
    # A mean that is only rounding noise must not be restored: the factor would be arbitrary.
    if before.abs() > 1e-4 * exact.abs().mean() and after.abs() > 1e-4 * weighted.abs().mean():
        weighted = weighted * (before / after)
    return weighted.to(hidden.dtype)
