"""The persona file, `prompts/<persona>.toml`: who the pictures are of, and which reference pictures to ask for."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import permutations
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from models.picture.shot import MAX_SEED, MAX_STEPS
from models.sdxl.embedding import check_token
from models.system.errors import UserError
from models.system.files import path_of
from tasks.persona.calendar_section import Calendar
from tasks.settings import mistakes

FOLDER = "prompts"
LONGEST_NAME = 64
# How far ahead the next phrase of an axis is looked for; with more phrases than this, chance spreads them well enough.
AHEAD = 24


def check_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", value) or len(value) > LONGEST_NAME:
        raise ValueError(f"at most {LONGEST_NAME} lowercase letters, digits, - and _, such as pip")
    return value


def _token(value: str) -> str:
    try:
        check_token(value)
    except UserError:
        raise ValueError(
            r"a word in angle brackets without spaces or any of ()[]:|\ in between, such as <pip>"
        ) from None
    return value


def _line(value: str) -> str:
    """A text may stand on several lines in the file; the text encoders see no difference."""
    return mistakes.text(" ".join(value.split()))


def _words(value: str) -> str:
    if not value:
        raise ValueError("a text that is not empty")
    return value


def _phrases(values: tuple[str, ...]) -> tuple[str, ...]:
    if "" in values:
        raise mistakes.mistake("holds an empty phrase: take it out, or say what it should stand for")
    times = Counter(value.casefold() for value in values)  # text encoders do not see capitals
    twice = next((value for value in values if times[value.casefold()] > 1), None)
    if twice:
        raise mistakes.mistake(f"holds {twice!r} twice: take one of them out")
    return values


Line = Annotated[str, AfterValidator(_line)]
Words = Annotated[Line, AfterValidator(_words)]
Phrases = Annotated[tuple[Line, ...], AfterValidator(_phrases)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Matrix(Part):
    """What the reference pictures are to differ in. An axis without phrases is left to the model."""

    framing: Phrases = ()
    angle: Phrases = ()
    background: Phrases = ()
    expression: Phrases = ()
    clothing: Phrases = ()
    pose: Phrases = ()
    light: Phrases = ()

    def axes(self) -> dict[str, tuple[str, ...]]:
        """The axes that have phrases."""
        return {axis: phrases for axis, phrases in self if phrases}


AXES = tuple(Matrix.model_fields)


class References(Part):
    source: Literal["generate", "folder"] = "generate"
    folder: str = ""
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    candidates: Annotated[int, Field(ge=0, le=10_000)] = 0  # 0: what the settings say
    keep: Annotated[int, Field(ge=0, le=1000)] = 0  # 0: what the settings say
    identity: Literal["", "cluster", "core"] = ""  # empty: what the settings say
    guidance: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None  # None: what the settings say
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = None  # None: what the settings say
    negative: Line | None = None  # None: what the settings say
    matrix: Matrix = Matrix()
    prompt: Line = "{subject}"  # after the matrix, which its check needs

    @field_validator("folder")
    @classmethod
    def _check_folder(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("source") == "folder" and not value:
            raise mistakes.mistake('is empty, and source = "folder" needs it: name the folder with your own pictures')
        return value

    @field_validator("keep")
    @classmethod
    def _check_keep(cls, value: int, info: ValidationInfo) -> int:
        candidates = info.data.get("candidates", 0)
        if candidates and value > candidates:
            raise mistakes.mistake(f"= {value} is more than candidates = {candidates}: keep fewer or make more")
        return value

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, value: str, info: ValidationInfo) -> str:
        named = _placeholders(value)
        if "subject" not in named:
            raise mistakes.mistake("does not name {subject}: write {subject} where the persona belongs")
        matrix = info.data.get("matrix")
        if matrix and (without := [axis for axis in named if axis != "subject" and axis not in matrix.axes()]):
            raise mistakes.mistake(
                f"names {{{without[0]}}}, which has no phrases: add {without[0]} = [...] to [references.matrix]"
                f" or take {{{without[0]}}} out"
            )
        return value


class Previews(Part):
    """Pictures to look at while the word is learned."""

    prompts: Phrases = ()  # none: the usual ones of the persona's kind
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0

    @field_validator("prompts")
    @classmethod
    def _check_prompts(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if without := [value for value in values if "{subject}" not in value]:
            raise mistakes.mistake(
                f"holds {without[0]!r} without {{subject}}: write {{subject}} where the persona belongs"
            )
        return values


class Schedule(Part):
    """When the daily run of this persona starts."""

    cron: Annotated[str, AfterValidator(mistakes.cron)] | None = None  # None: what the settings say
    timezone: Annotated[str, AfterValidator(mistakes.zone)] | None = None  # None: what the settings say


class Persona(Part):
    """A recurring subject, as its file describes it."""

    name: Annotated[str, AfterValidator(check_name), Field(examples=["pip"])]
    token: Annotated[str, AfterValidator(_token), Field(examples=["<pip>"])]
    class_word: Annotated[Words, Field(examples=["fox"])]
    kind: Annotated[Literal["character", "object", "style"], Field(examples=["character"])]
    subject: Annotated[Words, Field(examples=["a teal fox with a gold belly"])]
    model: str = ""  # the one of the settings
    references: References = Field(default_factory=References)
    preview: Previews = Field(default_factory=Previews)
    schedule: Schedule = Field(default_factory=Schedule)
    calendar: Calendar = Field(default_factory=Calendar)

    _place: Path = PrivateAttr(default=Path())

    @field_validator("subject")
    @classmethod
    def _check_subject(cls, value: str, info: ValidationInfo) -> str:
        token = info.data.get("token")
        if token and token in value:
            raise mistakes.mistake(f"holds {token}, which no model knows yet: describe it in ordinary words")
        return value

    @property
    def file(self) -> Path:
        return self._place / f"{self.name}.toml"

    @property
    def folder(self) -> Path:
        """Where the persona's own pictures lie. Typed paths start from the persona file."""
        return self._place / path_of(self.references.folder)


