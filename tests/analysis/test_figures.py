import itertools
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from lopsided.analysis import figures
from lopsided.analysis.deriving import analyse
from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.figures.style import interval, minus, pretty, setting_name, settings_of, spread_labels
from lopsided.analysis.result_tables import StudyTables
from lopsided.analysis.statistics.frames import records, where

MANY = [
    *("dists-vgg16", "dists-vgg16-r", "dists-resnet50", "dists-convnext_tiny", "dists-clip_vit_b32", "dists-swin_t"),
    *("dists-dinov2_vits14", "lpips-alex", "lpips-squeezenet1_1", "ms_ssim", "gmsd", "dists-clip_vit_b16-r"),
]
SETTINGS = (
    *(("none", 0.0), ("patch", 0.02), ("patch", 0.1), ("vanilla", 0.1), ("patch-vgg16", 0.1)),
    *(("patch-vgg16-r", 0.1), ("vanilla-dinov2_vits14", 0.1)),
)


@pytest.fixture(scope="module", params=[(3, 2, 1), (12, 7, 2)], ids=["few", "many"])
def study(request, synthetic_tables):
    n_measures, n_settings, seeds = request.param
    measures = {key: f"family{i}" for i, key in enumerate(MANY[:n_measures])}
    settings = SETTINGS[:n_settings]
    rng = np.random.default_rng(3)
    effects = {(key, d): rng.normal(0.3, 0.5) for key in measures for d, _ in settings}
    scores = synthetic_tables.sr_scores(effects, settings=settings, measures=measures, seeds=seeds)
    # One cell has a bad score, one was never trained.
    bad = (scores["fidelity"] == MANY[1]) & (scores["discriminator"] == "patch") & (scores["image"] == "img0")
    scores.loc[bad & (scores["judge"] == "musiq"), ["value", "status"]] = [np.nan, "non-finite"]
    if n_measures > 3:
        scores = scores[~((scores["fidelity"] == MANY[2]) & (scores["discriminator"] == "vanilla"))]
    fr = synthetic_tables.fr_scores({key: 0.4 + 0.25 * i for i, key in enumerate(measures)}, references=5)
    training, cells = synthetic_tables.training(scores), synthetic_tables.cells(scores)
    return analyse(StudyTables(sr_scores=scores, fr_scores=fr, training=training, cells=cells), n_boot=100)


@pytest.fixture(scope="module")
def drawn(study):
    asymmetry, gains = study.asymmetry, study.gains
    return {
        "slope_chart": figures.slope_chart(asymmetry.points, asymmetry.settings),
        "scatter": figures.scatter(asymmetry.points, asymmetry.settings),
        "judge_scatter": by_judge(study, ("patch", 0.02)),
        **inversion_matrix(study),
        "judge_heatmap": figures.judge_heatmap(gains.by_judge),
        "gain_forest": figures.gain_forest(gains.table),
        "assessment_forest": figures.assessment_forest(study.assessment.table),
        "training_curves": figures.training_curves(study.tables.training),
    }


def inversion_matrix(study):
    """One seed says nothing of the noise of gains, so there is no matrix."""
    found = study.parts["inversion_probabilities"]
    return {"inversion_matrix": figures.inversion_matrix(found, study.asymmetry.points)} if len(found) else {}


def by_judge(study, setting):
    at = {"discriminator": setting[0], "gan_weight": setting[1]}
    rows = where(study.gains.by_judge, **at)
    return figures.judge_scatter(
        rows.loc[rows["fidelity"] != "none"], study.assessment.table, where(study.asymmetry.by_judge, **at)
    )


def visible_texts(figure):
    """Return (text, box in pixels) of everything written on a figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # matplotlib keeps, but does not draw, the labels of ticks outside the limits and of axes that are off.
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not (axes.axison and low <= tick.get_loc() <= high):
                    hidden |= set(tick.findobj(Text))
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    found = [text for text in found if text not in hidden]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in found]
    return [(text, box) for text, box in boxes if box.width > 0 and box.height > 0]


@pytest.fixture(scope="module")
def written(drawn):
    return {name: visible_texts(figure) for name, figure in drawn.items()}


def test_no_two_labels_overlap_and_none_is_cut_off(study, drawn, written):
    for name, figure in drawn.items():
        texts = written[name]
        if name in ("slope_chart", "scatter"):
            named = [(text, box) for text, box in texts if any(pretty(key) in text for key in MANY)]
            assert len(named) >= len(study.asymmetry.points)
            for (a, box_a), (b, box_b) in itertools.combinations(named, 2):
                across = min(box_a.x1, box_b.x1) - max(box_a.x0, box_b.x0)
                down = min(box_a.y1, box_b.y1) - max(box_a.y0, box_b.y0)
                assert across <= 1 or down <= 1, f"{name}: {a!r} and {b!r} overlap"
        width, height = figure.get_size_inches() * figure.dpi
        for text, box in texts:
            inside = box.x0 > -2 and box.y0 > -2 and box.x1 < width + 2 and box.y1 < height + 2
            assert inside, f"{name}: {text!r} is cut off"


def test_axes_say_what_they_show_in_what_unit_and_direction(written):
    written = {name: " ".join(text for text, _ in texts) for name, texts in written.items()}
    for name in ("scatter", "judge_scatter", "judge_heatmap", "gain_forest"):
        assert "judge SDs, higher is better" in written[name].replace("\n", " ")
    assert "SRCC (higher is better)" in written["judge_scatter"]
    for side in ("better metric (SRCC)", "better objective (gain)"):
        assert side in written.get("inversion_matrix", side)
    assert "SRCC as a metric (higher is better)" in written["scatter"]
    assert "correlation with the labels (1 is perfect, higher is better)" in written["assessment_forest"]
    assert "fine-tuning step" in written["training_curves"]
    assert "(SRCC)" in written["slope_chart"]
    for name, text in written.items():
        assert "nan" not in text.lower().replace("maniqa", ""), name


def test_what_is_drawn_is_what_was_measured(study):
    points, settings = study.asymmetry.points, study.asymmetry.settings
    panel = figures.scatter(points, settings).axes[0]
    rows = points[points["discriminator"] == "none"]
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    found = sorted(tuple(np.ravel(line.get_xydata()).tolist()) for line in dots)
    assert found == sorted(zip(rows["srcc"], rows["gain"], strict=True))


def test_what_a_gain_is_worth_is_seen_by_its_mark(synthetic_tables):
    """Filled only below Holm's .05, a diamond if seeds are lost, the reason where there is no gain."""
    tables = synthetic_tables.study_tables(seeds=3)
    of = tables.cells
    lost = of["fidelity"].eq("ms_ssim") & (of["seed"].eq(0) | of["discriminator"].eq("none"))
    kept = ~tables.sr_scores["cell"].isin(of.loc[lost, "cell"])
    cells = of.assign(status=of["status"].mask(lost, "diverged"))
    gains = analyse(replace(tables, sr_scores=tables.sr_scores[kept], cells=cells), n_boot=20).gains.table
    panels = figures.gain_forest(gains).axes
    dots = [line for axis in panels for line in axis.lines if line.get_marker() in ("o", "D")]
    filled = [line for line in dots if line.get_markerfacecolor() != "white"]
    assert len(dots) == gains["gain"].notna().sum()
    assert len(filled) == (gains["p_holm"] < 0.05).sum() > 0
    assert sum(line.get_marker() == "D" for line in dots) == 2
    assert "no seed left: 3 diverged" in [text.get_text() for axis in panels for text in axis.texts]


