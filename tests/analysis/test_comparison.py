"""Studies beside one another: what was put in is found, and what cannot be paired is not tested."""

from dataclasses import replace

import numpy as np
import pytest

from lopsided.analysis import AnalysisError, analyse, compare, write_comparison


def study(synthetic, *, cells="", effects=None, noise=0, change=lambda tables: tables):
    """A study whose trainings are its own: other cells, and noise of its own over the same images."""
    tables = synthetic.study_tables(seeds=3)
    scores = synthetic.sr_scores({**synthetic.EFFECTS, **(effects or {})}, seeds=3)
    trained = scores["fidelity"] != "bicubic"
    unit = scores["judge"].map({key: sd for key, (_, _, sd) in synthetic.JUDGES.items()})
    own = np.random.default_rng(noise).normal(size=len(scores)) * unit if noise else 0
    scores = scores.assign(cell=scores["cell"] + cells, value=scores["value"] + own * trained)
    return analyse(change(replace(tables, sr_scores=scores)), n_boot=20)


@pytest.fixture(scope="module")
def first(synthetic_tables):
    return study(synthetic_tables)


@pytest.fixture(scope="module")
def second(synthetic_tables):
    """One gain is two judge SDs larger, and one metric has another definition and is worse."""

    def worse(tables):
        fr, sr = tables.fr_scores.copy(), tables.sr_scores.copy()
        of = fr["measure"] == "lpips-alexnet"
        fr.loc[of, "score"] += np.random.default_rng(0).normal(0, 2, of.sum())
        fr.loc[of, "measure_id"] = "another"
        sr.loc[sr["fidelity"] == "lpips-alexnet", "fidelity_id"] = "another"
        return replace(tables, fr_scores=fr, sr_scores=sr)

    return study(synthetic_tables, cells="b", effects={("dists-vgg16", "none"): 3.2}, noise=5, change=worse)


def test_what_was_put_in_is_established_and_nothing_else(first, second):
    found = compare({"a": first, "b": second})
    assert set(found.gains["status"]) == {"ok"}
    sure = found.gains.loc[found.gains["verdict"] == "established"]
    assert sure[["fidelity", "discriminator"]].to_numpy().tolist() == [["dists-vgg16", "none"]]
    (row,) = sure.to_dict("records")
    assert row["difference_low"] < 2 < row["difference_high"]
    assert "dists-vgg16" not in row["judges"].split(";")
    assert "lpips-vgg16" not in row["judges"].split(";"), "it shares the backbone"
    tested = found.metrics.loc[found.metrics["status"] == "ok"]
    assert tested["measure"].tolist() == ["lpips-alexnet"]
    assert tested["difference"].iloc[0] == pytest.approx(tested["srcc_b"].iloc[0] - tested["srcc_a"].iloc[0])
    assert set(found.metrics.loc[found.metrics["status"] != "ok", "verdict"]) == {"not tested"}


def test_the_other_way_round_the_sign_turns(first, second):
    one, other = compare({"a": first, "b": second}).metrics, compare({"b": second, "a": first}).metrics
    assert one["difference"].dropna().to_numpy() == pytest.approx(-other["difference"].dropna().to_numpy())


def test_both_tables_are_one_family_of_tests(first, second):
    found = compare({"a": first, "b": second})
    n = int(found.gains["p"].notna().sum() + found.metrics["p"].notna().sum())
    assert found.gains["p_holm"].min() == pytest.approx(n * found.gains["p"].min())


def without(status):
    return lambda tables: replace(tables, sr_scores=status(tables.sr_scores))


NOT_PAIRED = {
    "the same trainings": ("", lambda scores: scores),
    "no common judge": ("b", lambda scores: scores.assign(judge_id=scores["judge_id"] + "2")),
    "nothing shows that their test images are the same": (
        "b",
        lambda scores: scores.assign(value=scores["value"] + (scores["fidelity"] == "bicubic")),
    ),
    "this generator is in one of them only": (
        "b",
        lambda scores: scores.assign(
            generator=scores["generator"].mask(scores["fidelity"] != "bicubic", "rrdb"),
        ),
    ),
}


@pytest.mark.parametrize("why", NOT_PAIRED)
def test_what_cannot_be_paired_is_not_tested(why, first, synthetic_tables, tmp_path):
    cells, change = NOT_PAIRED[why]
    other = study(synthetic_tables, cells=cells, change=without(change))
    found = write_comparison({"a": first, "b": other}, tmp_path / "comparison.html")
    of = found.gains
    if "generator" in why:
        assert of["status"].str.fullmatch("no gain in [ab]").all()
    else:
        assert set(of["status"]) == {why}
    assert set(of["verdict"]) == {"not tested"}
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "Not tested: no difference between these experiments can be tested" in page.replace("</a>", "")
    for unwanted in (">nan<", " nan", "None<", "NaT"):
        assert unwanted not in page


def test_equal_trainings_with_other_noise_differ_in_nothing(first, synthetic_tables):
    found = compare({"a": first, "b": study(synthetic_tables, cells="b", noise=7)})
    assert not {"established"} & set(found.gains["verdict"])
    assert found.gains["p"].notna().all()


def test_three_studies_are_compared_pair_by_pair(first, second):
    found = compare({"a": first, "b": second, "c": first})
    assert set(zip(found.gains["a"], found.gains["b"], strict=True)) == {("a", "b"), ("a", "c"), ("b", "c")}


def test_one_study_is_no_comparison(first):
    with pytest.raises(AnalysisError, match="needs two studies or more, got 1"):
        compare({"a": first})
