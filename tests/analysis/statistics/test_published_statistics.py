"""Statistics of published per-image scores are the published statistics, to the digits printed."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.paths import SHARED

from lopsided.analysis.statistics.agreement import concordance, label_errors, outlier_ratio
from lopsided.analysis.statistics.assessment import assess
from lopsided.analysis.statistics.bootstrap import draw_resamples, srcc_replicates
from lopsided.analysis.statistics.correlation import krcc, plcc, srcc
from lopsided.analysis.statistics.logistic import fit_logistic

TABLES = SHARED / "iqa" / "tables"
SCIPY: tuple[Any, ...] = (stats.spearmanr, stats.kendalltau, stats.pearsonr)
pytestmark = pytest.mark.skipif(not TABLES.is_dir(), reason="shared/data/iqa/tables is not here")

# Labels of the files as they are: PIPAL has MOS; LIVE has DMOS, TID2013 is stored as 100 − MOS. Scores are distances
# (MS-SSIM and FSIM as 1 − score) but for PSNR.
ZS_IQA_LABEL_UP = {"pipal": True, "live": False, "tid2013": False}
# KADID-10k's "dmos" rises with quality, LIVE's falls. All three scores are distances.
CROSSVAL = {"kadid10k": ("dmos", True), "TID2013": ("mos", True), "LIVE2": ("dmos_new", False)}


def zs_iqa(dataset, measure):
    table = pd.read_csv(TABLES / "zs_iqa" / f"{dataset}_{measure}.csv.gz")
    up = {"score_higher_is_better": measure == "psnr", "label_higher_is_better": ZS_IQA_LABEL_UP[dataset]}
    return table["pred"].to_numpy(), table["mos"].to_numpy(), up


@pytest.fixture(scope="module")
def crossval():
    return {name: pd.read_csv(TABLES / "vqmtcrossval" / f"{name}.VQMT.csv.gz") for name in CROSSVAL}


def printed(value, text):
    """Whether a value rounds to the published text."""
    return f"{value:.{len(text.split('.')[1])}f}" == text


# Published with the DISTS paper's protocol and pyiqa's FR benchmark (raw PLCC), the latter in pyiqa_calibration/.
@pytest.mark.parametrize(
    ("dataset", "measure", "values"),
    [
        ("pipal", "psnr", ("0.407",)),
        ("pipal", "msssim", ("0.562",)),
        ("pipal", "fsim", ("0.590",)),
        ("pipal", "lpips", ("0.588",)),
        ("pipal", "dists", ("0.579",)),
        ("tid2013", "psnr", ("0.6869", "0.4958", "0.6601")),
        ("tid2013", "msssim", ("0.7859", "0.6048", "0.7819")),
        ("tid2013", "fsim", ("0.8509", "0.6665", "0.8322")),
        ("tid2013", "dists", ("0.7077", "0.5212", "0.7538")),
        ("live", "psnr", ("0.8730", "0.6801", "0.8435")),
        ("live", "msssim", ("0.9508", "0.8034", "0.7668")),
        ("live", "fsim", ("0.9646", "0.8366", "0.8598")),
        ("live", "dists", ("0.9477", "0.7927", "0.9115")),
    ],
)
def test_correlations_are_the_published_ones_and_positive(dataset, measure, values):
    score, label, up = zs_iqa(dataset, measure)
    found = [srcc(score, label, **up)] + ([krcc(score, label, **up), plcc(score, label, **up)] if values[1:] else [])
    # PIPAL: published .407 and .590 for .40652 and .58953.
    tolerance = 6e-4 if dataset == "pipal" else 5e-5
    for value, text in zip(found, values, strict=True):
        assert value == pytest.approx(float(text), abs=tolerance)


# SmilingWolf/VQMTCrossVal, README, with the signs of the files' columns: SROCC, KROCC, PLCC.
@pytest.mark.parametrize(
    ("dataset", "measure", "values"),
    [
        ("kadid10k", "DSSIM", ("-0.856", "-0.670", "-0.639")),
        ("kadid10k", "SSIMULACRA", ("-0.700", "-0.508", "-0.623")),
        ("kadid10k", "Butteraugli", ("-0.735", "-0.546", "-0.605")),
        ("TID2013", "DSSIM", ("-0.861", "-0.678", "-0.773")),
        ("TID2013", "SSIMULACRA", ("-0.673", "-0.485", "-0.663")),
        ("TID2013", "Butteraugli", ("-0.760", "-0.572", "-0.648")),
        ("LIVE2", "DSSIM", ("0.955", "0.813", "0.576")),
        ("LIVE2", "SSIMULACRA", ("0.914", "0.740", "0.783")),
        ("LIVE2", "Butteraugli", ("0.900", "0.718", "0.699")),
    ],
)
def test_cross_validation_of_codecs_measures(crossval, dataset, measure, values):
    table, (column, up) = crossval[dataset], CROSSVAL[dataset]
    score, label = table[measure].to_numpy(), table[column].to_numpy()
    for statistic, independent, text in zip((srcc, krcc, plcc), SCIPY, values, strict=True):
        value = statistic(score, label)
        assert printed(value, text)
        assert value == pytest.approx(independent(score, label).statistic, abs=1e-12)
        assert statistic(score, label, score_higher_is_better=False, label_higher_is_better=up) > 0


# Four parameters: Ding, Ma, Wang, Simoncelli (IEEE TPAMI 2022), table of LIVE and TID2013. Five: Zhang, Shen, Li, VSI
# (IEEE TIP 2014), where FSIM is its colour version as here; its MATLAB scores differ from these in the fourth digit.
@pytest.mark.parametrize(
    ("dataset", "measure", "n_parameters", "text"),
    [
        ("live", "psnr", 4, "0.865"),
        ("tid2013", "psnr", 4, "0.677"),
        ("live", "msssim", 4, "0.940"),
        ("tid2013", "msssim", 4, "0.830"),
        ("live", "fsim", 5, "0.961"),
        ("tid2013", "fsim", 5, "0.877"),
    ],
)
def test_plcc_after_the_logistic_is_the_published_one(dataset, measure, n_parameters, text):
    score, label, up = zs_iqa(dataset, measure)
    fit = fit_logistic(score, label, n_parameters, **up)
    assert printed(fit.plcc, text)
    assert fit.status in ("converged", "at a limit")


def test_rmse_after_the_logistic_is_the_published_one():
    """FSIMc on TID2013 (MOS 0 … 9): 0.5959 in the VSI paper, from MATLAB's scores."""
    score, label, up = zs_iqa("tid2013", "fsim")
    assert fit_logistic(score, label, 5, **up).rmse == pytest.approx(0.5959, abs=5e-4)


