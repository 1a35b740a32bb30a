"""Result tables with known effects, drawn from a seed: what the analysis must find is what was put in."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lopsided.analysis import StudyTables

# key: (families, quality as a metric: share of the signal in its scores)
MEASURES = {
    "dists-vgg16": ("vgg16;dists", 3.0),
    "dists-resnet50": ("resnet50;dists", 1.6),
    "dists-vgg16-r": ("vgg16-r;dists", 0.5),
    "lpips-alexnet": ("alexnet;lpips", 1.0),
    "ms_ssim": ("ssim", 2.2),
}
# key: (families, higher is better, one judge SD in the judge's own unit)
JUDGES = {
    "psnr_y": ("pixel", True, 0.4),
    "ssim_y": ("ssim", True, 0.01),
    "lpips-vgg16": ("vgg16;lpips", False, 0.02),
    "musiq": ("musiq", True, 3.0),
    "niqe": ("niqe", False, 0.3),
    "clipiqa": ("clip", True, 0.05),
    "dists-vgg16": ("vgg16;dists", False, 0.015),
    "maniqa": ("vit", True, 0.04),
}
SETTINGS = (("none", 0.0), ("vanilla", 0.1), ("patch", 0.1))


def fr_scores(
    qualities: dict[str, float] | None = None,
    *,
    references: int = 8,
    distortions: int = 4,
    levels: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Scores of measures whose signal-to-noise ratio is their quality; labels are severity levels (lower is better)."""
    rng = np.random.default_rng(seed)
    qualities = {key: quality for key, (_, quality) in MEASURES.items()} if qualities is None else qualities
    rows = []
    for measure, quality in qualities.items():
        higher = measure == "ms_ssim"
        own = rng.normal(0, 0.3, references)
        for r in range(references):
            for d in range(distortions):
                for level in range(1, levels + 1):
                    signal = quality * (level - (levels + 1) / 2) / levels + own[r] + rng.normal(0, 0.5)
                    rows.append(
                        {
                            "measure": measure,
                            "measure_id": f"id-{measure}",
                            "dataset": "ladder",
                            "dataset_id": "id-ladder",
                            "reference": f"ref{r}",
                            "image": f"ref{r}_d{d}_{level}",
                            "distortion": f"d{d}",
                            "level": level,
                            "label": float(level),
                            "label_kind": "severity_grade",
                            "label_higher_is_better": False,
                            "higher_is_better": higher,
                            "score": -signal if higher else signal,
                            "status": "ok",
                        }
                    )
    return pd.DataFrame(rows)


def sr_scores(
    effects: dict[tuple[str, str], float],
    *,
    settings=SETTINGS,
    measures: dict[str, str] | None = None,
    judges: dict[str, tuple[str, bool, float]] | None = None,
    seeds: int = 2,
    images: int = 6,
    noise: float = 1.0,
    generator: str = "swinir_tiny",
    seed: int = 0,
) -> pd.DataFrame:
    """Scores whose gain over the pixel-only cell is ``effects[fidelity, discriminator]`` judge SDs, else 0."""
    rng = np.random.default_rng(seed)
    measures = {key: families for key, (families, _) in MEASURES.items()} if measures is None else measures
    judges = JUDGES if judges is None else judges
    image_effect = rng.normal(0, 5, (len(judges), images))
    seed_effect = rng.normal(0, 1, (len(judges), seeds))
    cells = [("none", "", d, w) for d, w in settings]
    cells += [(key, families, d, w) for d, w in settings for key, families in measures.items()]
    rows = []

    def add(fidelity, families, discriminator, weight, s, i, judge, value):
        judge_families, higher, sd = judges[judge]
        rows.append(
            {
                "cell": f"{generator}/{fidelity}/{discriminator}/{weight}/{s}",
                "generator": generator,
                "fidelity": fidelity,
                "fidelity_id": f"id-{fidelity}",
                "fidelity_families": families,
                "discriminator": discriminator,
                "discriminator_id": f"id-{discriminator}",
                "discriminator_families": "",
                "gan_weight": weight,
                "seed": s,
                "test_set": "tiny",
                "image": f"img{i}",
                "judge": judge,
                "judge_id": f"id-{judge}",
                "judge_families": judge_families,
                "higher_is_better": higher,
                "value": (1 if higher else -1) * sd * value + 30 * sd,
                "status": "ok",
            }
        )

    for fidelity, families, discriminator, weight in cells:
        baseline = (fidelity, discriminator) == ("none", "none")
        for s in range(seeds):
            for j, judge in enumerate(judges):
                for i in range(images):
                    # The unit of a gain is the noise of the pixel-only cell, so that has noise as well.
                    effect = 0.0 if baseline else effects.get((fidelity, discriminator), 0.0)
                    gain = effect + noise * rng.normal()
                    value = image_effect[j, i] + seed_effect[j, s] + gain
                    add(fidelity, families, discriminator, weight, s, i, judge, value)
    for j, judge in enumerate(judges):
        for i in range(images):
            add("bicubic", "", "none", 0.0, 0, i, judge, image_effect[j, i] - 3)
    return pd.DataFrame(rows)


