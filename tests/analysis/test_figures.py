import itertools
import re
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from support.drawn import cut_off, overlapping, visible_texts

from lopsided.analysis import figures
from lopsided.analysis.claims import CLAIMS
from lopsided.analysis.deriving import analyse
from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.figures.canvas import figure_of, lay_out, text_width, wrapped
from lopsided.analysis.figures.critical_difference import groups_within
from lopsided.analysis.figures.gallery import contrasting, error_map
from lopsided.analysis.figures.judge_heatmap import by_mean_gain
from lopsided.analysis.figures.style import (
    BLUE,
    GREY,
    VERMILION,
    interval,
    minus,
    pretty,
    setting_name,
    settings_of,
    spread_labels,
)
from lopsided.analysis.result_tables import StudyTables
from lopsided.analysis.statistics.frames import grouped, records, where
from lopsided.analysis.statistics.ranks import friedman

MANY = [
    *("dists-vgg16", "dists-vgg16-r", "dists-resnet50", "dists-convnext_tiny", "dists-clip_vit_b32", "dists-swin_t"),
    *("dists-dinov2_vits14", "lpips-alex", "lpips-squeezenet1_1", "lpips-squeezenet1_1-r", "ms_ssim", "gmsd"),
    *("dists-clip_vit_b16-r+f6ff", "dists-vgg16-r+0a1b"),
]
SETTINGS = (("none", 0.0), ("patch", 0.02), ("patch", 0.1), ("vanilla-dinov2_vits14", 0.1))
FIGURES = {name: getattr(figures, name) for name in figures.__all__ if name in vars(figures) and name[0].islower()}
NOT_FIGURES = {"axes_of", "figure_of", "pretty", "setting_name", "settings_of"}


def axes_of(drawn) -> list[Any]:
    return figures.axes_of(drawn)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def make(synthetic_tables, n_measures, n_settings, *, seeds=2, images=6, noise=1.0, n_boot=100):
    measures = {key: f"family{i}" for i, key in enumerate(MANY[:n_measures])}
    settings = SETTINGS[:n_settings]
    rng = np.random.default_rng(3)
    effects = {(key, d): rng.normal(0.3, 0.5) for key in measures for d, _ in settings}
    scores = synthetic_tables.sr_scores(
        effects, settings=settings, measures=measures, seeds=seeds, images=images, noise=noise
    )
    # One cell has a bad score, one was never trained.
    bad = (scores["fidelity"] == MANY[1]) & (scores["discriminator"] == "patch") & (scores["image"] == "img0")
    scores.loc[bad & (scores["judge"] == "musiq"), ["value", "status"]] = [np.nan, "non-finite"]
    if n_measures > 3:
        scores = scores[~((scores["fidelity"] == MANY[2]) & (scores["discriminator"] == "vanilla-dinov2_vits14"))]
    fr = synthetic_tables.fr_scores({key: 0.4 + 0.25 * i for i, key in enumerate(measures)}, references=5)
    training, cells = synthetic_tables.training(scores, steps=8), synthetic_tables.cells(scores)
    validated = training[training["term"] == "pixel"].assign(term="validation/psnr_y")
    training = pd.concat([training, validated.assign(value=30 - 10 * validated["value"])])
    return analyse(StudyTables(sr_scores=scores, fr_scores=fr, training=training, cells=cells), n_boot=n_boot)


@pytest.fixture(scope="module", params=[(1, 1, 1), (3, 2, 1), (14, 4, 2)], ids=["one", "few", "many"])
def study(request, synthetic_tables):
    n_measures, n_settings, seeds = request.param
    return make(synthetic_tables, n_measures, n_settings, seeds=seeds)


def compared_with_itself(gains):
    """Return gains as a comparison has them: of a study, and of one in which nothing is gained."""
    ends = {f"difference{end}": gains[f"gain{end}"] for end in ("", "_low", "_high")}
    return gains.assign(a="first", b="second", gain_a=0.0, gain_b=gains["gain"], **ends, verdict="undecided")


def on_board(table):
    """Return an assessment as a leaderboard."""
    return table.rename(columns={"measure": "scorer", "dataset": "benchmark"}).assign(
        dimension="quality", of="srcc", n_valid=table["n"]
    )


