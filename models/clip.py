"""How alike pictures and texts are, by an open_clip model. torch and open_clip load when a model does."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image, ImageOps

from models import clip_source
from models.clip_source import Source
from models.errors import UserError
from models.fingerprint import pixel_hash
from models.loading import device_of
from models.pictures import open_picture, rgb
from models.vectors import Vectors

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item", bound="Path | Image.Image")

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
    source = clip_source.find(name)
    model = clip_source.build(source, device_of(device))
    digest = clip_source.model_hash(source.weights, source.config, model.visual.preprocess_cfg, memory)
    return Scorer(model, source, digest, precision, vectors, batch_size)


class Scorer:
    """Pictures and texts as unit vectors of one model, float32 on the processor's side whatever the device.

    Every forward pass has the same number of rows, a multiple of 8, the last one padded: then a picture's vector
    has the same bits alone, in any company and in any order. (Measured on CPU: 5 or 7 rows move it by 3e-6 with its
    position, multiples of 8 by nothing. Another batch size, device or thread count may differ by about as much.)
    """

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

        self.model = model
        self.source = source
        self.precision = precision
        self.rows = -(-batch_size // 8) * 8
        self.dimension = int(source.config["embed_dim"])
        self.device: torch.device = next(model.parameters()).device
        self.model_hash = model_hash
        self._vectors = vectors
        # What else decides a vector's bits: vectors of another kind are not mixed in.
        self._vectors_key = f"{self.model_hash} {self.device.type} {precision} {self.rows}"
        self._transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
        self._tokenizer: Callable[[list[str]], torch.Tensor] | None = None

    def pictures(
        self, items: Iterable[Item], bad: Callable[[Item, UserError], None] | None = None
    ) -> Iterator[tuple[Item, np.ndarray]]:
        """Each item with its vector, in order, never reading more than a batch ahead.

        A picture that cannot be read stops it, unless `bad` is given: that is told of it, and it is left out.
        """
        waiting: list[tuple[Item, str]] = []
        known: dict[str, np.ndarray] = {}
        fresh: dict[str, torch.Tensor] = {}  # by pixel hash: a picture met twice is computed once
        for item in items:
            try:
                picture = read_picture(item)
            except UserError as error:
                if bad is None:
                    raise
                bad(item, error)
                continue
            pixels = pixel_hash(picture)
            waiting.append((item, pixels))
            if pixels not in known and pixels not in fresh:
                vector = self._kept(pixels)
                if vector is None:
                    fresh[pixels] = self._transform(picture)
                else:
                    known[pixels] = vector
            if not fresh or len(waiting) == self.rows:
                yield from self._finish(waiting, known, fresh)
                waiting, known, fresh = [], {}, {}
        yield from self._finish(waiting, known, fresh)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """One row per text; a text past the model's context (77 tokens in most) counts up to there."""
        unique = list(dict.fromkeys(texts))
        if not unique:
            return np.zeros((0, self.dimension), np.float32)
        found: dict[str, np.ndarray] = {}
        for batch in _batches(unique, self.rows):
            found.update(zip(batch, self._unit(self.model.encode_text, self._tokenize(batch)), strict=True))
        return np.stack([found[text] for text in texts])

    def _kept(self, pixels: str) -> np.ndarray | None:
        return None if self._vectors is None else self._vectors.get(self._vectors_key, pixels, self.dimension)

    def _finish(
        self, waiting: list[tuple[Item, str]], known: dict[str, np.ndarray], fresh: dict[str, "torch.Tensor"]
    ) -> Iterator[tuple[Item, np.ndarray]]:
        import torch

        if fresh:
            made = self._unit(self.model.encode_image, torch.stack(list(fresh.values())))
            known = known | dict(zip(fresh, made, strict=True))
            if self._vectors is not None:
                self._vectors.put(self._vectors_key, [(pixels, known[pixels]) for pixels in fresh])
        for item, pixels in waiting:
            yield item, known[pixels].copy()  # a copy: one vector kept must not hold its whole batch in memory

    def _unit(self, encode: Callable[["torch.Tensor"], "torch.Tensor"], batch: "torch.Tensor") -> np.ndarray:
        import torch

        padded = batch.new_zeros((self.rows, *batch.shape[1:]))
        padded[: len(batch)] = batch
        reduced = torch.bfloat16 if self.precision == "bf16" else torch.float16
        with torch.inference_mode(), torch.autocast(self.device.type, reduced, enabled=self.precision != "fp32"):
            output = encode(padded.to(self.device))
        vectors = output[: len(batch)].double().cpu().numpy()
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and lengths.all()):
            raise UserError(
                f"{self.source.weights} gives no usable numbers in {self.precision}: use fp32, or new weights"
            )
        return (vectors / lengths).astype(np.float32)

    def _tokenize(self, texts: list[str]) -> "torch.Tensor":
        import open_clip

        if self._tokenizer is None:
            try:  # only now: pictures can be compared without it, and some models fetch theirs
                self._tokenizer = open_clip.get_tokenizer(self.source.name)
            except Exception as error:
                raise UserError(
                    f"the tokenizer of {self.source.name} is not at hand ({clip_source.first_line(error)})"
                ) from error
        return self._tokenizer(texts)


def _batches(texts: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(texts)
    while batch := list(islice(rest, size)):
        yield batch


def read_picture(item: Path | Image.Image) -> Image.Image:
    """The picture as it is seen: upright, RGB, transparency on white. A bad one is an error that names it."""
    name = item if isinstance(item, Path) else getattr(item, "filename", "") or "a picture in memory"
    try:
        return rgb(open_picture(item) if isinstance(item, Path) else ImageOps.exif_transpose(item))
    except UserError as error:
        raise error if str(name) in str(error) else UserError(f"{name} cannot be used: {error}") from error


def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines of unit vectors [N, D] and [M, D], pictures or texts, as [N, M]."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"vectors of shapes {a.shape} and {b.shape} cannot be compared")
    return np.clip(a @ b.T, -1.0, 1.0)


def similarity_blocks(a: np.ndarray, b: np.ndarray, rows: int = 512) -> Iterator[tuple[int, np.ndarray]]:
    """The same matrix by blocks of rows, each with its first row's number, where all of it is too much to hold."""
    for start in range(0, len(a), rows):
        yield start, similarity(a[start : start + rows], b)