def test_each_judge_has_a_panel_with_every_measure(study):
    """Filled: the interval of the gain excludes 0; ×: the measure does not count for this judge."""
    panels = [axis for axis in by_judge(study, ("none", 0.0)).axes if axis.get_title(loc="left")]
    found = where(study.asymmetry.by_judge, discriminator="none")
    assert [axis.get_title(loc="left").split("\n")[0] for axis in panels] == [pretty(judge) for judge in found["judge"]]
    for axis, summary in zip(panels, records(found), strict=True):
        rows = where(study.gains.by_judge, discriminator="none", judge=summary["judge"])
        excluded = set(summary["excluded"].split(";")) - {""}
        marks = {mark: [line for line in axis.lines if line.get_marker() == mark] for mark in "ox"}
        counted = rows[~rows["fidelity"].isin(excluded)]
        sure = (counted["gain_low"] > 0) | (counted["gain_high"] < 0)
        assert len(marks["x"]) == len(excluded)
        assert sorted(np.ravel(line.get_xydata()).tolist()[1] for line in marks["o"]) == sorted(counted["gain"])
        assert sum(line.get_markerfacecolor() != "white" for line in marks["o"]) == sure.sum()
        if summary["status"] == "ok":
            assert f"trend: {summary['trend_verdict']}" in axis.get_title(loc="left")


def test_the_inversion_matrix_has_the_better_metric_on_the_left(study):
    probabilities = study.parts["inversion_probabilities"]
    if probabilities.empty:
        with pytest.raises(AnalysisError, match="no rows to draw"):
            figures.inversion_matrix(probabilities, study.asymmetry.points)
        return
    axis = figures.inversion_matrix(probabilities, study.asymmetry.points).axes[0]
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


def test_related_judges_are_framed(synthetic_tables):
    study = analyse(synthetic_tables.study_tables(), n_boot=20)
    panels = figures.judge_heatmap(study.gains.by_judge).axes
    frames = sum(len(axis.patches) for axis in panels if axis.get_title(loc="left"))
    assert frames == study.gains.by_judge["related"].sum() == 18


def test_mixed_or_empty_tables_are_refused(study):
    gains = study.gains.table
    with pytest.raises(AnalysisError, match="one generator, got 2"):
        figures.gain_forest(pd.concat([gains, gains.assign(generator="other")]))
    with pytest.raises(AnalysisError, match="no rows to draw"):
        figures.assessment_forest(study.assessment.table.head(0))


def test_drawing_leaves_the_callers_settings_alone(study):
    before = dict(mpl.rcParams)
    figures.gain_forest(study.gains.table)
    assert dict(mpl.rcParams) == before


def test_gallery_shows_every_pixel_and_refuses_odd_crops():
    crop = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    crops = {"bicubic": crop, "mine": crop, "reference": crop[::-1]}
    figure = figures.gallery([{"label": "a.png", "crops": crops}])
    assert [axis.get_title() for axis in figure.axes] == ["reference", "bicubic", "mine"]
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), crop[::-1])
    assert image.get_interpolation() == "nearest"
    many = {"reference": crop, "bicubic": crop} | {f"model {i}": crop for i in range(12)}
    assert len(figures.gallery([{"label": "a", "crops": many}, {"label": "b", "crops": crops}]).axes) == 17
    with pytest.raises(AnalysisError, match="no reference crop"):
        figures.gallery([{"label": "a.png", "crops": {"bicubic": crop}}])
    with pytest.raises(AnalysisError, match="'mine' is float64"):
        figures.gallery([{"label": "a.png", "crops": crops | {"mine": np.zeros((4, 4, 3))}}])  # pyright: ignore[reportArgumentType]
    with pytest.raises(AnalysisError, match="no rows"):
        figures.gallery([])


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
