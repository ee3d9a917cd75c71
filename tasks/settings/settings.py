"""Settings: `settings.toml`, overridden by the environment; loaded once at the edge and passed down as plain values."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import DotEnvSettingsSource, EnvSettingsSource

from models.system.errors import UserError
from models.system.files import expand_path, path_exists
from tasks.clock import Clock, clock_set_to, system_clock
from tasks.settings import mistakes
from tasks.settings.sections import (
    PREFIX,
    BoardSettings,
    GateSettings,
    ModelSettings,
    NotifySettings,
    PictureSettings,
    PublishingSettings,
    ReferenceSettings,
    RenderingSettings,
    ReviewSettings,
    ScheduleSettings,
    SecretSettings,
    Section,
    ServerSettings,
    StorageSettings,
    TrainingSettings,
)

# Names with our prefix that are not settings: they say where the settings are.
PLACES = ("RESTAGE_SETTINGS", "RESTAGE_ENV_FILE", "RESTAGE_SECRETS_DIR")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    models: ModelSettings = ModelSettings()
    references: ReferenceSettings = ReferenceSettings()
    training: TrainingSettings = TrainingSettings()
    rendering: RenderingSettings = RenderingSettings()
    pictures: PictureSettings = PictureSettings()
    gates: GateSettings = GateSettings()
    review: ReviewSettings = ReviewSettings()
    publishing: PublishingSettings = PublishingSettings()
    notify: NotifySettings = NotifySettings()
    schedule: ScheduleSettings = ScheduleSettings()
    server: ServerSettings = ServerSettings()
    board: BoardSettings = BoardSettings()
    storage: StorageSettings = StorageSettings()
    secrets: SecretSettings = SecretSettings()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` asks the sources itself, so as to know which value came from where


@dataclass(frozen=True)
class LoadedSettings:
    """The settings in force, the folder that relative paths start from, and the origin of each value."""

    settings: Settings
    folder: Path
    origins: Mapping[str, str]
    clock: Clock = system_clock

    @property
    def studio(self) -> Path:
        return self.folder / expand_path(self.settings.storage.studio)

    @property
    def database(self) -> SecretStr:
        """Return the address of the database, which may hold a password; empty means the studio's own file."""
        return self.settings.secrets.database or SecretStr(self.settings.storage.database)

    def resolve_path(self, name: str) -> str:
        """Return a model's name, or its path if there is such a file beside the settings."""
        beside = self.folder / expand_path(name) if name and name != "toybox" else None
        return str(beside) if beside and path_exists(beside) else name

    def with_clock_at(self, moment: datetime | None) -> "LoadedSettings":
        """Return the settings with a clock that shows this moment now; unchanged without a moment."""
        return replace(self, clock=clock_set_to(moment)) if moment else self

    def with_training(self, **values: int) -> "LoadedSettings":
        """Return the settings with these values of [training] instead of the file's; a 0 changes nothing."""
        changes = {name: value for name, value in values.items() if value}
        training = self.settings.training.model_copy(update=changes)
        return replace(self, settings=self.settings.model_copy(update={"training": training}))

    def with_publisher(self, name: str) -> "LoadedSettings":
        """Return the settings with this publisher instead of the file's; `folder` makes it a dry run, any other does not."""
        publishing = self.settings.publishing.model_copy(update={"publisher": name, "dry_run": name == "folder"})
        return replace(self, settings=self.settings.model_copy(update={"publishing": publishing}))

    def describe_values(self) -> Iterator[tuple[str, Any, str]]:
        """Yield (key, value, origin) of every setting; of a secret only whether it is set."""
        for section, values in self.settings:
            for key, value in values:
                name = f"{section}.{key}"
                text = ("•••" if value else "not set") if section == "secrets" else value
                yield name, text, self.origins.get(name, "default")


def settings_file(path: Path | None = None) -> Path:
    """Return the path of the settings file: the given one, the one in RESTAGE_SETTINGS, or settings.toml in this folder."""
    return expand_path(path or os.environ.get("RESTAGE_SETTINGS") or "settings.toml")


