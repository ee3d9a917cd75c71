"""How alike pictures and texts are, by an open_clip model. torch and open_clip load when a model does."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from models.scoring import clip_weights
from models.scoring.clip_weights import Source
from models.scoring.picture_scorer import PictureScorer
from models.scoring.picture_scorer import read_picture as read_picture
from models.scoring.vector_cache import Vectors
from models.sdxl.pipeline import device_of
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("fp32", "bf16", "fp16")


def load(
    name: str,
    device: str = "auto",
    precision: str = "fp32",
    cache: Path | None = None,
    batch_size: int = 32,
    memory: Path | None = None,
) -> "Scorer":
    """A scorer by name: `toybox`, `ViT-B-32:laion2b_s34b_b79k`, `ViT-B-32:/path/weights.safetensors`, or a folder.

    A folder holds `open_clip_config.json` and `open_clip_model.safetensors`. `cache` is the SQLite file that keeps
    picture vectors, `memory` the file that remembers the hashes of large weights.
    """
    if precision not in PRECISIONS:
        raise UserError(f"CLIP precision {precision!r} is unknown: use {', '.join(PRECISIONS)}")
    if batch_size < 1:
        raise UserError(f"CLIP batch size {batch_size} is too small: use 1 or more")
    vectors = None if cache is None else Vectors(cache)  # first: a bad cache shows before a long load
    source = clip_weights.find(name)
    model = clip_weights.build(source, device_of(device))
    digest = clip_weights.model_hash(source.weights, source.config, model.visual.preprocess_cfg, memory)
    return Scorer(model, source, digest, precision, vectors, batch_size)


class Scorer(PictureScorer):
    """Pictures and texts as unit vectors of one open_clip model, in passes of one size."""

    def __init__(
        self,
        model: "torch.nn.Module",
        source: Source,
        model_hash: str,
        precision: str,
        vectors: Vectors | None,
        batch_size: int,
    ) -> None:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        dimension = int(source.config["embed_dim"])
        super().__init__(model, source.weights, dimension, model_hash, precision, vectors, batch_size)
        self.source = source
        self._transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
        self._tokenizer: Callable[[list[str]], torch.Tensor] | None = None

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """One row per text; a text past the model's context (77 tokens in most) counts up to there."""
        unique = list(dict.fromkeys(texts))
        if not unique:
            return np.zeros((0, self.dimension), np.float32)
        found: dict[str, np.ndarray] = {}
        for batch in _batches(unique, self.rows):
            found.update(zip(batch, self._unit(self.model.encode_text, self._tokenize(batch)), strict=True))
        return np.stack([found[text] for text in texts])

    def _prepare(self, picture: Image.Image) -> "torch.Tensor":
        return self._transform(picture)

    def _encode(self, batch: "torch.Tensor") -> "torch.Tensor":
        return self.model.encode_image(batch)

    def _tokenize(self, texts: list[str]) -> "torch.Tensor":
        import open_clip

        if self._tokenizer is None:
            try:  # only now: pictures can be compared without it, and some models fetch theirs
                self._tokenizer = open_clip.get_tokenizer(self.source.name)
            except Exception as error:
                raise UserError(
                    f"the tokenizer of {self.source.name} is not at hand ({clip_weights.first_line(error)})"
                ) from error
        return self._tokenizer(texts)


def _batches(texts: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(texts)
    while batch := list(islice(rest, size)):
        yield batch


def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines of unit vectors [N, D] and [M, D], pictures or texts, as [N, M]."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"vectors of shapes {a.shape} and {b.shape} cannot be compared")
    return np.clip(a @ b.T, -1.0, 1.0)


def similarity_blocks(a: np.ndarray, b: np.ndarray, rows: int = 512) -> Iterator[tuple[int, np.ndarray]]:
    """The same matrix by blocks of rows, each with its first row's number, where all of it is too much to hold."""
    for start in range(0, len(a), rows):
        yield start, similarity(a[start : start + rows], b)
