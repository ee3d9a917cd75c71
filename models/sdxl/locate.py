"""Models by name: `toybox`, a hub id, a local folder or a single file become one place on disk with one content hash."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.picture.shot import Ref
from models.system import hub
from models.system.errors import UserError
from models.system.files import is_there, path_of, write

Family = Literal["sdxl", "refiner", "sd1"]
FAMILIES: dict[str, Family] = {
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "refiner",
    "StableDiffusionPipeline": "sd1",
}
# The parts of a pipeline folder that reach the pixels. Safety checkers and feature extractors are left alone.
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
HASHED_EACH_TIME = 64 << 20  # smaller files are read again each time; larger ones are remembered by size and time


@dataclass(frozen=True)
class Source:
    """A model found on this machine."""

    ref: Ref
    path: Path  # a folder, or a single .safetensors file
    family: Family
    files: tuple[Path, ...]
    side: int  # the width and height that the model was trained at
    variant: str | None = None
    config: str = ""  # of a single file: a folder or hub id with the configuration of its architecture


def locate(name: str, revision: str = "", variant: str = "", memory: Path | None = None, config: str = "") -> Source:
    """Find a model by name without loading it. `memory` is a file that remembers the hashes of large weights.

    Revision and variant can also stand in the name, as `owner/model@revision#variant`, which is how shots record it.
    """
    bare, revision, variant = _split(name, revision, variant)
    path = _path_of(bare, revision, variant)
    name = bare + (f"@{revision}" if revision else "") + (f"#{variant}" if variant else "")
    if path.is_file():
        _check_weights([path])
        family, value = _family_of_file(path), _with_config(file_hash(path, memory), config)
        return Source(Ref(name, value), path, family, (path,), 512 if family == "sd1" else 1024, config=config)
    family = _family_of_folder(path)
    used = tuple(_files_of(path, variant))
    _check_weights(each for each in used if each.suffix == ".safetensors")
    has_variant = any(f".{variant}." in each.name for each in used) if variant else False
    return Source(
        Ref(name, _hash(path, used, memory)), path, family, used, _side(path), variant if has_variant else None
    )


def _hash(folder: Path, files: Iterable[Path], memory: Path | None) -> str:
    digest = hashlib.sha256()
    for each in files:
        digest.update(f"{each.relative_to(folder).as_posix()} {file_hash(each, memory)}\n".encode())
    return digest.hexdigest()


def _with_config(value: str, config: str) -> str:
    """The configuration of a single file has a part in its pixels: tokenizer, scheduler, scaling of the latents."""
    if not config:
        return value
    folder = Path(config)
    words = list(_files_of(folder, "", weights=False)) if folder.is_dir() else []
    known = _hash(folder, words, None) if words else config
    return hashlib.sha256(f"{value} {known}".encode()).hexdigest()


@dataclass(frozen=True)
class Vae:
    """A VAE found on this machine, to be used in place of a model's own."""

    ref: Ref
    path: Path  # a folder with its config.json, or a single .safetensors file
    config: str = ""  # of a single file; empty takes that of the model it is put in


def locate_vae(name: str, memory: Path | None = None, config: str = "") -> Vae:
    """Find a VAE: a folder (also a whole model's, whose VAE is taken), a .safetensors file, or a hub id."""
    path = path_of(name)
    if not is_there(path):
        if name.count("/") != 1 or name.startswith((".", "/", "~")) or path.suffix == ".safetensors":
            raise UserError(f"there is no VAE at {name!r}: use a hub id such as owner/vae, or a path that exists")
        path = _vae_from_hub(name)
    path = path / "vae" if (path / "vae").is_dir() else path
    weights = [path] if path.is_file() else sorted(path.glob("diffusion_pytorch_model.safetensors"))
    if not weights or not (path.is_file() or (path / "config.json").is_file()):
        raise UserError(f"{path} holds no VAE: it has no config.json with diffusion_pytorch_model.safetensors")
    _check_weights(weights)
    if path.is_file():
        return Vae(Ref(name, _with_config(file_hash(path, memory), config)), path, config)
    return Vae(Ref(name, _hash(path, [path / "config.json", *weights], memory)), path)


def file_hash(path: Path, memory: Path | None = None) -> str:
    """The sha256 of a file. Gigabytes are read once and then remembered for as long as size and time stand."""
    real = path.resolve()
    stat = real.stat()
    key = f"{real} {stat.st_size} {stat.st_mtime_ns}"
    remembers = memory if stat.st_size > HASHED_EACH_TIME else None
    if known := _remembered(remembers).get(key):
        return known
    with real.open("rb") as file:
        value = hashlib.file_digest(file, "sha256").hexdigest()
    if remembers:
        with suppress(UserError):  # only a shortcut: where it cannot be kept, the file is read again
            write(remembers, json.dumps(_remembered(remembers) | {key: value}, indent=1).encode())
    return value


def _remembered(memory: Path | None) -> dict[str, str]:
    try:
        known = json.loads(memory.read_text()) if memory else {}
    except (OSError, ValueError):
        known = {}
    return known if isinstance(known, dict) else {}


def _split(name: str, revision: str, variant: str) -> tuple[str, str, str]:
    if is_there(path_of(name)):
        return name, revision, variant
    name, _, own_variant = name.partition("#")
    name, _, own_revision = name.partition("@")
    return name, own_revision or revision, own_variant or variant


