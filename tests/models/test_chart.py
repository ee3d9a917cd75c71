"""Charts are text: what they show can be read out of it."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np

from models import chart


def elements(svg: str, tag: str, kind: str = "") -> list[ElementTree.Element]:
    return [each for each in ElementTree.fromstring(svg).iter(tag) if not kind or each.get("class") == kind]


def test_a_histogram_has_a_bar_for_each_value_and_its_cut() -> None:
    svg = chart.histogram([0.0, 0.0, 0.0, 1.0], 0.5, "likeness", bins=4)
    over, under = elements(svg, "rect", "over"), elements(svg, "rect", "under")
    assert len(over) == len(under) == 1
    assert abs(float(under[0].get("height", 0)) - 3 * float(over[0].get("height", 0))) < 0.5
    (line,) = elements(svg, "line", "cut")
    middle = (float(under[0].get("x", 0)) + float(over[0].get("x", 0)) + float(over[0].get("width", 0))) / 2
    assert abs(float(line.get("x1", 0)) - middle) < 2
    assert "cut 0.5" in svg


def test_the_cut_is_drawn_even_where_nothing_lies_under_it() -> None:
    svg = chart.histogram([0.5, 0.6], 0.1)
    x = float(elements(svg, "line", "cut")[0].get("x1", 0))
    assert chart.LEFT <= x < float(elements(svg, "rect")[0].get("x", 0))


def test_equal_values_and_missing_ones_are_no_mistake() -> None:
    assert len(elements(chart.histogram([0.4, 0.4, float("nan")]), "rect")) == 1
    assert chart.histogram([]) == ""


def test_a_matrix_has_a_square_for_each_pair_darker_where_more_alike() -> None:
    svg = chart.matrix(np.array([[1, 0.9, 0.1], [0.9, 1, 0.5], [0.1, 0.5, 1]]), ["a", "<b>", "c"], split=1)
    squares = elements(svg, "rect", "cell")
    assert len(squares) == 9
    opacity = [float(each.get("fill-opacity", 0)) for each in squares]
    assert opacity[0] > opacity[1] - 1e-9 > opacity[5] > opacity[2]
    assert "&lt;b&gt;" in svg
    assert re.search(r'class="cut" d="M22\.0 0V66\.0', svg)
