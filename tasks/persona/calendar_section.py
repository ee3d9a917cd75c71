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

MAX_ID_LENGTH = 64
LORA = ".safetensors"
MAX_LORA_WEIGHT = 10
"""The weight of a LoRA that still means anything."""
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2199, 12, 31)
BEGINNING = date(2026, 1, 1)
"""Where a calendar begins that does not say: shots are counted from there."""


def _check_id(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", value) or len(value) > MAX_ID_LENGTH:
        raise ValueError(f"at most {MAX_ID_LENGTH} lowercase letters, digits, - and _, such as monday-walk")
    return value


def _parse_day(value: Any) -> Any:
    """Read a TOML date, or the same as a text; pydantic alone would also take the number 3 for a day in 1970."""
    day = day_of(value) if isinstance(value, str) else value
    if not isinstance(day, date) or isinstance(day, datetime):
        raise mistakes.input_error(f"= {str(value)[:40]!r} is no date: write it as 2026-12-24")
    if not FIRST_DAY <= day <= LAST_DAY:
        raise mistakes.input_error(f"= {day} is out of range: use a date from {FIRST_DAY} to {LAST_DAY}")
    return day


def day_of(text: str) -> date | None:
    """Return the day of a text such as 2026-12-24, or None if it is no day."""
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
    except ValueError:
        return None


def _parse_time(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", value, re.ASCII):
        hour, minute = value.split(":")
        return time(int(hour), int(minute))
    if isinstance(value, time) and value == time(value.hour, value.minute):
        return value
    raise mistakes.input_error(f"= {str(value)[:40]!r} is no time of day: write it as 09:00")


def _date_as_text(value: Any) -> Any:
    """Turn a TOML date into a text: it means the same as one in quotes."""
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value


def _check_sampler(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return sampler_name(value)
    except UserError:
        raise mistakes.input_error(
            f"= {value[:40]!r} is no sampler{mistakes.did_you_mean(value.lower(), list(SAMPLERS))}"
        ) from None


def split_lora(text: str) -> tuple[str, float]:
    """Split a text such as `watercolour.safetensors:0.8` into file and weight; without a number the weight is 1."""
    path, colon, weight = text.rpartition(":")
    if text.endswith(LORA) or not colon:
        return text, 1.0
    try:
        return path, float(weight)
    except ValueError:
        return path, math.nan


def _check_lora(value: str) -> str:
    path, weight = split_lora(value)
    if not path.endswith(LORA) or len(path) == len(LORA):
        raise mistakes.input_error(f"= {value[:80]!r} is no file of a LoRA: write it as file.safetensors:0.8")
    if not abs(weight) <= MAX_LORA_WEIGHT:
        number = value.rpartition(":")[2]
        raise mistakes.input_error(
            f"= {value[:80]!r} has the weight {number[:40]!r}: use a number from -{MAX_LORA_WEIGHT} to {MAX_LORA_WEIGHT}"
        )
    return value


def _check_not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("a text that is not empty")
    return mistakes.check_text(value)


Words = Annotated[str, AfterValidator(_check_not_blank)]
Text = Annotated[str, AfterValidator(mistakes.check_text)]
Account = Annotated[str, AfterValidator(mistakes.check_account_name)]
Day = Annotated[date, BeforeValidator(_parse_day)]
Size = Literal["square", "portrait", "landscape", "story"]
CatchUp = Literal["skip", "latest", "all"]


class ShotDefaults(BaseModel):
    """The keys of a shot that the calendar may set for all shots."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    at: Annotated[time, BeforeValidator(_parse_time)] = time(0)
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
    sampler: Annotated[str | None, BeforeValidator(_check_sampler)] = None  # None: what the settings say
    guidance_until: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = (
        None  # None: what the settings say
    )
    token_weight: Annotated[float, Field(ge=0.1, le=3, allow_inf_nan=False)] = 1.0
    loras: tuple[Annotated[str, AfterValidator(_check_lora)], ...] = ()
    refiner: str = ""
    refiner_strength: Annotated[float, Field(ge=0.01, le=1, allow_inf_nan=False)] = 0.3


_DEFAULTS = ShotDefaults.model_fields


class CalendarShot(ShotDefaults):
    """One `[[calendar.shot]]`, with the calendar's defaults filled in."""

    id: Annotated[str, AfterValidator(_check_id), Field(examples=["monday-walk"])]
    when: Annotated[Words, BeforeValidator(_date_as_text), Field(examples=["mon, thu"])]
    prompt: Annotated[Words, Field(examples=["a portrait of {{ token }} in the snow"])]
    caption: Text = ""
    alt: Text = ""
    init: str = ""


class InvalidShot(BaseModel):
    """A shot that cannot be read. It is reported with the plan, and does not stop the others."""

    model_config = ConfigDict(frozen=True)

    id: str
    problem: str


class Calendar(ShotDefaults):
    timezone: Annotated[str, AfterValidator(mistakes.check_time_zone)] = "UTC"
    hemisphere: Literal["north", "south"] = "north"
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    shot: tuple[CalendarShot | InvalidShot, ...] = ()

    @field_validator("shot", mode="before")
    @classmethod
    def _read_shots(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
            raise mistakes.input_error("is no list of shots: write each of them under a heading [[calendar.shot]]")
        # What is wrong with a default is told where it stands.
        defaults = {field.alias or name: info.data[name] for name, field in _DEFAULTS.items() if name in info.data}
        shots = tuple(_read_shot(number, item, defaults) for number, item in enumerate(value, 1))
        ids = [shot.id for shot in shots]
        twice = next((name for name in ids if ids.count(name) > 1), None)
        if twice:
            raise mistakes.input_error(f"holds the id {twice!r} twice: give each shot its own")
        return shots

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def shots(self) -> list[CalendarShot]:
        """Return the shots that can be read."""
        return [shot for shot in self.shot if isinstance(shot, CalendarShot)]

    @property
    def invalid_shots(self) -> list[InvalidShot]:
        return [shot for shot in self.shot if isinstance(shot, InvalidShot)]


def _read_shot(number: int, value: Mapping[str, Any], defaults: Mapping[str, Any]) -> CalendarShot | InvalidShot:
    try:
        return CalendarShot.model_validate({**defaults, **value})
    except ValidationError as error:
        problem = mistakes.explain_validation_error(error, CalendarShot, lambda _: "").removeprefix(": ")
        return InvalidShot(id=str(value.get("id", f"number {number}"))[:MAX_ID_LENGTH], problem=problem)
