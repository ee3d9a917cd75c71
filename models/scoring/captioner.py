"""Describe what a picture shows in a sentence, by a BLIP or a Florence-2 model.

torch and transformers load when a model does, and nothing is fetched from the network.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from models.picture.environment import pixel_hash
from models.scoring.clip_weights import first_line
from models.scoring.picture_scorer import read_picture
from models.sdxl.locate import file_hash
from models.sdxl.pipeline import resolve_device
from models.system.errors import UserError
from models.system.files import expand_path, write_file

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # a published BLIP has only the second
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
)  # one of them; without any, transformers makes up an empty list
BEAMS = 3  # what both models' authors caption with
MAX_TOKENS = 48  # tokens; a caption that runs past this repeats itself
PICTURES_PER_PASS = 8  # every pass has as many pictures, so that nobody's caption depends on who else is in it


@dataclass(frozen=True)
class Kind:
    """A family of captioners, and what transformers calls its parts."""

    name: str
    type: str
    example: str
    model: str
    processor: str
    question: Mapping[str, str] = field(default_factory=dict)
    """What it is asked with each picture."""


KINDS = {
    "blip": Kind(
        "BLIP", "blip", "Salesforce/blip-image-captioning-base", "BlipForConditionalGeneration", "BlipProcessor"
    ),
    # The short caption: the longer ones dwell on looks, which the learned word is to stand for.
    "florence2": Kind(
        "Florence-2",
        "florence2",
        "florence-community/Florence-2-base",
        "Florence2ForConditionalGeneration",
        "Florence2Processor",
        {"text": "<CAPTION>"},
    ),
}


@dataclass(frozen=True)
class CaptionerSource:
    """A model's folder, checked as far as it can be before anything is built."""

    kind: Kind
    folder: Path
    weights: Path


def load_captioner(
    name: str, device: str = "auto", memory: Path | None = None, cache: Path | None = None
) -> "Captioner":
    """Load a captioner by name: `blip:FOLDER`, `florence2:FOLDER`, or a hub id whose files are on this machine.

    `memory` is the file that remembers the hashes of large weights, `cache` a folder that keeps captions.
    """
    source = find_captioner(name)
    processor = _load_processor(source)
    model = _build_model(source, resolve_device(device))
    return Captioner(model, source, processor, _hash_model(source, memory), cache)


class Captioner:
    """Pictures described by one model, without any chance in it, in passes of one size."""

    def __init__(
        self, model: "torch.nn.Module", source: CaptionerSource, processor: Any, model_hash: str, cache: Path | None
    ) -> None:
        self.model, self.source, self.model_hash = model, source, model_hash
        self.device: torch.device = next(model.parameters()).device
        self._load_processor = processor
        self._cache = cache / model_hash[:16] if cache else None

    def describe_pictures(self, pictures: Iterable[Path | Image.Image]) -> Iterator[str]:
        """Yield one line for each picture, in order, at most one pass ahead; empty if the model says nothing."""
        rest = iter(pictures)
        while batch := [read_picture(picture) for picture in islice(rest, PICTURES_PER_PASS)]:
            yield from self._describe_batch(batch)

    def _describe_batch(self, batch: Sequence[Image.Image]) -> list[str]:
        hashes = [pixel_hash(picture) for picture in batch]
        captions = {pixels: text for pixels in hashes if (text := self._read_caption(pixels)) is not None}
        fresh = {pixels: picture for pixels, picture in zip(hashes, batch, strict=True) if pixels not in captions}
        if fresh:
            for pixels, text in zip(fresh, self._run_model(list(fresh.values())), strict=True):
                captions[pixels] = text
                self._store_caption(pixels, text)
        return [captions[pixels] for pixels in hashes]

    def _run_model(self, pictures: list[Image.Image]) -> list[str]:
        import torch

        filled = [*pictures, *pictures[-1:] * (PICTURES_PER_PASS - len(pictures))]
        try:
            inputs = _prepare_inputs(self._load_processor, filled, self.source.kind).to(self.device)
            with torch.inference_mode():
                generated = self.model.generate(
                    **inputs, do_sample=False, num_beams=BEAMS, num_return_sequences=1, max_new_tokens=MAX_TOKENS
                )
            answers = self._load_processor.batch_decode(generated[: len(pictures)], skip_special_tokens=True)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"the GPU has too little memory for the captioner {self.source.folder}: set models.device to cpu"
            ) from error
        except (ValueError, RuntimeError, IndexError) as error:  # its parts do not fit each other
            raise UserError(
                f"the captioner {self.source.folder} cannot describe pictures ({first_line(error)}): "
                "get the model's folder again"
            ) from error
        return [_clean_caption(text) for text in answers]

    def _read_caption(self, pixels: str) -> str | None:
        if self._cache is None:
            return None
        file = self._cache / f"{pixels}.txt"
        try:
            return " ".join(file.read_text("utf-8").split())
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"the kept caption {file} cannot be read ({first_line(error)}): move it away, and it is made anew"
            ) from error

    def _store_caption(self, pixels: str, text: str) -> None:
        if self._cache is not None:
            write_file(self._cache / f"{pixels}.txt", f"{text}\n".encode())


