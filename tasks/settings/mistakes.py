"""Files that people write, read with care: a mistake is told in one sentence, with its file, key, value and remedy."""

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args
from zoneinfo import available_timezones

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from models.system.errors import UserError

ACCOUNT = re.compile(r"\w[\w.-]{0,63}", re.ASCII)
"""Any network's name of an account. None of them leads out of the folder that is called by it."""
CONTROL_CHARACTERS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")
"""Characters that no database, file or page takes; a line's end is none of them."""
LAYOUT = str.maketrans("\t\r", "  ")  # in a file these only indent a text and end its lines
MAX_SHOWN_LENGTH = 80  # characters of a wrong value; a whole prompt would bury the sentence
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a number",
    "bool": "true or false",
    "string": "a text",
    "tuple": "a list in square brackets",
    "model": "a section with keys",
}


def read_toml(file: Path) -> dict[str, Any]:
    """Read a TOML file; the mark that Windows writes at the start of UTF-8 files is accepted."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is not valid TOML: {str(error)[0].lower()}{str(error)[1:]}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({error}): make it a readable UTF-8 text file") from None


def input_error(text: str) -> PydanticCustomError:
    """Return an error for validators that know the whole sentence: `text` follows after the file and the key."""
    return PydanticCustomError("mistake", "{text}", {"text": text})


def explain_validation_error(
    error: ValidationError, model: type[BaseModel], where: Callable[[str], object], hidden: Collection[str] = ()
) -> str:
    """Explain the first mistake. `where` returns the file or variable of a key; values in `hidden` sections are not shown."""
    mistakes = error.errors()
    # A misspelled key is often missing under its right name too, and then the spelling is what to mend.
    first = next((mistake for mistake in mistakes if mistake["type"] == "extra_forbidden"), mistakes[0])
    key = ".".join(str(part) for part in first["loc"])
    start = f"{where(key)}: {key}"
    if first["type"] == "extra_forbidden":
        kind = "section" if isinstance(first["input"], Mapping) else "key"
        return f"{where(key)}: {kind} {key} is unknown{_suggest_key(first, model)}"
    if first["type"] == "mistake":
        return f"{start} {first['ctx']['text']}"
    if first["type"] == "missing":
        return f"{start} is missing: add it{_example_for(first, model)}"
    value = "•••" if first["loc"][0] in hidden else _shorten_value(repr(first["input"]))
    return f"{start} = {value} is not allowed: use {_describe_allowed(first, model)}"


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """End a sentence about an unknown name with the nearest known one, or with all of them."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f": did you mean {close[0]}?" if close else f": the known ones are {', '.join(known)}"


def check_time_zone(value: str) -> str:
    """Check the name of a time zone, and suggest the nearest one."""
    if value not in available_timezones():
        close = get_close_matches(value, sorted(available_timezones()), n=1)
        raise ValueError(f"the name of a time zone, such as {close[0] if close else 'Europe/Berlin'}")
    return value


def check_account_name(value: str) -> str:
    """Check the name of an account, which may be empty."""
    if value and not ACCOUNT.fullmatch(value):
        raise ValueError("the name of an account, in letters, digits, _, . and -, without @")
    return value


def check_text(value: str) -> str:
    """Check that every database and page accepts a text."""
    if problem := control_character_problem(value):
        raise input_error(problem)
    return value


def control_character_problem(value: str) -> str:
    """Describe the first character in a text that no database accepts; return an empty text if there is none."""
    match = CONTROL_CHARACTERS.search(value.translate(LAYOUT))
    return f"holds the unseen character U+{ord(match[0]):04X}: take it out" if match else ""


def check_cron(value: str) -> str:
    """Check five cron fields that lead to at least one time, in the syntax that every cron reader knows."""
    from cronsim import CronSim, CronSimError

    part = r"(\*|(\d{1,2}|[a-z]{3})(-(\d{1,2}|[a-z]{3}))?)(/\d{1,2})?"
    fields = value.split()
    if len(fields) == 5 and all(re.fullmatch(f"{part}(,{part})*", text, re.IGNORECASE | re.ASCII) for text in fields):
        try:
            next(CronSim(value, datetime(2026, 1, 1)))
            return value
        except (CronSimError, StopIteration):
            pass
    raise ValueError("five cron fields (minute hour day month weekday), such as 0 9 * * *")


def _suggest_key(error: ErrorDetails, model: type[BaseModel]) -> str:
    *sections, key = (str(part) for part in error["loc"])
    homes = [home for home, name in _list_keys(model) if name == key]
    if homes:  # a key under the wrong heading, which happens easily in TOML
        top = "at the top of the file, before any [section]"
        return f" here: put it {' or '.join(f'in [{home}]' if home else top for home in homes)}"
    names = [field.alias or name for name, field in _section_at(model, sections).model_fields.items()]
    close = get_close_matches(key, names, n=1, cutoff=0.5)
    start = ".".join([*sections, ""])
    return (
        did_you_mean(start + close[0], [start + close[0]])
        if close
        else did_you_mean(key, [start + name for name in names])
    )


def _section_at(model: type[BaseModel], path: Sequence[str]) -> type[BaseModel]:
    for name in path:
        part = model.model_fields[name].annotation
        assert isinstance(part, type) and issubclass(part, BaseModel)
        model = part
    return model


def _list_keys(model: type[BaseModel], home: str = "") -> Iterator[tuple[str, str]]:
    """Yield every key with the section it stands in."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _list_keys(field.annotation, f"{home}.{name}" if home else name)
        else:
            yield home, field.alias or name


def _field_of(error: ErrorDetails, model: type[BaseModel]) -> Any:
    *sections, key = (part for part in error["loc"] if isinstance(part, str))
    return _section_at(model, sections).model_fields[key]


def _example_for(error: ErrorDetails, model: type[BaseModel]) -> str:
    examples = _field_of(error, model).examples
    return f', such as {error["loc"][-1]} = "{examples[0]}"' if examples else ""


def _describe_allowed(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return "one of " + ", ".join(get_args(_field_of(error, model).annotation))
    if kind == "value_error":
        return re.sub(r"^.*: use ", "", str(context["error"]))
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"{context.get('ge', context.get('le'))} or {'more' if 'ge' in context else 'less'}"
    if kind == "string_too_short":
        return "a text that is not empty"
    stems = (words for stem, words in KINDS.items() if kind.startswith(stem))
    return next(stems, error["msg"].lower())


def _shorten_value(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_LENGTH else text[: MAX_SHOWN_LENGTH - 1] + "…"
