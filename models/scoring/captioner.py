"""What a picture shows, in a sentence, by a BLIP or a Florence-2 model.

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
from models.sdxl.pipeline import device_of
from models.system.errors import UserError
from models.system.files import path_of, write

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # a published BLIP has only the second
WORDS = ("tokenizer.json", "vocab.txt", "vocab.json")  # one of them; without any, transformers makes up an empty list
BEAMS = 3  # what both models' authors caption with
LONGEST = 48  # tokens; a caption that runs past this repeats itself
ROWS = 8  # every pass has as many pictures, so that nobody's caption depends on who else is in it


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
class Source:
    """A model's folder, checked as far as it can be before anything is built."""

    kind: Kind
    folder: Path
    weights: Path


def load(name: str, device: str = "auto", memory: Path | None = None, cache: Path | None = None) -> "Captioner":
    """A captioner by name: `blip:FOLDER`, `florence2:FOLDER`, or a hub id whose files are on this machine in its place.

    `memory` is the file that remembers the hashes of large weights, `cache` a folder that keeps captions.
    """
    source = find(name)
    processor = _processor(source)
    model = _build(source, device_of(device))
    return Captioner(model, source, processor, _hash(source, memory), cache)


class Captioner:
    """Pictures described by one model, without any chance in it, in passes of one size."""

    def __init__(
        self, model: "torch.nn.Module", source: Source, processor: Any, model_hash: str, cache: Path | None
    ) -> None:
        self.model, self.source, self.model_hash = model, source, model_hash
        self.device: torch.device = next(model.parameters()).device
        self._processor = processor
        self._cache = cache / model_hash[:16] if cache else None

    def captions(self, pictures: Iterable[Path | Image.Image]) -> Iterator[str]:
        """One line for each picture, in order, never reading more than a pass ahead; empty where the model says nothing."""
        rest = iter(pictures)
        while batch := [read_picture(each) for each in islice(rest, ROWS)]:
            yield from self._captions(batch)

    def _captions(self, batch: Sequence[Image.Image]) -> list[str]:
        hashes = [pixel_hash(picture) for picture in batch]
        known = {pixels: text for pixels in hashes if (text := self._kept(pixels)) is not None}
        fresh = {pixels: picture for pixels, picture in zip(hashes, batch, strict=True) if pixels not in known}
        if fresh:
            for pixels, text in zip(fresh, self._describe(list(fresh.values())), strict=True):
                known[pixels] = text
                self._keep(pixels, text)
        return [known[pixels] for pixels in hashes]

    def _describe(self, pictures: list[Image.Image]) -> list[str]:
        import torch

        filled = [*pictures, *pictures[-1:] * (ROWS - len(pictures))]
        try:
            inputs = _prepared(self._processor, filled, self.source.kind).to(self.device)
            with torch.inference_mode():
                found = self.model.generate(
                    **inputs, do_sample=False, num_beams=BEAMS, num_return_sequences=1, max_new_tokens=LONGEST
                )
            said = self._processor.batch_decode(found[: len(pictures)], skip_special_tokens=True)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"the GPU has too little memory for the captioner {self.source.folder}: set models.device to cpu"
            ) from error
        except (ValueError, RuntimeError, IndexError) as error:  # its parts do not fit each other
            raise UserError(
                f"the captioner {self.source.folder} cannot describe pictures ({first_line(error)}): "
                "get the model's folder again"
            ) from error
        return [_clean(text) for text in said]

    def _kept(self, pixels: str) -> str | None:
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

    def _keep(self, pixels: str, text: str) -> None:
        if self._cache is not None:
            write(self._cache / f"{pixels}.txt", f"{text}\n".encode())


def _clean(said: str) -> str:
    """One line without a full stop; what stands in angle brackets is the model's own notation, never a learned word."""
    return " ".join(re.sub(r"<[^<>]*>|\ufffd", " ", said).split()).rstrip(" .")


