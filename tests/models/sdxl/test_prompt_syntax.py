"""Reading prompts: no model is needed for any of this."""

import re
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sdxl.prompt_syntax import BREAK, WeightedText, lint_prompt, parse_prompt
from tests.support.prompts_corpus import PLAIN, WEIGHTED, Expected, spans_of

# Characters that mean something come up often enough to meet each other.
SYNTAX = st.lists(st.sampled_from([*"()[]:\\|<> .19+-a", "BREAK", " BREAK ", ":1.3)", "(x:"])).map("".join)


def same(found: list[WeightedText], expected: list[WeightedText]) -> bool:
    return [span.text for span in found] == [span.text for span in expected] and [
        span.weight for span in found
    ] == pytest.approx([span.weight for span in expected])


def test_the_corpus_is_as_large_as_promised() -> None:
    prompts = [prompt for prompt, _ in PLAIN + WEIGHTED]
    assert len(set(prompts)) == len(prompts) >= 60


@pytest.mark.parametrize(("prompt", "expected"), PLAIN + WEIGHTED, ids=repr)
def test_parse(prompt: str, expected: Expected) -> None:
    assert same(parse_prompt(prompt), spans_of(expected))


@pytest.mark.parametrize(("prompt", "expected"), PLAIN)
def test_a_prompt_without_weights_is_one_span(prompt: str, expected: Expected) -> None:
    assert all(span.weight == 1.0 for span in parse_prompt(prompt))
    assert len(parse_prompt(prompt)) == len(expected) <= 1


@pytest.mark.parametrize(
    "prompt",
    [
        "(" * 100_000 + "x",
        "(x" * 15_000 + ")" * 15_000,
        "[(x" * 10_000,
        "a: " * 10_000 + ":" + " " * 70_000,
        "(x:" + "1" * 100_000 + ")",
        "\\(" * 15_000 + " " * 70_000,
        "BREAK " * 5_000 + "<a" * 35_000,
        "a++" * 33_000,
    ],
    ids=lambda prompt: prompt[:6],
)
@pytest.mark.timeout(60)  # quadratic reading takes minutes
def test_a_hundred_thousand_characters_are_read_in_linear_time(prompt: str) -> None:
    spans = parse_prompt(prompt)
    lint_prompt(prompt, ["<pip>"])
    assert all(abs(span.weight) < float("inf") for span in spans)


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.text(), SYNTAX))
def test_any_text_is_a_prompt_and_its_words_are_kept(prompt: str) -> None:
    spans = parse_prompt(prompt)
    lint_prompt(prompt, ["<a>"])
    assert all(span.text for span in spans if span is not BREAK)
    # What may go is syntax: brackets, weights, the backslash of an escape, BREAK and white space around it.
    kept = "".join("BREAK" if span is BREAK else span.text for span in spans)
    assert words(kept) == words(re.sub(r":\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)", "", prompt)) or words(kept) == words(
        prompt
    )


def words(text: str) -> str:
    """The text without what emphasis is written with."""
    return re.sub(r"[()\[\]\\\s:.+\-\d]", "", text)


@settings(deadline=None, max_examples=200)
@given(st.text())
def test_escaping_every_bracket_gives_the_text_back(text: str) -> None:
    prompt = re.sub(r"([()\[\]\\])", r"\\\1", text)
    if not re.search(r"\bBREAK\b", text):
        assert parse_prompt(prompt) == ([WeightedText(text, 1.0)] if text else [])


@settings(deadline=None, max_examples=200)
@given(SYNTAX)
def test_neighbours_never_weigh_the_same(prompt: str) -> None:
    spans = parse_prompt(prompt)
    assert all(one is BREAK or other is BREAK or one.weight != other.weight for one, other in pairwise(spans))


@pytest.mark.parametrize(
    ("prompt", "warning"),
    [
        ("a (cat", "A '(' is never closed and counts up to the end, first at character 3."),
        ("a [cat", "A '[' is never closed and counts up to the end, first at character 3."),
        ("((cat", "Each of 2 '(' is never closed and counts up to the end, first at character 1."),
        ("a :) b", "A ')' is closing nothing and stays as text, first at character 4."),
        ("x:1.3) b", "A ')' is closing nothing and stays as text, first at character 6."),
        ("a] b", "A ']' is closing nothing and stays as text, first at character 2."),
        (r"a\b", r"The backslash at character 2 vanishes; write two for one that stays."),
        ("(cat:1.7)", "'cat' has weight 1.7; above 1.6 pictures tend to break up."),
        ("(((((cat)))))", "'cat' has weight 1.611; above 1.6 pictures tend to break up."),
        ("(cat:0)", "'cat' has weight 0; use the negative prompt for what you do not want."),
        ("(cat:-1)", "'cat' has weight -1; use the negative prompt for what you do not want."),
        ("(cat:1,3)", "'1,3' at character 6 is not a weight (write it like 1.3) and stays as text."),
        ("(cat:1.2.3)", "'1.2.3' at character 6 is not a weight (write it like 1.3) and stays as text."),
        ("(cat:high)", "'high' at character 6 is not a weight (write it like 1.3) and stays as text."),
        ("(cat:)", "There is no weight between ':' and ')' at character 5."),
        ("<pib> in a hat", "No learned word '<pib>' is known; did you mean <pip>."),
        ("<zzzz> in a hat", "No learned word '<zzzz>' is known; it is read as plain text."),
        ("a cat++ here", "'++' at character 6 is compel's emphasis; write (word:1.2) instead."),
        ("a (red cat)--", "'--' at character 12 is compel's emphasis; write (word:1.2) instead."),
        (
            "<lora:film:0.8> a cat",
            "'<lora:film:0.8>' is read as plain text; a LoRA is given beside the prompt, not in it.",
        ),
        (
            "a [cat:dog:0.5]",
            "[a:b:0.5] at character 3 is A1111's prompt editing, which is not supported;"
            " for a weight write (word:1.2).",
        ),
        (
            "a [cat|(dog:1.1)]",
            "[a|b] at character 3 is A1111's alternation, which is not supported; it is read as plain text.",
        ),
    ],
)
def test_lint_warns(prompt: str, warning: str) -> None:
    assert lint_prompt(prompt, ["<pip>", "<mara>"]) == [warning]


@pytest.mark.parametrize(
    "prompt",
    [
        "a (red cat:1.6) in [a hat], <pip> and <mara> (walking)",
        "((((x))))",  # 1.46
        r"a cat \(animal\), a \[b\]",
        "(scene: forest), time: noon, (a:b:1.2)",
        "a long-haired cat, 1+1, a -- b, a | b",
        "a BREAK b",
        "I <3 cats",
    ],
)
def test_lint_is_quiet_about_what_is_meant(prompt: str) -> None:
    assert lint_prompt(prompt, ["<pip>", "<mara>"]) == []


def test_reading_a_prompt_does_not_load_torch() -> None:
    code = "import sys; from models.sdxl.prompt_syntax import parse_prompt; parse_prompt('(x)'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
