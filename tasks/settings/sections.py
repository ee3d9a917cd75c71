"""The knobs: what each section of the settings holds, with its bounds and its default."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from models.picture.shot import MAX_SEED, MAX_SIDE, MAX_STEPS, sampler_name
from tasks.settings import mistakes

PREFIX = "RESTAGE_"
UPSCALES = ("lanczos", "bicubic", "nearest", "refine")


def _check_not_empty(value: str) -> str:
    if not value:
        raise ValueError("a name that is not empty")
    return value


def _check_device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        raise ValueError("auto, cpu, cuda, cuda:1 … or mps")
    return value


def _check_side(value: int) -> int:
    if value % 8:
        raise ValueError(f"a multiple of 8, such as {value // 8 * 8} or {value // 8 * 8 + 8}, or 0")
    return value


def _check_cron_or_never(value: str) -> str:
    return mistakes.check_cron(value) if value else value


def _check_server_address(value: str) -> str:
    if "@" in value:
        raise mistakes.input_error("holds a password: set PREFECT_API_AUTH_STRING to user:password instead")
    if value and not re.fullmatch(r"https?://[^\s/]+(/[^\s]*)?/api/?", value):
        raise mistakes.input_error(
            f"= {value[:80]!r} is no address of a Prefect server: use one such as http://10.0.0.5:4200/api"
        )
    return value.rstrip("/")


def _check_quiet_hours(value: str) -> str:
    start, _, end = value.partition("-")
    clock = r"([01]\d|2[0-3]):[0-5]\d"
    if value and not (re.fullmatch(f"{clock}-{clock}", value) and start != end):
        raise ValueError("two times of day such as 22:00-07:00, or nothing")
    return value


def _check_database_address(value: str) -> str:
    if _holds_password(value):
        variable = f"{PREFIX}SECRETS__DATABASE"
        raise mistakes.input_error(
            f"holds a password: set {variable} to the whole address instead, and leave this empty"
        )
    return value


def _holds_password(url: str) -> bool:
    """Tell whether the address of a database holds a password, or may hold one: in doubt, yes."""
    return ":" in url.partition("://")[2].rpartition("@")[0] or "passw" in url.lower()


Side = Annotated[int, Field(ge=0, le=MAX_SIDE), AfterValidator(_check_side)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ModelSettings(Section):
    name: Annotated[str, AfterValidator(_check_not_empty)] = "toybox"
    revision: str = ""
    variant: str = ""
    vae: str = ""
    config: str = ""
    clip: Annotated[str, AfterValidator(_check_not_empty)] = "toybox"
    device: Annotated[str, AfterValidator(_check_device)] = "auto"
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    memory: Literal["none", "vae", "offload", "sequential"] = "none"
    compile: Literal["off", "regional"] = "off"
    batch_size: Annotated[int, Field(ge=0, le=64)] = 0
    threads: Annotated[int, Field(ge=0, le=1024)] = 0


class RenderingSettings(Section):
    sampler: Annotated[str, AfterValidator(sampler_name)] = "euler"
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 25
    guidance: Annotated[float, Field(ge=0, le=100)] = 5.0
    guidance_until: Annotated[float, Field(ge=0, le=1)] = 1.0
    negative: str = ""
    width: Side = 0
    height: Side = 0


def _check_upscale(value: str) -> str:
    if value not in UPSCALES:
        raise mistakes.input_error(
            f"= {value[:40]!r} is no way of enlarging a picture{mistakes.did_you_mean(value, UPSCALES)}"
        )
    return value


class PictureSettings(Section):
    quality: Annotated[int, Field(ge=40, le=100)] = 92
    upscale: Annotated[str, AfterValidator(_check_upscale)] = "lanczos"
    refine_strength: Annotated[float, Field(gt=0, le=1)] = 0.3


Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(ge=0, le=1000)]
Phrases = tuple[Annotated[str, Field(min_length=1)], ...]


class ReferenceSettings(Section):
    candidates: Annotated[int, Field(ge=1, le=10_000)] = 48
    keep: Annotated[int, Field(ge=1, le=1000)] = 5
    blank_spread: Positive = 8.0
    exposure: Share = 0.6
    blur_spread: Positive = 4.0
    blur_floor: Positive = 0.0
    prompt_spread: Positive = 2.5
    prompt_floor: Annotated[float, Field(ge=-1, le=1)] = 0.1
    unwanted: Phrases = ("text", "watermark", "collage")
    unwanted_margin: Annotated[float, Field(ge=-1, le=1)] = 0.05
    duplicate_bits: Annotated[int, Field(ge=0, le=32)] = 3
    duplicate_likeness: Annotated[float, Field(ge=0, le=1)] = 0.985
    identity: Literal["cluster", "core"] = "cluster"
    identity_scorer: str = ""
    identity_spread: Annotated[float, Field(ge=1, le=1000)] = 1.5
    identity_floor: Annotated[float, Field(ge=-1, le=1)] = 0.0
    cluster_least: Annotated[int, Field(ge=2, le=10_000)] = 6
    core_share: Share = 0.5
    balance: Share = 0.8
    lint_share: Share = 0.4
    effective_share: Share = 0.5
    outlier_spread: Positive = 3.0
    accessories: Phrases = ("hat", "glasses", "scarf", "crown", "bow")
    expressions: Phrases = ()
    fill_rounds: Annotated[int, Field(ge=1, le=20)] = 2
    rounds: Annotated[int, Field(ge=1, le=20)] = 1
    rounds_share: Share = 0.8


class TrainingSettings(Section):
    init: str = ""
    vectors: Annotated[int, Field(ge=1, le=64)] = 8
    jitter: Annotated[float, Field(ge=0, le=10)] = 0.1
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    stop: Literal["auto", "never"] = "auto"
    batch: Annotated[int, Field(ge=1, le=1024)] = 4
    accumulation: Annotated[int, Field(ge=1, le=1024)] = 1
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    rate: str = ""
    decay: Literal["constant", "cosine"] = "constant"
    warmup: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    optimizer: Literal["adam-mini", "adamw", "prodigy"] = "adam-mini"
    clip: Positive = 1.0
    keep_norms: bool = True
    min_snr: Positive = 5.0
    offset_noise: Share = 0.0
    masks: bool = True
    mask_floor: Share = 0.0
    captions: Literal["auto", "provenance", "txt", "captioner", "templates"] = "auto"
    captioner: str = ""
    caption_dropout: Share = 0.0
    tag_dropout: Share = 0.0
    shuffle_tags: bool = False
    mirror: bool = False
    crops: Annotated[int, Field(ge=1, le=64)] = 1
    zoom: Annotated[float, Field(ge=1, le=4)] = 1.3
    stages: tuple[tuple[int, float], ...] = ()
    checkpointing: bool = False
    compile: bool = False
    exact: bool = True
    save_every: Annotated[int, Field(ge=1, le=100_000)] = 25
    validate_every: Annotated[int, Field(ge=1, le=100_000)] = 25
    validations: Annotated[int, Field(ge=1, le=1024)] = 8
    preview_every: Annotated[int, Field(ge=1, le=100_000)] = 50
    preview_seeds: Annotated[int, Field(ge=1, le=100)] = 2
    average: Annotated[int, Field(ge=1, le=100)] = 3
    plateau_window: Annotated[int, Field(ge=2, le=10_000)] = 20
    plateau_share: Share = 0.15
    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    gain: Annotated[float, Field(ge=0, le=10)] = 0.01
    enough: Share = 0.7
    least_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    half: bool = False


class GateSettings(Section):
    candidates: Annotated[int, Field(ge=1, le=1000)] = 4
    rounds: Annotated[int, Field(ge=1, le=100)] = 3
    blank_spread: Positive = 8.0
    detail: Positive = 0.2
    unwanted: Phrases = ("text", "watermark", "collage")
    unwanted_margin: Annotated[float, Field(ge=-1, le=1)] = 0.05
    identity: Annotated[float, Field(ge=-1000, le=1000)] = 0.75
    prompt: Annotated[float, Field(ge=-1000, le=1000)] = 0.25
    duplicate_bits: Annotated[int, Field(ge=-1, le=64)] = 2
    duplicate_share: Share = 0.25


class ReviewSettings(Section):
    automatic: bool = False


class PublishingSettings(Section):
    publisher: Literal["folder", "instagram", "graph"] = "folder"
    dry_run: bool = True
    account: Annotated[str, AfterValidator(mistakes.check_account_name)] = ""
    disclosure: Annotated[str, AfterValidator(mistakes.check_text)] = ""
    require_disclosure: bool = True
    ai_label: bool = True
    daily_cap: Annotated[int, Field(ge=0, le=1000)] = 10
    spacing_minutes: Annotated[float, Field(ge=0, le=100_000)] = 30.0
    quiet_hours: Annotated[str, AfterValidator(_check_quiet_hours)] = ""
    late_days: Annotated[float, Field(ge=0, le=10_000)] = 7.0
    tries: Annotated[int, Field(ge=1, le=100)] = 5
    looks: Annotated[tuple[Annotated[float, Field(ge=0, le=1e6)], ...], Field(min_length=1)] = (30, 120, 600, 3600)
    resend: bool = False
    graph_user: str = ""
    picture_address: str = ""
    picture_folder: str = ""
    bucket_endpoint: str = ""
    bucket: str = ""
    bucket_region: str = "us-east-1"


class NotifySettings(Section):
    events: tuple[Literal["waiting", "published", "failed", "needs a person"], ...] = ("failed", "needs a person")


class ScheduleSettings(Section):
    cron: Annotated[str, AfterValidator(mistakes.check_cron)] = "0 9 * * *"
    timezone: Annotated[str, AfterValidator(mistakes.check_time_zone)] = "UTC"
    publish: Annotated[str, AfterValidator(_check_cron_or_never)] = "*/10 * * * *"


class ServerSettings(Section):
    prefect: Annotated[str, AfterValidator(_check_server_address)] = ""
    port: Annotated[int, Field(ge=1, le=65535)] = 4200


class BoardSettings(Section):
    host: Annotated[str, AfterValidator(_check_not_empty)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8420
    names: tuple[Annotated[str, AfterValidator(_check_not_empty)], ...] = ()


class StorageSettings(Section):
    studio: Annotated[str, AfterValidator(_check_not_empty)] = "studio"
    database: Annotated[str, AfterValidator(_check_database_address)] = ""


class SecretSettings(Section):
    """Secrets, which never stand in settings.toml and are never printed."""

    instagram_username: SecretStr | None = None
    instagram_password: SecretStr | None = None
    instagram_totp: SecretStr | None = None
    graph_token: SecretStr | None = None
    storage_access: SecretStr | None = None
    storage_secret: SecretStr | None = None
    notify: SecretStr | None = None
    board_password: SecretStr | None = None
    database: SecretStr | None = None
