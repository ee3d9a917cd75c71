"""Measure how alike pictures and texts are, by an open_clip model. torch and open_clip load when a model does."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from models.scoring import clip_weights
from models.scoring.clip_weights import ClipSource
from models.scoring.picture_scorer import PictureScorer
from models.scoring.picture_scorer import read_picture as read_picture
from models.scoring.vector_cache import VectorCache
from models.sdxl.pipeline import resolve_device
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("fp32", "bf16", "fp16")


def load_clip(
    name: str,
    device: str = "auto",
    precision: str = "fp32",
    cache: Path | None = None,
    batch_size: int = 32,
    memory: Path | None = None,
) -> "ClipScorer":
    """Load a scorer by name: `toybox`, `ViT-B-32:laion2b_s34b_b79k`, `ViT-B-32:/path/weights.safetensors`, or a folder.

    A folder holds `open_clip_config.json` and `open_clip_model.safetensors`. `cache` is the SQLite file that keeps
    picture vectors, `memory` the file that remembers the hashes of large weights.
    """
    if precision not in PRECISIONS:
        raise UserError(f"CLIP precision {precision!r} is unknown: use {', '.join(PRECISIONS)}")
    if batch_size < 1:
        raise UserError(f"CLIP batch size {batch_size} is too small: use 1 or more")
    vectors = None if cache is None else VectorCache(cache)  # first: a bad cache shows before a long load
    source = clip_weights.find_clip(name)
    model = clip_weights.build_clip(source, resolve_device(device))
    digest = clip_weights.model_hash(source.weights, source.config, model.visual.preprocess_cfg, memory)
    return ClipScorer(model, source, digest, precision, vectors, batch_size)


class ClipScorer(PictureScorer):
    """Pictures and texts as unit vectors of one open_clip model, in passes of one size."""

    def __init__(
        self,
        model: "torch.nn.Module",
        source: ClipSource,
        model_hash: str,
        precision: str,
        vectors: VectorCache | None,
        batch_size: int,
    ) -> None:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        dimension = int(source.config["embed_dim"])
        super().__init__(model, source.weights, dimension, model_hash, precision, vectors, batch_size)
        self.source = source
        self._transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
        self._tokenizer: Callable[[list[str]], torch.Tensor] | None = None

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return one row per text; what lies past the model's context (77 tokens in most) is ignored."""
        unique = list(dict.fromkeys(texts))
        if not unique:
            return np.zeros((0, self.dimension), np.float32)
        vector_of: dict[str, np.ndarray] = {}
        for batch in _split_batches(unique, self.rows):
            vector_of.update(
                zip(batch, self._unit_vectors(self.model.encode_text, self._tokenize_texts(batch)), strict=True)
            )
        return np.stack([vector_of[text] for text in texts])

    def _prepare_picture(self, picture: Image.Image) -> "torch.Tensor":
        return self._transform(picture)

    def _encode_batch(self, batch: "torch.Tensor") -> "torch.Tensor":
        return self.model.encode_image(batch)

    def _tokenize_texts(self, texts: list[str]) -> "torch.Tensor":
        import open_clip

        if self._tokenizer is None:
            try:  # only now: pictures can be compared without it, and some models fetch theirs
                self._tokenizer = open_clip.get_tokenizer(self.source.name)
            except Exception as error:
                raise UserError(
                    f"the tokenizer of {self.source.name} is not at hand ({clip_weights.first_line(error)})"
                ) from error
        return self._tokenizer(texts)


def _split_batches(texts: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(texts)
    while batch := list(islice(rest, size)):
        yield batch


def cosine_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosines of unit vectors [N, D] and [M, D], pictures or texts, as [N, M]."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"vectors of shapes {a.shape} and {b.shape} cannot be compared")
    return np.clip(a @ b.T, -1.0, 1.0)
