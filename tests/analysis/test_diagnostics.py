"""Summaries of diagnostics, and predictions of the gain that must not find what is not there."""

import math

import numpy as np
import pandas as pd
import pytest

from lopsided.analysis import AnalysisError, StudyTables, analyse, write_report
from lopsided.analysis.diagnostics import PERMUTATIONS, derive, predict_gain, predict_gains, predictors, summarise
from lopsided.analysis.figures import axes_of, diagnostics_panels

RNG = np.random.default_rng


def rows(measure, diagnostic, values, *, start="", detail="", status="ok", other=""):
    fixed = {"measure_id": f"id-{measure}", "unit": "1", "note": "", "other_id": ""}
    found = {"measure": measure, "diagnostic": diagnostic, "start": start, "detail": detail, "value": values}
    return pd.DataFrame(
        {**found, **fixed, "image": [f"img{i}" for i in range(len(values))], "other": other, "status": status}
    )


@pytest.fixture
def diagnostics():
    parts = [
        rows("ssim", "alignment", [0.2, 0.4], start="blur", detail="residual"),
        rows("ssim", "alignment", [0.6, 0.8], start="jpeg", detail="residual"),
        rows("ssim", "recovery", [20.0, 22.0], start="blur", detail="0"),
        rows("ssim", "recovery", [24.0, 25.0], start="blur", detail="5"),
        rows("ssim", "recovery", [30.0, 31.0], start="blur", detail="10"),
        rows("ssim", "frequency", [0.9, 0.7], start="blur", detail="0.00–0.25"),
        rows("ssim", "frequency", [0.1, 0.3], start="blur", detail="0.25–0.50"),
        rows("ssim", "curvature", [900.0, 1100.0], detail="largest over mean"),
        rows("ssim", "differentiation", [5.0, 5.0], start="noise", detail="worst", other="l1"),
        rows("mad", "alignment", [math.nan, math.nan], start="blur", status="no gradient"),
    ]
    return pd.concat(parts, ignore_index=True)


def test_summaries_are_over_crops(diagnostics):
    table = summarise(diagnostics)
    assert len(table) == 10
    first = table.iloc[0]
    assert (first["n"], first["n_not_ok"], first["status"]) == (2, 0, "ok")
    assert (first["mean"], first["low"], first["high"]) == pytest.approx((0.3, 0.2, 0.4))
    assert first["sd"] == pytest.approx(0.2 / 2**0.5)
    last = table.iloc[-1]
    assert (last["n"], last["n_not_ok"], last["status"]) == (0, 2, "no gradient")
    assert math.isnan(last["mean"])


def test_a_crop_that_failed_is_counted_and_left_out_of_the_mean(diagnostics):
    diagnostics.loc[1, ["value", "status"]] = [math.nan, "non-finite"]
    first = summarise(diagnostics).iloc[0]
    assert (first["n"], first["n_not_ok"], first["status"], first["mean"]) == (1, 1, "non-finite", 0.2)


def test_faulty_tables_are_refused(diagnostics):
    with pytest.raises(AnalysisError, match="repeated row"):
        summarise(pd.concat([diagnostics, diagnostics.head(1)]))
    diagnostics.loc[0, "value"] = math.inf
    with pytest.raises(AnalysisError, match="diagnostics"):
        summarise(diagnostics)


def test_predictors_are_means_over_starts(diagnostics):
    table = predictors(summarise(diagnostics))
    assert table.index.tolist() == ["ssim"]  # nothing is known of mad; pairs describe no measure
    row = table.loc["ssim"]
    assert row["alignment with the residual"] == pytest.approx(0.5)
    assert row["recovered PSNR"] == pytest.approx(9.5)
    assert row["fine share of the gradient"] == pytest.approx(0.2)
    assert row["log largest over mean eigenvalue"] == pytest.approx(3)
    assert math.isnan(row["colour drift"])


def test_an_empty_table_gives_empty_tables():
    derived = derive(StudyTables(), n_boot=100, seed=0)
    assert {name: len(table) for name, table in derived.items()} == {
        "diagnostics_summary": 0,
        "diagnostics_predictors": 0,
    }


def test_the_report_shows_them(diagnostics, tmp_path):
    study = analyse(StudyTables(diagnostics=diagnostics), n_boot=100)
    write_report(study, tmp_path / "report.html", title="Diagnosed")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for shown in ("Why: measures as objectives", "recovered PSNR", "Pairs of measures", "no gradient", "9.50"):
        assert shown in page
    write_report(analyse(StudyTables(), n_boot=100), tmp_path / "none.html", title="Nothing")
    assert "Why: measures as objectives" not in (tmp_path / "none.html").read_text(encoding="utf-8")


def test_a_figure_needs_values(diagnostics):
    summary = summarise(diagnostics)
    titles = [axis.get_title(loc="left") for axis in axes_of(diagnostics_panels(summary))]
    assert titles == ["Gradient against the residual", "Gradient energy by frequency", "Recovery of the reference"]
    empty = diagnostics_panels(summary.tail(1))
    assert [text.get_text() for text in empty.texts] == ["no diagnostics of measures, or none with a\nvalue"]


# --- predicting the gain --------------------------------------------------------------------------------------------


