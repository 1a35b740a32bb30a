"""docs/experiment_options.md is what the code says, and the code explains every option."""

import re

import pytest
from support.paths import ROOT

from lopsided.experiments.schema.experiment import Experiment
from lopsided.experiments.schema.reference import option_tables

TABLES = option_tables()


def slug(heading):
    """The anchor that GitHub and the documentation site give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_page_is_current():
    page = (ROOT / "docs" / "experiment_options.md").read_text(encoding="utf-8")
    assert page == TABLES, "fields of the experiment have changed: run `make schema`"


def test_every_option_is_explained():
    rows = [line for line in TABLES.splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row for row in rows if re.search(r"\|\s*\|$", row)] == []


@pytest.mark.parametrize("definition", Experiment.model_json_schema()["$defs"].items(), ids=lambda item: item[0])
def test_every_option_of_every_mapping_has_a_row(definition):
    for key, field in definition[1]["properties"].items():
        assert "const" in field or f"\n| `{key}` |" in TABLES


def test_links_within_the_page_lead_somewhere():
    headings = {slug(line.lstrip("# ")) for line in TABLES.splitlines() if line.startswith("#")}
    links = set(re.findall(r"\]\(#([^)]*)\)", TABLES))
    assert len(links) > 30
    assert links <= headings


def test_links_to_other_pages_lead_somewhere():
    pages = set(re.findall(r"\]\((\w+\.md)\)", TABLES))
    assert [page for page in pages if not (ROOT / "docs" / page).is_file()] == []


@pytest.mark.parametrize(
    "row",
    [
        "| `batch` | `8` | whole number from 1 to 65,536 | Crops per step. |",
        "| `keep` | `last` | `last`, `best` | Which averaged weights are the result; best: by `validation`. |",
        "| `name` |  | text | Names the folder of its results. |",
        "| `crop` | none | whole number from 16 to 65,536 | "
        "Centre crop to this many pixels per side; default: the whole image. |",
        "| `seed` | `[0]` | whole number from 0 to 2³¹ − 1; one or a list | Seeds of weights and crops. |",
    ],
)
def test_rows_say_default_values_and_purpose(row):
    assert row in TABLES.splitlines()
