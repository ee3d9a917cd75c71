"""The settings of a training, each with a default that works."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

from models.inversion import learning_rate as inversion_rates
from models.sdxl.embedding import Embedding, check_token
from models.system.errors import UserError

Decay = Literal["constant", "cosine"]
Optimizer = Literal["adam-mini", "adamw", "prodigy"]
Stages = tuple[tuple[int, float], ...]

# These change how a step is computed and not what it computes, so a training may go on with other ones.
COMPUTE_SETTINGS = ("checkpointing", "compile", "exact")
MAX_VECTORS = 64


@dataclass(frozen=True, kw_only=True)
class Config:
    """How a word is trained. Unknown names are errors, as of any dataclass."""

    token: str
    """The new word, in angle brackets: <pip>."""
    init: str | Embedding
    """What the word means at first: a word or a phrase that the model knows, or an embedding to go on from."""
    vectors: int = 8
    """How many vectors the word has in each encoder, and positions it takes of a prompt: 1 to 64."""
    jitter: float = 0.1
    """How far vectors that repeat the initial phrase lie beside it, in standard deviations of the vocabulary."""
    steps: int = 1000
    """How many times the vectors are moved."""
    batch: int = 4
    """Pictures computed at once; with several processes, by all of them together."""
    accumulation: int = 1
    """Batches to each step."""
    seed: int = 0
    """Decides noise, times, order, captions: everything that is drawn."""
    rate: float | str | None = None
    """Learning rate, or `5e-2:100, 5e-3:500, 5e-6`; None is 5e-3, and 1 for prodigy."""
    decay: Decay = "constant"
    """What the rate is multiplied by over the steps: nothing, or a cosine down to 0."""
    warmup: int = 0
    """Steps in which the rate rises."""
    optimizer: Optimizer = "adam-mini"
    """adam-mini (one step size for each vector), adamw (without weight decay), or prodigy, which finds its own rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    """How long the optimizer remembers gradients and their squares."""
    clip: float = 1.0
    """The longest gradient, over all vectors together; 0 clips none."""
    norms: tuple[float, float] | None = (0.01, 0.99)
    """Vectors stay as long as the vocabulary's are, between these two shares of it; None lets them grow."""
    min_snr: float = 5.0
    """Gamma of min-SNR weighting (arXiv 2303.09556 uses 5); 0 weighs all times alike."""
    offset_noise: float = 0.0
    """Noise that is the same all over a picture, for darker darks and brighter brights; 0.05 is usual."""
    masks: bool = True
    """Weigh the loss by the examples' masks, or by their opacity where they have no mask."""
    mask_floor: float = 0.0
    """What the masked-out parts still weigh, 0 to 1."""
    caption_dropout: float = 0.0
    """How often a picture is shown with the word alone in place of its caption."""
    tag_dropout: float = 0.0
    """How often each part between commas is left out; the part with the word stays."""
    shuffle_tags: bool = False
    """Shuffle the parts between commas; the part with the word keeps its place."""
    mirror: bool = False
    """Show the pictures mirrored half of the time; not for a subject whose two sides differ."""
    crops: int = 1
    """Versions of each picture: its centre square and, from 2 on, closer cuts at drawn places."""
    zoom: float = 1.3
    """How much closer the closer cuts are at most."""
    stages: Stages = ()
    """Width and height over time: ((512, 0.6), (768, 1.0)) is 512 for 60 % of the steps; none: the model's own."""
    validations: int = 8
    """How many fixed pairs of picture and noise the validation loss is the mean of."""
    checkpointing: bool = False
    """Compute the UNet's activations twice to keep fewer of them: less memory, more time."""
    compile: bool = False
    """Compile the UNet's repeated blocks (CUDA only)."""
    exact: bool = True
    """On CUDA, use kernels that give the same bits every time, at some cost in speed."""

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        check_token(self.token)
        for name, kind in (("decay", Decay), ("optimizer", Optimizer)):
            if getattr(self, name) not in get_args(kind):
                raise UserError(f"{name} {getattr(self, name)!r} is unknown: use one of {', '.join(get_args(kind))}")
        put("stages", tuple((side, share) for side, share in self.stages))
        put("betas", tuple(self.betas))
        put("norms", None if self.norms is None else tuple(self.norms))
        _check_ranges(self)
        _check_stages(self.stages)
        _check_init(self)
        if self.optimizer == "prodigy" and importlib.util.find_spec("prodigyopt") is None:
            raise UserError(
                "optimizer 'prodigy' needs a package that is not here: pip install prodigyopt, or use adamw"
            )
        inversion_rates.check_rates(self.rate_stretches, self.steps)

    @cached_property
    def rate_stretches(self) -> tuple[inversion_rates.Stretch, ...]:
        usual = 1.0 if self.optimizer == "prodigy" else 5e-3
        return inversion_rates.parse_rates(usual if self.rate is None else self.rate)

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return inversion_rates.rate_of_step(self.rate_stretches, step, self.steps, self.decay, self.warmup)

    def side_at(self, step: int, own: int) -> int:
        """Return the width and height of a step, counted from 0; `own` is what the model was trained at."""
        return next((side for side, share in self.stages if step < round(share * self.steps)), self.last_side(own))

    def training_sides(self, own: int) -> list[int]:
        return sorted({side for side, _ in self.stages} or {own})

    def last_side(self, own: int) -> int:
        return self.stages[-1][0] if self.stages else own


