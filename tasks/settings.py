"""Settings: `settings.toml`, overridden by the environment; loaded once at the edge and passed down as plain values."""

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import DotEnvSettingsSource, EnvSettingsSource

from models.errors import UserError
from models.files import path_of
from models.shot import MAX_SIDE, MAX_STEPS, sampler_name

PREFIX = "RESTAGE_"
# Names with our prefix that are not settings: they say where the settings are.
PLACES = ("RESTAGE_SETTINGS", "RESTAGE_ENV_FILE", "RESTAGE_SECRETS_DIR")


def _side(value: int) -> int:
    if value % 8:
        raise ValueError(f"a multiple of 8, such as {value // 8 * 8} or {value // 8 * 8 + 8}, or 0")
    return value


def _zone(value: str) -> str:
    if value not in available_timezones():
        near = get_close_matches(value, sorted(available_timezones()), n=1)
        raise ValueError(f"the name of a time zone, such as {near[0] if near else 'Europe/Berlin'}")
    return value


def _cron(value: str) -> str:
    if len(value.split()) != 5:
        raise ValueError("five cron fields (minute hour day month weekday), such as 0 9 * * *")
    return value


Side = Annotated[int, Field(ge=0, le=MAX_SIDE), AfterValidator(_side)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Models(Section):
    name: Annotated[str, Field(min_length=1)] = "toybox"
    revision: str = ""
    variant: str = ""
    vae: str = ""
    config: str = ""
    clip: Annotated[str, Field(min_length=1)] = "toybox"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    memory: Literal["none", "vae", "offload", "sequential"] = "none"
    compile: Literal["off", "regional"] = "off"
    batch_size: Annotated[int, Field(ge=0, le=64)] = 0
    threads: Annotated[int, Field(ge=0, le=1024)] = 0


class Rendering(Section):
    sampler: Annotated[str, AfterValidator(sampler_name)] = "euler"
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 25
    guidance: Annotated[float, Field(ge=0, le=100)] = 5.0
    guidance_until: Annotated[float, Field(ge=0, le=1)] = 1.0
    negative: str = ""
    width: Side = 0
    height: Side = 0


class References(Section):
    candidates: Annotated[int, Field(ge=1, le=10_000)] = 48
    keep: Annotated[int, Field(ge=1, le=1000)] = 5


class Training(Section):
    vectors: Annotated[int, Field(ge=1, le=64)] = 4


class Review(Section):
    automatic: bool = False


class Publishing(Section):
    publisher: Literal["folder", "instagram", "graph"] = "folder"
    dry_run: bool = True


class Schedule(Section):
    cron: Annotated[str, AfterValidator(_cron)] = "0 9 * * *"
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"


class Storage(Section):
    studio: Annotated[str, Field(min_length=1)] = "studio"


class Secrets(Section):
    """Never in settings.toml, never printed."""

    instagram_username: SecretStr | None = None
    instagram_password: SecretStr | None = None
    instagram_totp: SecretStr | None = None
    graph_token: SecretStr | None = None
    board_password: SecretStr | None = None


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    models: Models = Models()
    references: References = References()
    training: Training = Training()
    rendering: Rendering = Rendering()
    review: Review = Review()
    publishing: Publishing = Publishing()
    schedule: Schedule = Schedule()
    storage: Storage = Storage()
    secrets: Secrets = Secrets()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` asks the sources itself, so as to know which value came from where


@dataclass(frozen=True)
class Loaded:
    """The settings in force, the folder that relative paths start from, and where each value came from."""

    settings: Settings
    folder: Path
    origins: Mapping[str, str]

    @property
    def studio(self) -> Path:
        return self.folder / path_of(self.settings.storage.studio)

    def place(self, name: str) -> str:
        """A model's name as it is, or as a path where there is such a file beside the settings."""
        beside = self.folder / path_of(name) if name and name != "toybox" else None
        return str(beside) if beside and beside.exists() else name

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """(key, value, origin) of every knob; of a secret only whether it is set."""
        for section, values in self.settings:
            for key, value in values:
                name = f"{section}.{key}"
                shown = ("•••" if value else "not set") if section == "secrets" else value
                yield name, shown, self.origins.get(name, "default")


def load(path: Path | None = None) -> Loaded:
    """Read the settings: environment before env file before secrets directory before settings.toml before defaults."""
    file = path_of(path or os.environ.get("RESTAGE_SETTINGS") or "settings.toml")
    if not file.is_file():
        raise UserError(f"there is no settings file at {file}: go to the folder that has one, or give --settings FILE")
    folder = file.resolve().parent
    env_file = _env_file(folder)
    _check_names(os.environ, "the environment")
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    for found, origin in (
        (_toml(file), lambda key: file.name),
        (_secret_files(folder), lambda key: f"{_secrets_dir(folder).name}/{key.partition('.')[2]}"),
        (_env(DotEnvSettingsSource(Settings, env_file=env_file, env_nested_delimiter="__")), _variable(env_file.name)),
        (_env(EnvSettingsSource(Settings, env_nested_delimiter="__")), _variable("environment")),
    ):
        _merge(values, origins, found, origin)
    try:
        return Loaded(Settings.model_validate(values), folder, origins)
    except ValidationError as error:
        raise UserError(_sentence(error, origins, file)) from None


def _merge(
    values: dict[str, dict[str, Any]], origins: dict[str, str], found: Mapping[str, Any], origin: Callable[[str], str]
) -> None:
    for section, keys in found.items():
        if not isinstance(keys, Mapping):
            values[section] = keys
            origins[section] = origin(section)
            continue
        values.setdefault(section, {}).update(keys)
        origins.update({f"{section}.{key}": origin(f"{section}.{key}") for key in keys})


def _variable(where: str) -> Callable[[str], str]:
    return lambda key: f"{where}, {PREFIX}{key.upper().replace('.', '__')}"


def _toml(file: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is not valid TOML: {str(error)[0].lower()}{str(error)[1:]}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({error}): make it a readable UTF-8 text file") from None
    if "secrets" in found:
        raise UserError(
            f"{file}: secrets must not stand in this file: set {PREFIX}SECRETS__GRAPH_TOKEN and the like "
            "in the environment or in .env, or write each to a file in secrets/"
        )
    return found


def _secrets_dir(folder: Path) -> Path:
    return path_of(os.environ.get("RESTAGE_SECRETS_DIR") or folder / "secrets")


def _secret_files(folder: Path) -> dict[str, Any]:
    """A file a secret, as Docker and Kubernetes mount them."""
    place = _secrets_dir(folder)
    if "RESTAGE_SECRETS_DIR" in os.environ and not place.is_dir():
        raise UserError(f"RESTAGE_SECRETS_DIR names {place}, which is not a folder: create it or unset the variable")
    files = [place / name for name in Secrets.model_fields if (place / name).is_file()]
    try:
        return {"secrets": {file.name: file.read_text(encoding="utf-8").strip() for file in files}}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"a secret in {place} cannot be read ({type(error).__name__}): check its rights") from None


def _env_file(folder: Path) -> Path:
    file = path_of(os.environ.get("RESTAGE_ENV_FILE") or folder / ".env")
    if "RESTAGE_ENV_FILE" in os.environ and not file.is_file():
        raise UserError(f"RESTAGE_ENV_FILE names {file}, which does not exist: create it or unset the variable")
    try:
        if file.is_file():
            file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({type(error).__name__}): make it a readable UTF-8 text file") from None
    return file


def _env(source: EnvSettingsSource) -> dict[str, Any]:
    if isinstance(source, DotEnvSettingsSource):
        _check_names(source.env_vars, str(source.env_file))
    names = {section: set(kind.model_fields) for section, kind in _sections().items()}
    found: dict[str, Any] = {}
    for variable, value in source.env_vars.items():
        section, _, key = variable.lower().removeprefix(PREFIX.lower()).partition("__")
        if variable.lower().startswith(PREFIX.lower()) and key in names.get(section, ()) and value is not None:
            found.setdefault(section, {})[key] = value
    return found


def _check_names(variables: Mapping[str, Any], where: str) -> None:
    """A misspelled override must not be ignored: nobody would ever notice."""
    known = [f"{PREFIX}{section}__{key}".upper() for section, kind in _sections().items() for key in kind.model_fields]
    for name in variables:
        if name.upper().startswith(PREFIX) and name.upper() not in (*known, *PLACES):
            raise UserError(f"{where}: {name.upper()} is not a setting{_near(name.upper(), known)}")


def _sections() -> dict[str, type[Section]]:
    return {name: field.annotation for name, field in Settings.model_fields.items() if field.annotation}


def _near(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f": the known ones are {', '.join(known)}"


def _sentence(error: ValidationError, origins: Mapping[str, str], file: Path) -> str:
    """The first mistake: which file or variable, which key, which value, and what is allowed."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    where = origins.get(key, origins.get(key.partition(".")[0], ""))
    where = str(file) if where in ("", file.name) else where
    if first["type"] == "extra_forbidden":
        section = str(first["loc"][0]) if len(first["loc"]) > 1 else ""
        known = [f"{section}.{name}" for name in _sections()[section].model_fields] if section else list(_sections())
        return f"{where}: {'key' if section else 'section'} {key} is unknown{_near(key, known)}"
    value = "•••" if key.startswith("secrets.") else repr(first["input"])
    return f"{where}: {key} = {value} is not allowed: use {_allowed(first)}"


def _allowed(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    section, _, key = ".".join(str(part) for part in error["loc"]).partition(".")
    if kind == "literal_error":
        return "one of " + ", ".join(get_args(_sections()[section].model_fields[key].annotation))
    if kind == "value_error":
        return re.sub(r"^.*: use ", "", str(context["error"]))
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"{context.get('ge', context.get('le'))} or {'more' if 'ge' in context else 'less'}"
    if kind == "string_pattern_mismatch":
        return "auto, cpu, cuda, cuda:1 … or mps"
    if kind == "string_too_short":
        return "a name that is not empty"
    for stem, words in {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "string": "a text",
    }.items():
        if kind.startswith(stem):
            return words
    return "a section with keys" if kind in ("model_type", "model_attributes_type") else str(error["msg"]).lower()
