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
from models.system.files import expand_path
from tasks.persona.calendar_section import Calendar
from tasks.settings import mistakes

FOLDER = "prompts"
MAX_NAME_LENGTH = 64
# How far ahead the next phrase of an axis is looked for; with more phrases than this, chance spreads them well enough.
MAX_PHRASES_AHEAD = 24


def check_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", value) or len(value) > MAX_NAME_LENGTH:
        raise ValueError(f"at most {MAX_NAME_LENGTH} lowercase letters, digits, - and _, such as pip")
    return value


def _check_token(value: str) -> str:
    try:
        check_token(value)
    except UserError:
        raise ValueError(
            r"a word in angle brackets without spaces or any of ()[]:|\ in between, such as <pip>"
        ) from None
    return value


def _join_lines(value: str) -> str:
    """Join the lines of a text: the text encoders see no difference."""
    return mistakes.check_text(" ".join(value.split()))


def _check_not_empty(value: str) -> str:
    if not value:
        raise ValueError("a text that is not empty")
    return value


def _check_phrases(values: tuple[str, ...]) -> tuple[str, ...]:
    if "" in values:
        raise mistakes.input_error("holds an empty phrase: take it out, or say what it should stand for")
    times = Counter(value.casefold() for value in values)  # text encoders do not see capitals
    twice = next((value for value in values if times[value.casefold()] > 1), None)
    if twice:
        raise mistakes.input_error(f"holds {twice!r} twice: take one of them out")
    return values


Line = Annotated[str, AfterValidator(_join_lines)]
Words = Annotated[Line, AfterValidator(_check_not_empty)]
Phrases = Annotated[tuple[Line, ...], AfterValidator(_check_phrases)]


class PersonaSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Matrix(PersonaSection):
    """The axes along which the reference pictures differ. An axis without phrases is left to the model."""

    framing: Phrases = ()
    angle: Phrases = ()
    background: Phrases = ()
    expression: Phrases = ()
    clothing: Phrases = ()
    pose: Phrases = ()
    light: Phrases = ()

    def used_axes(self) -> dict[str, tuple[str, ...]]:
        """Return the axes that have phrases."""
        return {axis: phrases for axis, phrases in self if phrases}


AXES = tuple(Matrix.model_fields)


class PersonaReferences(PersonaSection):
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
            raise mistakes.input_error(
                'is empty, and source = "folder" needs it: name the folder with your own pictures'
            )
        return value

    @field_validator("keep")
    @classmethod
    def _check_keep(cls, value: int, info: ValidationInfo) -> int:
        candidates = info.data.get("candidates", 0)
        if candidates and value > candidates:
            raise mistakes.input_error(f"= {value} is more than candidates = {candidates}: keep fewer or make more")
        return value

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, value: str, info: ValidationInfo) -> str:
        placeholders = _placeholder_names(value)
        if "subject" not in placeholders:
            raise mistakes.input_error("does not name {subject}: write {subject} where the persona belongs")
        matrix = info.data.get("matrix")
        if matrix and (
            without := [axis for axis in placeholders if axis != "subject" and axis not in matrix.used_axes()]
        ):
            raise mistakes.input_error(
                f"names {{{without[0]}}}, which has no phrases: add {without[0]} = [...] to [references.matrix]"
                f" or take {{{without[0]}}} out"
            )
        return value