def as_ratings(scores):
    """Return the scores of measures as ratings, some of which failed."""
    ratings = scores.rename(columns={"measure": "scorer", "score": "value", "label": "target"})
    return ratings.assign(status=np.where(np.arange(len(ratings)) % 7 == 3, "unparsable", ratings["status"]))


def logged():
    """What a reinforcement logs."""
    rows = [(step, f"rewards/{name}/mean", step / 10) for name in ("gaussian", "format") for step in (1, 5, 10)]
    rows += [(step, f"status/{name}", 0.01 * step) for name in ("ok", "out_of_range", "empty") for step in (1, 5, 10)]
    rows += [(step, "eval/held-out/quality/srcc", 0.08 * step) for step in (0, 10)]
    rows += [(step, term, 0.1) for term in ("kl", "loss") for step in (1, 5, 10)]
    return pd.DataFrame(rows, columns=["step", "term", "value"]).assign(alignment="tuned")


def arguments(study, generator="swinir_tiny", dataset="ladder"):
    """Return the tables that each figure takes, of one generator, data set and, for single judges, setting."""
    asymmetry, gains, assessed = study.asymmetry, study.gains, study.assessment
    here = {"discriminator": "none", "gan_weight": 0.0}
    by_judge = where(gains.by_judge, **here)
    return {
        "slope_chart": (asymmetry.points, asymmetry.settings, asymmetry.pairs, study.parts["rank_probabilities"]),
        "scatter": (asymmetry.points, asymmetry.settings),
        "judge_scatter": (
            by_judge[by_judge["fidelity"] != "none"],
            assessed.table,
            where(asymmetry.by_judge, **here),
        ),
        "inversion_matrix": (study.parts["inversion_probabilities"], asymmetry.points),
        "judge_heatmap": (gains.by_judge,),
        "gain_forest": (gains.table,),
        "gan_weight_curves": (gains.table,),
        "variance_components": (study.spreads,),
        "assessment_forest": (assessed.table,),
        "raters_forest": (assessed.table.rename(columns={"measure": "rater"}).assign(kind="measure"),),
        "leaderboard_forest": (on_board(assessed.table),),
        "rating_calibration": (as_ratings(study.tables.fr_scores),),
        "rating_residuals": (as_ratings(study.tables.fr_scores),),
        "probe_curves": (
            pd.DataFrame({"checkpoint": ["0", "9"], "reward_change": [0.0, 2.0], "diversity_share": 1.0, "blank": 0.0}),
        ),
        "status_bars": (as_ratings(study.tables.fr_scores),),
        "alignment_curves": (logged(),),
        "critical_difference": (where(assessed.ranks, over="references"),),
        "initialisation_ladder": (assessed.table, gains.table),
        "no_reference_forest": (study.parts["nr_assessment"], study.parts["nr_splits"]),
        "training_curves": (where(study.tables.training, generator=generator),),
        "validation_curves": (where(study.tables.training, generator=generator),),
        "diagnostics_panels": (study.parts["diagnostics_summary"],),
        "comparison_forest": (compared_with_itself(gains.table),),
        "claim_table": (study.parts["claims"],),
    }


@pytest.fixture(scope="module")
def drawn(study):
    found = {}
    for name, tables in arguments(study).items():
        found[name] = FIGURES[name](*tables)
        plt.close(figure_of(found[name]))  # it stays as it is; matplotlib warns of more than 20 open figures
    return found


@pytest.fixture(scope="module")
def seen(drawn):
    return {name: visible_texts(figure_of(axes)) for name, axes in drawn.items()}


def said(seen):
    return " ".join(text.get_text() for text, _ in seen).replace("\n", " ")


def texts_of(drawn):
    return said(visible_texts(figure_of(drawn)))


def looks_clean(drawn):
    seen = visible_texts(figure_of(drawn))
    return not overlapping(seen) and not cut_off(figure_of(drawn), seen)


def test_every_figure_is_tested_here(study):
    assert set(FIGURES) - NOT_FIGURES == {*arguments(study), "gallery", "recovery_strips"}


