"""What is due, with its texts: templates, choices and lists worked out for each occurrence, and checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from models.system.errors import UserError
from models.system.files import expand_path, path_exists
from tasks.calendar.alternatives import expand
from tasks.calendar.due import (
    DuePlan,
    DueShot,
    ShotProblem,
    ShotTexts,
    due_with_problems,
    latest_occurrence,
    shot_message,
    upcoming_shots,
)
from tasks.calendar.recurrence import WEEKDAYS
from tasks.calendar.template import render
from tasks.persona.calendar_section import CalendarShot, split_lora
from tasks.persona.persona import Persona
from tasks.settings.mistakes import control_character_problem

LISTS = "wildcards"
"""The folder of the lists, beside the persona files."""
MAX_CAPTION_LENGTH = 2200
MAX_ALT_LENGTH = 1000
MAX_HASHTAGS = 30
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
          "december")  # fmt: skip
SEASONS = ("winter", "spring", "summer", "autumn")

Published = Mapping[str, str | date | datetime | None]


def plan_due(persona: Persona, since: datetime, now: datetime, published: Published | None = None) -> DuePlan:
    """Return what is due after `since`, up to and including `now`, with texts. `published` says when a shot last was."""
    return _add_texts(due_with_problems(persona, since, now), persona, published or {})


def plan_ahead(persona: Persona, since: datetime, until: datetime, published: Published | None = None) -> DuePlan:
    """Return everything that will be due, with the texts it will have if nothing changes."""
    return _add_texts(upcoming_shots(persona, since, until), persona, published or {})


def _add_texts(found: DuePlan, persona: Persona, published: Published) -> DuePlan:
    plan = DuePlan(problems=found.problems, notes=found.notes)
    for due in found.due:
        try:
            init, init_key = _init_picture(due, persona)
            words = shot_texts(due, persona, published.get(due.shot))
            loras = _lora_files(due, persona)
            plan.due.append(dataclasses.replace(due, words=words, init=init, init_key=init_key, loras=loras))
        except UserError as error:
            plan.problems.append(ShotProblem(due.shot, shot_message(persona, due.shot, error), due.key))
    # Of shots due at the same moment, the one that another starts from comes first.
    shots = {shot.id: shot for shot in persona.calendar.shots}
    plan.due.sort(key=lambda due: (due.when.astimezone(UTC), len(list(_init_chain(due.shot, shots)))))
    return plan


def shot_texts(due: DueShot, persona: Persona, published: str | date | datetime | None = None) -> ShotTexts:
    """Return the texts of one occurrence."""
    texts = _TextRenderer(due, persona, published)
    entry = due.entry
    words = ShotTexts(
        prompt=_single_line(
            texts.render_text("prompt", entry.prompt, token=_weighted_token(persona.token, entry.token_weight))
        ),
        negative=None if entry.negative is None else _single_line(texts.render_text("negative", entry.negative)),
        caption=_clean_lines(texts.render_text("caption", entry.caption)),
        alt=_single_line(texts.render_text("alt", entry.alt)),
        hashtags=clean_hashtags([texts.render_text("hashtags", tag).strip() for tag in entry.hashtags]),
    )
    check_instagram_limits(words)
    return words


def season_of(day: date, hemisphere: str) -> str:
    """Return the season of a day: winter begins in December in the north and in June in the south."""
    return SEASONS[(day.month % 12 // 3 + (2 if hemisphere == "south" else 0)) % 4]


class _TextRenderer:
    """Makes the texts of one occurrence: first the template, then the choices."""

    def __init__(self, due: DueShot, persona: Persona, published: str | date | datetime | None) -> None:
        day = due.when.date()
        self.key = f"{persona.calendar.seed} {due.key}"
        self.folder = persona.file.parent / LISTS
        self.values: dict[str, str | int | date] = {
            "date": day,
            "season": season_of(day, persona.calendar.hemisphere),
            "weekday": WEEKDAYS[day.weekday()],
            "month": MONTHS[day.month - 1],
            "day": day.day,
            "year": day.year,
            "count": due.count,
            "last_published": str(published or ""),
            "token": persona.token,
            "name": persona.name,
            "subject": persona.subject,
        }

    def render_text(self, name: str, source: str, **others: str) -> str:
        """Render one text; `others` replace the values of the same names."""
        try:
            return expand(render(source, {**self.values, **others}), self.key, self.folder)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None


def _weighted_token(token: str, weight: float) -> str:
    return token if weight == 1 else f"({token}:{round(weight, 3):g})"


def _single_line(text: str) -> str:
    return " ".join(text.split())


def _clean_lines(text: str) -> str:
    """Remove double spaces, such as an empty option leaves, and keep the line breaks."""
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def clean_hashtags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the hashtags without the #, each once; empty ones are left out."""
    names: dict[str, str] = {}
    for tag in filter(None, tags):
        name = tag.removeprefix("#")
        if not re.fullmatch(r"\w+", name) or name.isdecimal():
            raise UserError(f"hashtags: {tag[:60]!r} is no hashtag: use letters, digits and _, without spaces")
        names.setdefault(name.casefold(), name)
    return tuple(names.values())


