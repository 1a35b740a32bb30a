"""Measures, no-reference models and multimodal LLMs on the same images."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lopsided.analysis import StudyTables, analyse
from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.raters import LLM, MEASURE, MODEL, compare_raters
from lopsided.analysis.report.blocks import Picture, Table, Text
from lopsided.analysis.report.raters import rater_blocks


@pytest.fixture(scope="module")
def nr(synthetic_tables):
    return synthetic_tables.nr_scores({"pretrained": 3.0, "random": 0.5}, splits=3, references=12)


def others(nr):
    """A measure that is nearly right, and a multimodal LLM that is nearly wrong and sometimes silent."""
    images = nr.drop_duplicates("image").sort_values("image")
    rng = np.random.default_rng(0)
    label = images["label"].to_numpy()
    columns = {name: images[name].to_numpy() for name in ("image", "reference", "label", "label_higher_is_better")}
    fr = pd.DataFrame(columns).assign(
        dataset="rated", measure="ssim", score=rng.normal(-label, 0.1), higher_is_better=False, status="ok"
    )
    value = rng.normal(0.2 * label, 1.0)
    llm = pd.DataFrame(
        {"item": columns["image"], "reference": columns["reference"], "target": label, "value": value}
    ).assign(benchmark="rated", dimension="quality", scorer="a/llm", higher_is_better=True, status="ok")
    llm.loc[::7, ["value", "status"]] = [np.nan, "refused"]
    return fr, llm


def test_values_are_means_over_splits_of_the_same_images(nr):
    fr, llm = others(nr)
    table, differences = compare_raters(fr, nr, llm)
    assert table["kind"].tolist()[0] == MEASURE
    assert set(table["kind"]) == {MEASURE, MODEL, LLM}
    assert set(table["status"]) == {"ok"}
    by = table.set_index("rater")
    assert set(by["n"]) == {nr["image"].nunique()}
    assert (by["n_splits"] == 3).all()
    assert by.loc["vgg16/linear · random", "n_seeds"] == 2
    assert by.loc["a/llm", "n_failed"] == (llm["status"] != "ok").sum()
    score = fr.set_index("image")["score"]
    labels = nr.drop_duplicates("image").set_index("image")["label"]
    each = [-score.loc[list(rows["image"].unique())].corr(labels, method="spearman") for _, rows in nr.groupby("split")]
    assert by.loc["ssim", "srcc"] == pytest.approx(np.mean(each))
    of_seed = nr[(nr["initialisation"] == "random")].groupby(["seed", "split"])
    each = [rows["score"].corr(rows["label"], method="spearman") for _, rows in of_seed]
    assert by.loc["vgg16/linear · random", "srcc"] == pytest.approx(np.mean(each))
    assert (by["srcc_low"] < by["srcc"]).all()
    assert len(differences) == 6
    best = differences[(differences["rater_a"] == "ssim") & (differences["rater_b"] == "a/llm")].iloc[0]
    assert best["p_holm"] < 0.05
    assert (differences["difference"] >= 0).all()
    assert (differences["p_holm"] >= differences["p"]).all()


def test_one_set_without_models_is_compared_as_a_whole(nr):
    fr, llm = others(nr)
    table, differences = compare_raters(fr, nr.head(0), llm)
    assert table["n_splits"].tolist() == [1, 1]
    assert len(differences) == 1
    nothing, _ = compare_raters(fr, nr.head(0), llm.assign(benchmark="another"))
    assert nothing.empty


def test_who_lacks_an_image_is_named_and_not_compared(nr):
    fr, llm = others(nr)
    fr.loc[3, ["score", "status"]] = [np.nan, "failed"]
    table, differences = compare_raters(fr, nr.head(0), llm)
    assert table.set_index("rater").loc["ssim", "status"] == f"1 missing of {len(fr)} scores"
    assert differences.empty


def test_labels_that_differ_are_refused(nr):
    fr, llm = others(nr)
    llm.loc[2, "target"] += 1
    with pytest.raises(AnalysisError, match=r"rated: 1 image\(s\) have other labels for a/llm"):
        compare_raters(fr, nr.head(0), llm)


def test_the_report_shows_them(nr):
    fr, llm = others(nr)
    parts = dict(zip(("raters", "rater_differences"), compare_raters(fr, nr, llm), strict=True))
    empty = analyse(StudyTables())
    said, shown, table, pairs = rater_blocks(replace(empty, parts=empty.parts | parts))
    assert isinstance(said, Text)
    assert "comparisons between raters of unlike kinds" in said.text
    assert isinstance(shown, Picture)
    assert [len(of.rows) for of in (table, pairs) if isinstance(of, Table)] == [4, 6]
    assert rater_blocks(empty) == []