def test_no_two_labels_overlap_and_none_is_cut_off(drawn, seen):
    for name, axes in drawn.items():
        assert not overlapping(seen[name]), name
        assert not cut_off(figure_of(axes), seen[name]), name


def test_axes_say_what_they_show_in_what_unit_and_direction(study, seen):
    written = {name: said(texts) for name, texts in seen.items()}
    for name, text in written.items():
        assert "nan" not in text.lower().replace("maniqa", ""), name
    if study.gains.table["fidelity"].nunique() == 1:
        return
    for name in ("scatter", "judge_scatter", "judge_heatmap", "gain_forest", "gan_weight_curves"):
        assert "judge SDs, higher is better" in written[name], name
    assert "SRCC (higher is better)" in written["judge_scatter"]
    assert "SRCC as a metric (higher is better)" in written["scatter"]
    assert "correlation with the labels (1 is perfect, higher is better)" in written["assessment_forest"]
    assert "fine-tuning step" in written["training_curves"]
    assert "SD of true gains (judge SDs)" in written["variance_components"]
    assert "rank as a metric (SRCC)" in written["slope_chart"]


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figures_are_written_as_png_svg_and_pdf(kind, start, tmp_path, synthetic_tables):
    tables = arguments(make(synthetic_tables, 3, 2, n_boot=10))
    for name in ("slope_chart", "judge_heatmap", "claim_table", "gan_weight_curves"):
        path = tmp_path / f"{name}.{kind}"
        axes = FIGURES[name](*tables[name])
        figure_of(axes).savefig(path, dpi=30)
        assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("name", sorted(set(FIGURES) - NOT_FIGURES - {"gallery", "recovery_strips", "claim_table"}))
def test_tables_without_rows_or_without_values_say_why(name, synthetic_tables):
    """Empty tables, and real ones of which every value is NaN."""
    tables = arguments(make(synthetic_tables, 3, 2, seeds=2, n_boot=10))[name]
    nothing = [
        table.assign(**{column: np.nan for column in table.select_dtypes(float) if column != "gan_weight"})
        for table in tables
    ]
    for given in ([table.head(0) for table in tables], nothing):
        figure, axis = plt.subplots(figsize=(3, 2))
        axes = FIGURES[name](*given)
        assert len(texts_of(axes)) > 8, name
        if not any(len(table) for table in given):
            assert FIGURES[name](*given, ax=axis) is axis
            assert len(axis.texts) == 1
            assert looks_clean(axis)
            plt.close(figure)


def test_a_figure_is_drawn_on_axes_of_the_caller(study):
    for name, tables in arguments(study).items():
        own = axes_of(FIGURES[name](*tables))
        figure, axes = plt.subplots(1, len(own), squeeze=False)
        given = axes[0, 0] if len(own) == 1 else list(axes[0])
        found = FIGURES[name](*tables, ax=given)
        plt.close("all")
        assert found is given if len(own) == 1 else list(found) == given, name
        assert figure.axes == list(axes[0]), name
        if len(own) > 1:
            with pytest.raises(AnalysisError, match=f"the table has {len(own)} panels, ax has 1: pass as many"):
                FIGURES[name](*tables, ax=axes[0, 0])


def test_mixed_tables_are_refused(study):
    gains = study.gains.table
    with pytest.raises(AnalysisError, match="gain_forest shows one generator, got 2"):
        figures.gain_forest(pd.concat([gains, gains.assign(generator="other")]))


def test_drawing_leaves_the_callers_settings_alone(study):
    before = dict(mpl.rcParams)
    figures.gain_forest(study.gains.table)
    assert dict(mpl.rcParams) == before


def test_a_figure_laid_out_once_stays_as_it_is(study):
    axes = figures.gain_forest(study.gains.table)
    figure = lay_out(axes)
    before = [axis.get_position().bounds for axis in axes_of(axes)]
    figure.savefig("/dev/null", format="png")
    assert [axis.get_position().bounds for axis in axes_of(axes)] == before
    assert looks_clean(axes)