def _side(path: Path) -> int:
    try:
        latent = json.loads((path / "unet" / "config.json").read_text())["sample_size"]
        factor = 2 ** (len(json.loads((path / "vae" / "config.json").read_text())["block_out_channels"]) - 1)
        return int(latent) * factor
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} is damaged: unet/config.json or vae/config.json is missing or torn; get it again"
        ) from None


def _path_of(name: str, revision: str, variant: str) -> Path:
    if name == "toybox":
        from models import toybox

        return toybox.check()
    path = path_of(name)
    if is_there(path):
        if path.is_file() and path.suffix != ".safetensors":
            raise UserError(f"model {name!r} is a {path.suffix or 'bare'} file: give a .safetensors file or a folder")
        return path
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or path.suffix == ".safetensors":
        raise UserError(
            f"there is no model at {name!r}: use toybox, a hub id such as owner/model, or a path that exists"
        )
    return _from_hub(name, revision, variant)


def _from_hub(name: str, revision: str, variant: str) -> Path:
    """The folder in the local hub cache, filled by a download where the hub can be reached."""
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging
    from huggingface_hub import errors

    logging.set_verbosity_error()  # its words on an unreachable hub say less than the sentence below
    at = f" at revision {revision!r}" if revision else ""
    try:
        wanted = {"revision": revision or None, "variant": variant or None, "local_files_only": not hub.reachable()}
        return Path(DiffusionPipeline.download(name, **wanted, use_safetensors=True))
    except errors.GatedRepoError:
        raise UserError(f"model {name!r} asks for an accepted licence: accept it on the hub and set HF_TOKEN") from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"the hub has no model {name!r}{at}: check the spelling") from None
    except errors.RevisionNotFoundError:
        raise UserError(f"model {name!r} has no revision {revision!r}: check models.revision") from None
    except (OSError, ValueError) as error:
        if "variant" in str(error) and isinstance(error, ValueError):
            raise UserError(f"model {name!r}{at} has no variant {variant!r}: leave models.variant empty") from None
        raise UserError(
            f"model {name!r}{at} is not on this machine and the hub cannot be reached: "
            f"connect once to download it, or give a local folder or .safetensors file"
        ) from None


def _vae_from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        files = ["config.json", "diffusion_pytorch_model.safetensors"]
        return Path(snapshot_download(name, allow_patterns=files, local_files_only=not hub.reachable()))
    except (OSError, ValueError):
        raise UserError(
            f"VAE {name!r} is not on this machine and cannot be had from the hub: "
            "check the spelling and connect once, or give a local folder or .safetensors file"
        ) from None


def _family_of_folder(path: Path) -> Family:
    index = path / "model_index.json"
    try:
        kind = json.loads(index.read_text())["_class_name"]
    except FileNotFoundError:
        raise UserError(f"{path} is not a model folder: it has no model_index.json") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{index} is damaged: get the model's folder again") from None
    if kind not in FAMILIES:
        raise UserError(f"{path} holds a {kind}: restage works with {', '.join(FAMILIES)}")
    return FAMILIES[kind]


def _family_of_file(path: Path) -> Family:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        keys = set(file.keys())
    if any(key.startswith("conditioner.embedders.1.") for key in keys):
        return "sdxl"
    if any(key.startswith("conditioner.embedders.0.model.") for key in keys):
        return "refiner"
    if any(key.startswith("cond_stage_model.transformer.") for key in keys):
        return "sd1"
    raise UserError(
        f"{path} is not a checkpoint of SDXL or SD 1.x: give a full checkpoint, not a LoRA, VAE or embedding"
    )


def _files_of(folder: Path, variant: str, weights: bool = True) -> Iterable[Path]:
    """The files of a folder that loading will read: of weights, the variant where there is one."""
    yield from [each for each in [folder / "model_index.json"] if each.is_file()]
    for part in PARTS:
        there = sorted(each for each in (folder / part).glob("*") if each.is_file())
        yield from (each for each in there if each.suffix in (".json", ".txt"))
        if (
            part.startswith("tokenizer")
            and there
            and not {"tokenizer.json", "vocab.json"} & {each.name for each in there}
        ):
            raise UserError(f"{folder / part} has no tokenizer.json and no vocab.json: get the model's folder again")
        if weights:
            yield from _weights_of(folder / part, there, variant)


def _weights_of(part: Path, there: list[Path], variant: str) -> list[Path]:
    weights = [each for each in there if each.suffix == ".safetensors"]
    chosen = [each for each in weights if variant and f".{variant}." in each.name]
    chosen = chosen or [each for each in weights if each.stem.count(".") == 0]
    others = sorted({each.stem.partition(".")[2] for each in weights})
    if not chosen and others:
        raise UserError(f"{part} has only the variant {' and '.join(others)}: set models.variant to {others[0]!r}")
    if not chosen and part.name in ("unet", "vae") and there:
        raise UserError(f"{part} has no .safetensors weights: pickled weights are not read; convert them")
    return chosen


def _check_weights(files: Iterable[Path]) -> None:
    """Headers and lengths, which is where a broken download shows; milliseconds however large the file."""
    from safetensors import SafetensorError, safe_open

    for path in files:
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is torn or not a safetensors file ({error}): get the file again") from None
