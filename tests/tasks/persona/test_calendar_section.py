"""What may stand in the calendar of a persona file, and the sentence for every mistake."""

import tomllib
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.system.errors import UserError
from tasks.calendar.due import DuePlan
from tasks.calendar.wording import plan_due
from tasks.persona.calendar_section import BEGINNING, LAST_DAY, Calendar, CalendarShot, ShotDefaults
from tasks.persona.persona import load_persona
from tasks.persona.starter_file import write_starter_file
from tests.support.calendars import TOP, pip

UNTAKEN = {chr(code) for code in (*range(32), 127)} - set("\t\r\n")


def made(folder: Path, *shots: dict[str, object]) -> DuePlan:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    return plan_due(pip(folder, *shots), noon - timedelta(days=1), noon)


def test_a_persona_without_a_calendar_has_nothing_due(tmp_path: Path) -> None:
    file = tmp_path / "pip.toml"
    file.write_text(TOP)
    assert load_persona(file).calendar == Calendar()
    assert load_persona(file).calendar.shots == load_persona(file).calendar.invalid_shots == []


def test_the_least_shot(tmp_path: Path) -> None:
    (shot,) = pip(tmp_path, {}).calendar.shots
    assert (shot.id, shot.when, shot.prompt) == ("s0", "daily", "a fox")
    assert (shot.from_, shot.until, shot.at, shot.catch_up, shot.size) == (
        BEGINNING,
        LAST_DAY,
        time(0),
        "latest",
        "portrait",
    )
    assert (shot.negative, shot.guidance, shot.steps, shot.strength, shot.candidates) == (None, None, None, None, 0)


def test_a_shot_takes_from_the_calendar_what_it_does_not_say(tmp_path: Path) -> None:
    defaults = {
        "at": time(9, 30),
        "from": date(2026, 3, 1),
        "until": "2026-12-31",
        "catch_up": "all",
        "negative": "blurry",
        "hashtags": ["a", "b"],
        "account": "pip.daily",
        "size": "story",
        "candidates": 7,
        "guidance": 3.5,
        "steps": 12,
        "strength": 0.4,
        "sampler": "dpm++ 2m",
        "guidance_until": 0.8,
        "token_weight": 1.2,
        "loras": ["film.safetensors:0.5"],
        "refiner": "models/refiner",
        "refiner_strength": 0.2,
    }
    assert {field.alias or name for name, field in ShotDefaults.model_fields.items()} == set(defaults)
    own = {"at": "08:00", "hashtags": [], "size": "square", "negative": ""}
    one, two = pip(tmp_path, {}, own, **defaults).calendar.shots
    for shot, changes in ((one, {}), (two, own)):
        said = shot.model_dump(by_alias=True, mode="json")
        expected = defaults | {"at": "09:30", "from": "2026-03-01"} | changes
        assert {key: value for key, value in said.items() if key in defaults} == expected | {
            "at": f"{expected['at']}:00"
        }


def test_dates_and_times_may_be_tomls_own_or_texts(tmp_path: Path) -> None:
    one, two = (
        {"when": date(2026, 12, 24), "from": date(2026, 12, 1), "at": time(9)},
        {"when": "2026-12-24", "from": "2026-12-01", "at": "9:00"},
    )
    shots = pip(tmp_path, one | {"id": "x"}).calendar.shots + pip(tmp_path, two | {"id": "x"}).calendar.shots
    assert shots[0] == shots[1]


