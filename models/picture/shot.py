"""A shot: the full, frozen description of one picture to make. Equal shots have equal ids."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from models.system.errors import UserError

# Canonical name -> other spellings people use for it.
SAMPLERS: dict[str, tuple[str, ...]] = {
    "euler": ("euler discrete",),
    "euler a": ("euler ancestral", "eulera"),
    "dpm++ 2m": ("dpmpp 2m", "dpm2m"),
    "dpm++ 2m karras": ("dpmpp 2m karras",),
    "ddim": (),
    "unipc": ("uni pc",),
    "lcm": (),
}
MAX_SIDE = 4096
MAX_STEPS = 500  # samplers choose from 1000 time steps, and some fail or repeat steps near that number
MAX_STEPS_OF = {"lcm": 50}  # it was distilled on 50 steps
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Ref:
    """A file or model: its location, and the hash of its content. Only the hash is part of the identity."""

    name: str = field(compare=False)
    hash: str


@dataclass(frozen=True)
class Lora(Ref):
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _check_number("the weight of a LoRA", self.weight))


@dataclass(frozen=True, kw_only=True)
class Shot:
    """Everything that determines the pixels, except the environment (see `models.picture.environment`)."""

    prompt: str
    model: Ref
    seed: int
    width: int
    height: int
    negative: str = ""
    steps: int = 25
    guidance: float = 5.0
    guidance_until: float = 1.0  # the share of the steps that run under guidance
    sampler: str = "euler"
    vae: Ref | None = None  # None: the model's own
    embeddings: tuple[Ref, ...] = ()
    loras: tuple[Lora, ...] = ()
    init: Ref | None = None  # image-to-image: the picture to start from, by its pixel hash
    strength: float = 0.6  # image-to-image: 0 keeps the init picture, 1 forgets it

    def __post_init__(self) -> None:
        def set_field(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for name in ("prompt", "negative"):
            _check_text(name, getattr(self, name))
        for name in ("guidance", "guidance_until", "strength"):
            set_field(name, _check_number(name, getattr(self, name)))
        for name in ("seed", "width", "height", "steps"):
            set_field(name, _check_integer(name, getattr(self, name)))
        set_field("sampler", sampler_name(self.sampler))
        set_field("embeddings", tuple(self.embeddings))
        set_field("loras", tuple(self.loras))
        if self.init is None:
            set_field(
                "strength", _DEFAULT_STRENGTH
            )  # has no effect without an init picture, so it must not change the id
        _check_ranges(self)

    @cached_property
    def id(self) -> str:
        """Hash all that determines the pixels, without paths and display names."""
        canonical = json.dumps(_identity_fields(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:24]

    @property
    def denoising_steps(self) -> int:
        """Return how many steps the network runs: image-to-image skips the first ones."""
        return self.steps if self.init is None else min(int(self.steps * self.strength), self.steps)

    def with_changes(self, **changes: Any) -> "Shot":
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, names included; `from_dict` reads them back."""
        return {f.name: _to_plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Shot":
        names = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - names):
            raise UserError(
                f"this shot has keys that this version does not know ({', '.join(unknown)}): update restage"
            )
        try:
            arguments = dict(values)
            if not arguments.get("model"):
                raise TypeError("it names no model")
            for name in ("model", "vae", "init"):
                arguments[name] = Ref(**arguments[name]) if arguments.get(name) else None
            arguments["embeddings"] = tuple(Ref(**item) for item in arguments.get("embeddings", ()))
            arguments["loras"] = tuple(Lora(**item) for item in arguments.get("loras", ()))
            return cls(**arguments)
        except (TypeError, AttributeError) as error:
            raise UserError(f"this is not a shot ({error}): was the picture's provenance edited?") from error


_DEFAULT_STRENGTH = next(f.default for f in fields(Shot) if f.name == "strength")


def sampler_name(name: str) -> str:
    """Return the canonical name of a sampler, however it is spelled; suggest the nearest for an unknown one."""
    spelling = " ".join(str(name).lower().replace("_", " ").replace("-", " ").split())
    spellings = {other: canonical for canonical, others in SAMPLERS.items() for other in (canonical, *others)}
    if spelling in spellings:
        return spellings[spelling]
    near = get_close_matches(spelling, list(spellings), n=1)
    hint = f" (did you mean {spellings[near[0]]!r}?)" if near else ""
    raise UserError(f"sampler {name!r} is unknown{hint}: use one of {', '.join(SAMPLERS)}")


def _check_ranges(shot: Shot) -> None:
    for name in ("width", "height"):
        side = getattr(shot, name)
        if side % 8:
            low, high = side // 8 * 8, side // 8 * 8 + 8
            raise UserError(f"{name} {side} is not a multiple of 8: use {f'{low} or ' if low else ''}{high}")
        if not 8 <= side <= MAX_SIDE:
            raise UserError(f"{name} {side} is out of range: use 8 to {MAX_SIDE}")
    most = MAX_STEPS_OF.get(shot.sampler, MAX_STEPS)
    ranges = {"seed": (0, MAX_SEED), "steps": (1, most), "guidance": (0, 100), "guidance_until": (0, 1)}
    for name, (low, high) in (ranges | {"strength": (0, 1)}).items():
        if not low <= getattr(shot, name) <= high:
            raise UserError(f"{name} {getattr(shot, name)} is out of range: use {low} to {high}")
    if shot.denoising_steps < 1:
        least = math.ceil(100 / shot.steps) / 100
        raise UserError(f"strength {shot.strength} leaves none of the {shot.steps} steps: use {least} or more")


def _check_text(name: str, value: Any) -> None:
    try:
        value.encode()
    except (AttributeError, UnicodeEncodeError):
        raise UserError(f"{name} {value!r} is not text: write it in UTF-8") from None


def _check_number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{name} {value!r} is not a number: use one such as {5.0 if name == 'guidance' else 0.6}")
    return float(value) + 0.0  # no negative zero: it equals zero but would change the id


def _check_integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value != int(value):
        raise UserError(f"{name} {value!r} is not a whole number: use one such as {25 if name == 'steps' else 1024}")
    return int(value)


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return [_to_plain(item) for item in value] if isinstance(value, tuple) else value


def _identity_fields(shot: Shot) -> dict[str, Any]:
    """Return the values that the id hashes. Defaults are left out, so new fields do not change old ids."""
    values = {f.name: getattr(shot, f.name) for f in fields(shot) if getattr(shot, f.name) != f.default}
    # Always included, since these defaults may change.
    values |= {"steps": shot.steps, "guidance": shot.guidance, "sampler": shot.sampler}
    if shot.init is not None:
        values["strength"] = shot.strength
    return {name: _without_name(value) for name, value in values.items()}


def _without_name(value: Any) -> Any:
    if isinstance(value, Lora):
        return [value.hash, float(value.weight)]
    if isinstance(value, Ref):
        return value.hash
    return [_without_name(item) for item in value] if isinstance(value, tuple) else value
