"""Looks at growing results: corrected everywhere, and what they decide."""

from dataclasses import replace

import pandas as pd
import pytest
from support import synthetic_tables

from lopsided.analysis import AnalysisError, analyse
from lopsided.analysis.headline import headline
from lopsided.analysis.limitations import limitations
from lopsided.analysis.looks import COLUMNS, list_contrasts, look_at, next_count
from lopsided.analysis.power import detectable, needed_seeds
from lopsided.analysis.statistics.contrast import Estimate


@pytest.fixture(scope="module")
def studies():
    tables = synthetic_tables.study_tables(seeds=3)
    return {looks: analyse(tables, n_boot=20, looks=looks) for looks in (1, 4)}


def test_every_p_of_trained_cells_is_multiplied_and_no_value_changes(studies):
    one, four = studies[1], studies[4]
    for before, after, p, value in (
        (one.gains.table, four.gains.table, "p", "gain"),
        (one.asymmetry.settings, four.asymmetry.settings, "trend_p", "trend"),
        (one.asymmetry.settings, four.asymmetry.settings, "p", "rho"),
    ):
        assert before[p].notna().any()
        pd.testing.assert_series_equal(after[p], (4 * before[p]).clip(upper=1))
        pd.testing.assert_series_equal(after[value], before[value])
    wider = four.gains.table["gain_high"] - four.gains.table["gain_low"]
    assert (wider > 1.1 * (one.gains.table["gain_high"] - one.gains.table["gain_low"])).all()
    p, q = (study.asymmetry.pairs["gain_p"] for study in (one, four))
    assert (((q - 0.5) * (p - 0.5)) >= 0).all()  # one-sided: the direction stays, and it is less sure
    assert ((q - 0.5).abs() <= (p - 0.5).abs() + 1e-12).all()
    assert ((q - 0.5).abs() < (p - 0.5).abs() - 1e-4).any()
    assert any("up to 4 looks" in text for text in limitations(four))
    assert not any("looks" in text for text in limitations(one))
    assert headline(one)[0][0].split(":")[0] == "Established"


def test_contrasts_are_named_by_words_and_the_needed_seeds_grow_with_the_looks(studies):
    tables = {looks: list_contrasts(study.gains, study.asymmetry) for looks, study in studies.items()}
    assert set(tables[1]["contrast"].str.split().str[0]) == {"trend", "inversion", "gain"}
    sample = Estimate(0.4, 0.3, 10, n_seeds=3, n_images=14, seed_variance=0.1, image_variance=0.3)
    needed = [needed_seeds(each, 0.4, 100, 5, 8) for each in (sample, replace(sample, looks=4))]
    assert (needed[0] or 0) < (needed[1] or 0)
    assert detectable(sample) < detectable(replace(sample, looks=4))
    with pytest.raises(AnalysisError, match="no contrast has the words 'gain lpisp'; known: trend"):
        look_at(tables[1], ["gain lpisp"])


def test_it_is_settled_when_all_that_was_named_is_and_decided_when_anything_is():
    rows = [
        ("trend a", 1.0, 0.01, "established", 3),
        ("gain a", 1.0, 0.3, "undecided", 7),
        ("gain b", 1, 0.3, "", None),
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    assert look_at(table, ["decided"]).settled
    assert look_at(table, ["trend"]).settled
    found = look_at(table, ["trend", "gain a"])
    assert (found.settled, found.needed, len(found.asked)) == (False, 7, 2)
    assert look_at(table, ["gain"]).needed is None


@pytest.mark.parametrize(
    ("now", "needed", "last", "expected"),
    [
        (3, 5, False, 5),
        (3, 30, False, 6),
        (3, 30, True, 12),
        (3, None, True, 12),
        (8, 3, False, 9),
        (11, 40, False, 12),
    ],
)
def test_the_next_look_at_most_doubles_the_seeds_unless_it_is_the_last(now, needed, last, expected):
    assert next_count(now, needed, 12, last=last) == expected
