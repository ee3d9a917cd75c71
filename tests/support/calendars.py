"""Personas with a calendar, as small as a test needs them."""

import json
from datetime import date, time
from pathlib import Path
from typing import Any

from tasks.persona.calendar_section import CalendarShot
from tasks.persona.persona import Persona, load_persona

TOP = 'name = "pip"\ntoken = "<pip>"\nclass_word = "fox"\nkind = "character"\nsubject = "a teal fox"\n'


def toml(values: dict[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _value(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | time) else json.dumps(value, ensure_ascii=False)


def write(folder: Path, shots: list[dict[str, Any]], **calendar: Any) -> Path:
    """The file of Pip with these shots; what a shot does not say is daily and short."""
    (folder / "prompts").mkdir(exist_ok=True)
    file = folder / "prompts" / "pip.toml"
    text = f"{TOP}[calendar]\n{toml(calendar)}"
    for number, shot in enumerate(shots):
        text += "[[calendar.shot]]\n" + toml({"id": f"s{number}", "when": "daily", "prompt": "a fox"} | shot)
    file.write_text(text)
    return file


def pip(folder: Path, *shots: dict[str, Any], **calendar: Any) -> Persona:
    return load_persona(write(folder, list(shots), **calendar))


def entry(when: str, **values: Any) -> CalendarShot:
    return CalendarShot.model_validate({"id": "s", "when": when, "prompt": "a fox"} | values)
