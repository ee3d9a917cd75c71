"""Charts are text: what they show can be read out of it."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.pages import svg_charts
from tasks.pages.svg_charts import Series


def elements(svg: str, tag: str, kind: str = "") -> list[ElementTree.Element]:
    return [each for each in ElementTree.fromstring(svg).iter(tag) if not kind or each.get("class") == kind]


def test_a_histogram_has_a_bar_for_each_value_and_its_cut() -> None:
    svg = svg_charts.draw_histogram([0.0, 0.0, 0.0, 1.0], 0.5, "likeness", bins=4)
    over, under = elements(svg, "rect", "over"), elements(svg, "rect", "under")
    assert len(over) == len(under) == 1
    assert abs(float(under[0].get("height", 0)) - 3 * float(over[0].get("height", 0))) < 0.5
    (line,) = elements(svg, "line", "cut")
    middle = (float(under[0].get("x", 0)) + float(over[0].get("x", 0)) + float(over[0].get("width", 0))) / 2
    assert abs(float(line.get("x1", 0)) - middle) < 2
    assert "cut 0.5" in svg


def test_the_cut_is_drawn_even_where_nothing_lies_under_it() -> None:
    svg = svg_charts.draw_histogram([0.5, 0.6], 0.1)
    x = float(elements(svg, "line", "cut")[0].get("x1", 0))
    assert svg_charts.LEFT <= x < float(elements(svg, "rect")[0].get("x", 0))


def test_equal_values_and_missing_ones_are_no_mistake() -> None:
    assert len(elements(svg_charts.draw_histogram([0.4, 0.4, float("nan")]), "rect")) == 1
    assert svg_charts.draw_histogram([]) == ""


def test_a_matrix_has_a_square_for_each_pair_darker_where_more_alike() -> None:
    svg = svg_charts.draw_likeness_matrix(
        np.array([[1, 0.9, 0.1], [0.9, 1, 0.5], [0.1, 0.5, 1]]), ["a", "<b>", "c"], split=1
    )
    squares = elements(svg, "rect", "cell")
    assert len(squares) == 9
    opacity = [float(each.get("fill-opacity", 0)) for each in squares]
    assert opacity[0] > opacity[1] - 1e-9 > opacity[5] > opacity[2]
    assert "&lt;b&gt;" in svg
    assert re.search(r'class="cut" d="M22\.0 0V66\.0', svg)


def points(path: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = (pair.split() for pair in path.get("d", "").removeprefix("M").split("L"))
    return [(float(x), float(y)) for x, y in pairs]


def lines_of(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    return [points(each) for each in elements(svg, "path", f"line {kind}") if "h" not in each.get("d", "")]


def test_a_line_goes_through_its_values() -> None:
    svg = svg_charts.draw_line_chart([Series("", [(0, 1.0), (50, 3.0), (100, 2.0)])], "score")
    (((x0, y0), (x1, y1), (x2, y2)),) = lines_of(svg, "main")
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(2 * (y2 - y1), abs=0.3), "up is more"
    assert [each.find("{*}title") is not None or each[0].text for each in elements(svg, "circle")]
    assert [each[0].text for each in elements(svg, "circle", "dot main")][1] == "value 3 at step 50"
    assert 'aria-label="score: from 1 at step 0 to 2 at step 100"' in svg


def test_a_marked_place_has_a_line_its_words_and_a_larger_dot() -> None:
    svg = svg_charts.draw_line_chart(
        [Series("", [(0, 1.0), (50, 3.0), (100, 2.0)])], "score", marks=[(50, "kept <50>")]
    )
    (dot,) = elements(svg, "circle", "dot at main")
    (mark,) = elements(svg, "path", "mark")
    assert mark.get("d", "").startswith(f"M{dot.get('cx')} ")
    assert "kept &lt;50&gt;" in svg
    assert "; kept &lt;50&gt;" in ElementTree.fromstring(svg).get("aria-label", "").replace("<", "&lt;").replace(
        ">", "&gt;"
    )


def test_marks_side_by_side_do_not_write_over_each_other() -> None:
    one = Series("", [(0, 1.0), (100, 2.0)])

    def heights(*places: float) -> set[str | None]:
        marks = [(place, "a name of some length") for place in places]
        svg = svg_charts.draw_line_chart([one], marks=marks)
        return {each.get("y") for each in elements(svg, "text") if each.text == "a name of some length"}

    assert len(heights(10, 12, 14)) == 3
    assert len(heights(0, 100)) == 1


def test_what_is_no_number_is_a_gap() -> None:
    nan, inf = float("nan"), float("inf")
    svg = svg_charts.draw_line_chart(
        [Series("", [(0, 1.0), (1, 2.0), (2, nan), (3, inf), (4, 1.0), (5, 2.0), (6, nan), (7, 1.5)])]
    )
    assert [len(piece) for piece in lines_of(svg, "main")] == [2, 2]
    assert len(elements(svg, "circle")) == 5
    assert svg_charts.draw_line_chart([Series("a", [(0, nan)]), Series("b", [])]) == ""
    assert "nan" not in svg and "inf" not in svg


def test_one_point_is_a_dot_in_the_frame() -> None:
    (dot,) = elements(svg_charts.draw_line_chart([Series("", [(5, 0.0)])], span=(0, 5)), "circle")
    assert svg_charts.WIDE_LEFT < float(dot.get("cx", 0)) < svg_charts.WIDTH
    assert svg_charts.TOP < float(dot.get("cy", 0)) < svg_charts.HEIGHT - svg_charts.BOTTOM


def test_several_lines_have_names_and_only_then() -> None:
    one, other = Series("loss", [(0, 1.0), (9, 2.0)]), Series("validation", [(0, 1.5), (9, 2.5)], "other")
    words = [each.text for each in elements(svg_charts.draw_line_chart([one, other]), "text")]
    assert {"loss", "validation"} <= set(words)
    assert "loss" not in [each.text for each in elements(svg_charts.draw_line_chart([one]), "text")]


def test_a_faint_line_does_not_flatten_the_others() -> None:
    spiky = Series("each", [(step, 1000.0 if step == 50 else 0.2) for step in range(100)], "faint")
    calm = Series("mean", [(step, 0.1 + step / 1000) for step in range(100)])
    (line,) = lines_of(svg_charts.draw_line_chart([spiky, calm]), "main")
    heights = [y for _, y in line]
    assert max(heights) - min(heights) > 50
    (faint,) = lines_of(svg_charts.draw_line_chart([spiky, calm]), "faint")
    assert min(y for _, y in faint) >= svg_charts.TOP, "and stays in the frame"


def test_a_long_line_is_thinned_and_keeps_its_ends() -> None:
    values = np.random.default_rng(0).normal(size=50_000)
    values[33_333] = 99.0
    svg = svg_charts.draw_line_chart([Series("", list(enumerate(values.tolist())))])
    (line,) = lines_of(svg, "main")
    assert len(svg) < 20_000
    peak = min(line, key=lambda point: point[1])
    assert peak[0] == pytest.approx(
        svg_charts.WIDE_LEFT + (svg_charts.WIDTH - 14 - svg_charts.WIDE_LEFT) * 2 / 3, abs=0.2
    )
    assert [x for x, _ in line] == sorted(x for x, _ in line)


def test_levels_are_always_in_the_frame() -> None:
    svg = svg_charts.draw_line_chart(
        [Series("", [(0, 0.5), (9, 0.6)])], levels=[(0.0, "class word"), (1.0, "references")]
    )
    heights = [float(each.get("d", "").split()[1].split("H")[0]) for each in elements(svg, "path", "level")]
    (line,) = lines_of(svg, "main")
    assert heights[0] > max(y for _, y in line) > min(y for _, y in line) > heights[1] > svg_charts.TOP
    assert "references" in svg


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(allow_nan=True, allow_infinity=True, width=32)), max_size=30),
    st.lists(
        st.tuples(st.floats(-10, 10**6), st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=9)),
        max_size=4,
    ),
)
def test_any_values_give_a_chart_that_can_be_read(
    values: list[tuple[float, float]], marks: list[tuple[float, str]]
) -> None:
    svg = svg_charts.draw_line_chart(
        [Series("a & b", values), Series("<c>", values[:3], "faint")], 'a "label"', marks=marks
    )
    if not svg:
        assert not [value for _, value in values if np.isfinite(value)]
        return
    for piece in lines_of(svg, "main"):
        for x, y in piece:
            assert 0 <= x <= svg_charts.WIDTH and 0 <= y <= svg_charts.HEIGHT + svg_charts.ROW * len(marks)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.5, 1]), (0.196, 0.254, [0.2, 0.22, 0.24]), (-3, 3, [-2, 0, 2]), (0, 5e-3, [0, 0.002, 0.004])],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    svg = svg_charts.draw_line_chart([Series("", [(0, low), (1, high)])], height=150)
    frame = len(elements(svg, "path", "grid"))
    words = [float(each.text or "nan") for each in elements(svg, "text")[:frame]]
    assert [tick for tick in words if low <= tick <= high] == ticks
