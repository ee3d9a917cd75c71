"""What is due, worded: variables, limits, pictures to start from, and a sentence for each shot that cannot be made."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.sdxl.prompt_syntax import lint_prompt
from models.toybox import world
from tasks.calendar.due import DuePlan, DueShot
from tasks.calendar.wording import plan_ahead, plan_due, season_of
from tasks.persona.persona import find_persona, persona_names
from tasks.persona.starter_file import write_starter_file
from tests.support.calendars import pip

REPOSITORY = Path(__file__).parents[3]
SHIPPED = persona_names(REPOSITORY)
DAY = timedelta(days=1)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
Make = Callable[..., DuePlan]


@pytest.fixture
def today(tmp_path: Path) -> Make:
    """The plan of the day for these shots."""

    def make(*shots: dict[str, Any], published: dict[str, Any] | None = None, **calendar: Any) -> DuePlan:
        return plan_due(pip(tmp_path, *shots, **calendar), NOON - DAY, NOON, published)

    return make


def one(found: DuePlan) -> DueShot:
    assert found.problems == []
    (due,) = found.due
    return due


# Texts


def test_a_template_knows_the_day_the_shot_and_the_persona(today: Make) -> None:
    words = (
        "{{ date }} {{ season }} {{ weekday }} {{ month }} {{ day }} {{ year }} {{ count }} [{{ last_published }}] {{ token }}"
        " {{ name }} {{ subject }}"
    )
    found = one(today({"prompt": words, "from": "2026-11-22"}))
    assert found.words.prompt == "2026-11-23 autumn monday november 23 2026 2 [] <pip> pip a teal fox"
    published = {"s0": date(2026, 11, 20)}
    found = one(today({"prompt": "{{ last_published }}{{ ' again' if last_published }}"}, published=published))
    assert found.words.prompt == "2026-11-20 again"
    assert one(today({"prompt": "a {{ last_published or 'first' }}"}, published={"s0": None})).words.prompt == "a first"


def test_a_day_is_that_of_the_calendars_time_zone(today: Make) -> None:
    shot = {"prompt": "{{ date }} {{ weekday }}", "at": "01:00"}
    assert one(today(shot, timezone="Pacific/Auckland")).words.prompt == "2026-11-24 tuesday"


SEASONS = [
    (1, "winter", "summer"),
    (3, "spring", "autumn"),
    (6, "summer", "winter"),
    (11, "autumn", "spring"),
    (12, "winter", "summer"),
]


@pytest.mark.parametrize(("month", "north", "south"), SEASONS)
def test_seasons(month: int, north: str, south: str) -> None:
    assert (season_of(date(2026, month, 5), "north"), season_of(date(2026, month, 5), "south")) == (north, south)


def test_every_text_is_a_template_with_choices(today: Make) -> None:
    text = "{{ name }} {a|b} 100 % $5 {x}"
    shot = dict.fromkeys(("prompt", "negative", "caption", "alt"), text) | {"hashtags": ["{{ name }}", "#{a|b}", "{|}"]}
    words = one(today(shot)).words
    drawn = words.hashtags[1]
    assert words.prompt == words.negative == words.caption == words.alt == f"pip {drawn} 100 % $5 {{x}}"
    assert words.hashtags == ("pip", drawn)
    assert words.post_text == f"{words.caption}\n\n#pip #{drawn}"


def test_prompts_are_one_line_and_captions_keep_theirs(today: Make) -> None:
    shot = {"prompt": "a  {|} fox,\nin   ink\n", "caption": "\nOne {|} line.\n\n  Another.  \n", "negative": ""}
    words = one(today(shot)).words
    assert (words.prompt, words.caption, words.negative) == ("a fox, in ink", "One line.\n\nAnother.", "")
    assert one(today({})).words.negative is None


def test_hashtags_count_once_whatever_their_case_and_sign(today: Make) -> None:
    found = one(today({"hashtags": ["#Pip", "pip", "füchse", "a_1", "{{ '' }}"]}))
    assert found.words.hashtags == ("Pip", "füchse", "a_1")


def test_the_same_day_gives_the_same_words_whoever_asks(tmp_path: Path) -> None:
    persona = pip(
        tmp_path, {"prompt": "{a|b|c|d|e|f} {{ count }}", "catch_up": "all"}, {"when": "mon", "prompt": "{a|b|c}"}
    )
    ahead = {each.key: each for each in plan_ahead(persona, NOON - 20 * DAY, NOON + 20 * DAY).due}
    for days in range(1, 20):
        for each in plan_due(persona, NOON - days * DAY, NOON).due:
            assert each == ahead[each.key]
    assert len({each.words.prompt[0] for each in ahead.values()}) > 3


def test_a_change_to_one_shot_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    def words(first: str) -> list[str]:
        persona = pip(tmp_path, {"prompt": first}, {"prompt": "{a|b|c|d|e|f}"})
        return [each.words.prompt for each in plan_ahead(persona, NOON, NOON + 9 * DAY).due if each.shot == "s1"]

    assert words("{a|b}") == words("{x|y} {a|b} more")


# Shots that cannot be made

BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"prompt": "{% for a in range(1000000000) %}x{% endfor %}"},
        "prompt: its template fails: Range too big",
    ),
    ({"prompt": "{% include '/etc/passwd' %}"}, "prompt: its template fails: no loader for this environment"),
    ({"negative": "{{ open('/etc/passwd') }}"}, "negative: its template uses open, which is unknown"),
    ({"caption": "{{ 1 / (count - count) }}"}, "caption: its template divides by zero"),
    ({"caption": "{{ tokn }}"}, "caption: its template uses tokn, which is unknown: did you mean token?"),
    ({"prompt": "__clour__"}, "prompt: asks for the list __clour__, and there is no "),
    ({"alt": "__loop__"}, "alt: the lists loop → loop lead back to themselves"),
    ({"prompt": "__empty__"}, "prompt: the list "),
    ({"prompt": "{{ '' }}"}, "prompt: comes out empty: write one that always says something"),
    ({"when": "cron 0 9 30 2 *"}, 'when = "cron 0 9 30 2 *" is never due from 2026-01-01'),
    ({"when": "mondy"}, "when = \"mondy\": 'mondy' is no weekday: did you mean mon?"),
    ({"until": "2025-01-01"}, "until = 2025-01-01 lies before from = 2026-01-01"),
    ({"size": "huge"}, "size = 'huge' is not allowed: use one of square, portrait, landscape, story"),
    ({"caption": "x" * 2201}, "caption: has 2201 characters with its hashtags: 2200 are the most Instagram takes"),
    ({"caption": "x" * 2190, "hashtags": ["abcdefgh"]}, "caption: has 2201 characters with its hashtags"),
    (
        {"hashtags": [f"tag{number}" for number in range(31)]},
        "hashtags: are 31 with those in the caption: 30 are the most",
    ),
    (
        {"caption": "#a #b", "hashtags": [f"tag{number}" for number in range(29)]},
        "hashtags: are 31 with those in the caption",
    ),
    ({"hashtags": ["two words"]}, "hashtags: 'two words' is no hashtag: use letters, digits and _, without spaces"),
    ({"hashtags": ["a-b"]}, "hashtags: 'a-b' is no hashtag"),
    ({"hashtags": ["2026"]}, "hashtags: '2026' is no hashtag"),
    ({"hashtags": ["##a"]}, "hashtags: '##a' is no hashtag"),
    ({"alt": "x" * 1001}, "alt: has 1001 characters: write at most 1000"),
    ({"init": "gone.png"}, "init: 'gone.png' is no shot of this calendar, and there is no picture at "),
    ({"init": "bad"}, "init: the shots bad → bad start from each other: let one of them start from nothing"),
]


@pytest.mark.parametrize(("shot", "sentence"), BAD)
def test_one_bad_shot_is_told_and_the_others_are_planned(
    shot: dict[str, Any], sentence: str, today: Make, tmp_path: Path
) -> None:
    (tmp_path / "prompts" / "wildcards").mkdir(parents=True)
    (tmp_path / "prompts" / "wildcards" / "loop.txt").write_text("__loop__")
    (tmp_path / "prompts" / "wildcards" / "empty.txt").write_text("#")
    found = today({}, {"id": "bad"} | shot, {})
    assert [each.shot for each in found.due] == ["s0", "s2"]
    assert all(each.words.prompt == "a fox" for each in found.due)
    (problem,) = found.problems
    assert str(problem).startswith(f"{tmp_path / 'prompts' / 'pip.toml'}: shot 'bad': {sentence}")
    assert "\n" not in str(problem)
    assert problem.key in ("", "pip/bad/2026-11-23")


def test_what_just_fits_is_planned(today: Make) -> None:
    one(today({"caption": "x" * 2200, "alt": "x" * 1000}))
    one(today({"caption": "#a", "hashtags": [f"tag{number}" for number in range(29)]}))


@given(
    text=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=80),
    field=st.sampled_from(["prompt", "caption", "alt", "hashtags"]),
)
@settings(deadline=None, max_examples=40)
def test_any_text_is_planned_or_told(text: str, field: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    persona = pip(tmp_path_factory.getbasetemp(), {field: [text] if field == "hashtags" else text}, {"id": "other"})
    found = plan_due(persona, NOON - DAY, NOON)
    assert len(found.due) + len(found.problems) == 2
    assert "other" in [each.shot for each in found.due]


# Pictures to start from


def test_a_shot_can_start_from_a_file_beside_the_persona(today: Make, tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "prompts" / "sketch.png")
    found = one(today({"init": "sketch.png"}))
    assert (found.init, found.init_key) == ((tmp_path / "prompts" / "sketch.png").resolve(), "")


LONG = "x" * 300


@pytest.mark.parametrize("shot", [{"init": LONG}, {"loras": [LONG + ".safetensors"]}, {"prompt": f"__{LONG}__"}])
def test_a_name_that_the_system_cannot_even_look_for_stops_one_shot_only(
    shot: dict[str, Any], today: Make, tmp_path: Path
) -> None:
    (tmp_path / "prompts" / "wildcards").mkdir(parents=True)
    found = today({}, {"id": "bad"} | shot)
    assert [each.shot for each in found.due] == ["s0"]
    assert "cannot be looked at (file name too long): check the name" in str(found.problems[0])


def test_a_shot_can_start_from_what_another_became_last(today: Make) -> None:
    found = today(
        {"id": "sketch", "when": "sun"}, {"id": "picture", "init": "sketch"}, {"id": "later", "init": "picture"}
    )
    assert found.problems == []
    assert [(each.shot, each.init_key) for each in found.due] == [
        ("picture", "pip/sketch/2026-11-22"),
        ("later", "pip/picture/2026-11-23"),
    ]


def test_what_another_starts_from_comes_first(today: Make) -> None:
    found = today({"id": "c", "init": "b"}, {"id": "x"}, {"id": "b", "init": "a"}, {"id": "a"})
    assert [each.shot for each in found.due] == ["x", "a", "b", "c"]


def test_chains_that_cannot_work(today: Make) -> None:
    def problem(*shots: dict[str, Any]) -> str:
        return str(today(*shots).problems[-1]).split(": ", 1)[1]

    loop = today({"id": "a", "init": "b"}, {"id": "b", "init": "c"}, {"id": "c", "init": "a"})
    assert [str(each).split("the shots ")[1].split(" start")[0] for each in loop.problems] == [
        "a → b → c → a",
        "b → c → a → b",
        "c → a → b → c",
    ]
    assert problem({"id": "a", "when": "2026-12-24"}, {"id": "b", "init": "a"}) == (
        "shot 'b': init: 'a' is not due before 2026-11-23: let it be due earlier"
    )
    assert "shot 'b': init: the shot 'a' is never due: when =" in problem(
        {"id": "a", "when": "mondy"}, {"id": "b", "init": "a"}
    )
    assert "shot 'b': init: the shot 'a' cannot be read" in problem({"id": "a", "sise": 1}, {"id": "b", "init": "a"})


# What ships


@pytest.mark.parametrize("name", [*SHIPPED, "a new one"])
def test_every_shipped_calendar_is_planned_for_two_months(name: str, tmp_path: Path) -> None:
    persona = (
        find_persona(name, REPOSITORY)
        if name != "a new one"
        else find_persona(str(write_starter_file("rex", tmp_path)), tmp_path)
    )
    found = plan_ahead(persona, NOON, NOON + 60 * DAY)
    assert [str(problem) for problem in found.problems] == found.notes == []
    assert {each.shot for each in found.due} == {shot.id for shot in persona.calendar.shots}
    for each in found.due:
        assert persona.token in each.words.prompt
        assert lint_prompt(each.words.prompt, [persona.token]) == []
        assert "AI-made" in each.words.alt
        assert "aiart" in each.words.hashtags


def test_pip_has_something_every_day_in_toyboxs_words() -> None:
    pip = find_persona("pip", REPOSITORY)
    found = plan_ahead(pip, NOON, NOON + 60 * DAY).due
    assert {each.when.date() for each in found} >= {(NOON + number * DAY).date() for number in range(1, 60)}
    framings = [phrase for some in world.FRAMING_PHRASES.values() for phrase in some]
    scenes = [phrase for some in world.SCENE_PHRASES.values() for phrase in some]
    worn = [
        f"wearing {'' if thing == 'glasses' else 'a '}{colour} {thing}"
        for thing in world.ACCESSORIES
        for colour in world.ACCESSORY_COLOURS
    ]
    for each in found:
        left = each.words.prompt.removesuffix(next(scene for scene in scenes if each.words.prompt.endswith(scene)))
        left = left.removeprefix(next(framing for framing in framings if left.startswith(framing)))
        assert left.replace(pip.token, "").strip() in ["", *worn]
