"""The DreamBench protocol's files (a folder of subjects, the public list of classes and prompts) and its published figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.picture.reading import open_picture
from models.system.errors import UserError
from models.system.files import expand_path

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
LIVE = ("cat", "dog")
"""Classes that get the prompts of living subjects, where the list tells them apart."""
PUBLISHED = (
    ("real images", 0.774, 0.885, None),
    ("textual inversion, SD", 0.569, 0.780, 0.255),
    ("DreamBooth, SD", 0.668, 0.803, 0.305),
    ("Custom Diffusion, SD", 0.643, 0.790, 0.305),
)
PUBLISHED_CLIP = "ViT-B-32-quickgelu:openai"
SCORES = ("dino", "clip_i", "clip_t")
CLASS = re.compile(r"^(\w+),([\w ]+)$")
TEMPLATE = re.compile(r"""^\s*['"](.*\{0\}.*)['"]\s*\.format""")


@dataclass(frozen=True)
class Prompts:
    """What is asked of each subject. {0} stands for the word and {1} for its class."""

    classes: Mapping[str, str]
    objects: Sequence[str]
    live: Sequence[str]

    def of(self, subject: str) -> Sequence[str]:
        return self.live if self.classes.get(subject) in LIVE and self.live else self.objects

    def class_of(self, subject: str) -> str:
        return self.classes.get(subject) or re.sub(r"[\d_]+", " ", subject).strip()


@dataclass(frozen=True)
class Subject:
    """Somebody or something to learn, with its real pictures."""

    name: str
    pictures: Sequence[Path]


def worded(template: str, word: str) -> str:
    """The prompt with the word in place of `{0} {1}`: a learned word says its class itself."""
    return template.replace("{0} {1}", word).replace("{0}", word).replace("{1}", "").strip()


def prompts(file: Path) -> Prompts:
    """The public list (`name,class` lines and two Python lists), or plain lines with {0}, one prompt each."""
    path = expand_path(file)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text ({error}): name the file with the prompts") from error
    classes = dict(found.groups() for line in lines if (found := CLASS.match(line.strip())))
    classes.pop("subject_name", None)
    objects: list[str] = []
    live: list[str] = []
    into = objects
    for line in lines:
        into = live if "live" in line.lower() and "{0}" not in line else into
        if found := TEMPLATE.match(line):
            into.append(found[1])
        elif "{0}" in line and "format" not in line:
            into.append(line.strip())
    if not objects:
        raise UserError(f"{path} holds no prompts: write one on each line, with {{0}} where the word goes")
    return Prompts(classes, objects, live)


def subjects(folder: Path) -> list[Subject]:
    """A folder for each subject, with its pictures."""
    place = expand_path(folder)
    if not place.is_dir():
        raise UserError(f"there is no folder {place}: name the one that holds a folder of pictures for each subject")
    found = []
    for each in sorted(place.iterdir()):
        if each.is_dir():
            pictures = sorted(path for path in each.iterdir() if path.suffix.lower() in PICTURES)
            for picture in pictures:
                open_picture(picture)
            if pictures:
                found.append(Subject(each.name, pictures))
    if not found:
        raise UserError(f"{place} holds no folders with pictures: put each subject's pictures into a folder of its own")
    return found
