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
from models.system.files import is_there, path_of
from tasks.clock import Clock, clock_set_to, system_clock
from tasks.settings import mistakes
from tasks.settings.sections import (
    PREFIX,
    Board,
    Gates,
    Models,
    Notify,
    Pictures,
    Publishing,
    References,
    Rendering,
    Review,
    Schedule,
    Secrets,
    Section,
    Server,
    Storage,
    Training,
)

# Names with our prefix that are not settings: they say where the settings are.
PLACES = ("RESTAGE_SETTINGS", "RESTAGE_ENV_FILE", "RESTAGE_SECRETS_DIR")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    models: Models = Models()
    references: References = References()
    training: Training = Training()
    rendering: Rendering = Rendering()
    pictures: Pictures = Pictures()
    gates: Gates = Gates()
    review: Review = Review()
    publishing: Publishing = Publishing()
    notify: Notify = Notify()
    schedule: Schedule = Schedule()
    server: Server = Server()
    board: Board = Board()
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
    clock: Clock = system_clock

    @property
    def studio(self) -> Path:
        return self.folder / path_of(self.settings.storage.studio)

    @property
    def database(self) -> SecretStr:
        """The address of the database, which may hold a password; empty for the studio's own file."""
        return self.settings.secrets.database or SecretStr(self.settings.storage.database)

    def place(self, name: str) -> str:
        """A model's name as it is, or as a path where there is such a file beside the settings."""
        beside = self.folder / path_of(name) if name and name != "toybox" else None
        return str(beside) if beside and is_there(beside) else name

    def at(self, moment: datetime | None) -> "Loaded":
        """With a clock that shows this moment now; without one as it is."""
        return replace(self, clock=clock_set_to(moment)) if moment else self

    def with_training(self, **said: int) -> "Loaded":
        """With these knobs of [training] in place of the file's; 0 leaves one as it is."""
        changes = {name: value for name, value in said.items() if value}
        training = self.settings.training.model_copy(update=changes)
        return replace(self, settings=self.settings.model_copy(update={"training": training}))

    def with_publisher(self, name: str) -> "Loaded":
        """With this publisher in place of the file's; `folder` is one even where everything else is a dry run."""
        publishing = self.settings.publishing.model_copy(update={"publisher": name, "dry_run": name == "folder"})
        return replace(self, settings=self.settings.model_copy(update={"publishing": publishing}))

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """(key, value, origin) of every knob; of a secret only whether it is set."""
        for section, values in self.settings:
            for key, value in values:
                name = f"{section}.{key}"
                shown = ("•••" if value else "not set") if section == "secrets" else value
                yield name, shown, self.origins.get(name, "default")


def file_of(path: Path | None = None) -> Path:
    """The settings file that is meant: the one that is given, or RESTAGE_SETTINGS', or the one that lies here."""
    return path_of(path or os.environ.get("RESTAGE_SETTINGS") or "settings.toml")


def load(path: Path | None = None) -> Loaded:
    """Read the settings: environment before env file before secrets directory before settings.toml before defaults."""
    file = file_of(path)
    if not file.is_file():
        raise UserError(f"there is no settings file at {file}: go to the folder that has one, or give --settings FILE")
    folder = file.resolve().parent
    env_file = _env_file(folder)
    _check_names(os.environ, "the environment")
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    for found, origin in (
        (_toml(file), lambda key: file.name),
        (_secret_files(folder), lambda key: f"{secrets_dir(folder).name}/{key.partition('.')[2]}"),
        (_env(DotEnvSettingsSource(Settings, env_file=env_file, env_nested_delimiter="__")), _variable(env_file.name)),
        (_env(EnvSettingsSource(Settings, env_nested_delimiter="__")), _variable("environment")),
    ):
        _merge(values, origins, found, origin)
    try:
        return Loaded(Settings.model_validate(values), folder, origins)
    except ValidationError as error:
        raise UserError(mistakes.sentence(error, Settings, _place_of(origins, file), hidden=["secrets"])) from None


def _place_of(origins: Mapping[str, str], file: Path) -> Callable[[str], str]:
    """Where a key was set: the file by its whole path, or the variable."""

    def place(key: str) -> str:
        origin = origins.get(key, origins.get(key.partition(".")[0], ""))
        return str(file) if origin in ("", file.name) else origin

    return place


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
    found = mistakes.toml(file)
    if "secrets" in found:
        raise UserError(
            f"{file}: secrets must not stand in this file: set {PREFIX}SECRETS__GRAPH_TOKEN and the like "
            "in the environment or in .env, or write each to a file in secrets/"
        )
    return found


def secrets_dir(folder: Path) -> Path:
    return path_of(os.environ.get("RESTAGE_SECRETS_DIR") or folder / "secrets")


def _secret_files(folder: Path) -> dict[str, Any]:
    """A file a secret, as Docker and Kubernetes mount them."""
    place = secrets_dir(folder)
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
            raise UserError(f"{where}: {name.upper()} is not a setting{mistakes.near(name.upper(), known)}")


def _sections() -> dict[str, type[Section]]:
    return {name: field.annotation for name, field in Settings.model_fields.items() if field.annotation}
