"""Claims on discriminators: T4 they matter most, T5 artefacts, T6 patch, T7 and T8 DINOv2, T9 as initialisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from ..components import ADVERSARIAL
from ..contrasts import contrast, weighted_contrast
from ..draws import average_all
from ..independence import families
from ..result_tables import SHARE
from ..statistics.frames import records, where
from ..study import Study
from ..trained import CellKey, Trained
from ..verdicts import MEASURE_DOMINATES, SETTING_DOMINATES
from .claim import CONTRADICTED, SUPPORTED, Claim, Finding, against, backbone_of, form_of, is_transformer, of_contrast

ARTEFACT = "form:artefact"
MIN_WEIGHTS = 3
DISCRIMINATOR = "discriminator"


def setting_dominates(study: Study) -> Iterator[Finding]:
    """T4: true gains differ more between discriminators than between fidelity measures."""
    rows = records(where(study.spreads, scope=ADVERSARIAL))
    if not rows:
        yield Finding("", missing="no trained cell")
    for row in rows:
        if row["status"] != "ok":
            yield Finding(row["generator"], missing=row["status"])
            continue
        yield Finding(
            row["generator"],
            row["ratio"],
            row["ratio_low"],
            row["ratio_high"],
            unit="SD over settings / SD over measures",
            n=f"{row['n_measures']} measures × {row['n_settings']} settings, {row['n_seeds']} seeds,"
            f" these {row['n_judges']} judges only",
            n_seeds=int(row["n_seeds"]),
            decided={SETTING_DOMINATES: SUPPORTED, MEASURE_DOMINATES: CONTRADICTED}.get(row["verdict"], ""),
            needed=f"{row['needed_repeats']:.0f} × the seeds and the images"
            if row["needed_repeats"] > 0
            else "more than 64 × the seeds and the images, or other settings",
        )


def fewer_artefacts(study: Study) -> Iterator[Finding]:
    """T5: by measures of artefacts, cells with a discriminator are better than those without, measure by measure."""
    tested = False
    for generator, trained in average_all(study.gains.trained).items():
        judges = where(study.gains.judges, generator=generator)
        named = [row["judge"] for row in records(judges) if ARTEFACT in families(row["families"])]
        for name in named:
            for setting in _settings(trained):
                a, b = _matched(trained, setting, ("none", 0.0))
                if a:
                    tested = True
                    found = contrast(trained, a, b, [trained.judges.index(name)])
                    yield of_contrast(found, f"{generator} · {name} · {setting[0]} {setting[1]:g}", trained)
    if not tested:
        yield Finding(
            "", missing="needs a judge of artefacts (form:artefact), and cells with and without a discriminator"
        )


def patch_is_better(study: Study) -> Iterator[Finding]:
    """T6: a patch discriminator trains better than a vanilla one on the same backbone at the same weight."""
    yield from _compare_settings(
        study,
        lambda a, b: form_of(a[0]) == "patch" and form_of(b[0]) == "vanilla" and backbone_of(a[0]) == backbone_of(b[0]),
        "needs a patch and a vanilla discriminator on one backbone at one weight or share",
    )


def convolutions_are_better(study: Study) -> Iterator[Finding]:
    """T7: discriminators on convolutional backbones train better than on DINOv2, form and weight being equal."""

    def paired(a: tuple[str, float], b: tuple[str, float]) -> bool:
        first, second = backbone_of(a[0]), backbone_of(b[0])
        return (
            bool(first) and not is_transformer(first) and second.startswith("dinov2") and form_of(a[0]) == form_of(b[0])
        )

    yield from _compare_settings(
        study, paired, "needs discriminators of one form on a convolutional backbone and on DINOv2"
    )


def convolutions_are_stabler(study: Study) -> Iterator[Finding]:
    """T7, stability: fewer trainings diverge with convolutional discriminators than with DINOv2 (Fisher's test)."""
    cells = where(study.tables.cells, stage="finetune")
    cells = cells.loc[cells["status"].isin(["done", "diverged"])]
    backbones = cells["discriminator"].astype(str).map(backbone_of)
    groups = [
        cells[backbones.map(lambda name: bool(name) and not is_transformer(name))],
        cells[backbones.str.startswith("dinov2")],
    ]
    if not all(len(group) for group in groups):
        yield Finding("", missing="needs trainings with a discriminator on a convolutional backbone and on DINOv2")
        return
    lost = [int((group["status"] == "diverged").sum()) for group in groups]
    total = [len(group) for group in groups]
    _, p = stats.fisher_exact([[lost[0], total[0] - lost[0]], [lost[1], total[1] - lost[1]]])
    yield Finding(
        "trainings that diverged",
        estimate=lost[1] / total[1] - lost[0] / total[0],
        unit="share diverged, DINOv2 minus convolutional",
        p=float(p),  # pyright: ignore[reportArgumentType]
        n=f"{lost[0]} of {total[0]} against {lost[1]} of {total[1]} trainings",
    )


def weight_hurts_dino_more(study: Study) -> Iterator[Finding]:
    """T8: per tenfold weight, the gain falls more with a DINOv2 discriminator than with a ResNet-50 one."""
    tested = False
    for generator, trained in average_all(study.gains.trained).items():
        names = sorted({key.discriminator for key in trained.keys})
        for dino in (name for name in names if backbone_of(name).startswith("dinov2")):
            for resnet in (
                name for name in names if backbone_of(name).startswith("resnet50") and form_of(name) == form_of(dino)
            ):
                weights, cells = np.zeros(len(trained.keys)), [_by_weight(trained, name) for name in (resnet, dino)]
                common = sorted(set(cells[0]) & set(cells[1]))
                if len({weight for _, weight in common}) < MIN_WEIGHTS:
                    continue
                tested = True
                x = np.log10([weight for _, weight in common])
                slope = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
                for sign, of in zip((1, -1), cells, strict=True):
                    weights[[of[point] for point in common]] += sign * slope
                found = weighted_contrast(trained, weights)
                yield of_contrast(found, f"{generator} · {dino} against {resnet}", trained)
    if not tested:
        yield Finding("", missing="needs DINOv2 and ResNet-50 discriminators of one form at three weights or more")


def pretraining_beats_gan(study: Study) -> Iterator[Finding]:
    """T9: as initialisation of NR models, ImageNet > discriminator > random: both differences, for every model."""
    rows = records(study.parts["nr_differences"].query("status == 'ok' and stage.isna()"))
    chosen = [row for row in rows if (row["a"], row["b"]) in ((DISCRIMINATOR, "pretrained"), (DISCRIMINATOR, "random"))]
    if not chosen:
        yield Finding(
            "", missing="needs NR models initialised at random, from a discriminator and from pretrained weights"
        )
    for row in chosen:
        sign = -1 if row["b"] == "pretrained" else 1
        ends = sorted(sign * row[f"difference_{end}"] for end in ("low", "high"))
        name = "pretrained over discriminator" if sign < 0 else "discriminator over random"
        yield Finding(
            f"{row['dataset']} · {row['model']} · {row['discriminator']} · {name}",
            sign * row["difference"],
            *ends,
            unit="SRCC",
            p=row["p"],
            n=f"{row['n_splits']} splits, {row['n_seeds']} seeds",
            n_seeds=int(row["n_seeds"]),
        )


def _settings(trained: Trained) -> list[tuple[str, float]]:
    return sorted({key.setting for key in trained.keys if key.discriminator != "none"})


def _matched(trained: Trained, a: tuple[str, float], b: tuple[str, float]) -> tuple[list[int], list[int]]:
    """Return cells of the two settings, in pairs trained with the same measure, neither of which lost a seed."""
    number = {key: index for index, key in enumerate(trained.keys) if not trained.lost[index].any()}
    pairs = [
        (number[key], number[other])
        for key in number
        if key.setting == a and (other := CellKey(key.generator, key.fidelity, *b)) in number
    ]
    return [first for first, _ in pairs], [second for _, second in pairs]


def _as_strong(a: tuple[str, float], b: tuple[str, float]) -> bool:
    """Return whether both have one weight, or one share."""
    return a[1] == b[1] and a[0].endswith(SHARE) == b[0].endswith(SHARE)


def _compare_settings(
    study: Study, paired: Callable[[tuple[str, float], tuple[str, float]], bool], missing: str
) -> Iterator[Finding]:
    tested = False
    for generator, trained in average_all(study.gains.trained).items():
        for first in _settings(trained):
            for second in _settings(trained):
                if not _as_strong(first, second) or not paired(first, second):
                    continue
                a, b = _matched(trained, first, second)
                if a:
                    tested = True
                    here = f"{generator} · {first[0].removesuffix(SHARE)} against {second[0]} {second[1]:g}"
                    yield against(trained, a, b, here)
    if not tested:
        yield Finding("", missing=missing)


def _by_weight(trained: Trained, discriminator: str) -> dict[tuple[str, float], int]:
    return {
        (key.fidelity, key.gan_weight): number
        for number, key in enumerate(trained.keys)
        if key.discriminator == discriminator and key.gan_weight > 0 and not trained.lost[number].any()
    }


CLAIMS = (
    Claim(
        "T4",
        "Once there is a fidelity term, the discriminator decides the outcome more than the fidelity measure does,"
        " by the judges of this study.",
        "Ratio of the SDs of true gains over adversarial settings and over measures, noise subtracted; 1 is equal.",
        setting_dominates,
    ),
    Claim(
        "T5",
        "A discriminator suppresses artefacts that fidelity-only models show.",
        "Contrast of cells with and without it by measures of artefacts, same fidelity measures; + fewer artefacts.",
        fewer_artefacts,
    ),
    Claim(
        "T6",
        "A patch discriminator trains better than a vanilla one on the same backbone, by the judges of this study.",
        "Contrast over all fidelity measures at one weight or share.",
        patch_is_better,
    ),
    Claim(
        "T7",
        "Convolutional discriminators train better than DINOv2 ones.",
        "Contrast over all fidelity measures, form and weight being equal.",
        convolutions_are_better,
    ),
    Claim(
        "T7s",
        "Training with convolutional discriminators is more stable than with DINOv2 ones.",
        "Shares of trainings that diverged, Fisher's exact test.",
        convolutions_are_stabler,
    ),
    Claim(
        "T8",
        "Results with a DINOv2 discriminator degrade as the GAN weight grows, those with ResNet-50 do not.",
        "Slope of the gain per tenfold weight, ResNet-50 minus DINOv2.",
        weight_hurts_dino_more,
    ),
    Claim(
        "T9",
        "As initialisation of no-reference models: ImageNet beats a discriminator, which beats random weights.",
        "Both differences in SRCC over splits and seeds.",
        pretraining_beats_gan,
    ),
)
