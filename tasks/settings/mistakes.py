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
UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")
"""Characters that no database, file or page takes; a line's end is none of them."""
LAYOUT = str.maketrans("\t\r", "  ")  # in a file these only indent a text and end its lines
SHOWN = 80  # characters of a wrong value; a whole prompt would bury the sentence
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a number",
    "bool": "true or false",
    "string": "a text",
    "tuple": "a list in square brackets",
    "model": "a section with keys",
}


def toml(file: Path) -> dict[str, Any]:
    """What a TOML file says; Windows' mark at the start of UTF-8 files is no mistake."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is not valid TOML: {str(error)[0].lower()}{str(error)[1:]}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({error}): make it a readable UTF-8 text file") from None


def mistake(text: str) -> PydanticCustomError:
    """For validators that know the whole sentence: what follows after the file and the key."""
    return PydanticCustomError("mistake", "{text}", {"text": text})


def sentence(
    error: ValidationError, model: type[BaseModel], where: Callable[[str], object], hidden: Collection[str] = ()
) -> str:
    """The first mistake. `where` gives the file or variable of a key; values in `hidden` sections are not shown."""
    mistakes = error.errors()
    # A misspelled key is often missing under its right name too, and then the spelling is what to mend.
    first = next((each for each in mistakes if each["type"] == "extra_forbidden"), mistakes[0])
    key = ".".join(str(part) for part in first["loc"])
    start = f"{where(key)}: {key}"
    if first["type"] == "extra_forbidden":
        kind = "section" if isinstance(first["input"], Mapping) else "key"
        return f"{where(key)}: {kind} {key} is unknown{_known(first, model)}"
    if first["type"] == "mistake":
        return f"{start} {first['ctx']['text']}"
    if first["type"] == "missing":
        return f"{start} is missing: add it{_example(first, model)}"
    value = "•••" if first["loc"][0] in hidden else _short(repr(first["input"]))
    return f"{start} = {value} is not allowed: use {_allowed(first, model)}"


def near(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f": did you mean {close[0]}?" if close else f": the known ones are {', '.join(known)}"


def zone(value: str) -> str:
    """A validator: the name of a time zone, or the nearest one."""
    if value not in available_timezones():
        close = get_close_matches(value, sorted(available_timezones()), n=1)
        raise ValueError(f"the name of a time zone, such as {close[0] if close else 'Europe/Berlin'}")
    return value


def account(value: str) -> str:
    """A validator: the name of an account, or nothing."""
    if value and not ACCOUNT.fullmatch(value):
        raise ValueError("the name of an account, in letters, digits, _, . and -, without @")
    return value


def text(value: str) -> str:
    """A validator: a text that every database and page takes."""
    if problem := unseen(value):
        raise mistake(problem)
    return value


def unseen(value: str) -> str:
    """What is wrong with a text that holds a character which no database takes; nothing where all is well."""
    found = UNSEEN.search(value.translate(LAYOUT))
    return f"holds the unseen character U+{ord(found[0]):04X}: take it out" if found else ""


def cron(value: str) -> str:
    """A validator: five cron fields of which a time follows, in the words that every reader of cron knows."""
    from cronsim import CronSim, CronSimError

    part = r"(\*|(\d{1,2}|[a-z]{3})(-(\d{1,2}|[a-z]{3}))?)(/\d{1,2})?"
    fields = value.split()
    if len(fields) == 5 and all(re.fullmatch(f"{part}(,{part})*", each, re.IGNORECASE | re.ASCII) for each in fields):
        try:
            next(CronSim(value, datetime(2026, 1, 1)))
            return value
        except (CronSimError, StopIteration):
            pass
    raise ValueError("five cron fields (minute hour day month weekday), such as 0 9 * * *")


def _known(error: ErrorDetails, model: type[BaseModel]) -> str:
    *sections, key = (str(part) for part in error["loc"])
    homes = [home for home, name in _keys(model) if name == key]
    if homes:  # a key under the wrong heading, which happens easily in TOML
        top = "at the top of the file, before any [section]"
        return f" here: put it {' or '.join(f'in [{home}]' if home else top for home in homes)}"
    names = [field.alias or name for name, field in _section(model, sections).model_fields.items()]
    close = get_close_matches(key, names, n=1, cutoff=0.5)
    start = ".".join([*sections, ""])
    return near(start + close[0], [start + close[0]]) if close else near(key, [start + name for name in names])


def _section(model: type[BaseModel], path: Sequence[str]) -> type[BaseModel]:
    for name in path:
        part = model.model_fields[name].annotation
        assert isinstance(part, type) and issubclass(part, BaseModel)
        model = part
    return model


def _keys(model: type[BaseModel], home: str = "") -> Iterator[tuple[str, str]]:
    """Every key with the section it stands in."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{home}.{name}" if home else name)
        else:
            yield home, field.alias or name


def _field(error: ErrorDetails, model: type[BaseModel]) -> Any:
    *sections, key = (part for part in error["loc"] if isinstance(part, str))
    return _section(model, sections).model_fields[key]


def _example(error: ErrorDetails, model: type[BaseModel]) -> str:
    examples = _field(error, model).examples
    return f', such as {error["loc"][-1]} = "{examples[0]}"' if examples else ""


def _allowed(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return "one of " + ", ".join(get_args(_field(error, model).annotation))
    if kind == "value_error":
        return re.sub(r"^.*: use ", "", str(context["error"]))
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"{context.get('ge', context.get('le'))} or {'more' if 'ge' in context else 'less'}"
    if kind == "string_too_short":
        return "a text that is not empty"
    stems = (words for stem, words in KINDS.items() if kind.startswith(stem))
    return next(stems, error["msg"].lower())


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