def find(name: str) -> Source:
    """The model's folder on this machine; an error that says what is missing."""
    prefix, _, where = name.partition(":")
    if prefix not in KINDS or not where.strip():
        examples = " or ".join(f"{each}:{kind.example}" for each, kind in KINDS.items())
        raise UserError(f"the captioner {name!r} is unknown: write {examples}, or a folder after the colon")
    kind = KINDS[prefix]
    folder = _folder(where, kind)
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"{folder} is not a {kind.name} model folder: it has no {CONFIG}, so name the folder that has it"
        )
    found = _config(folder / CONFIG).get("model_type")
    if found != kind.type:
        raise UserError(f"{folder} holds a model of type {found!r}, not {kind.type!r}: name another folder or prefix")
    weights = next((folder / each for each in WEIGHTS if (folder / each).is_file()), None)
    if weights is None:
        raise UserError(f"the {kind.name} model folder {folder} has no weights: put {WEIGHTS[0]} there")
    return Source(kind, folder, weights)


def _folder(name: str, kind: Kind) -> Path:
    path = path_of(name)
    if path.is_dir():
        return path.resolve()
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(f"there is no {kind.name} model folder at {name}: name one, or a hub id such as {kind.example}")
    return _in_hub_cache(name, kind)


def _in_hub_cache(name: str, kind: Kind) -> Path:
    """A hub model fetched earlier; the network is left alone."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, CONFIG)
    except HFValidationError:
        found = None
    folder = Path(found).parent if isinstance(found, str) else None
    if folder is None or not any((folder / each).is_file() for each in WEIGHTS):
        raise UserError(
            f"the {kind.name} model {name} is not on this machine: fetch it once with `hf download {name}`, "
            "or name a folder"
        )
    return folder


def _config(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({first_line(error)}): get the model's folder again") from error
    return found


def _build(source: Source, device: str) -> "torch.nn.Module":
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()  # its report of what is missing becomes a sentence below
    transformers.utils.logging.disable_progress_bar()
    kind = source.kind
    try:
        model, found = getattr(transformers, kind.model).from_pretrained(
            source.folder,
            local_files_only=True,
            use_safetensors=source.weights.suffix == ".safetensors",
            weights_only=True,  # a torch file may hold numbers, no code
            dtype=torch.float32,
            output_loading_info=True,
        )
        if missing := found["missing_keys"]:
            raise ValueError(f"they lack {min(missing)}")
        if not all(bool(weight.isfinite().all()) for weight in model.parameters()):
            raise ValueError("they hold values that are not finite numbers")
    except Exception as error:  # damaged, cut short, a shape that does not fit, a configuration that cannot be built, …
        raise UserError(
            f"the {kind.name} weights {source.weights} cannot be used ({first_line(error)}): get a folder that "
            f"transformers reads without code of the model's own, such as {kind.example}"
        ) from error
    return model.to(device).eval().requires_grad_(False)


def _processor(source: Source) -> Any:
    """Pillow's resizing whatever else is installed, so that the pixels do not depend on that."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    try:
        if not any((source.folder / each).is_file() for each in WORDS):
            raise ValueError(f"it has no {WORDS[0]}")
        processor = getattr(transformers, source.kind.processor).from_pretrained(
            source.folder, local_files_only=True, trust_remote_code=False, backend="pil"
        )
        _prepared(processor, [Image.new("RGB", (8, high)) for high in (12, 8)], source.kind)
    except Exception as error:  # a missing tokenizer, sizes that differ, …
        raise UserError(
            f"{source.folder} does not say how to prepare pictures and read answers ({first_line(error)}): "
            f"get the whole {source.kind.name} folder again"
        ) from error
    return processor


def _prepared(processor: Any, pictures: Sequence[Image.Image], kind: Kind) -> Any:
    questions = {name: [text] * len(pictures) for name, text in kind.question.items()}
    return processor(images=list(pictures), return_tensors="pt", **questions)


def _hash(source: Source, memory: Path | None) -> str:
    """Names everything that a caption depends on: weights, configurations, tokenizer, and how the model is asked."""
    small = sorted(each for each in source.folder.iterdir() if each.suffix in (".json", ".txt"))
    files = {each.name: file_hash(each, memory) for each in (*small, source.weights)}
    asked = {"beams": BEAMS, "longest": LONGEST, "rows": ROWS, "question": dict(source.kind.question)}
    return hashlib.sha256(json.dumps({"files": files, "asked": asked}, sort_keys=True).encode()).hexdigest()
