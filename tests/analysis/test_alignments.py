"""Trainings of multimodal LLMs in a study: before beside after, curves, sample replies; nothing without them."""

import pandas as pd
import pytest

from lopsided.analysis import SCHEMAS, AnalysisError, StudyTables, analyse
from lopsided.analysis.report.alignments import section
from lopsided.analysis.report.blocks import Picture, Table


def evaluated(alignment, benchmark="held-out", before=0.2, after=0.9):
    rows = pd.DataFrame(
        {"ratings": ["before", "after", "after, isotonic"], "step": [0, 40, 40], "n_valid": [10, 20, 20]}
    )
    rows = rows.assign(srcc=[before, after, after], srcc_low=-0.1, srcc_high=0.95, plcc=0.5, rmse=[9.0, 2.0, 1.0])
    about = {"cell": f"cell {alignment}", "alignment": alignment, "method": "grpo"}
    if alignment == "one":  # optional columns, of the row "after"
        rows[["srcc_change", "srcc_change_low", "srcc_change_high"]] = [[None] * 3, [0.6, 0.1, 1.1], [None] * 3]
    return rows.assign(mae=1.0, benchmark=benchmark, dimension="quality", n=20, **about)


def logged(alignment):
    rows = [(step, "kl", step / 100, "") for step in (10, 40, 20)]
    rows += [(step, "replies/held-out/quality/7", None, f"at {step}") for step in range(0, 41, 5)]
    about = {"cell": f"cell {alignment}", "alignment": alignment, "method": "grpo"}
    return pd.DataFrame(rows, columns=["step", "term", "value", "text"]).assign(**about)


@pytest.fixture(scope="module")
def study():
    tables = StudyTables(
        alignments=pd.concat(
            [evaluated("one"), evaluated("one", "spaq", 0.1, float("nan")), evaluated("two", before=0.3)]
        ),
        alignment_log=pd.concat([logged("one"), logged("two")]),
        cells=pd.DataFrame([{"cell": "cell one", "seconds": 90.0}]).reindex(columns=SCHEMAS["cells"]),
    )
    return analyse(tables, n_boot=20)


def test_before_and_after_stand_beside_one_another(study):
    rows = study.parts["alignment_changes"].set_index(["alignment", "benchmark"])
    assert list(rows["srcc_before"]) == [0.2, 0.1, 0.3]
    assert rows.loc[("one", "held-out"), ["srcc_after", "srcc_after_low", "rmse_after", "step"]].tolist() == [
        *(0.9, -0.1, 2.0, 40),
    ]
    assert rows.loc[("two", "held-out"), ["valid_before", "valid_after"]].tolist() == [0.5, 1.0]
    assert rows["kl"].tolist() == [0.4] * 3  # the last step's, whatever the order of the rows
    assert rows["loss"].isna().all()
    assert rows["seconds"].fillna(-1).tolist() == [90.0, 90.0, -1]
    assert pd.isna(rows.loc[("one", "spaq"), "srcc_after"])


def test_the_report_shows_agreement_curves_and_replies(study):
    agreement, curves, replies, *others = section(study).blocks
    assert isinstance(agreement, Table)
    assert isinstance(curves, Picture)
    assert isinstance(replies, Table)
    correlations = ["0.20 [−0.10, 0.95]", "0.90 [−0.10, 0.95]", "0.60 [0.10, 1.10]"]
    assert agreement.rows[0][4:11] == [*correlations, "9.000", "2.000", "50%", "100%"]
    assert agreement.rows[1][5] == "–"
    assert [type(block).__name__ for block in others] == ["Picture", "Table"]
    assert curves.caption.startswith("one. ")
    assert replies.header == ["item", "step 0", "step 10", "step 15", "step 25", "step 30", "step 40"]
    assert replies.rows == [["held-out/quality/7", *(f"at {step}" for step in (0, 10, 15, 25, 30, 40))]]


def test_without_alignments_there_is_no_section():
    assert section(analyse(StudyTables(), n_boot=20)).blocks == []


def test_an_evaluation_that_is_there_twice_is_refused():
    with pytest.raises(AnalysisError, match="alignments"):
        analyse(StudyTables(alignments=pd.concat([evaluated("one")] * 2)), n_boot=20)
