"""Finds models by name (`toybox`, a hub id, a local folder or a single file) and hashes their content."""

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
from models.system.files import expand_path, path_exists, write_file

Family = Literal["sdxl", "refiner", "sd1"]
FAMILIES: dict[str, Family] = {
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "refiner",
    "StableDiffusionPipeline": "sd1",
}
# The parts of a pipeline folder that affect the pixels. Safety checkers and feature extractors do not.
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
MAX_REHASHED_BYTES = 64 << 20  # only larger files have their hashes remembered, by size and time


@dataclass(frozen=True)
class ModelSource:
    """A model that is on this machine."""

    ref: Ref
    path: Path  # a folder, or a single .safetensors file
    family: Family
    files: tuple[Path, ...]
    side: int  # the width and height in pixels that the model was trained at
    variant: str | None = None
    config: str = ""  # for a single file: a folder or hub id with the configuration of its architecture


def locate_model(
    name: str, revision: str = "", variant: str = "", memory: Path | None = None, config: str = ""
) -> ModelSource:
    """Find a model by name without loading it. `memory` is a file that remembers the hashes of large weights.

    Revision and variant can also be part of the name, as `owner/model@revision#variant`, which is how shots record it.
    """
    bare, revision, variant = _split_name(name, revision, variant)
    path = _find_path(bare, revision, variant)
    name = bare + (f"@{revision}" if revision else "") + (f"#{variant}" if variant else "")
    if path.is_file():
        _check_weights([path])
        family, value = _family_of_file(path), _add_config_hash(file_hash(path, memory), config)
        return ModelSource(Ref(name, value), path, family, (path,), 512 if family == "sd1" else 1024, config=config)
    family = _family_of_folder(path)
    files = tuple(_model_files(path, variant))
    _check_weights(file for file in files if file.suffix == ".safetensors")
    has_variant = any(f".{variant}." in file.name for file in files) if variant else False
    return ModelSource(
        Ref(name, _hash_folder(path, files, memory)),
        path,
        family,
        files,
        _trained_side(path),
        variant if has_variant else None,
    )


def _hash_folder(folder: Path, files: Iterable[Path], memory: Path | None) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder).as_posix()} {file_hash(file, memory)}\n".encode())
    return digest.hexdigest()


def _add_config_hash(value: str, config: str) -> str:
    """Add the configuration of a single file to its hash: tokenizer, scheduler and latent scaling affect the pixels."""
    if not config:
        return value
    folder = Path(config)
    config_files = list(_model_files(folder, "", weights=False)) if folder.is_dir() else []
    config_hash = _hash_folder(folder, config_files, None) if config_files else config
    return hashlib.sha256(f"{value} {config_hash}".encode()).hexdigest()


@dataclass(frozen=True)
class VaeSource:
    """A VAE that is on this machine, for use in place of a model's own."""

    ref: Ref
    path: Path  # a folder with its config.json, or a single .safetensors file
    config: str = ""  # for a single file; if empty, the configuration of the model that uses it


def locate_vae(name: str, memory: Path | None = None, config: str = "") -> VaeSource:
    """Find a VAE: a folder (also a whole model's, whose VAE is taken), a .safetensors file, or a hub id."""
    path = expand_path(name)
    if not path_exists(path):
        if name.count("/") != 1 or name.startswith((".", "/", "~")) or path.suffix == ".safetensors":
            raise UserError(f"there is no VAE at {name!r}: use a hub id such as owner/vae, or a path that exists")
        path = _download_vae(name)
    path = path / "vae" if (path / "vae").is_dir() else path
    weights = [path] if path.is_file() else sorted(path.glob("diffusion_pytorch_model.safetensors"))
    if not weights or not (path.is_file() or (path / "config.json").is_file()):
        raise UserError(f"{path} holds no VAE: it has no config.json with diffusion_pytorch_model.safetensors")
    _check_weights(weights)
    if path.is_file():
        return VaeSource(Ref(name, _add_config_hash(file_hash(path, memory), config)), path, config)
    return VaeSource(Ref(name, _hash_folder(path, [path / "config.json", *weights], memory)), path)