def _clean_caption(answer: str) -> str:
    """Return one line without a full stop. Angle brackets are the model's own notation, never a learned token."""
    return " ".join(re.sub(r"<[^<>]*>|\ufffd", " ", answer).split()).rstrip(" .")


def find_captioner(name: str) -> CaptionerSource:
    """Find the model's folder on this machine; raise an error that says what is missing."""
    prefix, _, location = name.partition(":")
    if prefix not in KINDS or not location.strip():
        examples = " or ".join(f"{known_prefix}:{kind.example}" for known_prefix, kind in KINDS.items())
        raise UserError(f"the captioner {name!r} is unknown: write {examples}, or a folder after the colon")
    kind = KINDS[prefix]
    folder = _model_folder(location, kind)
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"{folder} is not a {kind.name} model folder: it has no {CONFIG}, so name the folder that has it"
        )
    model_type = _read_config(folder / CONFIG).get("model_type")
    if model_type != kind.type:
        raise UserError(
            f"{folder} holds a model of type {model_type!r}, not {kind.type!r}: name another folder or prefix"
        )
    weights = next((folder / known_prefix for known_prefix in WEIGHTS if (folder / known_prefix).is_file()), None)
    if weights is None:
        raise UserError(f"the {kind.name} model folder {folder} has no weights: put {WEIGHTS[0]} there")
    return CaptionerSource(kind, folder, weights)


def _model_folder(name: str, kind: Kind) -> Path:
    path = expand_path(name)
    if path.is_dir():
        return path.resolve()
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(f"there is no {kind.name} model folder at {name}: name one, or a hub id such as {kind.example}")
    return _in_hub_cache(name, kind)


def _in_hub_cache(name: str, kind: Kind) -> Path:
    """Find a hub model that was fetched earlier, without using the network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached_file = try_to_load_from_cache(name, CONFIG)
    except HFValidationError:
        cached_file = None
    folder = Path(cached_file).parent if isinstance(cached_file, str) else None
    if folder is None or not any((folder / file_name).is_file() for file_name in WEIGHTS):
        raise UserError(
            f"the {kind.name} model {name} is not on this machine: fetch it once with `hf download {name}`, "
            "or name a folder"
        )
    return folder


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text("utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({first_line(error)}): get the model's folder again") from error
    return config


def _build_model(source: CaptionerSource, device: str) -> "torch.nn.Module":
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()  # its report of what is missing becomes a sentence below
    transformers.utils.logging.disable_progress_bar()
    kind = source.kind
    try:
        model, loading_report = getattr(transformers, kind.model).from_pretrained(
            source.folder,
            local_files_only=True,
            use_safetensors=source.weights.suffix == ".safetensors",
            weights_only=True,  # a torch file may hold numbers, no code
            dtype=torch.float32,
            output_loading_info=True,
        )
        if missing := loading_report["missing_keys"]:
            raise ValueError(f"they lack {min(missing)}")
        if not all(bool(weight.isfinite().all()) for weight in model.parameters()):
            raise ValueError("they hold values that are not finite numbers")
    except Exception as error:  # damaged, cut short, a shape that does not fit, a configuration that cannot be built, …
        raise UserError(
            f"the {kind.name} weights {source.weights} cannot be used ({first_line(error)}): get a folder that "
            f"transformers reads without code of the model's own, such as {kind.example}"
        ) from error
    return model.to(device).eval().requires_grad_(False)


def _load_processor(source: CaptionerSource) -> Any:
    """Load the processor with Pillow's resizing, so that the pixels do not depend on what else is installed."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    try:
        if not any((source.folder / file_name).is_file() for file_name in TOKENIZER_FILES):
            raise ValueError(f"it has no {TOKENIZER_FILES[0]}")
        processor = getattr(transformers, source.kind.processor).from_pretrained(
            source.folder, local_files_only=True, trust_remote_code=False, backend="pil"
        )
        _prepare_inputs(processor, [Image.new("RGB", (8, high)) for high in (12, 8)], source.kind)
    except Exception as error:  # a missing tokenizer, sizes that differ, …
        raise UserError(
            f"{source.folder} does not say how to prepare pictures and read answers ({first_line(error)}): "
            f"get the whole {source.kind.name} folder again"
        ) from error
    return processor


def _prepare_inputs(processor: Any, pictures: Sequence[Image.Image], kind: Kind) -> Any:
    questions = {name: [text] * len(pictures) for name, text in kind.question.items()}
    return processor(images=list(pictures), return_tensors="pt", **questions)


def _hash_model(source: CaptionerSource, memory: Path | None) -> str:
    """Hash everything that a caption depends on: weights, configurations, tokenizer, and the model's inputs."""
    small = sorted(file for file in source.folder.iterdir() if file.suffix in (".json", ".txt"))
    files = {file.name: file_hash(file, memory) for file in (*small, source.weights)}
    generation = {
        "beams": BEAMS,
        "longest": MAX_TOKENS,
        "rows": PICTURES_PER_PASS,
        "question": dict(source.kind.question),
    }
    return hashlib.sha256(json.dumps({"files": files, "asked": generation}, sort_keys=True).encode()).hexdigest()
