"""Choices and lists: what is text, what is drawn how often, and what is wrong with a list."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.system.errors import UserError
from models.toybox import world
from tasks.calendar.alternatives import expand

REPOSITORY = Path(__file__).parents[3]
NOWHERE = Path("nowhere")


def drawn(text: str, times: int = 2000, folder: Path = NOWHERE) -> Counter[str]:
    return Counter(expand(text, f"key {number}", folder) for number in range(times))


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "colour.txt").write_text("# colours\n\nred\n 3::{dark|light} blue \n0::never\n", encoding="utf-8-sig")
    (tmp_path / "sub" / "warm_hat.txt").write_text("a __colour__ hat\n")
    (tmp_path / "round.txt").write_text("__sub/trip__\n")
    (tmp_path / "sub" / "trip.txt").write_text("x __round__\n")
    (tmp_path / "bare.txt").write_text("# nothing\n\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    return tmp_path


@pytest.mark.parametrize(
    "text",
    ["", "a fox", "100 % of $5 #fox", "{fox}", "}{", "{", "a | b", "{a {b} c} }", "{ a | b", "(fox:1.2) [x]", "__", "__ a __",
     "_a_", "fox_ _", "über ♥ {☃}", "a\nb"],
)  # fmt: skip
def test_what_is_no_choice_is_text(text: str) -> None:
    assert expand(text, "key", NOWHERE) == text


@given(st.text())
def test_text_without_bars_and_lists_stays_as_it_is(text: str) -> None:
    text = text.replace("|", "").replace("_", "")
    assert expand(text, "key", NOWHERE) == text


def test_options_come_as_often_as_their_weights_say() -> None:
    found = drawn("{red|2::blue|0::never|}")
    assert set(found) == {"red", "blue", ""}
    assert found["blue"] == pytest.approx(1000, rel=0.1)
    assert found["red"] == pytest.approx(500, rel=0.15)
    assert set(drawn("{0.5::a|.5::b}", 200)) == {"a", ".5::b"}


def test_choices_nest_and_braces_around_them_stay() -> None:
    assert set(drawn("{a|{b|{c|d}}}", 300)) == set("abcd")
    assert set(drawn("{ {a|b}|c}", 100)) == {" a", " b", "c"}
    assert set(drawn("{x {a|b} y}", 50)) == {"{x a y}", "{x b y}"}
    assert set(drawn("{#a|#b} {a|b", 50)) == {"#a {a|b", "#b {a|b"}


@given(st.recursive(st.sampled_from(["a", "b c", ""]), lambda inner: st.lists(inner, min_size=2, max_size=4).map(
    lambda options: "{" + "|".join(options) + "}"), max_leaves=12), st.text())  # fmt: skip
@settings(deadline=None)
def test_a_choice_gives_one_of_its_options_and_always_the_same(text: str, key: str) -> None:
    found = expand(text, key, NOWHERE)
    assert found in {"a", "b c", ""}
    assert found == expand(text, key, NOWHERE)


def test_the_same_choice_gives_the_same_words_elsewhere_and_another_the_second_time() -> None:
    prompt, caption = "a {red|blue|green} hat, {x|y}", "{tall|small}: my {red|blue|green} hat"
    for number in range(50):
        colours = [expand(text, f"key {number}", NOWHERE).split(" hat")[0].split()[-1] for text in (prompt, caption)]
        assert colours[0] == colours[1]
    assert set(drawn("{a|b}{a|b}", 200)) == {"aa", "ab", "ba", "bb"}


def test_draws_stay_the_same_between_versions() -> None:
    """Somebody's posts were made with them."""
    assert [expand("{red|2::blue|green}", f"key {number}", NOWHERE) for number in range(6)] == PINNED


PINNED = ["blue", "green", "blue", "green", "green", "red"]


@pytest.mark.parametrize(
    "text", ["{" * 20_000, "}" * 20_000, "{" * 5000 + "a|b" + "}" * 5000, "{a|b}" * 3000, "{|" * 4000]
)
def test_any_nesting_is_read(text: str) -> None:
    assert isinstance(expand(text, "key", NOWHERE), str)


# Lists


def test_a_line_of_a_list(lists: Path) -> None:
    found = drawn("__colour__", 1000, lists)
    assert set(found) == {"red", "dark blue", "light blue"}
    assert found["red"] == pytest.approx(250, rel=0.25)
    assert set(drawn("__sub/warm_hat__", 100, lists)) == {f"a {colour} hat" for colour in found}
    assert set(drawn("{__colour__|none}", 200, lists)) == {*found, "none"}
    assert len(set(drawn("__colour__ __colour__", 200, lists))) == 9


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("__clour__", "asks for the list __clour__, and there is no {}/clour.txt: did you mean __colour__?"),
        ("__xyzzy__", "there is no {}/xyzzy.txt: write that file, a phrase on each line"),
        ("__round__", "the lists round → sub/trip → round lead back to themselves: take one of the names out"),
        ("__bare__", "the list {}/bare.txt is empty: write a phrase on each line"),
        ("__bytes__", "the list {}/bytes.txt cannot be read"),
        ("{0::a|0::b}", "no option of {{0::a|0::b}} can come: every weight is 0"),
    ],
)
def test_what_is_wrong_with_a_list(text: str, sentence: str, lists: Path) -> None:
    with pytest.raises(UserError) as caught:
        expand(text, "key", lists)
    assert sentence.format(lists) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_that_multiply_come_to_an_end(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"l{number}.txt").write_text(f"__l{number + 1}__ __l{number + 1}__")
    (tmp_path / "l30.txt").write_text("x")
    (tmp_path / "long.txt").write_text("x" * 15_000)
    with pytest.raises(UserError, match="draws from lists more than 1000 times, last from l"):
        expand("__l0__", "key", tmp_path)
    with pytest.raises(UserError, match="make a text of more than 20000 characters"):
        expand("__long__ __long__", "key", tmp_path)


def test_nothing_outside_the_folder_is_read(lists: Path) -> None:
    for text in ("__../colour__", "__/etc/passwd__", "__sub/../colour__", "__.__"):
        assert expand(text, "key", lists / "sub") == text


@pytest.mark.parametrize(
    "file", sorted((REPOSITORY / "prompts" / "wildcards").rglob("*.txt")), ids=lambda file: file.stem
)
def test_the_lists_that_ship_are_in_toyboxs_words(file: Path) -> None:
    phrases = {phrase for some in (world.SCENE_PHRASES | world.FRAMING_PHRASES).values() for phrase in some}
    for thing in world.ACCESSORIES:
        article = "" if thing == "glasses" else "a "
        phrases |= {f"wearing {article}{colour} {thing}" for colour in world.ACCESSORY_COLOURS}
    assert set(drawn(f"__{file.stem}__", 300, file.parent)) <= phrases
