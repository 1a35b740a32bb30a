"""Draw every figure from invented tables and write the page that shows them: ``make figures``."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from skimage import data, filters, transform

from lopsided.analysis import Study, StudyTables, analyse, assess_scorers, compare, figures
from lopsided.common.images import to_tensor, to_uint8
from lopsided.losses import create_measure
from lopsided.losses.diagnostics import recover

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from support import synthetic_tables as invented  # noqa: E402

# (function, the question it answers, the code that draws it)
SHOWN = (
    (
        "slope_chart",
        "Are the best metrics the best objectives, and which changes of rank are more than noise?",
        'figures.slope_chart(points, settings, study.asymmetry.pairs, study.parts["rank_probabilities"])',
    ),
    (
        "scatter",
        "Does the gain rise with the quality as a metric, and by how much?",
        "figures.scatter(points, settings)",
    ),
    (
        "judge_scatter",
        "Do single judges agree on that, and do they favour a family of measures?",
        "figures.judge_scatter(by_judge, study.assessment.table, found)",
    ),
    (
        "inversion_matrix",
        "How probable is it that one measure is the better metric and another the better objective?",
        "figures.inversion_matrix(probabilities, points)",
    ),
    (
        "gain_forest",
        "Which measures train better than the pixel loss alone?",
        "figures.gain_forest(study.gains.table)",
    ),
    (
        "judge_heatmap",
        "What does each judge say of each measure, and which judges are related to it?",
        "figures.judge_heatmap(at_setting(study.gains.by_judge))",
    ),
    (
        "gan_weight_curves",
        "How does the weight of the adversarial loss change the gain of each measure?",
        "figures.gan_weight_curves(study.gains.table)",
    ),
    (
        "variance_components",
        "What moves the gain more: the measure, or the adversarial setting?",
        "figures.variance_components(study.spreads)",
    ),
    (
        "initialisation_ladder",
        "What do learnt weights add to the same measure on random ones, as a metric and as an objective?",
        "figures.initialisation_ladder(study.assessment.table, study.gains.table)",
    ),
    (
        "assessment_forest",
        "How well does each measure agree with the labels?",
        "figures.assessment_forest(study.assessment.table)",
    ),
    (
        "critical_difference",
        "Which measures cannot be told apart as metrics?",
        "figures.critical_difference(ranks.query(\"over == 'references'\"))",
    ),
    (
        "no_reference_forest",
        "Is a trained discriminator a good start for a no-reference model?",
        'figures.no_reference_forest(study.parts["nr_assessment"], study.parts["nr_splits"])',
    ),
    (
        "validation_curves",
        "Did training help, and was it long enough?",
        "figures.validation_curves(study.tables.training)",
    ),
    (
        "training_curves",
        "Did the losses fall, and did the discriminator win?",
        "figures.training_curves(study.tables.training)",
    ),
    (
        "diagnostics_panels",
        "What is each measure like as an objective, before anything is trained?",
        'figures.diagnostics_panels(study.parts["diagnostics_summary"])',
    ),
    (
        "recovery_strips",
        "Does descending a measure bring the reference back?",
        "figures.recovery_strips(recovered_rows)",
    ),
    (
        "comparison_forest",
        "Did two experiments find different gains?",
        "figures.comparison_forest(compared.gains)",
    ),
    (
        "raters_forest",
        "Who agrees best with people on the same images: measures, no-reference models, multimodal LLMs?",
        "figures.raters_forest(raters)",
    ),
    (
        "leaderboard_forest",
        "Which scorer of a multimodal LLM agrees best with people?",
        "figures.leaderboard_forest(board)",
    ),
    (
        "rating_calibration",
        "Do people like more what a scorer rates higher?",
        "figures.rating_calibration(ratings)",
    ),
    (
        "rating_residuals",
        "Where does a scorer overrate, and where underrate?",
        "figures.rating_residuals(ratings)",
    ),
    (
        "status_bars",
        "How many replies have a value, and why have the others none?",
        "figures.status_bars(ratings)",
    ),
    (
        "alignment_curves",
        "Did the reward of a multimodal LLM rise, are its replies read, and do its ratings agree with people?",
        "figures.alignment_curves(log)",
    ),
    (
        "probe_curves",
        "When a reward rises, does anything else get better, and what is lost?",
        "figures.probe_curves(probed)",
    ),
    (
        "claim_table",
        "What became of the claims of the paper?",
        'figures.claim_table(study.parts["claims"])',
    ),
    (
        "gallery",
        "What do the differences look like?",
        "figures.gallery(gallery_rows)",
    ),
)
RATERS = {
    "rater": ["dists-vgg16", "niqe", "mllm/number"],
    "kind": ["measure", "no-reference model", "multimodal LLM"],
}
PHOTOGRAPHS = ("gallery", "recovery_strips")
INTRODUCTION = """# Figures

