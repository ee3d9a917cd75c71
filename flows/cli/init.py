"""`restage init`: settings and a persona to start with, from a few answers. What is there already stays as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from models.system.errors import UserError
from models.system.files import path_of, write
from tasks.persona import persona as personas
from tasks.persona.starter_file import example_for, write_new
from tasks.settings.settings import load

SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
SDXL_CLIP = "ViT-B-32:laion2b_s34b_b79k"
HALF = 'variant = "fp16"   # which of its weights: in half precision, half the download; empty takes the plain ones\n'
FILE = "settings.toml"
SETTINGS = """\
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
    """What is asked. The defaults work offline, on any machine."""

    folder: Path = Path()
    persona: str = "pip"
    model: str = "toybox"
    """toybox, sdxl, or any name of a model."""
    account: str = ""
    at: str = "09:00"
    zone: str = "UTC"

    @property
    def source(self) -> str:
        return SDXL if self.model.lower() == "sdxl" else self.model

    @property
    def cron(self) -> str:
        found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", self.at)
        if not found:
            raise UserError(f"{self.at!r} is no time of day: write it as 09:00, from 00:00 to 23:59")
        return f"{int(found[2])} {int(found[1])} * * *"


def init(answers: Answers) -> list[Path]:
    """Write what is missing, after everything has been checked; the new files."""
    folder = path_of(answers.folder)
    settings = folder / FILE
    if settings.exists():
        raise UserError(f"{settings} exists already: edit that file, or choose another folder")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder: choose another one")
    text = _settings(answers)
    _check(text, settings)
    return [*_persona(answers, folder), _written(settings, text)]


def _settings(answers: Answers) -> str:
    values = {
        "model": answers.source,
        "clip": "toybox" if answers.source == "toybox" else SDXL_CLIP,
        "publisher": "instagram" if answers.account else "folder",
        "account": answers.account,
        "cron": answers.cron,
        "zone": answers.zone,
    }
    quoted = {name: _quoted(value) for name, value in values.items()}
    return SETTINGS.format(**quoted, variant=HALF if answers.source == SDXL else "")


def _check(text: str, file: Path) -> None:
    """By reading it as every command will, from a place where nothing is overwritten."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        trial = Path(place) / FILE
        trial.write_text(text, encoding="utf-8")
        try:
            load(trial)
        except UserError as error:
            raise UserError(str(error).replace(str(trial), str(file))) from None


def _persona(answers: Answers, folder: Path) -> list[Path]:
    """The persona's file, with the time and the zone of the answers in its calendar; none where it is there."""
    if answers.persona in personas.names(folder):
        return []
    path = write_new(answers.persona, folder, example_for(answers.source))
    text = path.read_text(encoding="utf-8")
    for key, before, after in (("timezone", "UTC", answers.zone), ("at", "09:00", f"{answers.at:0>5}")):
        line = f"{key} = {_quoted(before)}"
        assert text.count(f"\n{line}") == 1, "the file to start from says each once"
        text = text.replace(f"\n{line}", f"\n{key} = {_quoted(after)}")
    return [_written(path, text)]


def _quoted(text: str) -> str:
    """As TOML writes it."""
    if not text.isprintable():
        raise UserError(f"{text!r} has characters that cannot be seen: type it again")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _written(path: Path, text: str) -> Path:
    write(path, text.encode())
    return path


def local_zone() -> str:
    """This machine's own time zone, where it says so by name; else UTC."""
    import os
    from zoneinfo import available_timezones

    link = Path("/etc/localtime")
    named = [os.environ.get("TZ", ""), link.resolve().as_posix().partition("zoneinfo/")[2] if link.exists() else ""]
    return next((name for name in named if name in available_timezones()), "UTC")


def next_steps(answers: Answers, written: list[Path]) -> list[str]:
    """What to do now, in order."""
    name = answers.persona
    found = [f"wrote {path}" for path in written]
    found += [f"cd {answers.folder}"] if str(answers.folder) not in (".", "") else []
    found += [
        f"say who {name} is in {Path(personas.FOLDER) / f'{name}.toml'}",
        f"restage references {name}",
        f"restage train {name}",
        "restage doctor",
    ]
    found += [f"restage login {answers.account}"] if answers.account else []
    return [*found, "restage serve"]
