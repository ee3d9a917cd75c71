"""Parts that all picture scorers share: reading, batches of one size, and vectors kept on disk."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image, ImageOps

from models.picture.environment import pixel_hash
from models.picture.reading import convert_to_rgb, open_picture
from models.scoring.vector_cache import VectorCache
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item", bound="Path | Image.Image")


class PictureScorer(ABC):
    """Pictures as unit vectors of one model, float32 on the processor's side whatever the device.

    Every forward pass has the same number of rows, a multiple of 8, the last one padded: then a picture's vector
    has the same bits alone, in any company and in any order. (Measured on CPU: 5 or 7 rows move it by 3e-6 with its
    position, multiples of 8 by nothing. Another batch size, device or thread count may differ by about as much.)
    """

    def __init__(
        self,
        model: "torch.nn.Module",
        weights: Path,
        dimension: int,
        model_hash: str,
        precision: str,
        vectors: VectorCache | None,
        batch_size: int,
    ) -> None:
        self.model = model
        self.weights = weights
        self.dimension = dimension
        self.model_hash = model_hash
        self.precision = precision
        self.rows = -(-batch_size // 8) * 8
        self.device: torch.device = next(model.parameters()).device
        self._vectors = vectors
        # What else decides a vector's bits: vectors of another kind are not mixed in.
        self._vectors_key = f"{self.model_hash} {self.device.type} {precision} {self.rows}"

    @abstractmethod
    def _prepare_picture(self, picture: Image.Image) -> "torch.Tensor":
        """Prepare a picture as the model takes it, [channels, height, width]."""

    @abstractmethod
    def _encode_batch(self, batch: "torch.Tensor") -> "torch.Tensor":
        """Encode a batch of prepared pictures into the model's vectors, of any length."""

    def encode_pictures(
        self, items: Iterable[Item], bad: Callable[[Item, UserError], None] | None = None
    ) -> Iterator[tuple[Item, np.ndarray]]:
        """Yield each item with its vector, in order, reading at most one batch ahead.

        A picture that cannot be read stops it, unless `bad` is given: that is told of it, and it is left out.
        """
        waiting: list[tuple[Item, str]] = []
        vector_of: dict[str, np.ndarray] = {}
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
            if pixels not in vector_of and pixels not in fresh:
                vector = self._stored_vector(pixels)
                if vector is None:
                    fresh[pixels] = self._prepare_picture(picture)
                else:
                    vector_of[pixels] = vector
            if not fresh or len(waiting) == self.rows:
                yield from self._finish_batch(waiting, vector_of, fresh)
                waiting, vector_of, fresh = [], {}, {}
        yield from self._finish_batch(waiting, vector_of, fresh)

    def _stored_vector(self, pixels: str) -> np.ndarray | None:
        return None if self._vectors is None else self._vectors.read_vector(self._vectors_key, pixels, self.dimension)

    def _finish_batch(
        self, waiting: list[tuple[Item, str]], vector_of: dict[str, np.ndarray], fresh: dict[str, "torch.Tensor"]
    ) -> Iterator[tuple[Item, np.ndarray]]:
        import torch

        if fresh:
            vectors = self._unit_vectors(self._encode_batch, torch.stack(list(fresh.values())))
            vector_of = vector_of | dict(zip(fresh, vectors, strict=True))
            if self._vectors is not None:
                self._vectors.store_vectors(self._vectors_key, [(pixels, vector_of[pixels]) for pixels in fresh])
        for item, pixels in waiting:
            yield item, vector_of[pixels].copy()  # a copy: one vector kept must not hold its whole batch in memory

    def _unit_vectors(self, encode: Callable[["torch.Tensor"], "torch.Tensor"], batch: "torch.Tensor") -> np.ndarray:
        import torch

        padded = batch.new_zeros((self.rows, *batch.shape[1:]))
        padded[: len(batch)] = batch
        reduced = torch.bfloat16 if self.precision == "bf16" else torch.float16
        with torch.inference_mode(), torch.autocast(self.device.type, reduced, enabled=self.precision != "fp32"):
            output = encode(padded.to(self.device))
        vectors = output[: len(batch)].double().cpu().numpy()
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and lengths.all()):
            raise UserError(f"{self.weights} gives no usable numbers in {self.precision}: use fp32, or new weights")
        return (vectors / lengths).astype(np.float32)


def read_picture(item: Path | Image.Image) -> Image.Image:
    """Read a picture upright, in RGB, with transparency on white. A bad one raises an error that names it."""
    name = item if isinstance(item, Path) else getattr(item, "filename", "") or "a picture in memory"
    try:
        return convert_to_rgb(open_picture(item) if isinstance(item, Path) else ImageOps.exif_transpose(item))
    except UserError as error:
        raise error if str(name) in str(error) else UserError(f"{name} cannot be used: {error}") from error
