"""Claims, self-preference, robustness and advice: planted truths are found, and nothing is found where nothing is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lopsided.analysis import StudyTables, analyse
from lopsided.analysis.claims import CLAIMS
from lopsided.analysis.claims.adversarial import patch_is_better
from lopsided.analysis.claims.claim import backbone_of, form_of, is_transformer
from lopsided.analysis.claims.rankings import random_vgg_is_better
from lopsided.analysis.gain import gains
from lopsided.analysis.headline import headline
from lopsided.analysis.power import detectable, needed_references, needed_repeats, needed_seeds, power_of
from lopsided.analysis.report.blocks import readable
from lopsided.analysis.self_preference import self_preference
from lopsided.analysis.statistics import split_variance
from lopsided.analysis.statistics.contrast import Estimate

SETTINGS = (("none", 0.0), ("vanilla-vgg16-r", 0.1), ("patch-vgg16-r", 0.1))
MEASURES = {"dists-vgg16-r": "a", "dists-resnet50": "b", "dists-clip_vit_b32": "c", "lpips-alexnet": "d", "ssim": "e"}
QUALITIES = dict(zip(MEASURES, (0.5, 1.5, 2.0, 1.0, 2.5), strict=True))


def study_of(synthetic_tables, effects, *, qualities=None, cells=None, **options):
    options = {"seeds": 4, "images": 12, "noise": 0.3, "settings": SETTINGS, "measures": MEASURES} | options
    fr = synthetic_tables.fr_scores(qualities or QUALITIES, references=12)
    scores = synthetic_tables.sr_scores(effects, **options)
    tables = {"sr_scores": scores, "fr_scores": fr} | ({"cells": cells} if cells is not None else {})
    return analyse(StudyTables(**tables), n_boot=50)


def of(study, key):
    claims = study.parts["claims"]
    return claims[claims["claim"] == key]


@pytest.fixture(scope="module")
def nothing(synthetic_tables):
    return study_of(synthetic_tables, {}, qualities=dict.fromkeys(MEASURES, 1.5))


@pytest.fixture(scope="module")
def reversed_(synthetic_tables):
    """The worse the metric, the better the objective, in every setting; patch is better than vanilla."""
    effects = {
        (measure, setting): 4 * (2.5 - quality) + (1.5 if "patch" in setting else 0)
        for measure, quality in [*QUALITIES.items(), ("none", 2.5)]
        for setting, _ in SETTINGS
        if (measure, setting) != ("none", "none")
    }
    return study_of(synthetic_tables, effects)


def test_nothing_is_claimed_where_there_is_nothing(nothing):
    assert set(nothing.parts["claims"]["verdict"]) <= {"undecided", "not testable"}
    assert headline(nothing)[0][0].startswith("Undecided: these data do not tell")
    assert any("seeds × 100 images" in said for said in headline(nothing)[0])
    advice = nothing.parts["advice"]
    assert not (advice["evidence"] == "established").any()
    undecided = advice[(advice["use"] == "as an objective") & advice["beaten"].eq("")]
    assert set(undecided["advice"]) == {"nothing tells them apart; first came"}


def test_every_claim_has_a_row_and_says_what_is_missing(nothing):
    claims = nothing.parts["claims"]
    assert set(claims["claim"]) == {claim.key for claim in CLAIMS}
    untested = claims[claims["verdict"] == "not testable"]
    assert {"T5", "T7", "T8", "T9", "T10"} <= set(untested["claim"])
    assert untested["missing"].ne("").all()
    assert claims.loc[claims["verdict"] != "not testable", "n"].ne("").all()
    tested = claims.loc[claims["claim"].isin(["T1", "T1s", "T2", "T3", "T4"]) & (claims["verdict"] != "not testable")]
    assert tested["needed"].ne("").all()
    assert tested.loc[tested["claim"] == "T1", "needed"].str.contains("references").all()


def test_a_reversed_order_is_established(reversed_):
    assert of(reversed_, "T1")["verdict"].tolist() == ["supported"]
    assert set(of(reversed_, "T1s")["verdict"]) == {"supported"}
    first = headline(reversed_)[0][0]
    assert first.startswith("Established: the better one of these measures is as a metric, the worse it is as an obj")
    assert set(reversed_.asymmetry.settings["rho"]) <= {-1.0, -0.9}
    advice = reversed_.parts["advice"]
    choosing = advice[advice["use"] == "choosing an objective"]
    assert set(choosing["advice"]) == {"a better metric is the worse objective"}
    objectives = advice[advice["use"] == "as an objective"]
    best = objectives["measures"].str.split(";").str[0]
    assert set(best) == {"dists-vgg16-r"}
    trained = {measure for measure in reversed_.gains.table["fidelity"] if measure != "none"}
    for row in objectives.to_dict("records"):  # every measure is the best, as good, or beaten: once
        assert sorted([*row["measures"].split(";"), *filter(None, row["beaten"].split(";"))]) == sorted(trained)


def test_random_vgg_and_the_patch_discriminator(reversed_, synthetic_tables):
    assert set(of(reversed_, "T3")["verdict"]) == {"supported"}
    row = of(reversed_, "T6").iloc[0]
    assert (row["verdict"], row["where"]) == ("supported", "swinir_tiny · patch-vgg16-r against vanilla-vgg16-r 0.1")
    units = reversed_.gains.judges.set_index("judge")["unit"]
    sd = pd.Series({judge: sd for judge, (_, _, sd) in synthetic_tables.JUDGES.items()})
    truth = 1.5 * (sd / units)[reversed_.asymmetry.settings["judges"].iloc[0].split(";")].mean()
    assert row["low"] < truth < row["high"]


def test_draws_of_random_weights_are_averaged(reversed_):
    scores = reversed_.tables.sr_scores
    worse = scores.loc[scores["fidelity"] == "dists-vgg16-r"].assign(
        fidelity="dists-vgg16-r@seed1", fidelity_id="id-draw", value=lambda rows: rows["value"]
    )
    one = next(random_vgg_is_better(reversed_))
    worse["value"] += np.where(worse["higher_is_better"], -100, 100)
    two = next(random_vgg_is_better(replace(reversed_, gains=gains(pd.concat([scores, worse])))))
    assert one.estimate > 0 > two.estimate


def test_a_weight_is_not_compared_with_a_share(reversed_):
    def found(*held):
        names = {name: f"{name}@share" for name in held}
        scores = reversed_.tables.sr_scores.replace({"discriminator": names})
        return next(patch_is_better(replace(reversed_, gains=gains(scores))))

    assert "at one weight or share" in found("patch-vgg16-r").missing
    both = found("patch-vgg16-r", "vanilla-vgg16-r")
    assert both.where == "swinir_tiny · patch-vgg16-r against vanilla-vgg16-r@share 0.1"
    assert readable("where")({"where": both.where}).endswith("patch VGG-16-R against vanilla VGG-16-R (share 0.1)")


def test_the_opposite_contradicts(synthetic_tables):
    effects = {
        (measure, setting): 4 * quality - (3 if "patch" in setting else 0)
        for measure, quality in QUALITIES.items()
        for setting, _ in SETTINGS
    }
    study = study_of(synthetic_tables, effects)
    assert set(of(study, "T1s")["verdict"]) == {"contradicted"}
    assert of(study, "T1")["verdict"].tolist() == ["undecided"]
    assert of(study, "T6")["verdict"].tolist() == ["contradicted"]
    assert set(of(study, "T3")["verdict"]) == {"contradicted"}
    assert "the better it is as an objective" in headline(study)[0][0]


def test_a_dominant_discriminator(synthetic_tables):
    effects = {(m, s): 6.0 * number for m in MEASURES for number, (s, _) in enumerate(SETTINGS)}
    assert of(study_of(synthetic_tables, effects), "T4")["verdict"].tolist() == ["supported"]


def test_artefacts_weights_and_stability(synthetic_tables):
    """T5, T7, T8 on one grid: fewer artefacts with a discriminator, DINOv2 worse, ever more with its weight."""
    settings = (
        ("none", 0.0),
        *((f"patch-{b}", w) for b in ("resnet50-r", "dinov2_vits14-r") for w in (0.01, 0.1, 1.0)),
    )
    judges = dict(synthetic_tables.JUDGES) | {"ringing": ("form:artefact", False, 0.1)}
    effects = {
        (m, s): {"none": 0.0, "patch-resnet50-r": 2.0, "patch-dinov2_vits14-r": 1.0}[s]
        for m in (*MEASURES, "none")
        for s, _ in settings
    }
    scores = synthetic_tables.sr_scores(
        effects, settings=settings, measures=MEASURES, judges=judges, seeds=4, images=8, noise=0.2
    )
    falls = (
        scores["discriminator"].str.contains("dinov2")
        * -0.25
        * np.log10(scores["gan_weight"].where(scores["gan_weight"] > 0, 0.01) / 0.01)
    )
    sign = np.where(scores["higher_is_better"], 1, -1)
    sd = scores["judge"].map({judge: sd for judge, (_, _, sd) in judges.items()})
    scores = scores.assign(value=scores["value"] + sign * sd * falls)
    trained = scores[scores["fidelity"] != "bicubic"]
    cells = trained[["cell", "generator", "fidelity", "discriminator", "gan_weight", "seed"]].drop_duplicates()
    dino = cells["discriminator"].str.contains("dinov2")
    more = cells[dino].head(20).assign(status="diverged", seed=lambda rows: rows["seed"] + 100)
    cells = pd.concat([cells.assign(status="done"), more]).assign(stage="finetune")
    cells = cells.reindex(columns=[*StudyTables().cells.columns])
    study = analyse(
        StudyTables(sr_scores=scores, fr_scores=synthetic_tables.fr_scores(QUALITIES), cells=cells), n_boot=20
    )
    assert set(of(study, "T5")["verdict"]) == {"supported"}
    assert set(of(study, "T7")["verdict"]) == {"supported"}
    assert of(study, "T7s")["verdict"].tolist() == ["supported"]


def test_weights_hurt_dino_more(synthetic_tables):
    settings = (
        ("none", 0.0),
        *((f"patch-{b}", w) for b in ("resnet50-r", "dinov2_vits14-r") for w in (0.01, 0.1, 1.0)),
    )
    scores = synthetic_tables.sr_scores({}, settings=settings, measures=MEASURES, seeds=4, images=8, noise=0.2)
    dino = scores["discriminator"].str.contains("dinov2")
    steps = np.log10(scores["gan_weight"].where(scores["gan_weight"] > 0, 0.01) / 0.01)
    sign = np.where(scores["higher_is_better"], 1, -1)
    sd = scores["judge"].map({judge: sd for judge, (_, _, sd) in synthetic_tables.JUDGES.items()})
    worse = analyse(
        StudyTables(sr_scores=scores.assign(value=scores["value"] - 0.5 * sign * sd * dino * steps)), n_boot=20
    )
    assert of(worse, "T8")["verdict"].tolist() == ["supported"]
    assert set(of(worse, "T7")["verdict"]) == {"supported", "undecided"}
    alike = analyse(StudyTables(sr_scores=scores), n_boot=20)
    assert of(alike, "T8")["verdict"].tolist() == ["undecided"]


def test_initialisation(synthetic_tables):
    study = analyse(StudyTables(nr_scores=synthetic_tables.nr_scores(seeds=4, splits=10)), n_boot=20)
    rows = of(study, "T9")
    rows = rows.assign(what=[str(where).rsplit(" · ")[-1] for where in rows["where"]]).set_index("what")
    assert rows.loc["pretrained over discriminator", "estimate"] > 0
    assert set(rows["verdict"]) <= {"supported", "undecided"}
    assert (rows["p_corrected"] < 0.05).any()


def test_features_of_transformers_and_textures(synthetic_tables):
    fr = synthetic_tables.fr_scores(
        {"dists-vgg16": 3.0, "dists-resnet50": 2.5, "dists-swin_t": 0.6, "dists-dinov2_vits14": 0.1}, references=20
    ).assign(dataset="tqd")
    study = analyse(StudyTables(fr_scores=fr), n_boot=20)
    assert of(study, "T11")["verdict"].tolist() == ["supported"]
    assert of(study, "T10")["verdict"].tolist() == ["supported"]
    assert all("DINOv2" in unit for unit in of(study, "T10")["unit"])
    few = analyse(StudyTables(fr_scores=fr[fr["reference"].isin(["ref0", "ref1"])]), n_boot=20)
    for claim in ("T10", "T11"):
        found = of(few, claim)
        assert found["verdict"].tolist() == ["not testable"]
        assert found["missing"].tolist() == ["fewer than three references"]


@pytest.mark.parametrize(
    ("key", "backbone", "form"),
    [("patch-vgg16-r", "vgg16-r", "patch"), ("unet", "", "unet"), ("dists-clip_vit_b32", "clip_vit_b32", "dists")],
)
def test_names_are_read(key, backbone, form):
    assert (backbone_of(key), form_of(key)) == (backbone, form)
    assert is_transformer(backbone) == key.endswith("b32")


def preferring(synthetic_tables, advantage, seed=0):
    """Five measures, each with two judges that share its form; those like it ``advantage`` SDs more."""
    measures = {f"m{k}": f"form:f{k}" for k in range(5)}
    judges = {f"j{k}{n}": (f"form:f{k}", True, 1.0) for k in range(5) for n in (0, 1)}
    scores = synthetic_tables.sr_scores({}, measures=measures, judges=judges, seeds=3, images=8, seed=seed)
    own = scores["fidelity"].str[-1] == scores["judge"].str[1]
    return scores.assign(value=scores["value"] + advantage * (own & scores["fidelity"].str.startswith("m")))


def test_judges_that_prefer_their_own_kind_are_found(synthetic_tables):
    scores = preferring(synthetic_tables, 1.0)
    found = self_preference(gains(scores), scores).set_index("kind")
    row = found.loc["form"]
    assert (row["n_related"], row["verdict"]) == (10, "established")
    assert row["low"] < 1.0 < row["high"]
    assert found.loc["backbone", "status"].startswith("no measure shares a backbone")
    none = preferring(synthetic_tables, 0.0)
    assert self_preference(gains(none), none).set_index("kind").loc["form", "verdict"] != "established"


def test_what_turns_a_trend_and_how_sure_ranks_are(reversed_):
    influence = reversed_.parts["influence"]
    assert set(influence["of"]) == {"measure", "judge"}
    assert not influence["turns"].any()
    of_setting = influence[influence["discriminator"] == "none"]
    assert (of_setting["of"] == "measure").sum() == 5
    ranks = reversed_.parts["rank_probabilities"]
    sums = ranks.groupby(["discriminator", "measure", "side"])["probability"].sum()
    assert sums.to_numpy() == pytest.approx(1.0)
    best = ranks[(ranks["side"] == "objective") & (ranks["rank"] == 1)].groupby("measure")["probability"].mean()
    assert best["dists-vgg16-r"] > 0.95
    inverted = reversed_.parts["inversion_probabilities"].set_index(["discriminator", "first", "second"])["probability"]
    assert inverted.loc["none", "ssim", "dists-vgg16-r"] > 0.99
    assert inverted.loc["none", "dists-vgg16-r", "ssim"] < 0.01


def test_power_against_simulation():
    """The share of simulated studies that find a difference is what is computed; so is the needed number of seeds."""
    rng = np.random.default_rng(0)
    found = Estimate(0.3, 0.2, 12.0, 3, 14, 0.05, 0.4)
    size = detectable(found)
    z, chi = rng.normal(size=40_000), rng.chisquare(12, 40_000)
    t = (size / 0.2 + z) / np.sqrt(chi / 12)
    assert (t > 2.1788).mean() == pytest.approx(0.8, abs=0.01)
    assert power_of(size, 0.2, 12.0) == pytest.approx(0.8, abs=1e-6)
    few, many = (needed_seeds(found, 0.4, 100, tests, 6) for tests in (1, 30))
    assert few is not None
    assert many is not None
    assert few < many
    assert needed_seeds(found, 0.01, 100) is None
    assert np.isnan(detectable(Estimate(1, np.nan, np.nan, 1, 5)))
    metric = Estimate(0.05, 0.04, 9.0, 10, 10)
    references = needed_references(metric, 0.05)
    assert references is not None
    assert power_of(0.05, 0.04 * (10 / references) ** 0.5, references - 1.0) == pytest.approx(0.8, abs=0.02)
    assert needed_references(metric, 1e-4) is None


def test_repeats_decide_on_spreads():
    """Where a verdict needs k times the sample, a sample k times as large gives one in most studies."""
    rng = np.random.default_rng(0)
    measures, settings = (1.2 * np.array([-1, -0.5, 0, 0.5, 1]) * sd for sd in (0.4, 1.0))
    true = measures[:, None, None, None] + settings[[0, 2, 4]][:, None, None]

    def study(times):
        seeds, images = 3 * times, 6 * times
        noise = 0.6 * rng.normal(size=(5, 3, seeds, 1)) + 0.8 * rng.normal(size=(5, 3, 1, images))
        return split_variance(true + noise + 0.5 * rng.normal(size=(5, 3, seeds, images)))

    clear = measures[:, None, None, None] / 4 + settings[[0, 2, 4]][:, None, None]
    assert needed_repeats(split_variance(clear + 1e-9 * rng.normal(size=(5, 3, 3, 6)))) == 1
    small = [study(1) for _ in range(30)]
    assert np.median([needed_repeats(found) or np.inf for found in small]) == 2
    assert np.mean([found.verdict == "setting dominates" for found in small]) < 0.8
    assert np.mean([study(2).verdict == "setting dominates" for _ in range(30)]) > 0.8
