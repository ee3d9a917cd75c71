"""Provenance in PNG files: A1111-readable `parameters`, and our own record, from which a picture can be made again."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from models.picture.environment import pixel_hash
from models.picture.reading import open_picture
from models.picture.shot import Ref, Shot
from models.system.errors import UserError

KEY = "restage"
VERSION = 1


@dataclass(frozen=True)
class Provenance:
    """Where a picture comes from: enough to make it again, and to know whether the result has to be the same."""

    shot: Shot
    environment: Mapping[str, Any]
    pixels: str  # the hash of the pixels
    parents: tuple[str, ...] = field(default=())  # pixel hashes of the pictures that this one was made from

    def as_json(self) -> str:
        record = {
            "version": VERSION,
            "id": self.shot.id,
            "shot": self.shot.as_dict(),
            "environment": self.environment,
            "pixels": self.pixels,
            "parents": list(self.parents),
        }
        return json.dumps(record, ensure_ascii=False, indent=1)


def encode_png(image: Image.Image, provenance: Provenance) -> bytes:
    """Encode a picture as PNG, with both texts inside."""
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("parameters", format_parameters(provenance.shot))
    texts.add_itxt(KEY, provenance.as_json())
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()


def read_picture(path: Path) -> tuple[Image.Image, Provenance]:
    """Read a picture that restage made, and its provenance."""
    image = open_picture(path)
    text = image.info.get(KEY)
    if not isinstance(text, str):
        raise UserError(
            f"{path} carries no record of how it was made: give a PNG made by restage, not a copy without it"
        )
    try:
        record = json.loads(text)
        if record["version"] > VERSION:
            raise UserError(f"{path} was made by a newer restage (record version {record['version']}): update restage")
        shot = Shot.from_dict(record["shot"])
        if shot.id != record["id"] or not isinstance(record["environment"], dict):
            raise ValueError("it does not fit the id it carries")
        return image, Provenance(shot, record["environment"], record["pixels"], tuple(record["parents"]))
    except UserError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} carries a damaged record of how it was made ({error}): use the original file"
        ) from None


def check_pixels(path: Path, image: Image.Image, provenance: Provenance) -> None:
    """Check that the provenance belongs to exactly these pixels."""
    if pixel_hash(image) != provenance.pixels:
        raise UserError(
            f"{path} was edited after it was made, so its record does not describe it: use the original file"
        )


def format_parameters(shot: Shot) -> str:
    """Return the text that A1111 and most picture tools read."""
    facts = {
        "Steps": shot.steps,
        "Sampler": shot.sampler,
        "CFG scale": f"{shot.guidance:g}",
        "Seed": shot.seed,
        "Size": f"{shot.width}x{shot.height}",
        "Model": _public_name(shot.model),
        "Model hash": shot.model.hash[:10],
    }
    if shot.vae:
        facts |= {"VAE": _public_name(shot.vae), "VAE hash": shot.vae.hash[:10]}
    if shot.init:
        facts["Denoising strength"] = f"{shot.strength:g}"
    if shot.embeddings:
        facts["TI hashes"] = '"' + ", ".join(f"{_public_name(ref)}: {ref.hash[:10]}" for ref in shot.embeddings) + '"'
    if shot.loras:
        facts["Lora hashes"] = '"' + ", ".join(f"{_public_name(ref)}: {ref.hash[:10]}" for ref in shot.loras) + '"'
    lines = [shot.prompt, *([f"Negative prompt: {shot.negative}"] if shot.negative else [])]
    return "\n".join([*lines, ", ".join(f"{key}: {value}" for key, value in facts.items())])


def _public_name(ref: Ref) -> str:
    """Return a name without the folders of somebody's home in it."""
    return Path(ref.name).stem if Path(ref.name).is_absolute() or ref.name.startswith((".", "~")) else ref.name