class Previews(PersonaSection):
    """Pictures to look at while the embedding is trained."""

    prompts: Phrases = ()  # none: the usual ones of the persona's kind
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0

    @field_validator("prompts")
    @classmethod
    def _check_prompts(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if without := [value for value in values if "{subject}" not in value]:
            raise mistakes.input_error(
                f"holds {without[0]!r} without {{subject}}: write {{subject}} where the persona belongs"
            )
        return values


class PersonaSchedule(PersonaSection):
    """The schedule of this persona's daily run."""

    cron: Annotated[str, AfterValidator(mistakes.check_cron)] | None = None  # None: what the settings say
    timezone: Annotated[str, AfterValidator(mistakes.check_time_zone)] | None = None  # None: what the settings say


class Persona(PersonaSection):
    """A recurring subject, as its file describes it."""

    name: Annotated[str, AfterValidator(check_name), Field(examples=["pip"])]
    token: Annotated[str, AfterValidator(_check_token), Field(examples=["<pip>"])]
    class_word: Annotated[Words, Field(examples=["fox"])]
    kind: Annotated[Literal["character", "object", "style"], Field(examples=["character"])]
    subject: Annotated[Words, Field(examples=["a teal fox with a gold belly"])]
    model: str = ""  # the one of the settings
    references: PersonaReferences = Field(default_factory=PersonaReferences)
    preview: Previews = Field(default_factory=Previews)
    schedule: PersonaSchedule = Field(default_factory=PersonaSchedule)
    calendar: Calendar = Field(default_factory=Calendar)

    _place: Path = PrivateAttr(default=Path())

    @field_validator("subject")
    @classmethod
    def _check_subject(cls, value: str, info: ValidationInfo) -> str:
        token = info.data.get("token")
        if token and token in value:
            raise mistakes.input_error(f"holds {token}, which no model knows yet: describe it in ordinary words")
        return value

    @property
    def file(self) -> Path:
        return self._place / f"{self.name}.toml"

    @property
    def folder(self) -> Path:
        """Return the folder of the persona's own pictures; a relative path starts from the persona file."""
        return self._place / expand_path(self.references.folder)


def load_persona(path: Path) -> Persona:
    """Read a persona file."""
    file = expand_path(path)
    if not file.is_file():
        raise UserError(f"there is no persona file at {file}: check the path")
    try:
        persona = Persona.model_validate(mistakes.read_toml(file))
    except ValidationError as error:
        raise UserError(mistakes.explain_validation_error(error, Persona, lambda _: file)) from None
    if persona.name != file.stem:
        raise UserError(
            f'{file}: name = {persona.name!r} is not the name of the file: write name = "{file.stem}" or call the file'
            f" {persona.name}.toml"
        )
    persona._place = file.resolve().parent
    return persona


def find_persona(name: str, folder: Path) -> Persona:
    """Load a persona by its name in the folder `prompts` of `folder`, or by the path of its file."""
    if name.endswith(".toml") or "/" in name or "\\" in name:
        return load_persona(expand_path(name))
    if name and not name.startswith(".") and persona_file(name, folder).is_file():
        return load_persona(persona_file(name, folder))
    names, place = persona_names(folder), folder / FOLDER
    if not names:
        raise UserError(f"there is no persona {name!r}: {place} holds none; make one with restage new persona NAME")
    close = get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UserError(f"there is no persona {name!r} in {place}: {hint}there {_list_names(names)}")


def persona_names(folder: Path) -> list[str]:
    """List the personas that have a file in the folder `prompts` of `folder`."""
    files = (folder / FOLDER).glob("*.toml")
    return sorted(file.stem for file in files if file.is_file() and not file.name.startswith("."))


def persona_file(name: str, folder: Path) -> Path:
    return folder / FOLDER / f"{name}.toml"


def _list_names(names: Sequence[str]) -> str:
    return f"is only {names[0]}" if len(names) == 1 else f"are {', '.join(names[:-1])} and {names[-1]}"


def candidate_cells(persona: Persona, count: int) -> list[dict[str, str]]:
    """Return for each of `count` candidates one phrase of every axis. The first ones do not depend on the count.

    Every axis uses all its phrases, each time in another order, before one is repeated; within that, the phrase is taken
    that was combined least often with the others of the cell. Orders go by position: a reworded phrase keeps its place.
    """
    axes = persona.references.matrix.used_axes()
    remaining: dict[str, list[str]] = {axis: [] for axis in axes}
    met: Counter[tuple[tuple[str, str], ...]] = Counter()
    cells = []
    for number in range(count):
        for axis, phrases in axes.items():
            remaining[axis] = remaining[axis] or _shuffle_by_hash(phrases, f"{axis} {number}")
        cell: dict[str, str] = {}
        for axis in sorted(axes, key=lambda axis: len(remaining[axis])):  # who has least choice chooses first
            ahead = remaining[axis][-MAX_PHRASES_AHEAD:]
            times = [sum(met[other, (axis, phrase)] for other in cell.items()) for phrase in ahead]
            cell[axis] = remaining[axis].pop(times.index(min(times)) - len(ahead))
        met.update(permutations(cell.items(), 2))
        cells.append({axis: cell[axis] for axis in axes})
    return cells


def _shuffle_by_hash(phrases: Sequence[str], key: str) -> list[str]:
    """Shuffle by hash: Python does not promise that its own shuffling stays the same between versions."""
    order = sorted(range(len(phrases)), key=lambda place: hashlib.sha256(f"{key} {place}".encode()).digest())
    return [phrases[place] for place in order]


def prompt_for(persona: Persona, cell: Mapping[str, str], subject: str | None = None) -> str:
    """Return the prompt of a cell; `subject` replaces the persona's own description, such as by the learned token."""
    template = persona.references.prompt
    values = {**cell, "subject": persona.subject if subject is None else subject}
    placeholders = _placeholder_names(template)
    rest = [cell[axis] for axis in AXES if axis in cell and axis not in placeholders]
    return ", ".join([template.format_map(values), *rest])


def with_article(words: str) -> str:
    """Return the words with their article: `a fox`, `an owl`, `the Eiffel tower`, `two cats`."""
    first = words.split(" ")[0].lower()
    if first in ("a", "an", "the", "in", "two", "some", "many") or first.endswith("s"):
        return words
    return f"{'an' if first[:1] in 'aeiou' else 'a'} {words}"


def seed_for(persona: Persona, number: int) -> int:
    """Return the seed of a candidate. It does not depend on the prompt, so that two wordings can be compared."""
    digest = hashlib.sha256(f"{persona.references.seed} {number}".encode()).digest()
    return int.from_bytes(digest[:4])


def _placeholder_names(template: str) -> list[str]:
    """List the names in braces and check that each is known; other things that braces can do in Python are refused."""
    allowed = ["{subject}", *(f"{{{axis}}}" for axis in AXES)]
    names = []
    for field, extra in _template_fields(template):
        name = f"{{{field}}}"
        if name not in allowed:
            raise mistakes.input_error(f"names {name}, which is no placeholder{mistakes.did_you_mean(name, allowed)}")
        if extra:
            raise mistakes.input_error(f"says more than a name in {{{field}{extra}}}: write {name}")
        names.append(field)
    return names


def _template_fields(template: str) -> Iterator[tuple[str, str]]:
    try:
        for _, field, spec, conversion in Formatter().parse(template):
            if field is not None:
                yield field, (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
    except ValueError:
        raise mistakes.input_error(
            "has a brace without its partner: write {{ or }} for one that is meant as it is"
        ) from None