FILE_MISTAKES = [
    ("[calender]", "section calender is unknown: did you mean calendar?"),
    ("[calendar]\ntimezon = 'UTC'", "key calendar.timezon is unknown: did you mean calendar.timezone?"),
    ("[calendar]\ntimezone = 'Europe/Berln'", "use the name of a time zone, such as Europe/Berlin"),
    ("[calendar]\nfrm = 2026-01-01", "key calendar.frm is unknown: did you mean calendar.from?"),
    ("[calendar]\nfrom = 3", "calendar.from = '3' is no date: write it as 2026-12-24"),
    ("[calendar]\nfrom = '2026-02-30'", "calendar.from = '2026-02-30' is no date"),
    ("[calendar]\nfrom = 1999-12-31", "calendar.from = 1999-12-31 is out of range: use a date from 2000-01-01 to 2199-12-31"),
    ("[calendar]\nuntil = 2200-01-01", "calendar.until = 2200-01-01 is out of range"),
    ("[calendar]\nuntil = 2026-01-01T09:00:00", "is no date"),
    ("[calendar]\nat = '25:00'", "calendar.at = '25:00' is no time of day: write it as 09:00"),
    ("[calendar]\nat = 9", "calendar.at = '9' is no time of day"),
    ("[calendar]\nat = 09:00:30", "is no time of day"),
    ("[calendar]\nsize = 'big'", "calendar.size = 'big' is not allowed: use one of square, portrait, landscape, story"),
    ("[calendar]\ncatch_up = 'never'", "use one of skip, latest, all"),
    ("[calendar]\nhemisphere = 'west'", "use one of north, south"),
    ("[calendar]\nseed = -1", "calendar.seed = -1 is not allowed: use 0 or more"),
    ("[calendar]\nhashtags = 'a'", "calendar.hashtags = 'a' is not allowed: use a list in square brackets"),
    ("[calendar]\naccount = '@pip'", "calendar.account = '@pip' is not allowed: use the name of an account, in letters, digits"),
    ('[calendar]\nnegative = "a\\u0000b"', "calendar.negative holds the unseen character U+0000: take it out"),
    ("[calendar]\nshot = 3", "calendar.shot is no list of shots: write each of them under a heading [[calendar.shot]]"),
    ("[calendar.shot]\nid = 'x'", "calendar.shot is no list of shots"),
    ("[calendar]\nprompt = 'x'", "key calendar.prompt is unknown"),
    ("[[calendar.shot]]\nid = 'x'\n[[calendar.shot]]\nid = 'x'", "calendar.shot holds the id 'x' twice: give each shot its own"),
    ("timezone = 'UTC'", "key timezone is unknown here: put it in [schedule] or in [calendar]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), FILE_MISTAKES)
def test_mistakes_in_the_calendar(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "pip.toml"
    file.write_text(f"{TOP}{text}\n")
    with pytest.raises(UserError) as caught:
        load_persona(file)
    assert sentence in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


SHOT_MISTAKES = [
    ({"sise": "square"}, "key sise is unknown: did you mean size?"),
    (
        {"id": "No Good"},
        "id = 'No Good' is not allowed: use at most 64 lowercase letters, digits, - and _, such as monday-walk",
    ),
    ({"id": 3}, "id = 3 is not allowed: use a text"),
    ({"when": 3}, "when = 3 is not allowed: use a text"),
    ({"when": " "}, "when = ' ' is not allowed: use a text that is not empty"),
    ({"prompt": ""}, "prompt = '' is not allowed: use a text that is not empty"),
    ({"size": "huge"}, "size = 'huge' is not allowed: use one of square, portrait, landscape, story"),
    ({"from": "soon"}, "from = 'soon' is no date: write it as 2026-12-24"),
    ({"until": "2300-01-01"}, "until = 2300-01-01 is out of range"),
    ({"at": "noon"}, "at = 'noon' is no time of day: write it as 09:00"),
    ({"candidates": 1001}, "candidates = 1001 is not allowed: use 1000 or less"),
    ({"strength": 1.5}, "strength = 1.5 is not allowed: use 1.0 or less"),
    ({"guidance": "x"}, "guidance = 'x' is not allowed: use a number"),
    ({"steps": 0}, "steps = 0 is not allowed: use 1 or more"),
    ({"hashtags": [1]}, "hashtags.0 = 1 is not allowed: use a text"),
    ({"timezone": "UTC"}, "key timezone is unknown"),
    (
        {"account": "../../../escaped"},
        "account = '../../../escaped' is not allowed: use the name of an account, in letters",
    ),
    ({"account": "a\u0000b"}, "account = 'a\\x00b' is not allowed: use the name of an account"),
    ({"prompt": "a fox\u0000"}, "prompt holds the unseen character U+0000: take it out"),
    ({"negative": "\u0001"}, "negative holds the unseen character U+0001"),
    ({"caption": "a\u0000b"}, "caption holds the unseen character U+0000"),
    ({"alt": "a\u001bb"}, "alt holds the unseen character U+001B"),
    ({"hashtags": ["a", "b\u0008"]}, "hashtags.1 holds the unseen character U+0008"),
]


@pytest.mark.parametrize(("shot", "sentence"), SHOT_MISTAKES)
def test_a_shot_that_cannot_be_read_keeps_no_other_from_being_read(
    shot: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    calendar = pip(tmp_path, {}, shot, {}).calendar
    assert [each.id for each in calendar.shots] == ["s0", "s2"]
    (broken,) = calendar.invalid_shots
    assert broken.problem.startswith(sentence)
    assert broken.id == str(shot.get("id", "s1"))


def test_tabs_and_the_line_ends_of_windows_are_no_characters_of_a_text(tmp_path: Path) -> None:
    (due,) = made(tmp_path, {"caption": "a\tb\r\n\tc", "alt": "a\tb", "prompt": "a\tfox"}).due
    assert (due.words.caption, due.words.alt, due.words.prompt) == ("a b\nc", "a b", "a fox")


@pytest.mark.parametrize("key", ["prompt", "negative", "caption", "alt"])
def test_what_a_template_or_a_list_makes_is_looked_at_too(key: str, tmp_path: Path) -> None:
    (tmp_path / "prompts" / "wildcards").mkdir(parents=True)
    (tmp_path / "prompts" / "wildcards" / "bell.txt").write_bytes(b"a\x07b")
    shots = [{key: "{{ 'a\\x00b' }}"}, {key: "a __bell__"}]
    assert [str(each).partition("shot ")[2] for each in made(tmp_path, *shots).problems] == [
        f"'s{number}': {key}: holds the unseen character U+{code}: take it out"
        for number, code in enumerate(("0000", "0007"))
    ]


@given(st.text(max_size=40), st.sampled_from(["prompt", "caption", "alt"]))
@settings(deadline=None, max_examples=60)
def test_what_is_read_can_be_kept(text: str, key: str) -> None:
    (shot,) = Calendar.model_validate({"shot": [{"id": "s", "when": "daily", "prompt": "a fox"} | {key: text}]}).shot
    held = sorted(set(text) & UNTAKEN)
    if isinstance(shot, CalendarShot):
        assert not held
    else:
        assert held or not text.strip()


@given(st.text(max_size=70))
def test_an_account_is_one_name_and_no_way_elsewhere(name: str) -> None:
    try:
        found = ShotDefaults.model_validate({"account": name}).account
    except ValueError:
        return
    assert found == "" or (Path("studio") / found).resolve().parent == Path("studio").resolve()


def test_a_shot_without_an_id_is_known_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "pip.toml"
    file.write_text(f"{TOP}[[calendar.shot]]\nwhen = 'daily'\n")
    (broken,) = load_persona(file).calendar.invalid_shots
    assert (broken.id, broken.problem) == ("number 1", 'id is missing: add it, such as id = "monday-walk"')


@given(
    st.dictionaries(
        st.sampled_from([*CalendarShot.model_fields, "from", "x"]),
        st.none() | st.integers() | st.text() | st.lists(st.text()),
    )
)
@settings(deadline=None, max_examples=50)
def test_any_shot_is_read_or_told(values: dict[str, object]) -> None:
    (shot,) = Calendar.model_validate({"shot": [values]}).shot
    assert isinstance(shot, CalendarShot) or "\n" not in shot.problem


def test_every_key_stands_in_a_new_file(tmp_path: Path) -> None:
    text = write_starter_file("rex", tmp_path).read_text()
    calendar = tomllib.loads(
        "\n".join(line.removeprefix("# ") if " = " in line else line for line in text.splitlines())
    )["calendar"]
    keys = {field.alias or name for name, field in (Calendar.model_fields | CalendarShot.model_fields).items()}
    assert set(calendar) | set(calendar["shot"][0]) == keys