def nr_scores(
    quality: dict[str, float] | None = None,
    *,
    splits: int = 6,
    references: int = 20,
    images: int = 5,
    seeds: int = 2,
    stages: tuple[int, ...] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """Scores of a no-reference model whose signal is the quality of its initialisation; a quarter is tested."""
    rng = np.random.default_rng(seed)
    quality = quality or {"random": 0.5, "pretrained": 3.0, "discriminator": 1.2, "zero-label": 0.3}
    label = rng.normal(size=(references, images))
    rows = []
    tested = [np.sort(rng.permutation(references)[: references // 4]) for _ in range(splits)]
    for kind, share in quality.items():
        for s in [None] if kind == "pretrained" else range(seeds):
            for stage in [None] if kind == "zero-label" else [None, *stages]:
                own = rng.normal(0, 0.5, references)  # images of one reference are alike
                fixed = rng.normal(size=label.shape)
                for split, members in enumerate(tested):
                    noise = fixed + 0.3 * rng.normal(size=label.shape)
                    for r in members:
                        for i in range(images):
                            rows.append(
                                {
                                    "backbone": "vgg16",
                                    "initialisation": kind,
                                    "source_cell": f"cell{s}" if kind in ("discriminator", "zero-label") else "",
                                    "model": f"vgg16/{'zero-label' if kind == 'zero-label' else 'linear'}",
                                    "model_id": f"{kind}{s}{stage}",
                                    "dataset": "rated",
                                    "dataset_id": "id-rated",
                                    "split": str(split),
                                    "reference": f"ref{r}",
                                    "image": f"ref{r}_{i}",
                                    "label": label[r, i],
                                    "label_kind": "mos",
                                    "label_higher_is_better": True,
                                    "higher_is_better": True,
                                    "score": share * label[r, i] + noise[r, i] + own[r],
                                    "status": "ok",
                                    "stage": stage,
                                    "seed": s,
                                    "train_references": references - references // 4,
                                    "discriminator": "patch-vgg16" if kind in ("discriminator", "zero-label") else None,
                                }
                            )
    return pd.DataFrame(rows)


def training(scores: pd.DataFrame, *, steps: int = 40, seed: int = 0) -> pd.DataFrame:
    """Loss curves for every trained cell of ``scores``."""
    rng = np.random.default_rng(seed)
    keys = ["cell", "generator", "fidelity", "discriminator", "gan_weight", "seed"]
    rows = []
    for cell in scores.loc[scores["fidelity"] != "bicubic", keys].drop_duplicates().to_dict("records"):
        t = np.arange(1, steps + 1) * 50
        terms = {"pixel": 0.03 + 0.05 * np.exp(-t / 600), "total": 0.1 + 0.1 * np.exp(-t / 500)}
        if cell["fidelity"] != "none":
            terms["fidelity"] = rng.uniform(0.05, 0.3) * (0.5 + np.exp(-t / 700))
        if cell["discriminator"] != "none":
            terms["adversarial"] = 0.7 + 0.4 * (1 - np.exp(-t / 900))
            terms["d_accuracy"] = 0.5 + 0.35 * (1 - np.exp(-t / 400))
        for term, values in terms.items():
            noisy = values * (1 + 0.05 * rng.normal(size=steps))
            noisy = np.clip(noisy, 0, 1) if term == "d_accuracy" else noisy
            rows += [
                cell | {"stage": "finetune", "step": int(s), "term": term, "value": v}
                for s, v in zip(t, noisy, strict=True)
            ]
    return pd.DataFrame(rows)


def cells(scores: pd.DataFrame) -> pd.DataFrame:
    """One done fine-tuning cell per trained cell of ``scores``, one that failed and one that diverged."""
    keys = ["cell", "generator", "fidelity", "discriminator", "gan_weight", "seed"]
    found = scores.loc[scores["fidelity"] != "bicubic", keys].drop_duplicates()
    found = found.assign(stage="finetune", status="done", reason="", seconds=41.5, peak_memory_mb=812.0)
    lost = found.head(2).assign(
        cell=["lost-a", "lost-b"], status=["failed", "diverged"], reason=["disk full", "pixel loss is NaN at step 312"]
    )
    return pd.concat([found, lost], ignore_index=True).assign(experiment="demo", judge=None, measure=None, dataset=None)


# Gains by setting: without a discriminator in the order of the qualities, with one inverted.
EFFECTS = {
    ("dists-vgg16", "none"): 1.2,
    ("ms_ssim", "none"): 0.8,
    ("dists-resnet50", "none"): 0.5,
    ("lpips-alexnet", "none"): 0.1,
    ("dists-vgg16-r", "none"): -0.3,
    ("none", "vanilla"): 0.2,
    ("dists-vgg16", "vanilla"): 0.4,
    ("ms_ssim", "vanilla"): 0.9,
    ("dists-resnet50", "vanilla"): 0.3,
    ("lpips-alexnet", "vanilla"): 1.1,
    ("dists-vgg16-r", "vanilla"): 1.3,
    ("none", "patch"): 0.5,
    ("dists-vgg16", "patch"): 0.1,
    ("ms_ssim", "patch"): 0.6,
    ("dists-resnet50", "patch"): 1.0,
    ("lpips-alexnet", "patch"): 1.5,
    ("dists-vgg16-r", "patch"): 2.2,
}


def study_tables(**options) -> StudyTables:
    """A whole synthetic study: 5 measures × 3 settings × 2 seeds × 6 images × 8 judges unless told otherwise."""
    scores = sr_scores(EFFECTS, **options)
    return StudyTables(sr_scores=scores, fr_scores=fr_scores(), training=training(scores), cells=cells(scores))