def test_only_tested_moves_are_coloured(synthetic_tables):
    """Blue rises, vermilion falls, dashed is suggested, else grey; bars are the probabilities of ranks."""
    study = analyse(synthetic_tables.study_tables(seeds=4, images=12), n_boot=50)
    points, settings, pairs, ranks = arguments(study)["slope_chart"]
    axes = axes_of(figures.slope_chart(points, settings, pairs, ranks))
    for axis, setting in zip(axes, settings_of(settings), strict=True):
        here = {"discriminator": setting[0], "gan_weight": setting[1]}
        rows = where(points, **here).sort_values("measure")
        inversions = where(pairs, verdict="established", **here)
        moved = {*inversions["better_metric"], *inversions["worse_metric"]}
        lines = [line for line in axis.lines if line.get_linestyle() != "None"]
        assert len(lines) == len(rows)
        for row, line in zip(records(rows), lines, strict=True):
            assert list(line.get_ydata()) == [row["rank_assessment"], row["rank_gain"]]
            change = np.sign(row["rank_assessment"] - row["rank_gain"])
            sure = row["measure"] in moved and change != 0
            expected = {1.0: BLUE, -1.0: VERMILION}[change] if sure else GREY
            if sure or row["measure"] not in {*where(pairs, verdict="suggested", **here)["better_metric"]}:
                assert line.get_color() == expected or line.get_linestyle() == "--"
            assert any(f"{pretty(row['measure'])}  {row['rank_assessment']:g}\n" in t.get_text() for t in axis.texts)
        heights = np.concatenate(
            [[abs(np.ptp(path.vertices[:, 1])) for path in c.get_paths()] for c in axis.collections]
        )
        found = np.sort(heights[heights > 0]) / 0.68
        of = where(ranks, **here)["probability"].to_numpy()
        np.testing.assert_allclose(found, np.sort(of[of > 0]), atol=1e-9)
    assert any(line.get_color() in (BLUE, VERMILION) for axis in axes for line in axis.lines)
    grey = axes_of(figures.slope_chart(points, settings, pairs.head(0), None))
    assert {line.get_color() for axis in grey for line in axis.lines} == {GREY}


def test_what_is_drawn_is_what_was_measured(study):
    points, settings = study.asymmetry.points, study.asymmetry.settings
    panel = axes_of(figures.scatter(points, settings))[0]
    rows = points[points["discriminator"] == "none"]
    dots = [line for line in panel.lines if line.get_linestyle() == "None"]
    found = sorted(tuple(np.ravel(line.get_xydata()).tolist()) for line in dots)
    assert found == sorted(zip(rows["srcc"], rows["gain"], strict=True))


@pytest.mark.parametrize("name", ["scatter", "gain_forest", "gan_weight_curves"])
def test_one_outlier_flattens_nothing_and_its_value_is_written(name, synthetic_tables):
    """The limits are those of the others; a triangle at the edge says where it lies."""
    study = make(synthetic_tables, 8, 2, seeds=3)
    tables = arguments(study)[name]
    far = [
        table.assign(
            **{
                column: table[column].mask((table[key] == MANY[3]) & (table["discriminator"] == "patch"), -45.3)
                for column in ("gain", "gain_low", "gain_high")
            }
        )
        if "gain" in table
        else table
        for table in tables
        for key in ["measure" if "measure" in table else "fidelity" if "fidelity" in table else "rho"]
    ]
    axes = FIGURES[name](*far)
    side = "get_xlim" if name == "gain_forest" else "get_ylim"
    assert min(getattr(axis, side)()[0] for axis in axes_of(axes)) > -8
    assert "−45.3" in texts_of(axes)
    edge = "<" if name == "gain_forest" else "v"
    assert edge in [line.get_marker() for axis in axes_of(axes) for line in axis.lines if not line.get_clip_on()]


