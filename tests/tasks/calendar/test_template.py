"""Templates: what they may say, and that none of them runs for ever, fills the memory or reaches outside."""

import resource
import subprocess
import sys
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.system.errors import UserError
from tasks.calendar.template import LONGEST_SOURCE, render

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
    ("{% for a in range(10**9) %}x{% endfor %}", "uses **, which texts do not have"),
    ("{% for a in range(1000000000) %}x{% endfor %}", "loops or lists more than 200 times: ask for less"),
    ("{% for a in range(0, 99999999999999999, 1) %}{% endfor %}", "loops or lists more than 200 times"),
    (
        "{% for a in range(200) %}{% for b in range(200) %}{% endfor %}{% endfor %}",
        "loops or lists more than 200 times",
    ),
    ("{% for a in 'x' * 9999 %}{% endfor %}", "loops or lists more than 200 times"),
    ("{{ 'a' * 10000000000 }}", "makes a text of more than 10000 characters: make it shorter"),
    ("{{ 10000000000 * 'a' }}", "makes a text of more than 10000 characters"),
    ("{{ [1] * 10000000000 }}", "loops or lists more than 200 times"),
    ("{{ 999999999999 * 999999999999 }}", "counts beyond 10^18"),
    ("{{ 1.5|round(-1000000000) }}{{ 'a'|center(1000000000) }}", "the filter center, which is unknown"),
    ("{% set a = 'xx' %}" + "{% set a = a ~ a %}" * 100, "makes a text of more than 10000 characters"),
    ("{% set a = 'xx' %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 80, "makes a text of more than 10000 characters"),
    ("{% set a = 'xx' %}" + "{% set a = [a, a]|join(a) %}" * 80, "makes a text of more than 10000 characters"),
    ("{% set a = 'xx' %}" + "{% set a = a|replace('x', a) %}" * 80, "makes a text of more than 10000 characters"),
    ("{% set a = [1] %}" + "{% set a = [a, a] %}" * 80, "no text, number, date or flat list"),
    ("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}", "uses macro, which texts do not have: write it out"),
    ("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "has a recursive loop"),
    ("{{ '%1000000000d' % 1 }}", "formats a text with %"),
    ("{{ '{:1000000000}'.format(1) }}", "reaches for what a text may not touch"),
    ("{{ 'a'.ljust(1000000000) }}", "reaches for what a text may not touch"),
    ("{{ 'a'.replace('', 'aa') }}", "reaches for what a text may not touch"),
    ("{{ lipsum(n=1000000) }}", "uses lipsum, which is unknown"),
    ("{{" + "(" * 1000 + "1" + ")" * 1000 + "}}", "is nested too deeply: write it flatter"),
    ("{% for a in [1] %}" * 30 + "{% endfor %}" * 30, "is nested too deeply"),
    ("{{ 1 }}" + "x" * LONGEST_SOURCE, "characters: write at most 3000"),
]
OUTSIDE = [
    ("{% include '/etc/passwd' %}", "uses include, which texts do not have"),
    ("{% import 'os' as os %}", "uses import"),
    ("{% extends 'x' %}", "uses extends"),
    ("{{ open('/etc/passwd').read() }}", "uses open, which is unknown"),
    ("{{ ''.__class__.__mro__ }}", "reaches for what a text may not touch"),
    ("{{ ''['__class__'] }}", "reaches for what a text may not touch"),
    ("{{ token.format.__globals__ }}", "reaches for what a text may not touch"),
    ("{{ date.today() }}", "reaches for what a text may not touch"),
    ("{{ self }}", "no text, number, date or flat list"),
    ("{{ range }}", "no text, number, date or flat list"),
    ("{{ [range]|first }}", "no text, number, date or flat list"),
    ("{{ date.strftime ~ '' }}", "no text, number, date or flat list"),
]
MISTAKES = [
    ("{{ tokn }}", "uses tokn, which is unknown: did you mean token?"),
    ("{% if false %}{{ tokn }}{% endif %}", "uses tokn, which is unknown"),
    ("{{ xyzzy }}", "uses xyzzy, which is unknown: the known ones are date, season"),
    ("{{ token|uper }}", "the filter uper, which is unknown: did you mean upper?"),
    ("{{ token.eyes }}", "fails: 'str object' has no attribute 'eyes'"),
    ("{{ 1 / 0 }}", "divides by zero: check the number after / or %"),
    ("{{ count % (3 - count) }}", "divides by zero"),
    ("{{ token", "is not valid: "),
    ("{{a|b}|c}", "is not valid: unexpected '}' (a choice inside a choice is written { {a|b}|c}, with a space)"),
    ("{% if %}", "is not valid: Expected an expression"),
    ("{{ 'a' + 1 }}", 'fails: can only concatenate str (not "int") to str'),
    ("{{ [1, 2] }}", "shows a list or nothing at all"),
    ("{{ none }}", "shows a list or nothing at all"),
    ("{% autoescape true %}{{ token }}{% endautoescape %}", "uses autoescape"),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("source", "sentence"), [*ENDLESS, *OUTSIDE, *MISTAKES])
def test_a_bad_template_ends_in_one_sentence(source: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        render(source, VALUES)
    assert str(caught.value).startswith("its template ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


START = (
    "{% set r = range(200)|list %}{% set q = range(200)|list %}{% set s = 'a' * 9999 %}{% set u = 'a' * 5000 ~ 'b' %}"
    "{% for i in range(200) %}"
)
WORK = [
    "{{ s }}", "{{ i }}", "{% set z = s|upper %}", "{% set z = r|sort|sort|sort|sort %}", "{% set z = 999 in r or 999 in r %}",
    "{% set z = r == q and r == q %}", "{% set z = u in s or u in s or u in s %}", "{% set z = s[1:] == s %}",
    "{% set z = s.split('a') %}", "{% set z = date.strftime(u) %}", "{% set z = 1+1+1+1+1+1+1+1+1 %}", "{% set z = r|join|int %}",
    "{% set z = s|replace(u, u) %}", "{% set z %}{{ s }}{% endset %}", "{% set z = [s, s, s, s]|join|length %}",
    "{% set z = r[1:] %}", "{% set z = s|truncate(9) %}", "{% set z = 's' * i %}", "{% set z = r|unique|list %}",
    "{% set z = s.title() %}", "x",
]  # fmt: skip


def heaviest(part: str) -> str:
    """As much of the same work as a template can hold."""
    return START + part * ((LONGEST_SOURCE - len(START) - 20) // len(part)) + "{% endfor %}"


@pytest.mark.parametrize("part", WORK)
def test_the_heaviest_templates_are_counted_and_end(part: str) -> None:
    """The bound is a count, so that it falls at the same place on every machine; a count is what is tested."""
    from tasks.calendar.sandbox import MOST_WORK, Fence, RefusedError, Sandbox

    sandbox = Sandbox()
    tree = Fence().visit(sandbox.parse(heaviest(part)))
    tree.set_environment(sandbox)
    try:
        text = sandbox.template_class.from_code(sandbox, sandbox.compile(tree), sandbox.globals).render(VALUES)
        assert len(text) <= 200 * LONGEST_SOURCE
    except RefusedError:
        pass
    assert sandbox.work <= MOST_WORK + 400  # by no more than its last operation


@pytest.mark.parametrize("part", ["{% set z = u in s or u in s or u in s %}", "{% set z = r|sort|sort|sort|sort %}"])
def test_work_that_takes_long_counts_more(part: str) -> None:
    """Each of these takes a thousand times as long as adding two numbers: uncounted it would run for half a minute."""
    with pytest.raises(UserError, match="its template takes too long: make it simpler"):
        render(heaviest(part), VALUES)


@pytest.mark.skipif(sys.platform == "win32", reason="memory of a process is limited on Unix only")
def test_no_template_eats_the_memory() -> None:
    """In a process that may take 300 MB more than it has at the start."""
    code = """
import resource, sys
from tests.tasks.calendar.test_template import ENDLESS, VALUES, WORK, heaviest
from tasks.calendar.template import render
from models.system.errors import UserError
render("{{ token }}", VALUES)
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]), int(sys.argv[1])))
for source in [*(source for source, _ in ENDLESS), *map(heaviest, WORK)]:
    try:
        render(source, VALUES)
    except UserError as error:
        assert "Memory" not in str(error), source
"""
    limit = str(resource.getrlimit(resource.RLIMIT_DATA)[0] if sys.platform == "darwin" else 500_000_000)
    run = subprocess.run([sys.executable, "-c", code, limit], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@given(st.text("{}%|'\"()[]., ~+-*/ tokenrangefiflp0123456789\n", max_size=60).map("{{{{ token }}}}{}".format))
@settings(deadline=None, max_examples=200)
def test_any_text_renders_or_is_one_sentence(source: str) -> None:
    try:
        assert isinstance(render(source, VALUES), str)
    except UserError as error:
        assert str(error).startswith("its template ")
        assert "\n" not in str(error)
