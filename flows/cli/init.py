"""`restage init`: write settings and a persona to start with, from a few answers. Existing files stay as they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from models.system.errors import UserError
from models.system.files import expand_path, write_file
from tasks.persona import persona as personas
from tasks.persona.starter_file import starter_subject_for, write_starter_file
from tasks.publishers import ACCOUNT_PUBLISHER, DRY_RUN_PUBLISHER
from tasks.settings.settings import load_settings

SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
SDXL_CLIP = "ViT-B-32:laion2b_s34b_b79k"
HALF_PRECISION_LINE = (
    'variant = "fp16"   # which of its weights: in half precision, half the download; empty takes the plain ones\n'
)
SETTINGS_FILE = "settings.toml"
SETTINGS_TEMPLATE = """\
# The knobs to begin with. `restage settings` shows all there are, with the value in force and where each comes from.

[models]
name = {model}   # which model makes pictures: toybox, a hub id (owner/model), a folder or a .safetensors file
{variant}clip = {clip}   # which CLIP model scores them

[publishing]
publisher = {publisher}   # where posts go: folder (writes them to disk), instagram or graph
account = {account}   # whose account it is, where a persona does not say
dry_run = true   # true writes every post to disk, whatever stands above; false once you mean it

[schedule]
cron = {cron}   # when the daily run starts
timezone = {zone}   # the time zone of that
"""


@dataclass(frozen=True)
class Answers:
    """The answers of the user. The defaults work offline, on any machine."""

    folder: Path = Path()
    persona: str = "pip"
    model: str = "toybox"
    """toybox, sdxl, or any name of a model."""
    account: str = ""
    at: str = "09:00"
    zone: str = "UTC"

    @property
    def model_source(self) -> str:
        return SDXL if self.model.lower() == "sdxl" else self.model

    @property
    def cron(self) -> str:
        match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", self.at)
        if not match:
            raise UserError(f"{self.at!r} is no time of day: write it as 09:00, from 00:00 to 23:59")
        return f"{int(match[2])} {int(match[1])} * * *"


def write_starter_files(answers: Answers) -> list[Path]:
    """Write the missing files after checking everything, and return the new ones."""
    folder = expand_path(answers.folder)
    settings = folder / SETTINGS_FILE
    if settings.exists():
        raise UserError(f"{settings} exists already: edit that file, or choose another folder")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder: choose another one")
    text = _settings_text(answers)
    _check_settings(text, settings)
    return [*_write_persona(answers, folder), _write_text(settings, text)]


def _settings_text(answers: Answers) -> str:
    values = {
        "model": answers.model_source,
        "clip": "toybox" if answers.model_source == "toybox" else SDXL_CLIP,
        "publisher": ACCOUNT_PUBLISHER if answers.account else DRY_RUN_PUBLISHER,
        "account": answers.account,
        "cron": answers.cron,
        "zone": answers.zone,
    }
    quoted = {name: _toml_string(value) for name, value in values.items()}
    return SETTINGS_TEMPLATE.format(**quoted, variant=HALF_PRECISION_LINE if answers.model_source == SDXL else "")


def _check_settings(text: str, file: Path) -> None:
    """Check the settings by loading them as every command will, from a temporary folder."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        trial = Path(place) / SETTINGS_FILE
        trial.write_text(text, encoding="utf-8")
        try:
            load_settings(trial)
        except UserError as error:
            raise UserError(str(error).replace(str(trial), str(file))) from None


def _write_persona(answers: Answers, folder: Path) -> list[Path]:
    """Write the persona's file with the time and zone of the answers in its calendar, and nothing if it exists."""
    if answers.persona in personas.persona_names(folder):
        return []
    path = write_starter_file(answers.persona, folder, starter_subject_for(answers.model_source))
    text = path.read_text(encoding="utf-8")
    for key, before, after in (("timezone", "UTC", answers.zone), ("at", "09:00", f"{answers.at:0>5}")):
        line = f"{key} = {_toml_string(before)}"
        assert text.count(f"\n{line}") == 1, "the file to start from says each once"
        text = text.replace(f"\n{line}", f"\n{key} = {_toml_string(after)}")
    return [_write_text(path, text)]


def _toml_string(text: str) -> str:
    """Quote a text as a TOML string."""
    if not text.isprintable():
        raise UserError(f"{text!r} has characters that cannot be seen: type it again")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write_text(path: Path, text: str) -> Path:
    write_file(path, text.encode())
    return path


def local_zone() -> str:
    """Return this machine's time zone if it has a name, else UTC."""
    import os
    from zoneinfo import available_timezones

    link = Path("/etc/localtime")
    names = [os.environ.get("TZ", ""), link.resolve().as_posix().partition("zoneinfo/")[2] if link.exists() else ""]
    return next((name for name in names if name in available_timezones()), "UTC")


def next_steps(answers: Answers, written: list[Path]) -> list[str]:
    """List what to do now, in order."""
    name = answers.persona
    steps = [f"wrote {path}" for path in written]
    steps += [f"cd {answers.folder}"] if str(answers.folder) not in (".", "") else []
    steps += [
        f"say who {name} is in {Path(personas.FOLDER) / f'{name}.toml'}",
        f"restage references {name}",
        f"restage train {name}",
        "restage doctor",
    ]
    steps += [f"restage login {answers.account}"] if answers.account else []
    return [*steps, "restage serve"]