def test_what_a_gain_is_worth_is_seen_by_its_mark(synthetic_tables):
    """Filled only below Holm's .05, a diamond if seeds are lost, the reason where there is no gain."""
    tables = synthetic_tables.study_tables(seeds=3)
    of = tables.cells
    lost = of["fidelity"].eq("ms_ssim") & (of["seed"].eq(0) | of["discriminator"].eq("none"))
    kept = ~tables.sr_scores["cell"].isin(of.loc[lost, "cell"])
    cells = of.assign(status=of["status"].mask(lost, "diverged"))
    gains = analyse(replace(tables, sr_scores=tables.sr_scores[kept], cells=cells), n_boot=20).gains.table
    panels = axes_of(figures.gain_forest(gains))
    dots = [line for axis in panels for line in axis.lines if line.get_marker() in ("o", "D")]
    filled = [line for line in dots if line.get_markerfacecolor() != "white"]
    assert len(dots) == gains["gain"].notna().sum()
    assert len(filled) == (gains["p_holm"] < 0.05).sum() > 0
    assert sum(line.get_marker() == "D" for line in dots) == 2
    assert "no seed left: 3 diverged" in [text.get_text() for axis in panels for text in axis.texts]
    ends = {tuple(line.get_xdata()) for axis in panels for line in axis.lines if line.get_marker() == "None"}
    for row in records(gains.loc[gains["gain"].notna()]):
        assert (row["gain_low"], row["gain_high"]) in ends


def test_each_judge_has_a_panel_with_every_measure(study):
    """Filled: the interval of the gain excludes 0; ×: the measure does not count for this judge."""
    rows, assessed, found = arguments(study)["judge_scatter"]
    if found.empty:
        return
    panels = axes_of(figures.judge_scatter(rows, assessed, found))
    assert [axis.get_title(loc="left").split("\n")[0] for axis in panels] == [pretty(judge) for judge in found["judge"]]
    for axis, summary in zip(panels, records(found), strict=True):
        own = where(rows, judge=summary["judge"])
        excluded = set(summary["excluded"].split(";")) - {""}
        dots = [line for line in axis.lines if line.get_linestyle() == "None"]
        counted = own[~own["fidelity"].isin(excluded)]
        sure = (counted["gain_low"] > 0) | (counted["gain_high"] < 0)
        assert sum(line.get_marker() == "x" for line in dots) == len(excluded)
        points = [line for line in dots if line.get_marker() != "x"]
        assert sorted(np.ravel(line.get_xydata()).tolist()[1] for line in points) == sorted(counted["gain"])
        assert sum(line.get_markerfacecolor() != "white" for line in points) == sure.sum()
        if summary["status"] == "ok":
            assert f"trend: {summary['trend_verdict']}" in axis.get_title(loc="left")


def test_the_inversion_matrix_has_the_better_metric_on_the_left(study):
    probabilities = study.parts["inversion_probabilities"]
    axis = axes_of(figures.inversion_matrix(probabilities, study.asymmetry.points))[0]
    if probabilities.empty:
        assert "one seed" in axis.texts[0].get_text()
        return
    names = [label.get_text() for label in axis.get_yticklabels()]
    rows = where(probabilities, discriminator="none")
    shown = {(row["first"], row["second"]): row["probability"] for row in records(rows)}
    keys = {pretty(key): key for key in MANY}
    drawn = axis.collections[0].get_array()
    assert drawn is not None
    values = np.ma.MaskedArray(drawn).filled(np.nan).reshape(len(names), len(names))
    for i, j in itertools.permutations(range(len(names)), 2):
        assert values[i, j] == pytest.approx(100 * shown[keys[names[i]], keys[names[j]]])
    srcc = dict(zip(study.assessment.table["measure"], study.assessment.table["srcc"], strict=True))
    assert [keys[name] for name in names] == sorted((keys[name] for name in names), key=lambda key: -srcc[key])


def test_the_heat_map_has_the_rows_of_the_forest_and_every_interval(study):
    by_judge = study.gains.by_judge
    heat, forest = axes_of(figures.judge_heatmap(by_judge)), axes_of(figures.gain_forest(study.gains.table))
    assert by_mean_gain(by_judge) == by_mean_gain(study.gains.table)
    order = [label.get_text() for label in forest[0].get_yticklabels()]
    for axis in heat:
        shown = [label.get_text() for label in axis.get_yticklabels()]
        assert shown == [name for name in order if name in shown]
    for axis, setting in zip(heat, settings_of(by_judge), strict=True):
        rows = where(by_judge, discriminator=setting[0], gan_weight=setting[1])
        written = {text.get_text() for text in axis.texts}
        for row in records(rows.loc[rows["gain_low"].notna()]):
            assert f"{minus(row['gain_low'], 1)}, {minus(row['gain_high'], 1)}" in written