def config_as_json(config: Config) -> dict[str, Any]:
    """Return the settings as JSON values; an embedding is named by its hash."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    if isinstance(config.init, Embedding):
        values["init"] = {"embedding": config.init.hash}
    return {name: _tuples_to_lists(value) for name, value in values.items()}


def _tuples_to_lists(value: Any) -> Any:
    return [_tuples_to_lists(item) for item in value] if isinstance(value, tuple) else value


_WHOLE = {
    "vectors": (1, MAX_VECTORS),
    "steps": (1, 1_000_000),
    "batch": (1, 1024),
    "accumulation": (1, 1024),
    "seed": (0, 2**63 - 1),
    "warmup": (0, 1_000_000),
    "crops": (1, 64),
    "validations": (1, 1024),
}
_REAL = {
    "jitter": (0, 10),
    "clip": (0, math.inf),
    "min_snr": (0, 1000),
    "offset_noise": (0, 1),
    "mask_floor": (0, 1),
    "caption_dropout": (0, 1),
    "tag_dropout": (0, 1),
    "zoom": (1, 4),
}


def _check_ranges(config: Config) -> None:
    for name, (low, high) in (_WHOLE | _REAL).items():
        value = getattr(config, name)
        kind = int if name in _WHOLE else int | float
        if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
            whole = "whole number" if name in _WHOLE else "number"
            raise UserError(f"{name} {value!r} is out of range: use a {whole} from {low} to {high}")
    for name, values in (("betas", config.betas), ("norms", config.norms or (0, 1))):
        if len(values) != 2 or not all(isinstance(item, int | float) and 0 <= item <= 1 for item in values):
            raise UserError(f"{name} {list(values)} are out of range: use two numbers from 0 to 1")
    if max(config.betas) == 1 or (config.norms and config.norms[0] > config.norms[1]):
        raise UserError(f"betas {list(config.betas)} must stay below 1 and norms {config.norms} must rise")


def _check_stages(stages: Stages) -> None:
    before = 0.0
    for side, share in stages:
        if not isinstance(side, int) or side % 8 or not 64 <= side <= 4096:
            raise UserError(f"stage size {side!r} is out of range: use a multiple of 8 from 64 to 4096")
        if not before < share <= 1:
            raise UserError(f"stages {stages} do not grow: give each the share of the steps it ends at, up to 1")
        before = share
    if stages and before != 1:
        raise UserError(f"stages {stages} leave the last steps without a size: end the last one at 1")


def _check_init(config: Config) -> None:
    if not isinstance(config.init, Embedding | str) or not str(config.init).strip():
        raise UserError(f"the initial phrase of {config.token} is empty: say what it is, such as a girl with red hair")
