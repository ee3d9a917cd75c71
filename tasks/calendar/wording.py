"""What is due, with its texts: templates, choices and lists worked out for each occurrence, and checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from models.system.errors import UserError
from models.system.files import is_there, path_of
from tasks.calendar.alternatives import expand
from tasks.calendar.due import Due, Plan, Problem, Words, ahead, look, newest, sentence
from tasks.calendar.recurrence import WEEKDAYS
from tasks.calendar.template import render
from tasks.persona.calendar_section import CalendarShot, lora_of
from tasks.persona.persona import Persona
from tasks.settings.mistakes import unseen

LISTS = "wildcards"
"""The folder of the lists, beside the persona files."""
LONGEST_CAPTION = 2200
LONGEST_ALT = 1000
MOST_HASHTAGS = 30
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
          "december")  # fmt: skip
SEASONS = ("winter", "spring", "summer", "autumn")

Published = Mapping[str, str | date | datetime | None]


def plan(persona: Persona, since: datetime, now: datetime, published: Published | None = None) -> Plan:
    """What is due after `since`, up to and including `now`, worded. `published` says when a shot was published last."""
    return _worded(look(persona, since, now), persona, published or {})


def plan_ahead(persona: Persona, since: datetime, until: datetime, published: Published | None = None) -> Plan:
    """Everything that will be due, worded the way it will be if nothing changes."""
    return _worded(ahead(persona, since, until), persona, published or {})


def _worded(found: Plan, persona: Persona, published: Published) -> Plan:
    made = Plan(problems=found.problems, notes=found.notes)
    for each in found.due:
        try:
            init, init_key = _init(each, persona)
            words = word(each, persona, published.get(each.shot))
            loras = _loras(each, persona)
            made.due.append(dataclasses.replace(each, words=words, init=init, init_key=init_key, loras=loras))
        except UserError as error:
            made.problems.append(Problem(each.shot, sentence(persona, each.shot, error), each.key))
    # Of shots due at the same moment, the one that another starts from comes first.
    shots = {shot.id: shot for shot in persona.calendar.shots}
    made.due.sort(key=lambda each: (each.when.astimezone(UTC), len(list(_chain(each.shot, shots)))))
    return made


def word(each: Due, persona: Persona, published: str | date | datetime | None = None) -> Words:
    """The texts of one occurrence."""
    texts = _Texts(each, persona, published)
    entry = each.entry
    words = Words(
        prompt=_line(texts.made("prompt", entry.prompt, token=_weighed(persona.token, entry.token_weight))),
        negative=None if entry.negative is None else _line(texts.made("negative", entry.negative)),
        caption=_lines(texts.made("caption", entry.caption)),
        alt=_line(texts.made("alt", entry.alt)),
        hashtags=hashtags([texts.made("hashtags", tag).strip() for tag in entry.hashtags]),
    )
    check(words)
    return words


def season(day: date, hemisphere: str) -> str:
    """By the calendar: winter begins in December in the north and in June in the south."""
    return SEASONS[(day.month % 12 // 3 + (2 if hemisphere == "south" else 0)) % 4]


class _Texts:
    """Makes the texts of one occurrence: first the template, then the choices."""

    def __init__(self, each: Due, persona: Persona, published: str | date | datetime | None) -> None:
        day = each.when.date()
        self.key = f"{persona.calendar.seed} {each.key}"
        self.folder = persona.file.parent / LISTS
        self.values: dict[str, str | int | date] = {
            "date": day,
            "season": season(day, persona.calendar.hemisphere),
            "weekday": WEEKDAYS[day.weekday()],
            "month": MONTHS[day.month - 1],
            "day": day.day,
            "year": day.year,
            "count": each.count,
            "last_published": str(published or ""),
            "token": persona.token,
            "name": persona.name,
            "subject": persona.subject,
        }

    def made(self, name: str, source: str, **others: str) -> str:
        """`others` take the place of the values of the same names."""
        try:
            return expand(render(source, {**self.values, **others}), self.key, self.folder)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None


def _weighed(token: str, weight: float) -> str:
    return token if weight == 1 else f"({token}:{round(weight, 3):g})"


def _line(text: str) -> str:
    return " ".join(text.split())


def _lines(text: str) -> str:
    """Lines stay; what an empty option left of double spaces does not."""
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def hashtags(tags: Sequence[str]) -> tuple[str, ...]:
    """Without the #, each once; one that came out empty is left out."""
    found: dict[str, str] = {}
    for tag in filter(None, tags):
        name = tag.removeprefix("#")
        if not re.fullmatch(r"\w+", name) or name.isdecimal():
            raise UserError(f"hashtags: {tag[:60]!r} is no hashtag: use letters, digits and _, without spaces")
        found.setdefault(name.casefold(), name)
    return tuple(found.values())


