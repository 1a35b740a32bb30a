"""Agreement of multimodal LLMs' ratings with people's, from the table alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.scorers import AS_MEAN, VALID, assess_scorers
from lopsided.analysis.statistics import rated
from lopsided.analysis.statistics.frames import records, where

REFERENCES, VERSIONS = 10, 4


def table(scorer: str = "a/q-align", noise: float = 0.3, **changes: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    target = rng.uniform(1, 5, REFERENCES * VERSIONS)
    frame = pd.DataFrame(
        {
            "scorer": scorer,
            "scorer_id": scorer,
            "benchmark": "own",
            "dimension": "quality",
            "item": [f"i{n}" for n in range(len(target))],
            "reference": [f"r{n // VERSIONS}" for n in range(len(target))],
            "target": target,
            "higher_is_better": True,
            "value": target + rng.normal(0, noise, len(target)),
            "status": "ok",
            "raw": "",
        }
    )
    return frame.assign(**changes)


def assessed(scores: pd.DataFrame, reading: str = VALID) -> dict[str, Any]:
    (row,) = records(where(assess_scorers(scores), reading=reading))
    return row


def test_values_are_those_of_scipy_and_lie_in_their_intervals() -> None:
    scores = table()
    row = assessed(scores)
    for name, statistic in (("srcc", stats.spearmanr), ("krcc", stats.kendalltau), ("plcc", stats.pearsonr)):
        assert row[name] == pytest.approx(statistic(scores["value"], scores["target"])[0], abs=1e-12)
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    assert (row["n"], row["n_valid"], row["n_references"], row["failures"]) == (40, 40, REFERENCES, "")
    assert row["status"] == "ok"


def test_the_sign_is_agreement_whatever_the_directions() -> None:
    scores = table()
    worse = scores.assign(value=-scores["value"], higher_is_better=False)
    dmos = scores.assign(target=-scores["target"], target_higher_is_better=False)
    for turned in (worse, dmos):
        assert assessed(turned)["srcc"] == pytest.approx(assessed(scores)["srcc"], abs=1e-12)


def test_silence_where_it_is_hard_shows_in_the_second_reading() -> None:
    scores = table(noise=1.5)
    hard = (scores["value"] - scores["target"]).abs() > 1
    silent = scores.assign(
        status=np.where(hard, "refused", "ok"), value=np.where(hard, np.nan, scores["value"].to_numpy())
    )
    valid, mean = assessed(silent), assessed(silent, AS_MEAN)
    assert (valid["n"], valid["n_valid"]) == (40, int((~hard).sum()))
    assert valid["failures"] == f"{int(hard.sum())} refused"
    assert valid["srcc"] > assessed(scores)["srcc"]
    assert mean["srcc"] < valid["srcc"]
    filled = np.where(hard, silent["value"].mean(), silent["value"])
    assert mean["plcc"] == pytest.approx(np.corrcoef(filled, silent["target"])[0, 1], abs=1e-12)


def test_scorers_that_share_work_are_rated_as_if_alone() -> None:
    """Same items or fewer, failures or none, either direction: the company changes nothing."""
    fewer, silent = table("b/few", 0.6).iloc[5:], table("c/silent", 0.9)
    silent.loc[silent.index[:7], "status"] = "refused"
    distance = table("d/distance", higher_is_better=False)
    tables = [table(), fewer, silent, distance.assign(value=-distance["value"])]
    together = assess_scorers(pd.concat(tables))
    alone = pd.concat([assess_scorers(one) for one in tables], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone, rtol=1e-12)


def test_only_ratings_with_a_target_count() -> None:
    scores = pd.concat(
        [
            table(task="rate"),
            table(task="answer", dimension="IQA", target="B", status="ok", value=np.nan),
            table(task="rate", benchmark="restored photos", target=np.nan),
        ]
    )
    found = assess_scorers(scores)
    assert set(found["benchmark"] + found["dimension"]) == {"ownquality"}
    assert found["srcc"].iloc[0] == assessed(table())["srcc"]
    assert assess_scorers(table().head(0)).empty


def test_what_cannot_be_computed_says_why() -> None:
    one = table(reference="same")
    assert np.isnan(assessed(one)["srcc_low"])
    assert assessed(one)["srcc"] == assessed(table())["srcc"]
    mute = table(status="failed", value=np.nan)
    assert (assessed(mute)["n_valid"], assessed(mute)["status"]) == (0, "only 0 images")
    assert assessed(mute, AS_MEAN)["status"] == "40 missing of 40 scores"
    constant = table(value=3.0)
    assert assessed(constant)["status"] == "all scores equal 3"


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (pd.concat([table(), table()]), "repeated row"),
        (pd.concat([table(), table(scorer_id="other", item=[f"j{n}" for n in range(40)])]), "values of scorer_id"),
        (table(value=np.nan), "not finite"),
    ],
)
def test_ambiguous_tables_are_refused(scores: pd.DataFrame, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        assess_scorers(scores)


def test_very_many_references_are_drawn_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = table().assign(reference=lambda t: t["item"])
    every = assessed(scores)
    monkeypatch.setattr(rated, "MOST_CLUSTERS", 8)
    grouped = assessed(scores)
    assert every["srcc_low"] != grouped["srcc_low"] < grouped["srcc"] < grouped["srcc_high"]
    assert np.isnan([grouped["krcc_low"], grouped["krcc_high"]]).all()
    assert grouped["n_references"] == REFERENCES * VERSIONS