def load_settings(path: Path | None = None) -> LoadedSettings:
    """Read the settings: environment before env file before secrets directory before settings.toml before defaults."""
    file = settings_file(path)
    if not file.is_file():
        raise UserError(f"there is no settings file at {file}: go to the folder that has one, or give --settings FILE")
    folder = file.resolve().parent
    env_file = _env_file(folder)
    _check_names(os.environ, "the environment")
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    for source, origin in (
        (_read_settings_file(file), lambda key: file.name),
        (_read_secret_files(folder), lambda key: f"{secrets_dir(folder).name}/{key.partition('.')[2]}"),
        (
            _read_variables(DotEnvSettingsSource(Settings, env_file=env_file, env_nested_delimiter="__")),
            _variable_origin(env_file.name),
        ),
        (_read_variables(EnvSettingsSource(Settings, env_nested_delimiter="__")), _variable_origin("environment")),
    ):
        _merge_source(values, origins, source, origin)
    try:
        return LoadedSettings(Settings.model_validate(values), folder, origins)
    except ValidationError as error:
        raise UserError(
            mistakes.explain_validation_error(error, Settings, _origin_finder(origins, file), hidden=["secrets"])
        ) from None


def _origin_finder(origins: Mapping[str, str], file: Path) -> Callable[[str], str]:
    """Return a function that names where a key was set: the file by its whole path, or the variable."""

    def place(key: str) -> str:
        origin = origins.get(key, origins.get(key.partition(".")[0], ""))
        return str(file) if origin in ("", file.name) else origin

    return place


def _merge_source(
    values: dict[str, dict[str, Any]], origins: dict[str, str], source: Mapping[str, Any], origin: Callable[[str], str]
) -> None:
    for section, keys in source.items():
        if not isinstance(keys, Mapping):
            values[section] = keys
            origins[section] = origin(section)
            continue
        values.setdefault(section, {}).update(keys)
        origins.update({f"{section}.{key}": origin(f"{section}.{key}") for key in keys})


def _variable_origin(where: str) -> Callable[[str], str]:
    return lambda key: f"{where}, {PREFIX}{key.upper().replace('.', '__')}"


def _read_settings_file(file: Path) -> dict[str, Any]:
    values = mistakes.read_toml(file)
    if "secrets" in values:
        raise UserError(
            f"{file}: secrets must not stand in this file: set {PREFIX}SECRETS__GRAPH_TOKEN and the like "
            "in the environment or in .env, or write each to a file in secrets/"
        )
    return values


def secrets_dir(folder: Path) -> Path:
    return expand_path(os.environ.get("RESTAGE_SECRETS_DIR") or folder / "secrets")


def _read_secret_files(folder: Path) -> dict[str, Any]:
    """Read the secrets, each from a file of its own, as Docker and Kubernetes mount them."""
    place = secrets_dir(folder)
    if "RESTAGE_SECRETS_DIR" in os.environ and not place.is_dir():
        raise UserError(f"RESTAGE_SECRETS_DIR names {place}, which is not a folder: create it or unset the variable")
    files = [place / name for name in SecretSettings.model_fields if (place / name).is_file()]
    try:
        return {"secrets": {file.name: file.read_text(encoding="utf-8").strip() for file in files}}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"a secret in {place} cannot be read ({type(error).__name__}): check its rights") from None


def _env_file(folder: Path) -> Path:
    file = expand_path(os.environ.get("RESTAGE_ENV_FILE") or folder / ".env")
    if "RESTAGE_ENV_FILE" in os.environ and not file.is_file():
        raise UserError(f"RESTAGE_ENV_FILE names {file}, which does not exist: create it or unset the variable")
    try:
        if file.is_file():
            file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({type(error).__name__}): make it a readable UTF-8 text file") from None
    return file


def _read_variables(source: EnvSettingsSource) -> dict[str, Any]:
    if isinstance(source, DotEnvSettingsSource):
        _check_names(source.env_vars, str(source.env_file))
    names = {section: set(kind.model_fields) for section, kind in _section_classes().items()}
    sections: dict[str, Any] = {}
    for variable, value in source.env_vars.items():
        section, _, key = variable.lower().removeprefix(PREFIX.lower()).partition("__")
        if variable.lower().startswith(PREFIX.lower()) and key in names.get(section, ()) and value is not None:
            sections.setdefault(section, {})[key] = value
    return sections


def _check_names(variables: Mapping[str, Any], place: str) -> None:
    """Refuse a misspelled override, which otherwise nobody would notice."""
    names = [
        f"{PREFIX}{section}__{key}".upper() for section, kind in _section_classes().items() for key in kind.model_fields
    ]
    for name in variables:
        if name.upper().startswith(PREFIX) and name.upper() not in (*names, *PLACES):
            raise UserError(f"{place}: {name.upper()} is not a setting{mistakes.did_you_mean(name.upper(), names)}")


def _section_classes() -> dict[str, type[Section]]:
    return {name: field.annotation for name, field in Settings.model_fields.items() if field.annotation}
