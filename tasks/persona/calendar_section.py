"""The calendar in the persona file: `[calendar]` and its shots. `tasks.calendar` works out what they mean."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from models.picture.shot import MAX_SEED, MAX_STEPS, SAMPLERS, sampler_name
from models.system.errors import UserError
from tasks.settings import mistakes

LONGEST_ID = 64
LORA = ".safetensors"
MOST_LORA = 10
"""The weight of a LoRA that still means anything."""
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2199, 12, 31)
BEGINNING = date(2026, 1, 1)
"""Where a calendar begins that does not say: shots are counted from there."""


def _id(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", value) or len(value) > LONGEST_ID:
        raise ValueError(f"at most {LONGEST_ID} lowercase letters, digits, - and _, such as monday-walk")
    return value


def _day(value: Any) -> Any:
    """TOML's own date or the same as a text; pydantic alone would also take the number 3 for a day in 1970."""
    day = day_of(value) if isinstance(value, str) else value
    if not isinstance(day, date) or isinstance(day, datetime):
        raise mistakes.mistake(f"= {str(value)[:40]!r} is no date: write it as 2026-12-24")
    if not FIRST_DAY <= day <= LAST_DAY:
        raise mistakes.mistake(f"= {day} is out of range: use a date from {FIRST_DAY} to {LAST_DAY}")
    return day


def day_of(text: str) -> date | None:
    """The day of a text such as 2026-12-24; None where it is none."""
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
    except ValueError:
        return None


def _time(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", value, re.ASCII):
        hour, minute = value.split(":")
        return time(int(hour), int(minute))
    if isinstance(value, time) and value == time(value.hour, value.minute):
        return value
    raise mistakes.mistake(f"= {str(value)[:40]!r} is no time of day: write it as 09:00")


def _when(value: Any) -> Any:
    """TOML's own date is as good as the same in quotes."""
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value


def _sampler(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return sampler_name(value)
    except UserError:
        raise mistakes.mistake(
            f"= {value[:40]!r} is no sampler{mistakes.near(value.lower(), list(SAMPLERS))}"
        ) from None


def lora_of(text: str) -> tuple[str, float]:
    """The file and the weight of a text such as `watercolour.safetensors:0.8`; without a number the weight is 1."""
    path, colon, weight = text.rpartition(":")
    if text.endswith(LORA) or not colon:
        return text, 1.0
    try:
        return path, float(weight)
    except ValueError:
        return path, math.nan


def _lora(value: str) -> str:
    path, weight = lora_of(value)
    if not path.endswith(LORA) or len(path) == len(LORA):
        raise mistakes.mistake(f"= {value[:80]!r} is no file of a LoRA: write it as file.safetensors:0.8")
    if not abs(weight) <= MOST_LORA:
        number = value.rpartition(":")[2]
        raise mistakes.mistake(
            f"= {value[:80]!r} has the weight {number[:40]!r}: use a number from -{MOST_LORA} to {MOST_LORA}"
        )
    return value


def _words(value: str) -> str:
    if not value.strip():
        raise ValueError("a text that is not empty")
    return mistakes.text(value)


Words = Annotated[str, AfterValidator(_words)]
Text = Annotated[str, AfterValidator(mistakes.text)]
Account = Annotated[str, AfterValidator(mistakes.account)]
Day = Annotated[date, BeforeValidator(_day)]
Size = Literal["square", "portrait", "landscape", "story"]
CatchUp = Literal["skip", "latest", "all"]


class Defaults(BaseModel):
    """What a shot may leave to the calendar."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    at: Annotated[time, BeforeValidator(_time)] = time(0)
    from_: Annotated[Day, Field(alias="from")] = BEGINNING
    until: Day = LAST_DAY
    catch_up: CatchUp = "latest"
    negative: Text | None = None  # None: what the settings say
    hashtags: tuple[Text, ...] = ()
    account: Account = ""  # the one of the settings
    size: Size = "portrait"
    candidates: Annotated[int, Field(ge=0, le=1000)] = 0  # 0: what the settings say
    guidance: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None  # None: what the settings say
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = None  # None: what the settings say
    strength: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None  # None: what a shot starts from
    sampler: Annotated[str | None, BeforeValidator(_sampler)] = None  # None: what the settings say
    guidance_until: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = (
        None  # None: what the settings say
    )
    token_weight: Annotated[float, Field(ge=0.1, le=3, allow_inf_nan=False)] = 1.0
    loras: tuple[Annotated[str, AfterValidator(_lora)], ...] = ()
    refiner: str = ""
    refiner_strength: Annotated[float, Field(ge=0.01, le=1, allow_inf_nan=False)] = 0.3


_DEFAULTS = Defaults.model_fields


class CalendarShot(Defaults):
    """One `[[calendar.shot]]`, with the calendar's defaults filled in."""

    id: Annotated[str, AfterValidator(_id), Field(examples=["monday-walk"])]
    when: Annotated[Words, BeforeValidator(_when), Field(examples=["mon, thu"])]
    prompt: Annotated[Words, Field(examples=["a portrait of {{ token }} in the snow"])]
    caption: Text = ""
    alt: Text = ""
    init: str = ""


class BrokenShot(BaseModel):
    """A shot that cannot be read. It is reported with the plan, so that it keeps no other from being made."""

    model_config = ConfigDict(frozen=True)

    id: str
    problem: str


class Calendar(Defaults):
    timezone: Annotated[str, AfterValidator(mistakes.zone)] = "UTC"
    hemisphere: Literal["north", "south"] = "north"
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    shot: tuple[CalendarShot | BrokenShot, ...] = ()

    @field_validator("shot", mode="before")
    @classmethod
    def _read_shots(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, list | tuple) or not all(isinstance(each, Mapping) for each in value):
            raise mistakes.mistake("is no list of shots: write each of them under a heading [[calendar.shot]]")
        # What is wrong with a default is told where it stands.
        given = {field.alias or name: info.data[name] for name, field in _DEFAULTS.items() if name in info.data}
        shots = tuple(_shot(number, each, given) for number, each in enumerate(value, 1))
        ids = [shot.id for shot in shots]
        twice = next((name for name in ids if ids.count(name) > 1), None)
        if twice:
            raise mistakes.mistake(f"holds the id {twice!r} twice: give each shot its own")
        return shots

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def shots(self) -> list[CalendarShot]:
        """The shots that can be read."""
        return [shot for shot in self.shot if isinstance(shot, CalendarShot)]

    @property
    def broken(self) -> list[BrokenShot]:
        return [shot for shot in self.shot if isinstance(shot, BrokenShot)]


def _shot(number: int, value: Mapping[str, Any], given: Mapping[str, Any]) -> CalendarShot | BrokenShot:
    try:
        return CalendarShot.model_validate({**given, **value})
    except ValidationError as error:
        problem = mistakes.sentence(error, CalendarShot, lambda _: "").removeprefix(": ")
        return BrokenShot(id=str(value.get("id", f"number {number}"))[:LONGEST_ID], problem=problem)