def load(path: Path) -> Persona:
    """Read a persona file."""
    file = path_of(path)
    if not file.is_file():
        raise UserError(f"there is no persona file at {file}: check the path")
    try:
        persona = Persona.model_validate(mistakes.toml(file))
    except ValidationError as error:
        raise UserError(mistakes.sentence(error, Persona, lambda _: file)) from None
    if persona.name != file.stem:
        raise UserError(
            f'{file}: name = {persona.name!r} is not the name of the file: write name = "{file.stem}" or call the file'
            f" {persona.name}.toml"
        )
    persona._place = file.resolve().parent
    return persona


def find(name: str, folder: Path) -> Persona:
    """A persona by name, from the folder `prompts` in `folder`, or by the path of its file."""
    if name.endswith(".toml") or "/" in name or "\\" in name:
        return load(path_of(name))
    if name and not name.startswith(".") and file_of(name, folder).is_file():
        return load(file_of(name, folder))
    known, place = names(folder), folder / FOLDER
    if not known:
        raise UserError(f"there is no persona {name!r}: {place} holds none; make one with restage new persona NAME")
    close = get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UserError(f"there is no persona {name!r} in {place}: {hint}there {_listed(known)}")


def names(folder: Path) -> list[str]:
    """The personas that have a file in the folder `prompts` in `folder`."""
    files = (folder / FOLDER).glob("*.toml")
    return sorted(file.stem for file in files if file.is_file() and not file.name.startswith("."))


def file_of(name: str, folder: Path) -> Path:
    return folder / FOLDER / f"{name}.toml"


def _listed(known: Sequence[str]) -> str:
    return f"is only {known[0]}" if len(known) == 1 else f"are {', '.join(known[:-1])} and {known[-1]}"


def cells(persona: Persona, count: int) -> list[dict[str, str]]:
    """For each of `count` candidates one phrase of every axis. The first ones stay the same whatever the count.

    Every axis runs through all its phrases, each time in another order, before one comes again; within that, the phrase
    is taken that has met the others of the cell least. Orders go by position: a reworded phrase keeps its place.
    """
    axes = persona.references.matrix.axes()
    left: dict[str, list[str]] = {axis: [] for axis in axes}
    met: Counter[tuple[tuple[str, str], ...]] = Counter()
    found = []
    for number in range(count):
        for axis, phrases in axes.items():
            left[axis] = left[axis] or _shuffled(phrases, f"{axis} {number}")
        cell: dict[str, str] = {}
        for axis in sorted(axes, key=lambda axis: len(left[axis])):  # who has least choice chooses first
            ahead = left[axis][-AHEAD:]
            times = [sum(met[other, (axis, phrase)] for other in cell.items()) for phrase in ahead]
            cell[axis] = left[axis].pop(times.index(min(times)) - len(ahead))
        met.update(permutations(cell.items(), 2))
        found.append({axis: cell[axis] for axis in axes})
    return found


def _shuffled(phrases: Sequence[str], key: str) -> list[str]:
    """By hash: Python does not promise that its own shuffling stays the same between versions."""
    order = sorted(range(len(phrases)), key=lambda place: hashlib.sha256(f"{key} {place}".encode()).digest())
    return [phrases[place] for place in order]


def prompt_for(persona: Persona, cell: Mapping[str, str], subject: str | None = None) -> str:
    """The prompt of a cell; `subject` stands in for the persona's own words, such as the token once it is learned."""
    template = persona.references.prompt
    values = {**cell, "subject": persona.subject if subject is None else subject}
    named = _placeholders(template)
    rest = [cell[axis] for axis in AXES if axis in cell and axis not in named]
    return ", ".join([template.format_map(values), *rest])


def article(words: str) -> str:
    """The words as they stand in a sentence: `a fox`, `an owl`, `the Eiffel tower`, `two cats`."""
    first = words.split(" ")[0].lower()
    if first in ("a", "an", "the", "in", "two", "some", "many") or first.endswith("s"):
        return words
    return f"{'an' if first[:1] in 'aeiou' else 'a'} {words}"


def seed_for(persona: Persona, number: int) -> int:
    """The seed of a candidate: it does not change when the prompt does, so that two wordings can be compared."""
    digest = hashlib.sha256(f"{persona.references.seed} {number}".encode()).digest()
    return int.from_bytes(digest[:4])


def _placeholders(template: str) -> list[str]:
    """The names in braces, each of which is known; what else braces can do in Python has no meaning in a prompt."""
    known = ["{subject}", *(f"{{{axis}}}" for axis in AXES)]
    found = []
    for field, extra in _fields(template):
        name = f"{{{field}}}"
        if name not in known:
            raise mistakes.mistake(f"names {name}, which is no placeholder{mistakes.near(name, known)}")
        if extra:
            raise mistakes.mistake(f"says more than a name in {{{field}{extra}}}: write {name}")
        found.append(field)
    return found


def _fields(template: str) -> Iterator[tuple[str, str]]:
    try:
        for _, field, spec, conversion in Formatter().parse(template):
            if field is not None:
                yield field, (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
    except ValueError:
        raise mistakes.mistake(
            "has a brace without its partner: write {{ or }} for one that is meant as it is"
        ) from None