def test_related_judges_are_framed(synthetic_tables):
    study = analyse(synthetic_tables.study_tables(), n_boot=20)
    frames = sum(len(axis.patches) for axis in axes_of(figures.judge_heatmap(study.gains.by_judge)))
    assert frames == study.gains.by_judge["related"].sum() == 18


def test_curves_over_weights_start_without_a_discriminator(synthetic_tables):
    gains = make(synthetic_tables, 3, 3).gains.table
    panels = axes_of(figures.gan_weight_curves(gains))
    names = {pretty(key): key for key in [*MANY, "none"]}
    assert [names[axis.get_title(loc="left")] for axis in panels] == by_mean_gain(gains)
    for axis in panels:
        rows = where(gains, fidelity=names[axis.get_title(loc="left")])
        line = next(line for line in axis.lines if len(line.get_xdata()) == 3)
        start = list(where(rows, discriminator="none")["gain"]) or [0.0]
        expected = [*start, *where(rows, discriminator="patch").sort_values("gan_weight")["gain"]]
        np.testing.assert_allclose(line.get_ydata(), expected)
        assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "0.02", "0.1"]
    without = figures.gan_weight_curves(where(gains, discriminator="none"))
    assert texts_of(without) == "no training with a discriminator has a gain"


def test_variance_components_are_drawn_with_their_intervals(synthetic_tables):
    spreads = analyse(synthetic_tables.study_tables(seeds=4), n_boot=20).spreads
    axis: Any = figures.variance_components(spreads)
    ends = {tuple(line.get_xdata()) for line in axis.lines if len(line.get_xdata()) == 2}
    for row in records(where(spreads, status="ok")):
        assert {(row[f"{of}_low"], row[f"{of}_high"]) for of in ("sd_measure", "sd_setting")} <= ends
        assert any(row["verdict"] in text.get_text() for text in axis.texts)


def test_groups_of_the_critical_difference_are_those_of_demsar():
    """Demšar (2006), figure 1: C4.5 with m and cf beats C4.5 and the one with cf beats nobody else (CD 1.25)."""
    names = np.array(["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"])
    ranks, cd = np.array([3.143, 2.0, 2.893, 1.964]), 1.25
    order = np.argsort(ranks)
    groups = [set(names[order][start : stop + 1]) for start, stop in groups_within(ranks[order], cd)]
    assert groups == [set(names)]
    assert groups_within(np.array([1.0, 2.0, 3.0]), 0.5) == []
    assert groups_within(np.array([1.0, 1.2, 2.1, 2.2, 4.0]), 1.15) == [(0, 2), (1, 3)]


def test_bars_of_the_critical_difference_join_what_nemenyi_cannot_tell_apart(synthetic_tables):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(20, 6)) + np.linspace(0, 2.5, 6)
    found = friedman(values)
    ranks = pd.DataFrame({"measure": MANY[:6], "mean_rank": found.mean_ranks}).assign(
        dataset="live",
        over="references",
        n_blocks=20,
        n_left_out=0,
        friedman_p=found.p,
        critical_difference=found.critical_difference,
    )
    axis: Any = figures.critical_difference(ranks)
    order = np.argsort(found.mean_ranks)
    joined = [sorted(line.get_xdata()) for line in axis.lines if line.get_linewidth() == 3]
    assert joined
    for i, j in itertools.combinations(range(6), 2):
        a, b = found.mean_ranks[order[i]], found.mean_ranks[order[j]]
        together = any(low <= a and b <= high for low, high in joined)
        assert together == (found.p_pairs[order[i], order[j]] > 0.05), (i, j)
    left = [text.get_text() for text in axis.texts if text.get_ha() == "right"]
    best = pretty(MANY[order[0]])
    assert left[0] == f"{best}  {found.mean_ranks[order[0]]:.2f} "


