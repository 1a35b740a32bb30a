from typing import Any

import numpy as np
import pytest
from scipy import stats

from lopsided.analysis.distortions import assess_distortions

spearmanr: Any = stats.spearmanr  # scipy does not declare what it returns


def test_srcc_within_each_distortion_is_scipys(synthetic_tables):
    scores = synthetic_tables.fr_scores(references=6)
    found = assess_distortions(scores).set_index(["distortion", "measure"])
    assert len(found) == 4 * 5
    for row in found.reset_index().to_dict("records"):
        distortion, measure = row["distortion"], row["measure"]
        of = scores[(scores["distortion"] == distortion) & (scores["measure"] == measure)]
        sign = 1 if measure != "ms_ssim" else -1  # both directions, against severity grades
        assert row["srcc"] == pytest.approx(sign * spearmanr(of["score"], of["label"]).statistic)
        assert -1 <= row["srcc_low"] <= row["srcc"] <= row["srcc_high"] <= 1


def test_what_cannot_be_correlated_has_a_status(synthetic_tables):
    scores = synthetic_tables.fr_scores(references=2)
    bad = (scores["measure"] == "ms_ssim") & (scores["distortion"] == "d1") & (scores["level"] == 1)
    scores.loc[bad, ["score", "status"]] = [np.nan, "non-finite"]
    gone = (scores["measure"] == "lpips-alexnet") & (scores["distortion"] == "d2") & (scores["level"] == 1)
    found = assess_distortions(scores[~gone]).set_index(["distortion", "measure"])
    assert found.loc[("d1", "ms_ssim"), "status"] == "2 not ok of 10 scores"
    assert found.loc[("d2", "lpips-alexnet"), "status"] == "2 missing of 10 scores"
    assert found["srcc_low"].isna().all()  # two references
    assert assess_distortions(scores[scores["distortion"] == "d0"]).empty