def check(words: Words) -> None:
    """Whether Instagram takes texts like these."""
    for name in ("prompt", "negative", "caption", "alt"):  # templates and lists can make what the file does not hold
        if problem := unseen(getattr(words, name) or ""):
            raise UserError(f"{name}: {problem}")
    if not words.prompt:
        raise UserError("prompt: comes out empty: write one that always says something")
    if len(words.post_text) > LONGEST_CAPTION:
        raise UserError(
            f"caption: has {len(words.post_text)} characters with its hashtags: {LONGEST_CAPTION} are the most Instagram takes"
        )
    tags = len(re.findall(r"(?<!\w)#\w", words.post_text))
    if tags > MOST_HASHTAGS:
        raise UserError(f"hashtags: are {tags} with those in the caption: {MOST_HASHTAGS} are the most Instagram takes")
    if len(words.alt) > LONGEST_ALT:
        raise UserError(f"alt: has {len(words.alt)} characters: write at most {LONGEST_ALT}")


def _init(each: Due, persona: Persona) -> tuple[Path | None, str]:
    """The picture to start from: a file, or what another shot of the calendar became last."""
    name = each.entry.init
    if not name:
        return None, ""
    shots = {shot.id: shot for shot in persona.calendar.shots}
    if name in shots:
        return None, _chained(each, shots, persona)
    if any(broken.id == name for broken in persona.calendar.broken):
        raise UserError(f"init: the shot {name!r} cannot be read: mend that one first")
    file = persona.file.parent / path_of(name)
    if not (is_there(file) and file.is_file()):
        raise UserError(
            f"init: {name!r} is no shot of this calendar, and there is no picture at {file}: check the name"
        )
    return file, ""


def _loras(each: Due, persona: Persona) -> tuple[tuple[Path, float], ...]:
    """The files, looked for beside the persona's file and beside the settings."""
    beside = persona.file.parent
    found = []
    for name, weight in map(lora_of, each.entry.loras):
        places = [beside / path_of(name), beside.parent / path_of(name)]
        file = next((place for place in places if is_there(place) and place.is_file()), None)
        if not file:
            raise UserError(f"loras: there is no file at {places[0]}: check the name")
        found.append((file, weight))
    return tuple(found)


def _chained(each: Due, shots: Mapping[str, CalendarShot], persona: Persona) -> str:
    chain = list(_chain(each.shot, shots))
    if len(chain) != len(set(chain)):
        raise UserError(
            f"init: the shots {' → '.join(chain)} start from each other: let one of them start from nothing"
        )
    try:
        earlier = newest(persona, shots[each.entry.init], each.when)
    except UserError as error:
        raise UserError(f"init: the shot {each.entry.init!r} is never due: {error}") from None
    if earlier is None:
        raise UserError(f"init: {each.entry.init!r} is not due before {each.when:%Y-%m-%d}: let it be due earlier")
    return earlier.key


def _chain(start: str, shots: Mapping[str, CalendarShot]) -> Iterator[str]:
    """From each shot to the one it starts from, up to the first that comes again."""
    met: set[str] = set()
    name = start
    while name in shots:
        yield name
        if name in met:
            return
        met.add(name)
        name = shots[name].init