def test_every_fit_on_the_real_tables_converges_or_names_its_limit(crossval):
    for name, (column, up) in CROSSVAL.items():
        for measure in crossval[name].columns[6:]:
            for n_parameters in (4, 5):
                score, label = crossval[name][measure].to_numpy(), crossval[name][column].to_numpy()
                fit = fit_logistic(score, label, n_parameters, score_higher_is_better=False, label_higher_is_better=up)
                assert fit.status.split(",")[0] in ("converged", "at a limit")
                assert fit.plcc > plcc(score, label, score_higher_is_better=False, label_higher_is_better=up) - 1e-4


def test_clustered_replicates_of_a_real_table_are_scipys(crossval):
    table = crossval["TID2013"]
    x, y = table["DSSIM"].to_numpy(), table["mos"].to_numpy()
    resamples = draw_resamples(table["ref_img"].str.lower(), 6, np.random.default_rng(0))
    assert resamples.counts.shape[1] == 25
    for value, counts in zip(srcc_replicates(x, y, resamples), resamples.counts, strict=True):
        rows = np.repeat(np.arange(len(x)), counts[resamples.cluster])
        assert value == pytest.approx(stats.spearmanr(x[rows], y[rows])[0], abs=1e-14)


def test_what_people_can_tell_apart_is_easier_than_what_they_cannot(crossval):
    """LIVE publishes the deviation of each DMOS: concordance rises with the threshold, outliers are many."""
    table = crossval["LIVE2"]
    score, label = table["DSSIM"].to_numpy(), table["dmos_new"].to_numpy()
    error = label_errors(table["dmos_std"].to_numpy())
    down = {"score_higher_is_better": False, "label_higher_is_better": False}
    found = [concordance(score, label, error, z=z, **down) for z in (0.0, 1.96, 4.0)]
    assert found[0][0] < found[1][0] < found[2][0]
    # Without a threshold it is Kendall's: (τ-a + 1) / 2 of the pairs with different labels.
    different = np.sign(label[:, None] - label)
    agree = (different * np.sign(score[:, None] - score))[different != 0]
    assert found[0][0] == pytest.approx((agree.mean() + 1) / 2, abs=1e-12)
    fit = fit_logistic(score, label, 4, **down)
    assert 0.5 < outlier_ratio(fit(score), label, error) < 0.8


def test_assess_puts_real_tables_in_order(crossval):
    """All of it at once on LIVE, in its own terms."""
    table = crossval["LIVE2"]
    rows = pd.concat(
        pd.DataFrame(
            {
                "measure": measure,
                "measure_id": measure,
                "dataset": "live",
                "dataset_id": "live2",
                "reference": table["refnames_all"],
                "image": table["dst_type"] + "/" + table["dist_img"],
                "distortion": table["dst_type"],
                "level": 0,
                "label": table["dmos_new"],
                "label_std": table["dmos_std"],
                "label_std_of": "mean",
                "label_kind": "dmos",
                "label_higher_is_better": False,
                "higher_is_better": False,
                "score": table[measure],
                "status": "ok",
            }
        )
        for measure in ("DSSIM", "SSIMULACRA", "Butteraugli")
    )
    found = assess(rows, n_boot=200)
    by_measure = found.table.set_index("measure")
    assert by_measure["srcc"].round(3).to_dict() == {"DSSIM": 0.955, "SSIMULACRA": 0.914, "Butteraugli": 0.9}
    assert (by_measure["n_references"] == 29).all()
    assert by_measure[["plcc_logistic4", "rmse", "outlier_ratio", "concordance"]].notna().to_numpy().all()
    assert found.ranks.set_index("measure")["mean_rank"].idxmin() == "DSSIM"
    best = found.differences.iloc[0]
    assert (best["measure_a"], best["measure_b"]) == ("DSSIM", "SSIMULACRA")
    assert best["difference_low"] > 0