def brute_force(x, y):
    """Errors for measures left out, by refitting."""
    line, mean = [], []
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        line.append(y[i] - np.polyval(np.polyfit(x[rest], y[rest], 1), x[i]))
        mean.append(y[i] - y[rest].mean())
    return np.sqrt(np.mean(np.square(line))), np.sqrt(np.mean(np.square(mean)))


@pytest.mark.parametrize("n", [5, 12])
def test_errors_equal_those_of_refitting(n):
    rng = RNG(n)
    x, y = rng.normal(size=(2, n))
    names = [f"m{i}" for i in range(n)]
    (row,) = predict_gain(pd.DataFrame({"x": x}, index=names), pd.Series(y, names)).to_dict("records")
    assert (row["error"], row["error_of_mean"]) == pytest.approx(brute_force(x, y))
    assert row["ratio"] == pytest.approx(row["error"] / row["error_of_mean"])
    assert row["slope"] == pytest.approx(np.polyfit(x, y, 1)[0])


def test_a_planted_predictor_is_found():
    rng = RNG(0)
    names = [f"m{i}" for i in range(12)]
    table = pd.DataFrame(rng.normal(size=(12, 8)), names, [f"x{i}" for i in range(8)])
    gain = 2 * table["x3"] + 0.3 * rng.normal(size=12)
    found = predict_gain(table, gain).set_index("predictor")
    assert found["ratio"].idxmin() == found["p_holm"].idxmin() == "x3"
    assert found.loc["x3", "ratio"] < 0.2
    assert found.loc["x3", "p"] == pytest.approx(1 / (PERMUTATIONS + 1))
    assert found.loc["x3", "p_holm"] == pytest.approx(8 / (PERMUTATIONS + 1))


@pytest.mark.parametrize("n", [6, 9])
def test_nothing_is_found_where_nothing_is(n, monkeypatch):
    """At most 5 % of studies (and two standard errors) name any of six predictors, two of them nearly the same."""
    monkeypatch.setattr("lopsided.analysis.diagnostics.PERMUTATIONS", 399)
    studies, named = 300, 0
    names = [f"m{i}" for i in range(n)]
    for study in range(studies):
        rng = RNG([n, study])
        table = pd.DataFrame(rng.standard_t(3, size=(n, 5)), names, list("abcde"))
        table["f"] = table["a"] + 0.1 * rng.normal(size=n)
        gain = pd.Series(rng.standard_t(3, size=n), names)
        named += bool((predict_gain(table, gain, seed=study)["p_holm"] <= 0.05).any())
    assert named / studies <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / studies)


def test_all_permutations_are_tried_where_there_are_few():
    names = list("abcde")
    table = pd.DataFrame({"x": [1.0, 2, 3, 4, 5], "constant": 1.0}, names)
    found = predict_gain(table, pd.Series([1.0, 2, 3, 4, 5], names)).set_index("predictor")
    assert found.loc["x", "p"] == pytest.approx(2 / 120)  # upwards and downwards fit alike
    assert found.loc["x", "p_holm"] == found.loc["x", "p"]
    assert found.loc["constant", "status"] == "the same for all measures"


def test_measures_without_gain_or_predictor_are_left_out():
    table = pd.DataFrame({"x": [1.0, 2, 3, 4, math.nan], "y": [1.0, math.nan, math.nan, 2, 3]}, list("abcde"))
    found = predict_gain(table, pd.Series([1.0, 3, 2, 4, 9, 7], list("abcdef"))).set_index("predictor")
    assert (found.loc["x", "n"], found.loc["x", "status"]) == (4, "ok")
    assert found.loc["y", "status"] == "3 measures; at least 4 are needed"
    assert math.isnan(found.loc["y", "p_holm"])
    equal = predict_gain(table, pd.Series(1.0, list("abcde"))).set_index("predictor")
    assert equal.loc["x", "status"] == "all gains are equal"


def test_one_measure_that_stands_apart_is_predicted_by_the_mean():
    """Without it, the predictor is the same for all others and has no line."""
    names = list("abcde")
    found = predict_gain(pd.DataFrame({"x": [0.0, 0, 0, 0, 1]}, names), pd.Series([1.0, 2, 1, 2, 9], names))
    assert found["status"].tolist() == ["ok"]
    assert np.isfinite(found["error"]).all()


def test_draws_of_random_weights_are_one_measure():
    """Three draws that gain alike would tell a left-out draw from its siblings; their mean counts once."""
    keys = ["ssim", "gmsd", "nlpd", "vif", *(f"dists-vgg16-r{draw}" for draw in ("", "@seed1", "@seed2"))]
    described = pd.DataFrame({"measure": keys, "x": [1.0, 2.0, 3.0, 4.0, 8.9, 9.0, 9.1]})
    here = {"generator": "net", "discriminator": "none", "gan_weight": 0.0}
    points = pd.DataFrame({"measure": keys, "gain": [0.1, 0.4, 0.2, 0.3, 2.0, 2.1, 2.2]}).assign(**here)
    found = predict_gains(described, points).iloc[0]
    once = predict_gain(
        pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0, 9.0]}, index=list("abcde")),
        pd.Series([0.1, 0.4, 0.2, 0.3, 2.1], index=list("abcde")),
    ).iloc[0]
    assert found["n"] == once["n"] == 5
    assert found["ratio"] == pytest.approx(once["ratio"])