def test_the_ladder_sets_random_draws_beside_learnt_weights(synthetic_tables):
    study = make(synthetic_tables, 14, 2)
    axes = axes_of(figures.initialisation_ladder(study.assessment.table, study.gains.table))
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert labels[2:] == [
        *("DISTS VGG-16", "learnt", "random", "random (0a1b)"),
        *("LPIPS SqueezeNet 1.1", "learnt", "random"),
    ]
    assert labels[:2] == ["DISTS CLIP ViT-B/16", "random (f6ff)"]
    srcc = dict(zip(study.assessment.table["measure"], study.assessment.table["srcc"], strict=True))
    dots = {line.get_ydata()[0]: line for line in axes[0].lines if line.get_marker() == "o"}
    assert dots[3].get_xdata()[0] == srcc["dists-vgg16"]
    assert dots[4].get_xdata()[0] == srcc["dists-vgg16-r"]
    assert [dots[y].get_markerfacecolor() == "white" for y in (3, 4, 5)] == [False, True, True]
    upright = [line.get_xdata()[0] for line in axes[0].lines if line.get_linewidth() == 1.4]
    assert upright[0] == pytest.approx((srcc["dists-vgg16-r"] + srcc["dists-vgg16-r+0a1b"]) / 2)
    none = figures.initialisation_ladder(*(table.head(0) for table in (study.assessment.table, study.gains.table)))
    assert texts_of(none) == "no measures"


def test_validation_curves_are_means_over_seeds(synthetic_tables):
    training = where(make(synthetic_tables, 3, 2).tables.training, generator="swinir_tiny")
    axis = axes_of(figures.validation_curves(training))[0]
    assert axis.get_title(loc="left") == "PSNR-Y\nno discriminator"
    rows = where(training, term="validation/psnr_y", fidelity=MANY[2], discriminator="none")
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [found["value"].mean() for _, found in grouped(rows, "step")])
    assert len(axis.collections) == len(axis.lines) == 4  # a band for each
    without = figures.validation_curves(training.loc[training["term"] == "pixel"])
    assert "give the training a validation set" in texts_of(without)


def test_the_claim_table_has_a_row_per_claim_with_its_verdict(study):
    axis = figures.claim_table(study.parts["claims"])
    texts = [text.get_text() for text in axis.texts]
    for claim in CLAIMS:
        assert claim.key in texts
        assert claim.statement in [text.replace("\n", " ") for text in texts]
    written = " ".join(texts).replace("\n", " ")
    assert all(verdict in written for verdict in study.parts["claims"]["verdict"])


CROP = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)


def row(**more) -> Any:
    return {"label": "a.png, seed 0", "crops": {"bicubic": CROP, "mine": CROP, "reference": CROP[::-1]}} | more


def test_the_gallery_shows_every_pixel_its_error_and_its_place():
    axis = figures.gallery([row(whole=np.tile(CROP, (4, 3, 1)), box=(8, 16, 8, 8))])
    images = axis.images
    assert len(images) == 1 + 3 + 2  # the whole image, the crops, the errors of two
    np.testing.assert_array_equal(images[1].get_array(), CROP[::-1])
    np.testing.assert_array_equal(images[3].get_array(), error_map(CROP, CROP[::-1]))
    assert {image.get_interpolation() for image in images} == {"nearest"}
    frame = axis.patches[-1]
    left, right, _, top = images[0].get_extent()
    scale = (right - left) / 24
    place = [frame.get_x(), frame.get_y() - top, frame.get_width(), frame.get_height()]
    np.testing.assert_allclose(place, np.array([16, 8, 8, 8]) * scale)
    titles = [text.get_text() for text in axis.texts]
    assert "reference" in titles
    assert any(re.fullmatch(r"mine\n\d+\.\d dB", title) for title in titles)
    assert axis.get_title(loc="left") == "a.png, seed 0"
    assert looks_clean(axis)


def test_the_gallery_shows_six_restorations_that_differ_most():
    crops: Any = {"reference": CROP, "bicubic": CROP} | {
        f"model {i}": np.full_like(CROP, value) for i, value in enumerate((10, 11, 12, 200, 60, 61, 120, 121, 160))
    }
    axes = figures.gallery([row(crops=crops), row()])
    assert len(axes[0].images) == 8 + 7
    assert len(axes[1].images) == 3 + 2
    chosen = list(contrasting(crops, most=3))
    assert chosen == ["reference", "bicubic", "model 0", "model 3", "model 6"]


