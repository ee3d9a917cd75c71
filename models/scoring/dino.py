"""Measure how alike pictures are in what they show, by a DINO model: it knows characters better than CLIP.

torch and transformers load when a model does, and nothing is fetched from the network.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from models.scoring.clip_weights import first_line, model_hash
from models.scoring.picture_scorer import PictureScorer
from models.scoring.vector_cache import VectorCache
from models.sdxl.pipeline import resolve_device
from models.system.errors import UserError
from models.system.files import expand_path

if TYPE_CHECKING:
    import torch

KINDS = {"dinov2": ("dinov2", "dinov2_with_registers"), "dinov3": ("dinov3_vit", "dinov3_convnext")}
"""By the word before the colon, the types of model that it stands for."""
CONFIG, WEIGHTS, PREPROCESSING = "config.json", "model.safetensors", "preprocessor_config.json"
# What the published models of a kind all have, for a folder whose own file is missing.
_COLOURS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_SQUARE = {"height": 224, "width": 224}
USUAL_PREPROCESSING: dict[str, dict[str, Any]] = {
    "dinov2": {"size": {"shortest_edge": 256}, "crop_size": _SQUARE, "resample": 3, **_COLOURS},
    "dinov3": {"size": _SQUARE, "do_center_crop": False, "resample": 2, **_COLOURS},
}
UNUSED = {"embeddings.mask_token"}  # only training needs it


@dataclass(frozen=True)
class DinoSource:
    """A model's folder, checked as far as it can be before anything is built."""

    folder: Path
    config: dict[str, Any]
    preprocessing: dict[str, Any]

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS


def load_dino(
    name: str,
    device: str = "auto",
    cache: Path | None = None,
    batch_size: int = 32,
    memory: Path | None = None,
) -> "DinoScorer":
    """Load a scorer by name: `dinov2:FOLDER`, `dinov3:FOLDER`, or a hub id (`dinov2:facebook/dinov2-base`).

    A folder holds `config.json` and `model.safetensors`, and `preprocessor_config.json` if its pictures are prepared
    in a way of their own. `cache` and `memory` are the files that models.clip uses, and may be the same ones.
    """
    if batch_size < 1:
        raise UserError(f"DINO batch size {batch_size} is too small: use 1 or more")
    vectors = None if cache is None else VectorCache(cache)  # first: a bad cache shows before a long load
    source = find_dino(name)
    processor = _load_processor(source)
    model = _build_model(source, resolve_device(device))
    digest = model_hash(source.weights, source.config, source.preprocessing, memory)
    return DinoScorer(model, source, processor, digest, vectors, batch_size)


class DinoScorer(PictureScorer):
    """Pictures as unit vectors of one DINO model: what it pools after the last norm, in fp32."""

    def __init__(
        self,
        model: "torch.nn.Module",
        source: DinoSource,
        processor: Any,
        model_hash: str,
        vectors: VectorCache | None,
        batch_size: int,
    ) -> None:
        widths = getattr(model.config, "hidden_sizes", None) or [model.config.hidden_size]
        super().__init__(model, source.weights, int(widths[-1]), model_hash, "fp32", vectors, batch_size)
        self.source = source
        self._load_processor = processor

    def _prepare_picture(self, picture: Image.Image) -> "torch.Tensor":
        return self._load_processor(picture, return_tensors="pt")["pixel_values"][0]

    def _encode_batch(self, batch: "torch.Tensor") -> "torch.Tensor":
        return self.model(batch).pooler_output


def split_name(name: str) -> tuple[str, str]:
    """Split a name into the generation, empty if it names none, and the folder or hub id."""
    generation, _, location = name.partition(":")
    return (generation, location) if generation in KINDS else ("", name)


def find_dino(name: str) -> DinoSource:
    """Find the model's folder on this machine; raise an error that says what is missing."""
    stated, location = split_name(name)
    folder = _model_folder(location)
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} is not a DINO model folder: it has no {CONFIG}, so name the folder that has it")
    config = _read_json(folder / CONFIG)
    kind = config.get("model_type")
    generation = next((name_of_kind for name_of_kind, kinds in KINDS.items() if kind in kinds), "")
    if not generation:
        model_types = [name_of_kind for kinds in KINDS.values() for name_of_kind in kinds]
        raise UserError(
            f"{folder} holds a model of type {kind!r}: name a folder of type {', '.join(model_types[:-1])} or {model_types[-1]}"
        )
    if stated and stated != generation:
        raise UserError(f"{folder} holds a model of type {kind!r}: call it {generation}:{location}")
    own_preprocessing = folder / PREPROCESSING
    source = DinoSource(
        folder,
        config,
        _read_json(own_preprocessing) if own_preprocessing.is_file() else USUAL_PREPROCESSING[generation],
    )
    if not source.weights.is_file():
        raise UserError(f"the DINO model folder {folder} has no weights: put {WEIGHTS} there")
    return source


def _model_folder(name: str) -> Path:
    path = expand_path(name)
    if path.is_dir():
        return path.resolve()
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(f"there is no DINO model folder at {name}: name one, or a hub id such as facebook/dinov2-base")
    return _in_hub_cache(name)


def _in_hub_cache(name: str) -> Path:
    """Find a hub model that was fetched earlier, without using the network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        files = [try_to_load_from_cache(name, file) for file in (CONFIG, WEIGHTS)]
    except HFValidationError:
        files = []
    if not files or not all(isinstance(file, str) for file in files):
        raise UserError(
            f"the DINO model {name} is not on this machine: fetch it once with `hf download {name}`, or name a folder"
        )
    return Path(str(files[0])).parent


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({first_line(error)}): get the model's folder again") from error
    return content


def _build_model(source: DinoSource, device: str) -> "torch.nn.Module":
    import torch
    import transformers

    _check_readable(source.weights)
    transformers.utils.logging.set_verbosity_error()  # its report of what is missing becomes a sentence below
    transformers.utils.logging.disable_progress_bar()
    try:
        model, loading_report = transformers.AutoModel.from_pretrained(
            source.folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        if missing := set(loading_report["missing_keys"]) - UNUSED:
            raise ValueError(f"they lack {min(missing)}")
    except Exception as error:  # a shape that does not fit, a configuration that cannot be built, …
        raise UserError(
            f"the DINO weights {source.weights} do not fit {CONFIG} beside them ({first_line(error)}): "
            "get the model's folder again"
        ) from error
    return model.to(device).eval().requires_grad_(False)


def _check_readable(weights: Path) -> None:
    """Read the header: it tells a truncated file at once, and says so plainly."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"the DINO weights {weights} are damaged or cut short ({first_line(error)}): get the file again"
        ) from error


def _load_processor(source: DinoSource) -> Any:
    """Load the processor with Pillow's resizing, so that the pixels do not depend on what else is installed."""
    from transformers import BitImageProcessorPil

    try:
        processor = BitImageProcessorPil.from_dict(source.preprocessing)
        upright, square = (processor(Image.new("RGB", (8, high)), return_tensors="pt") for high in (12, 8))
        if upright["pixel_values"].shape != square["pixel_values"].shape:
            raise ValueError("it does not crop them to one size")
    except Exception as error:
        raise UserError(
            f"{source.folder / PREPROCESSING} does not say how to prepare pictures ({first_line(error)}): "
            "get the file again, or remove it where the model is a published one"
        ) from error
    return processor
