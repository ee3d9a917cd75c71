"""CLIP models by name: found on this machine or fetched, checked, built and named by a hash."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import toybox
from models.sdxl.locate import file_hash
from models.system import hub
from models.system.errors import UserError
from models.system.files import expand_path

if TYPE_CHECKING:
    import torch

# In open_clip's own order of preference, so that the file hashed here is the file it loads.
FOLDER_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".npz")


@dataclass(frozen=True)
class ClipSource:
    """Where a model's architecture and weights are, found and checked before anything is built."""

    name: str  # what open_clip calls the architecture: a registry name or local-dir:/folder
    weights: Path
    config: dict[str, Any]
    preprocessing: dict[str, Any] | None  # None: open_clip reads it from the folder


def find_clip(name: str) -> ClipSource:
    folder = toybox.check_weights() / "clip" if name == "toybox" else expand_path(name)
    if folder.is_dir():
        return _find_folder(folder.resolve())
    architecture, colon, weights = name.partition(":")
    if not colon and any(mark in name for mark in "/\\."):
        raise UserError(f"there is no CLIP model folder at {name}")
    return _find_registered(architecture, weights)


def _find_folder(folder: Path) -> ClipSource:
    config = folder / "open_clip_config.json"
    if not config.is_file():
        raise UserError(f"{folder} is not a CLIP model folder: it has no open_clip_config.json")
    try:
        architecture = json.loads(config.read_text("utf-8"))["model_cfg"]
        int(architecture["embed_dim"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{config} is not an open_clip configuration ({first_line(error)})") from error
    weights = next((folder / file_name for file_name in FOLDER_WEIGHTS if (folder / file_name).is_file()), None)
    if weights is None:
        raise UserError(f"the CLIP model folder {folder} has no weights: put {FOLDER_WEIGHTS[0]} there")
    return ClipSource(f"local-dir:{folder}", weights, architecture, None)


def _find_registered(architecture: str, weights: str) -> ClipSource:
    import open_clip

    architectures = open_clip.list_models()
    if architecture not in architectures:
        raise UserError(
            f"the CLIP architecture {architecture!r} is unknown: {_suggest_name(architecture, architectures)}"
        )
    config = open_clip.get_model_config(architecture)
    tags = [
        tag
        for tag in open_clip.list_pretrained_tags_by_model(architecture)
        if _activation_fits(architecture, tag, config)
    ]
    if not weights:
        example = tags[0] if tags else "/path/weights.safetensors"
        raise UserError(f"the CLIP model {architecture!r} names no weights: write {architecture}:{example}, say")
    tag = open_clip.get_pretrained_cfg(architecture, weights)
    if not tag:
        file = _weights_file(architecture, weights, tags)
        return ClipSource(architecture, file, config, _usual_preprocessing(architecture, tags))
    if not _activation_fits(architecture, weights, config):
        raise UserError(
            f"the CLIP weights {weights!r} were trained with QuickGELU: use {architecture}-quickgelu:{weights}"
        )
    return ClipSource(architecture, _fetch_weights(architecture, weights, tag), config, tag)


def _activation_fits(architecture: str, tag: str, config: dict[str, Any]) -> bool:
    """Tell whether weights and configuration use the same activation; open_clip only warns if they do not."""
    import open_clip

    trained = open_clip.get_pretrained_cfg(architecture, tag)
    return bool(trained.get("quick_gelu")) == bool(config.get("quick_gelu"))


def _weights_file(architecture: str, weights: str, tags: Sequence[str]) -> Path:
    path = expand_path(weights)
    if path.is_file():
        path = path.resolve()
        if "openai" in str(path).lower() and "quickgelu" not in architecture:
            warnings.warn(
                f"{path} looks like an OpenAI checkpoint, which needs {architecture}-quickgelu:{weights}.", stacklevel=4
            )
        return path
    if path.suffix in WEIGHT_SUFFIXES or "/" in weights:
        raise UserError(f"there is no CLIP weights file at {weights}")
    raise UserError(f"{architecture} has no published weights {weights!r}: {_suggest_name(weights, tags)}")


def _fetch_weights(architecture: str, tag: str, tag_config: dict[str, Any]) -> Path:
    import open_clip

    cached = _find_in_cache(tag_config)
    if cached is not None:
        return cached
    try:
        if not hub.is_reachable():
            raise ConnectionError("offline")
        return Path(open_clip.download_pretrained(tag_config))
    except Exception as error:  # urllib, httpx, huggingface_hub: each has its own families
        raise UserError(
            f"the weights of {architecture}:{tag} are not on this machine and could not be fetched: go online once, "
            f"or name a local file, {architecture}:/path/weights.safetensors"
        ) from error


def _find_in_cache(tag_config: dict[str, Any]) -> Path | None:
    """Find a hub file fetched earlier. open_clip asks the network first, and waits half a minute without one."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, name = tag_config.get("hf_hub", "").rpartition("/")
    names = (name,) if name else (FOLDER_WEIGHTS[0], FOLDER_WEIGHTS[2])
    if name.endswith((".bin", ".pth")):
        names = (name[:-4] + ".safetensors", name)
    cached = (try_to_load_from_cache(repository, file_name) for file_name in names if repository)
    return next((Path(path) for path in cached if isinstance(path, str)), None)


def _suggest_name(name: str, names: Sequence[str]) -> str:
    spelled = {candidate.lower(): candidate for candidate in names}
    near = get_close_matches(name.lower(), spelled, n=1, cutoff=0.0)
    return f"the nearest known name is {spelled[near[0]]}" if near else "name a local file instead"


def _usual_preprocessing(architecture: str, tags: Sequence[str]) -> dict[str, Any]:
    """Return what the published weights of this architecture all use; a local file does not say."""
    import open_clip

    tag_configs = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    kinds = [
        {key: tag_config.get(key) for key in ("mean", "std", "interpolation", "resize_mode")}
        for tag_config in tag_configs
    ]
    return kinds[0] if kinds and all(kind == kinds[0] for kind in kinds) else {}


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160].rstrip(".: ")


def build_clip(source: ClipSource, device: str) -> "torch.nn.Module":
    import open_clip
    import torch

    _check_readable(source.weights)
    folder = source.preprocessing is None
    try:
        # open_clip first fills the model with random numbers; nobody else's random state should notice.
        with torch.random.fork_rng(devices=[]):
            model = open_clip.create_model(
                source.name,
                pretrained=None if folder else str(source.weights),
                force_preprocess_cfg=source.preprocessing or None,
                require_pretrained=True,
                pretrained_text=False,
            )
    except Exception as error:  # a state dict that does not fit, a missing text tower, a bad pickle, …
        raise UserError(
            f"{source.weights} does not hold the weights of {source.name.removeprefix('local-dir:')} ({first_line(error)})"
        ) from error
    _check_loaded(model, source)
    return model.to(device).eval().requires_grad_(False)


def _check_readable(weights: Path) -> None:
    """Read the header of a safetensors file: it tells a truncated one at once, and says so plainly."""
    from safetensors import SafetensorError, safe_open

    if weights.suffix != ".safetensors":
        return
    try:
        with safe_open(weights, framework="pt") as file:
            empty = not file.keys()
    except (SafetensorError, OSError) as error:
        raise UserError(f"the CLIP weights {weights} are damaged or cut short ({first_line(error)})") from error
    if empty:
        raise UserError(f"the CLIP weights {weights} hold no tensors")


def _check_loaded(model: "torch.nn.Module", source: ClipSource) -> None:
    """Check on a sample that the model holds what the file says: random weights give vectors too, and no error."""
    import torch
    from safetensors import safe_open

    if source.weights.suffix != ".safetensors":
        return
    state = model.state_dict()
    with safe_open(source.weights, framework="pt") as file:
        shared = sorted(set(file.keys()) & set(state))
        for key in shared[:: max(1, len(shared) // 16)]:
            stored = file.get_tensor(key)
            if stored.shape == state[key].shape and not torch.equal(stored.to(state[key].dtype), state[key]):
                raise AssertionError(f"open_clip left {key} of {source.weights} unloaded")


def model_hash(weights: Path, config: dict[str, Any], preprocessing: dict[str, Any], memory: Path | None) -> str:
    content = file_hash(weights, memory)
    parts = {"weights": content, "architecture": config, "preprocessing": preprocessing}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