def check_instagram_limits(words: ShotTexts) -> None:
    """Check that Instagram accepts texts like these."""
    for name in ("prompt", "negative", "caption", "alt"):  # templates and lists can make what the file does not hold
        if problem := control_character_problem(getattr(words, name) or ""):
            raise UserError(f"{name}: {problem}")
    if not words.prompt:
        raise UserError("prompt: comes out empty: write one that always says something")
    if len(words.post_text) > MAX_CAPTION_LENGTH:
        raise UserError(
            f"caption: has {len(words.post_text)} characters with its hashtags: {MAX_CAPTION_LENGTH} are the most Instagram takes"
        )
    tags = len(re.findall(r"(?<!\w)#\w", words.post_text))
    if tags > MAX_HASHTAGS:
        raise UserError(f"hashtags: are {tags} with those in the caption: {MAX_HASHTAGS} are the most Instagram takes")
    if len(words.alt) > MAX_ALT_LENGTH:
        raise UserError(f"alt: has {len(words.alt)} characters: write at most {MAX_ALT_LENGTH}")


def _init_picture(due: DueShot, persona: Persona) -> tuple[Path | None, str]:
    """Find the picture to start from: a file, or the latest picture of another shot of the calendar."""
    name = due.entry.init
    if not name:
        return None, ""
    shots = {shot.id: shot for shot in persona.calendar.shots}
    if name in shots:
        return None, _chained_key(due, shots, persona)
    if any(broken.id == name for broken in persona.calendar.invalid_shots):
        raise UserError(f"init: the shot {name!r} cannot be read: mend that one first")
    file = persona.file.parent / expand_path(name)
    if not (path_exists(file) and file.is_file()):
        raise UserError(
            f"init: {name!r} is no shot of this calendar, and there is no picture at {file}: check the name"
        )
    return file, ""


def _lora_files(due: DueShot, persona: Persona) -> tuple[tuple[Path, float], ...]:
    """Find the LoRA files, beside the persona's file or beside the settings."""
    beside = persona.file.parent
    files = []
    for name, weight in map(split_lora, due.entry.loras):
        places = [beside / expand_path(name), beside.parent / expand_path(name)]
        file = next((place for place in places if path_exists(place) and place.is_file()), None)
        if not file:
            raise UserError(f"loras: there is no file at {places[0]}: check the name")
        files.append((file, weight))
    return tuple(files)


def _chained_key(due: DueShot, shots: Mapping[str, CalendarShot], persona: Persona) -> str:
    chain = list(_init_chain(due.shot, shots))
    if len(chain) != len(set(chain)):
        raise UserError(
            f"init: the shots {' → '.join(chain)} start from each other: let one of them start from nothing"
        )
    try:
        earlier = latest_occurrence(persona, shots[due.entry.init], due.when)
    except UserError as error:
        raise UserError(f"init: the shot {due.entry.init!r} is never due: {error}") from None
    if earlier is None:
        raise UserError(f"init: {due.entry.init!r} is not due before {due.when:%Y-%m-%d}: let it be due earlier")
    return earlier.key


def _init_chain(start: str, shots: Mapping[str, CalendarShot]) -> Iterator[str]:
    """Follow each shot to the one it starts from, up to the first that repeats."""
    met: set[str] = set()
    name = start
    while name in shots:
        yield name
        if name in met:
            return
        met.add(name)
        name = shots[name].init
