"""Templates: what they may say, and that none of them runs for ever or reaches outside."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.system.errors import UserError
from tasks.calendar.template import MAX_SOURCE_CHARACTERS, render

VALUES: dict[str, str | int | date] = {
    "date": date(2026, 12, 24),
    "season": "winter",
    "weekday": "thursday",
    "count": 3,
    "last_published": "",
    "token": "<pip>",
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ token }} & <b>", "<pip> & <b>"),
        ("100 % $5 #fox {#a|b} {x} } {", "100 % $5 #fox {#a|b} {x} } {"),
        ("{{ token }}: 100 % $5 #fox {#a|b} {x} } {", "<pip>: 100 % $5 #fox {#a|b} {x} } {"),
        ("{{ weekday|title }} no. {{ count + 1 }}{{ '!' * count }}", "Thursday no. 4!!!"),
        ("{% if last_published %}again{% else %}first{% endif %}", "first"),
        ("{{ {'winter': 'cold', 'summer': 'hot'}[season] }}", "cold"),
        ("{{ ['a', 'b', 'c'][count % 3] }}{{ 7 // 2 }}{{ (7 / 3)|round(2) }}", "a32.33"),
        ("{% for n in range(3) %}{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %}", "1, 2, 3"),
        ("{% for a in 'ab' %}{{ loop.cycle('x', 'y') }}{% endfor %}", "xy"),
        (
            "{{ date.strftime('%d %B') }}, {{ date.year }}, week {{ date.isocalendar().week }}",
            "24 December, 2026, week 52",
        ),
        ("{% set place = 'the ' ~ 'sea' %}{{ place|upper|replace('SEA', 'snow') }}", "THE snow"),
        ("{{ 'a b c'.split()|join('-') }} {{ 'abc'|length }} {{ [3, 1, 2]|sort|last }}", "a-b-c 3 3"),
        ("{% if season in ('winter', 'autumn') and weekday.startswith('th') %}yes{% endif %}", "yes"),
        ("{{ token.eyes|default('round') }}", "round"),
        ("{% raw %}{{ token }}{% endraw %}", "{{ token }}"),
    ],
)
def test_what_a_template_can_say(source: str, text: str) -> None:
    assert render(source, VALUES) == text


ENDLESS = [
    ("{% for a in range(1000000000) %}x{% endfor %}", "fails: Range too big"),
    (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "takes too long: make it simpler",
    ),
    ("{% for a in range(99999) %}x{% endfor %}", "makes a text of more than 10000 characters: make it shorter"),
    ("{{ 'ab' * 9999 }}", "makes a text of more than 10000 characters"),
    ("{{ 'a' * 10000000000 }}", "asks for too much with *: write it out"),
    ("{{ 10000000000 * [1] }}", "asks for too much with *"),
    ("{{ 9**9**9 }}", "asks for too much with **"),
    ("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}", "is nested too deeply: write it flatter"),
    ("{{ lipsum(n=1000000) }}", "uses lipsum, which is unknown"),
    ("{{" + "(" * 1000 + "1" + ")" * 1000 + "}}", "is nested too deeply: write it flatter"),
    ("{% for a in [1] %}" * 30 + "{% endfor %}" * 30, "is nested too deeply"),
    ("{{ 1 }}" + "x" * MAX_SOURCE_CHARACTERS, "characters: write at most 3000"),
]
OUTSIDE = [
    ("{% include '/etc/passwd' %}", "fails: "),
    ("{% import 'os' as os %}", "fails: "),
    ("{% extends 'x' %}", "fails: "),
    ("{{ open('/etc/passwd').read() }}", "uses open, which is unknown"),
    ("{{ ''.__class__.__mro__ }}", "reaches for what a text may not touch"),
    ("{{ ''['__class__'] }}", "reaches for what a text may not touch"),
    ("{{ token.format.__globals__ }}", "reaches for what a text may not touch"),
    ("{{ range.__globals__ }}", "reaches for what a text may not touch"),
    ("{{ [].append(1) }}", "reaches for what a text may not touch"),
    ("{{ date.today() }}", "reaches for what a text may not touch"),
    ("{{ range }}", "no text, number or date"),
]
MISTAKES = [
    ("{{ tokn }}", "uses tokn, which is unknown: did you mean token?"),
    ("{% if false %}{{ tokn }}{% endif %}", "uses tokn, which is unknown"),
    ("{{ xyzzy }}", "uses xyzzy, which is unknown: the known ones are date, season"),
    ("{{ token|uper }}", "is not valid: No filter named 'uper'"),
    ("{{ token.eyes }}", "fails: 'str object' has no attribute 'eyes'"),
    ("{{ 1 / 0 }}", "divides by zero: check the number after / or %"),
    ("{{ count % (3 - count) }}", "divides by zero"),
    ("{{ token", "is not valid: "),
    ("{{a|b}|c}", "is not valid: unexpected '}' (a choice inside a choice is written { {a|b}|c}, with a space)"),
    ("{% if %}", "is not valid: Expected an expression"),
    ("{{ 'a' + 1 }}", 'fails: can only concatenate str (not "int") to str'),
    ("{{ [1, 2] }}", "shows a list or nothing at all"),
    ("{{ none }}", "shows a list or nothing at all"),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("source", "sentence"), [*ENDLESS, *OUTSIDE, *MISTAKES])
def test_a_bad_template_ends_in_one_sentence(source: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        render(source, VALUES)
    assert str(caught.value).startswith("its template ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text("{}%|'\"()[]., ~+-*/ tokenrangefiflp0123456789\n", max_size=60).map("{{{{ token }}}}{}".format))
@settings(deadline=None, max_examples=200)
def test_any_text_renders_or_is_one_sentence(source: str) -> None:
    try:
        assert isinstance(render(source, VALUES), str)
    except UserError as error:
        assert str(error).startswith("its template ")
        assert "\n" not in str(error)
