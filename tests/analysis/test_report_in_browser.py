"""The report where it is read: on a wide screen, on a phone, on paper. Skipped where there is no Chromium."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from support.browser import DEAD_LINKS, HIDDEN, OVER_THE_EDGE, TWICE, opened

from lopsided.analysis import analyse, write_comparison, write_report
from lopsided.analysis.figures import GalleryRow

# Only what is pressed is left out on paper, and figures that are printed panel by panel, or not.
ON_PAPER = ".tools, nav button, .whole, .panels"
A4_LANDSCAPE = 1032  # CSS pixels between the margins


@pytest.fixture(scope="module")
def pages(synthetic_tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    tables = synthetic_tables.study_tables(seeds=3)
    study = analyse(replace(tables, nr_scores=synthetic_tables.nr_scores(stages=(0, 1))), n_boot=50)
    crops = {
        name: np.full((16, 16, 3), value, np.uint8)
        for name, value in (("reference", 0), ("bicubic", 90), ("SSIM\nno discriminator", 200))
    }
    whole = np.zeros((64, 48, 3), np.uint8)
    row = GalleryRow(label="a.png, seed 0", crops=crops, whole=whole, box=(8, 8, 16, 16))
    write_report(study, folder / "report.html", title="A study", gallery_rows=[row], facts={"commit": "c" * 64})
    settings = {name: {"super_resolution.finetune.steps": steps} for name, steps in (("one", "10"), ("two", "20"))}
    write_comparison({"one": study, "two": study}, folder / "comparison.html", settings=settings)
    return folder


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", ["report", "comparison"])
def test_nothing_runs_over_the_edge_and_every_link_leads_somewhere(name, width, dark, pages):
    with opened(pages / f"{name}.html", width, dark=dark) as (page, complaints):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVER_THE_EDGE) == []
        assert page.evaluate(DEAD_LINKS) == []
        assert page.evaluate(TWICE) == []
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVER_THE_EDGE) == []
        assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    assert complaints == []


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_paper_shows_everything(name, pages, tmp_path):
    with opened(pages / f"{name}.html", A4_LANDSCAPE) as (page, complaints):
        assert page.evaluate(HIDDEN, ON_PAPER), "folded on a screen, so that what follows means something"
        if name == "report":
            page.get_by_placeholder("Filter rows").first.fill("no such row")
            assert page.evaluate("document.querySelectorAll('tr[hidden]').length")
        page.emulate_media(media="print")
        assert page.evaluate(HIDDEN, ON_PAPER) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= A4_LANDSCAPE
        assert page.evaluate(OVER_THE_EDGE) == []
        page.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
        assert (tmp_path / "page.pdf").read_bytes().count(b"/Type /Page\n") > 3 or name == "comparison"
    assert complaints == []


def test_a_phone_shows_one_panel_below_the_other_and_rows_as_cards(pages):
    with opened(pages / "report.html", 390) as (page, _):
        panels = page.locator("figure.split .panels").first.locator("> div").all()
        boxes = [panel.bounding_box() or {} for panel in panels]
        assert len(boxes) > 1
        assert all(first["y"] + first["height"] <= second["y"] for first, second in pairwise(boxes))
        label = "getComputedStyle(document.querySelector('#table-1 td:nth-child(2)'), '::before').content"
        assert page.evaluate(label) == '"trend (judge SDs)"'
        cell = page.locator("#table-1 td").nth(1).bounding_box()
        assert cell
        assert cell["width"] > 250


def test_tables_sort_and_filter(pages):
    with opened(pages / "report.html", 1400) as (page, _):
        table = page.locator(".table", has_text="Gains, largest first")
        table.locator("summary").click()
        column = table.locator("th").all_inner_texts().index("gain (judge SDs)")

        def shown():
            texts = table.locator(f"tbody tr:not([hidden]) td:nth-child({column + 1})").all_inner_texts()
            return [float(text.split()[0].replace("−", "-")) for text in texts]

        assert shown() == sorted(shown(), reverse=True)
        table.locator("th button").nth(column).click()
        assert shown() == sorted(shown())
        n = len(shown())
        table.get_by_placeholder("Filter rows").fill("vanilla dists")
        assert 0 < len(shown()) < n
        texts = table.locator("tbody tr:not([hidden])").all_inner_texts()
        assert all("vanilla" in text and "DISTS" in text for text in texts)


def test_a_pressed_crop_shows_the_chosen_one(pages):
    with opened(pages / "report.html", 1400) as (page, _):
        crop = page.locator(".flip button").nth(2)
        own, reference = (page.locator(".flip button img").nth(at).get_attribute("src") for at in (2, 0))
        crop.hover()
        page.mouse.down()
        assert crop.locator("img").get_attribute("src") == reference
        page.mouse.up()
        assert crop.locator("img").get_attribute("src") == own
        page.locator(".flip select").select_option(index=1)
        crop.focus()
        page.keyboard.down(" ")
        assert crop.locator("span").inner_text().startswith("bicubic")


def test_the_switch_and_a_link_to_a_folded_word_work(pages):
    with opened(pages / "report.html", 1400) as (page, _):
        page.get_by_role("button", name="Dark page").click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.locator("a.term").first.click()
        assert page.locator("#words").evaluate("(one) => one.open")
        page.goto(page.url.split("#")[0] + "#table-20")
        assert page.locator("#table-20 table").is_visible()