def file_hash(path: Path, memory: Path | None = None) -> str:
    """Return the sha256 of a file. Hashes of large files are remembered until the file's size or time changes."""
    real = path.resolve()
    stat = real.stat()
    key = f"{real} {stat.st_size} {stat.st_mtime_ns}"
    memory_file = memory if stat.st_size > MAX_REHASHED_BYTES else None
    if remembered := _load_hash_memory(memory_file).get(key):
        return remembered
    with real.open("rb") as file:
        value = hashlib.file_digest(file, "sha256").hexdigest()
    if memory_file:
        with suppress(UserError):  # without the memory, the file is hashed again next time
            write_file(memory_file, json.dumps(_load_hash_memory(memory_file) | {key: value}, indent=1).encode())
    return value


def _load_hash_memory(memory: Path | None) -> dict[str, str]:
    try:
        hashes = json.loads(memory.read_text()) if memory else {}
    except (OSError, ValueError):
        hashes = {}
    return hashes if isinstance(hashes, dict) else {}


def _split_name(name: str, revision: str, variant: str) -> tuple[str, str, str]:
    if path_exists(expand_path(name)):
        return name, revision, variant
    name, _, own_variant = name.partition("#")
    name, _, own_revision = name.partition("@")
    return name, own_revision or revision, own_variant or variant


def _trained_side(path: Path) -> int:
    try:
        latent = json.loads((path / "unet" / "config.json").read_text())["sample_size"]
        factor = 2 ** (len(json.loads((path / "vae" / "config.json").read_text())["block_out_channels"]) - 1)
        return int(latent) * factor
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} is damaged: unet/config.json or vae/config.json is missing or torn; get it again"
        ) from None


def _find_path(name: str, revision: str, variant: str) -> Path:
    if name == "toybox":
        from models import toybox

        return toybox.check_weights()
    path = expand_path(name)
    if path_exists(path):
        if path.is_file() and path.suffix != ".safetensors":
            raise UserError(f"model {name!r} is a {path.suffix or 'bare'} file: give a .safetensors file or a folder")
        return path
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or path.suffix == ".safetensors":
        raise UserError(
            f"there is no model at {name!r}: use toybox, a hub id such as owner/model, or a path that exists"
        )
    return _download_model(name, revision, variant)


def _download_model(name: str, revision: str, variant: str) -> Path:
    """Return the model's folder in the local hub cache; download it first if the hub can be reached."""
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging
    from huggingface_hub import errors

    logging.set_verbosity_error()  # its messages about an unreachable hub say less than the error below
    at = f" at revision {revision!r}" if revision else ""
    try:
        arguments = {
            "revision": revision or None,
            "variant": variant or None,
            "local_files_only": not hub.is_reachable(),
        }
        return Path(DiffusionPipeline.download(name, **arguments, use_safetensors=True))
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


def _download_vae(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        files = ["config.json", "diffusion_pytorch_model.safetensors"]
        return Path(snapshot_download(name, allow_patterns=files, local_files_only=not hub.is_reachable()))
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


def _model_files(folder: Path, variant: str, weights: bool = True) -> Iterable[Path]:
    """Yield the files of a folder that loading reads: of weights, the variant where there is one."""
    yield from [file for file in [folder / "model_index.json"] if file.is_file()]
    for part in PARTS:
        files = sorted(file for file in (folder / part).glob("*") if file.is_file())
        yield from (file for file in files if file.suffix in (".json", ".txt"))
        if (
            part.startswith("tokenizer")
            and files
            and not {"tokenizer.json", "vocab.json"} & {file.name for file in files}
        ):
            raise UserError(f"{folder / part} has no tokenizer.json and no vocab.json: get the model's folder again")
        if weights:
            yield from _weight_files(folder / part, files, variant)


def _weight_files(part: Path, files: list[Path], variant: str) -> list[Path]:
    weights = [file for file in files if file.suffix == ".safetensors"]
    matching = [file for file in weights if variant and f".{variant}." in file.name]
    matching = matching or [file for file in weights if file.stem.count(".") == 0]
    others = sorted({file.stem.partition(".")[2] for file in weights})
    if not matching and others:
        raise UserError(f"{part} has only the variant {' and '.join(others)}: set models.variant to {others[0]!r}")
    if not matching and part.name in ("unet", "vae") and files:
        raise UserError(f"{part} has no .safetensors weights: pickled weights are not read; convert them")
    return matching


def _check_weights(files: Iterable[Path]) -> None:
    """Check headers and lengths, which reveal a broken download; this takes milliseconds for any size."""
    from safetensors import SafetensorError, safe_open

    for path in files:
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is torn or not a safetensors file ({error}): get the file again") from None
