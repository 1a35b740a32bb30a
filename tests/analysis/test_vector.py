"""Figures inside a page: small, named, and with values on hover."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure

from lopsided.analysis.report.vector import vector


def titles(svg):
    return re.findall(r"<title>([^<]*)</title>", svg)


@pytest.fixture
def forest():
    figure = Figure(figsize=(4, 2))
    left, right = figure.subplots(1, 2, sharey=True)
    for axis in (left, right):
        axis.plot([0.5, 0.7], [0, 1], "o", label="_none")
        axis.plot([0.2, 0.9], [1, 1])
        axis.set_xlabel("gain (judge SDs, higher is better)")
    left.set_yticks([0, 1], labels=["SSIM", "DISTS"])
    figure.legend(handles=[left.plot([], [], "s", label="a name")[0]])
    return figure


def test_marks_say_their_row_and_value_and_lines_their_ends(forest):
    said = titles(vector(forest, "figure-1").svg)
    assert said[:3] == ["SSIM, gain (judge SDs): 0.5", "DISTS, gain (judge SDs): 0.7", "DISTS: 0.2 to 0.9"]
    assert len(said) == 6


def test_marks_that_are_not_all_drawn_say_nothing():
    """Nobody knows which of them is which."""
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, 1, 2], [0, 1, 2], "o", markevery=2)
    assert titles(vector(figure, "figure-1").svg) == []


def test_lost_values_do_not_shift_what_marks_say():
    figure = Figure()
    figure.subplots().plot([1, np.nan, 3], [1, 2, 3], "o")
    assert titles(vector(figure, "figure-1").svg) == ["1, 1", "3, 3"]


def test_ids_of_two_figures_do_not_clash_and_references_resolve(forest):
    drawn = [vector(forest, name) for name in ("figure-1", "figure-2")]
    ids = [set(re.findall(r' id="([^"]*)"', one.svg)) for one in drawn]
    assert ids[0]
    assert not ids[0] & ids[1]
    for one, own in zip(drawn, ids, strict=True):
        whole = one.svg + "".join(svg for svg, _ in one.panels)
        assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', whole)) <= {(key, "") for key in own} | {
            ("", key) for key in own
        }


def test_panels_are_cut_out_one_by_one_with_the_names_of_their_rows(forest):
    drawn = vector(forest, "figure-1")
    of = [re.findall(r'href="#figure-1-(\w+)"', svg) for svg, _ in drawn.panels]
    assert of == [["panel0"], ["rows0", "panel1"], ["outside0"]]
    assert all(0 < width <= drawn.width + 8 for _, width in drawn.panels)
    assert vector(Figure(figsize=(1, 1)), "figure-1").panels == []


def test_text_stays_text_and_the_same_figure_gives_the_same_bytes(forest):
    first, again = vector(forest, "figure-1"), vector(forest, "figure-1")
    assert "DISTS</text>" in first.svg
    assert first == again
    assert ET.fromstring(first.svg).tag.endswith("svg")
    assert "metadata" not in first.svg