@pytest.mark.parametrize("draw", [figures.gallery, figures.recovery_strips])
def test_pictures_that_do_not_fit_are_refused(draw):
    with pytest.raises(AnalysisError, match="no reference"):
        draw([{"label": "a.png", "crops": {"bicubic": CROP}}])
    with pytest.raises(AnalysisError, match="'mine' is float64"):
        draw([row(crops=row()["crops"] | {"mine": np.zeros((8, 8, 3))})])
    assert "no " in draw([]).texts[0].get_text()


def test_recovery_strips_give_the_psnr_of_each_measure():
    grey = np.full((8, 8, 3), 100, np.uint8)
    crops = {"reference": grey, "input": grey + 20} | {pretty(key): grey + 10 for key in MANY[:7]}
    strips: Any = [{"label": "a.png from noise", "crops": crops}] * 2
    axes = figures.recovery_strips(strips)
    assert len(axes) == 2
    titles = [text.get_text() for text in axes[0].texts]
    assert titles[:3] == ["reference", "input\n22.1 dB", "DISTS VGG-16\n28.1 dB"]
    assert len(axes[0].images) == 9
    assert looks_clean(axes)


def test_long_curves_are_thinned_without_moving_their_mean():
    from lopsided.analysis.figures.training_curves import MAX_POINTS, thinned

    curve = pd.DataFrame(
        {"step": np.arange(10 * MAX_POINTS), "value": np.random.default_rng(0).normal(size=10 * MAX_POINTS)}
    )
    assert len(thinned(curve)) == MAX_POINTS
    assert thinned(curve)["value"].mean() == pytest.approx(curve["value"].mean())


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("dists-vgg16-r", "DISTS VGG-16-R"),
        ("dists-vgg16-r+f6ff", "DISTS VGG-16-R (f6ff)"),
        ("lpips+", "LPIPS+"),
        ("ms_ssim", "MS-SSIM"),
        ("psnr_y", "PSNR-Y"),
        ("dists-clip_vit_b32", "DISTS CLIP ViT-B/32"),
        ("patch-vgg16", "patch VGG-16"),
        ("swinir_tiny", "SwinIR tiny"),
        ("something-new_2", "something new 2"),
        ("none", "pixel loss"),
    ],
)
def test_pretty_names(key, name):
    assert pretty(key) == name


def test_numbers_and_settings_as_written():
    assert minus(-0.314) == "−0.31"
    assert minus(-0.001) == "0.00"
    assert interval(0.7, 0.6, 0.8) == "0.70 [0.60, 0.80]"
    assert interval(0.7, np.nan, np.nan) == "0.70 [no interval]"
    assert setting_name("none", 0.0) == "no discriminator"
    assert setting_name("patch-vgg16", 0.1) == "patch VGG-16 (weight 0.1)"
    table = pd.DataFrame({"discriminator": ["vanilla", "none", "patch", "patch"], "gan_weight": [0.1, 0.0, 0.5, 0.1]})
    assert settings_of(table) == [("none", 0.0), ("patch", 0.1), ("patch", 0.5), ("vanilla", 0.1)]


def test_labels_are_spread_no_more_than_needed():
    np.testing.assert_allclose(spread_labels(np.array([0.0, 5.0, 9.0]), 1, 0, 10), [0, 5, 9])
    np.testing.assert_allclose(spread_labels(np.array([5.0, 5.0, 5.0]), 1, 0, 10), [4, 5, 6])
    np.testing.assert_allclose(spread_labels(np.array([9.9, 10.0]), 1, 0, 10), [9, 10])
    crowded = spread_labels(np.zeros(30), 1, 0, 10)
    assert crowded[0] == 0
    assert crowded[-1] == pytest.approx(10)
    assert np.diff(crowded).min() > 0


def test_widths_of_texts_are_those_drawn():
    figure: Any = plt.figure(figsize=(4, 1), dpi=200)
    text = figure.text(0, 0, "DISTS CLIP ViT-B/16-R", fontsize=7.5, family="DejaVu Sans")
    drawn = text.get_window_extent(figure.canvas.get_renderer()).width / 200
    assert text_width("DISTS CLIP ViT-B/16-R", 7.5) == pytest.approx(drawn, rel=0.05)
    assert max(text_width(line) for line in wrapped("a text of many short words to break", 0.7).split("\n")) <= 0.7