Every figure is one function of `lopsided.analysis.figures`: tables in, matplotlib `Axes` out, an array of them where
there are several panels. `ax=` draws on Axes of yours. Without it there is a new figure as wide as the text of an A4
page. Colours suit colour-blind readers, and marks differ too, so that a grey print says the same.

```python
from lopsided.analysis import StudyTables, analyse, figures

study = analyse(StudyTables.load("notebooks/tables/asymmetry_small"))
points, settings = study.asymmetry.points, study.asymmetry.settings
drawn = figures.slope_chart(points, settings, study.asymmetry.pairs, study.parts["rank_probabilities"])
figures.figure_of(drawn).savefig("slope_chart.pdf")  # or .svg, .png
```

A table with nothing to show gives Axes that say why. Tables of several generators or data sets are refused: filter
them. What every mark means is in the `caption` of the figure's module, and under the figure in the report.

The pictures below are drawn from **invented tables**, so that every figure has something to show; they say nothing
about any measure. `make figures` draws them again.
"""
PROBED = {
    "checkpoint": ["start", "step 10", "step 20", "step 30", "step 40"],
    "reward_change": [0, 0.9, 1.7, 2.6, 3.4],
    "niqe_change": [0, 0.4, 0.6, 0.3, -0.5],
    "fidelity_change": [0, 0.1, 0.0, -0.4, -1.3],
    "diversity_share": [1, 0.98, 0.93, 0.78, 0.52],
    "blank": [0, 0, 0, 0.04, 0.21],
}
MEASURES = {
    "dists-vgg16": ("backbone:vgg;form:dists", 2.2),
    "dists-vgg16-r": ("backbone:vgg;form:dists", 0.9),
    "dists-vgg16-r+3f1c": ("backbone:vgg;form:dists", 1.1),
    "lpips-squeezenet1_1": ("backbone:squeezenet;form:lpips", 1.7),
    "lpips-squeezenet1_1-r": ("backbone:squeezenet;form:lpips", 0.7),
    "ssim": ("form:ssim", 1.3),
    "gmsd": ("form:gradient-similarity", 3.0),
}
JUDGES = {
    "lpips-googlenet_bvlc": ("backbone:googlenet;form:lpips", False, 0.02),
    "vif": ("form:information-fidelity", True, 0.02),
    "ssim_y": ("form:ssim", True, 0.01),
    "musiq": ("form:musiq", True, 3.0),
    "psnr_y": ("form:pixel", True, 0.4),
}
SETTINGS = (("none", 0.0), ("patch", 0.01), ("patch", 0.03), ("patch", 0.1), ("vanilla", 0.03))


def study() -> Study:
    """Return a study of invented tables."""
    random = np.random.default_rng(7)
    better = dict(zip(MEASURES, (0.5, 1.0, 0.8, 1.5, 0.9, 0.3, -0.2), strict=True))
    effects = {(key, d): gain + random.normal(0, 0.25) for key, gain in better.items() for d, _ in SETTINGS}
    families = {key: of for key, (of, _) in MEASURES.items()}
    scores = invented.sr_scores(
        effects, settings=SETTINGS, measures=families, judges=JUDGES, seeds=4, images=12, noise=0.8
    )
    weight = scores["gan_weight"].to_numpy(dtype=float)
    by_weight = np.where(scores["discriminator"] == "patch", 30 * weight - 420 * weight**2, 0.0)
    wild = (scores["fidelity"] == "ssim") & (weight == 0.1)
    scale = scores["judge"].map({key: sd * (1 if higher else -1) for key, (_, higher, sd) in JUDGES.items()})
    scores["value"] += scale * (by_weight - 7 * wild)
    training = invented.training(scores, steps=12)
    shown = training[training["fidelity"].isin(["none", "dists-vgg16", "ssim", "lpips-squeezenet1_1"])]
    shown = shown[shown["gan_weight"].isin([0.0, 0.03]) & (shown["seed"] < 3)]
    validated = shown[shown["term"] == "pixel"]
    gained = np.log(validated["step"]) * (1 + 0.2 * validated["fidelity"].map(len))
    validated = validated.assign(term="validation/psnr_y", value=27 + 0.1 * gained + 2 * validated["value"])
    return analyse(
        StudyTables(
            sr_scores=scores,
            fr_scores=invented.fr_scores({key: quality for key, (_, quality) in MEASURES.items()}, references=14),
            nr_scores=invented.nr_scores(),
            training=pd.concat([shown, validated]),
            cells=invented.cells(scores),
            diagnostics=diagnostics(random),
        ),
        n_boot=500,
    )


def again(first: Study) -> Study:
    """Return a second study of the same cells and images, with noise of its own, in which one measure trains better."""
    scores = first.tables.sr_scores
    unit = scores["judge"].map({key: sd * (1 if higher else -1) for key, (_, higher, sd) in JUDGES.items()})
    change = np.random.default_rng(8).normal(0, 0.5, len(scores)) + 1.5 * (scores["fidelity"] == "dists-vgg16")
    value = scores["value"] + change * unit * (scores["fidelity"] != "bicubic")
    scores = scores.assign(cell=scores["cell"] + " again", value=value)
    return analyse(StudyTables(sr_scores=scores, fr_scores=first.tables.fr_scores), n_boot=100)


def diagnostics(random: np.random.Generator) -> pd.DataFrame:
    """Return invented diagnostics of three measures over four crops."""
    bands = ("0–0.125", "0.125–0.25", "0.25–0.375", "0.375–0.5")
    places = [
        *(("alignment", start, "residual") for start in ("bicubic", "noise", "jpeg")),
        *(("frequency", "bicubic", band) for band in bands),
        ("curvature", "reference", "effective share"),
        *(("invariance", "reference", change) for change in ("shift", "rotation", "blur", "brightness", "texture")),
        *(("recovery", "noise", str(step)) for step in (0, 50, 100, 200)),
        *(("colour", start, "size") for start in ("bicubic", "noise")),
    ]
    rows = []
    for number, measure in enumerate(("dists-vgg16", "lpips-squeezenet1_1", "ssim")):
        for place, (diagnostic, start, detail) in enumerate(places):
            value = {"recovery": 0.03 * float(detail) if diagnostic == "recovery" else 0.0, "curvature": 0.02}.get(
                diagnostic, 0.25 + 0.1 * number + 0.08 * (place % 4)
            )
            rows += [
                (measure, f"id-{measure}", diagnostic, start, detail, f"crop{i}", value * random.uniform(0.8, 1.2))
                for i in range(4)
            ]
    columns = ["measure", "measure_id", "diagnostic", "start", "detail", "image", "value"]
    return pd.DataFrame(rows, columns=columns).assign(unit="", note="", other="", other_id="", status="ok")


def ratings(random: np.random.Generator) -> pd.DataFrame:
    """Return invented ratings of three scorers, the last of which bends people's scale and sometimes refuses."""
    people = random.uniform(1, 5, 150)
    rows = []
    for scorer, noise, power in (("mllm/levels", 0.3, 1.0), ("mllm/number", 0.7, 1.0), ("mllm/letters", 0.4, 2.5)):
        value = 1 + 4 * ((people - 1) / 4) ** power + random.normal(0, noise, len(people))
        status = np.where(random.random(len(people)) < 0.15 * (power > 1), "refused", "ok")
        rows.append(pd.DataFrame({"scorer": scorer, "value": value, "target": people, "status": status}))
    return pd.concat(rows).assign(reference=lambda table: table.index // 3)


def board(ratings: pd.DataFrame) -> pd.DataFrame:
    """Return a leaderboard of ratings, as ``compare_runs`` makes it of folders."""
    directions = {"benchmark": "own", "dimension": "quality", "higher_is_better": True, "target_higher_is_better": True}
    scores = ratings.assign(**directions, scorer_id=ratings["scorer"], item=ratings.index.astype(str))
    found = assess_scorers(scores)
    return found.loc[found["reading"] == "failures as mean"].assign(of="srcc")


def pictures() -> tuple[list[figures.GalleryRow], list[figures.GalleryRow]]:
    """Return rows of a gallery, one photograph blurred and sharpened in several ways, and of real recoveries."""
    whole = data.astronaut()[30:222, 130:322]
    box = (60, 62, 64, 64)
    small = transform.resize(whole, (48, 48), anti_aliasing=True)
    enlarged = transform.resize(small, whole.shape[:2], order=3)
    noise = np.random.default_rng(0).normal(size=whole.shape)

    def image(values: np.ndarray) -> np.ndarray:
        return np.clip(255 * values, 0, 255).astype(np.uint8)

    def crop(values: np.ndarray) -> np.ndarray:
        return values[box[0] : box[0] + box[2], box[1] : box[1] + box[3]]

    soft = filters.gaussian(whole / 255, 1.2, channel_axis=2)
    sharp = filters.unsharp_mask(enlarged, 2, 1.5, channel_axis=2)
    made = {
        "bicubic": enlarged,
        "pixel loss\nno discriminator": soft,
        "SSIM\nno discriminator": 0.6 * soft + 0.4 * sharp,
        "DISTS VGG-16\nno discriminator": filters.unsharp_mask(soft, 2, 1.2, channel_axis=2),
        "DISTS VGG-16\npatch (weight 0.03)": filters.unsharp_mask(soft, 1.5, 2.5, channel_axis=2),
        "LPIPS SqueezeNet 1.1\npatch (weight 0.1)": sharp + 0.05 * noise,
    }
    crops = {"reference": crop(whole), **{title: crop(image(values)) for title, values in made.items()}}
    gallery: figures.GalleryRow = {
        "label": "astronaut, seed 0: where restorations differ most",
        "crops": crops,
        "whole": whole,
        "box": box,
    }
    start = np.clip(enlarged + 0.12 * noise, 0, 1)
    reference, damaged = (to_tensor(crop(image(values))) for values in (whole / 255, start))
    found = {"reference": reference, "input": damaged}
    for key in ("ssim", "gmsd", "lpips-squeezenet1_1-r", "dists-squeezenet1_1-r"):
        measure = create_measure(key)
        found[figures.pretty(key)] = recover(measure, damaged, reference, steps=150, learning_rate=0.01).images
    strips: figures.GalleryRow = {
        "label": "astronaut, 150 steps of each measure from a small and noisy copy",
        "crops": {title: to_uint8(values) for title, values in found.items()},
    }
    return [gallery], [strips]


def alignment_log(rng: np.random.Generator) -> pd.DataFrame:
    """Return the log of a reinforcement over 100 steps."""
    steps = np.arange(0, 101, 5)
    done = 1 - np.exp(-steps / 40)
    terms = {
        "rewards/adaptive-gaussian/mean": 0.35 + 0.4 * done + rng.normal(0, 0.02, len(steps)),
        "rewards/gaussian/mean": 0.22 + 0.3 * done + rng.normal(0, 0.02, len(steps)),
        "status/unparsable": 0.25 * (1 - done) + rng.uniform(0, 0.03, len(steps)),
        "status/out_of_range": rng.uniform(0, 0.04, len(steps)),
        "kl": 0.15 * done + rng.uniform(0, 0.02, len(steps)),
    }
    found = [pd.DataFrame({"step": steps, "term": term, "value": values}) for term, values in terms.items()]
    found.append(
        pd.DataFrame({"step": steps[::5], "term": "eval/held-out/quality/srcc", "value": 0.6 + 0.3 * done[::5]})
    )
    return pd.concat(found)


def main() -> None:
    """Draw every figure and write the page."""
    mpl.use("agg")
    whole = study()
    gallery_rows, recovered_rows = pictures()
    given = ratings(np.random.default_rng(9))

    def at_setting(table: pd.DataFrame, discriminator: str = "none") -> pd.DataFrame:
        return table.loc[table["discriminator"] == discriminator]

    by_judge = at_setting(whole.gains.by_judge)

    def where_few(table: pd.DataFrame) -> pd.DataFrame:
        return table.loc[table["gan_weight"].isin([0.0, 0.03])]

    names = {
        "figures": figures,
        "study": whole,
        "points": where_few(whole.asymmetry.points),
        "settings": where_few(whole.asymmetry.settings),
        "by_judge": by_judge,
        "probabilities": where_few(whole.parts["inversion_probabilities"]),
        "found": at_setting(whole.asymmetry.by_judge),
        "ranks": whole.assessment.ranks,
        "raters": board(given).rename(columns={"scorer": "rater", "benchmark": "dataset"}).assign(**RATERS),
        "board": board(given),
        "ratings": given,
        "log": alignment_log(np.random.default_rng(4)),
        "probed": pd.DataFrame(PROBED),
        "compared": compare({"first": whole, "second": again(whole)}),
        "at_setting": at_setting,
        "gallery_rows": gallery_rows,
        "recovered_rows": recovered_rows,
    }
    page = [INTRODUCTION]
    for name, answers, code in SHOWN:
        drawn = eval(code, names)  # noqa: S307 - what the page shows is what was run
        save(figures.figure_of(drawn), HERE / "figures" / f"{name}.png")
        page.append(f"## `{name}`\n{answers}\n\n```python\n{code}\n```\n\n![{name}](figures/{name}.png)\n")
    (HERE / "figures.md").write_text("\n".join(page), encoding="utf-8")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG with few colours, which is a third of the size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80 if path.stem in PHOTOGRAPHS else 100)
    plt.close(figure)
    picture = Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)


if __name__ == "__main__":
    main()
