"""Claims on the two rankings (T1 inversions, T2 with a discriminator, T3 VGG-16-R) and on features (T10, T11)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from ..draws import average_all, average_assessment, name_means
from ..statistics.contrast import Estimate
from ..statistics.frames import Row, grouped, records, where
from ..study import Study
from ..verdicts import AGREE_LESS, AGREE_MORE, ESTABLISHED, verdict
from .claim import (
    CONTRADICTED,
    SUPPORTED,
    Claim,
    Finding,
    against,
    backbone_of,
    enough_references,
    enough_seeds,
    form_of,
    is_transformer,
    of_metrics,
)

# The difference in judge SDs that a sample is computed for where none of the claimed kind was seen.
EFFECT = 0.5


def inversion_exists(study: Study) -> Iterator[Finding]:
    """T1, weak form: at least one established inversion. Its absence cannot be shown, so it is never contradicted."""
    pairs = study.asymmetry.pairs
    if pairs.empty:
        yield Finding("", missing="no two measures with an SRCC and a gain")
    for (generator, dataset), rows in grouped(pairs, "generator", "dataset"):
        here = f"{generator} · {dataset}"
        tested = rows.loc[rows["p"].notna()]
        if tested.empty:
            yield Finding(here, missing="; ".join(sorted(set(rows["status"]) - {"ok"})) or "no test")
            continue
        best = records(tested.sort_values("p_corrected", kind="stable"))[0]
        gain = Estimate.of(best, "gain_difference", "gain", study.looks)
        metric = study.asymmetry.assessment.difference(str(dataset), best["better_metric"], best["worse_metric"])
        n_cells = len(study.asymmetry.gains.trained[str(generator)].keys)
        seeds = enough_seeds(gain, len(tested), n_cells, gain.value if best["discordant"] else EFFECT)
        name = f"{best['better_metric']} / {best['worse_metric']}, {best['discriminator']} {best['gan_weight']:g}"
        yield Finding(
            f"{here} · {name}",
            estimate=-best["gain_difference"],
            low=-best["gain_difference_high"],
            high=-best["gain_difference_low"],
            # Corrected already, over all pairs of the study.
            p=best["p_corrected"],
            n=f"{len(tested)} pairs, {best['n_seeds']} seeds × {best['n_images']} images, {best['n_judges']} judges",
            n_seeds=int(best["n_seeds"]),
            decided=SUPPORTED if verdict(best["p_corrected"], int(best["n_seeds"])) == ESTABLISHED else "",
            needed=f"{seeds} and {enough_references(metric, len(tested))}"
            + ("" if best["discordant"] else f", for a gain {EFFECT:g} judge SDs lower"),
        )


def metric_does_not_rank(study: Study) -> Iterator[Finding]:
    """T1, strong form: the gain does not rise with the rank as a metric."""
    settings = study.asymmetry.settings
    if settings.empty:
        yield Finding("", missing="no measure with an SRCC and a gain")
    for row in records(settings):
        here = f"{row['generator']} · {row['dataset']} · {row['discriminator']} {row['gan_weight']:g}"
        if row["status"] != "ok" or np.isnan(row["trend_p"]):
            yield Finding(here, missing=row["status"] if row["status"] != "ok" else "one seed or one image")
            continue
        yield Finding(
            here,
            estimate=-row["trend"],
            low=-row["trend_high"],
            high=-row["trend_low"],
            unit="judge SDs, worst minus best metric",
            p=row["trend_p"],
            n=f"{row['n']} measures, {row['n_seeds']} seeds × {row['n_images']} images, {row['n_judges']} judges",
            n_seeds=int(row["n_seeds"]),
            needed=enough_seeds(
                Estimate.of(row, "trend", "trend", study.looks),
                len(settings),
                len(study.asymmetry.gains.trained[row["generator"]].keys),
            ),
        )


def agree_less(study: Study) -> Iterator[Finding]:
    """T2: the noise-free ρ is smaller with a discriminator than without."""
    changes = study.asymmetry.changes
    if changes.empty:
        yield Finding("", missing="no adversarial setting")
    for row in records(changes):
        here = f"{row['generator']} · {row['dataset']} · {row['discriminator']} {row['gan_weight']:g}"
        if row["status"] != "ok":
            yield Finding(here, missing=row["status"])
            continue
        yield Finding(
            here,
            estimate=row["rho_without"] - row["rho_with"],
            low=row["rho_without_low"] - row["rho_with_high"],
            high=row["rho_without_high"] - row["rho_with_low"],
            unit="fall of ρ",
            n=f"{row['n']} measures, {row['n_seeds']} seeds",
            n_seeds=int(row["n_seeds"]),
            decided={AGREE_LESS: SUPPORTED, AGREE_MORE: CONTRADICTED}.get(row["verdict"], ""),
            needed=enough_for_change(
                row, len(changes), len(study.asymmetry.gains.trained[row["generator"]].keys), study.looks
            ),
        )


def enough_for_change(row: Row, n_tests: int, n_cells: int, looks: int = 1) -> str:
    """Say what would decide on a change of ρ: intervals as narrow as the change, and a change of the trend."""
    change = Estimate.of(row, "trend_change", "trend_change", looks)
    trend = f"{enough_seeds(change, n_tests, n_cells)} for the change of the trend" if np.isfinite(change.se) else ""
    times = repeats_for_change(row)
    repeats = f"{times} × the seeds, images and references for ρ as seen" if times else ""
    return "; ".join(part for part in (repeats, trend) if part)


def repeats_for_change(row: Row) -> int | None:
    """Return how many times the seeds, images and references intervals of ρ need that do not overlap, for ρ as seen.

    The width of an interval is taken to fall with their square root. None if there is no change, or no interval.
    """
    high, low = sorted(("rho_without", "rho_with"), key=lambda name: -row[name])
    fall, width = row[high] - row[low], row[high] - row[f"{high}_low"] + row[f"{low}_high"] - row[low]
    return max(1, math.ceil((width / fall) ** 2)) if fall > 0 and np.isfinite(width) else None


def random_vgg_is_better(study: Study) -> Iterator[Finding]:
    """T3: DISTS on a random VGG-16 trains better than on ResNet-50 and on CLIP-ViT in a setting, both at once."""
    found = False
    for generator, trained in average_all(study.gains.trained).items():
        for setting in sorted({key.setting for key in trained.keys}):
            of = {key.fidelity: number for number, key in enumerate(trained.keys) if key.setting == setting}
            dists: dict[str, list[int]] = defaultdict(list)
            for name, number in of.items():
                if form_of(name) == "dists":
                    dists[backbone_of(name)].append(number)
            rivals = {
                name: numbers for name, numbers in dists.items() if name in ("resnet50",) or name.startswith("clip")
            }
            if "vgg16-r" not in dists or len({name[:4] for name in rivals}) < 2:
                continue
            found = True
            here = f"{generator} · {setting[0]} {setting[1]:g}"
            tests = [against(trained, dists["vgg16-r"], rival, here) for rival in rivals.values()]
            # Better than every rival: the test that is least sure decides.
            worst = min(tests, key=lambda test: (not test.missing, np.sign(test.estimate) * (1 - test.p)))
            yield worst
    if not found:
        yield Finding("", missing="needs cells trained with dists-vgg16-r, dists-resnet50 and dists-clip_vit_b32")


def transformers_rank_worse(study: Study) -> Iterator[Finding]:
    """T11: on synthetic distortions, DISTS on convolutional backbones has a higher mean SRCC than on transformers."""
    tested = False
    assessment = average_assessment(study.assessment, name_means(study.assessment.table["measure"]))
    for dataset, rows in grouped(where(assessment.table, status="ok"), "dataset"):
        names = [name for name in rows["measure"] if form_of(name) == "dists" and backbone_of(name)]
        groups = [[name for name in names if is_transformer(backbone_of(name)) is kind] for kind in (False, True)]
        if not all(groups):
            continue
        tested = True
        found = assessment.mean_difference(str(dataset), *groups)
        n = [len(set(map(backbone_of, names))) for names in groups]
        yield of_metrics(found, str(dataset), "SRCC", f"{n[0]} against {n[1]} backbones")
    if not tested:
        yield Finding("", missing="needs DISTS on a convolutional and on a transformer backbone, on one labelled set")


def dino_fails_on_texture(study: Study) -> Iterator[Finding]:
    """T10: DISTS on pretrained DINOv2 has a lower SRCC on TQD than every other measure."""
    table = where(study.assessment.table, status="ok")
    table = table.loc[table["dataset"].astype(str).str.lower().str.contains("tqd")]
    tested = False
    for dataset, rows in grouped(table, "dataset"):
        names = list(rows["measure"])
        dino = [name for name in names if "dinov2" in name and not name.endswith("-r")]
        others = [name for name in names if name not in dino]
        if not dino or not others:
            continue
        tested = True
        differences = [study.assessment.difference(str(dataset), other, dino[0]) for other in others]
        least = min(differences, key=lambda found: found.t if np.isfinite(found.se) else -np.inf)
        yield of_metrics(least, str(dataset), "SRCC, next worst minus DINOv2", f"{len(others)} other measures")
    if not tested:
        yield Finding("", missing="needs the labelled set TQD, and DISTS on pretrained DINOv2 beside other measures")


CLAIMS = (
    Claim(
        "T1",
        "A fidelity measure that is the better metric can be the worse objective.",
        "An inversion: better SRCC and worse gain, both beyond noise, corrected for every pair and setting.",
        inversion_exists,
    ),
    Claim(
        "T1s",
        "How well a measure ranks images does not tell how well it trains.",
        "Trend of the gain over ranks by SRCC, per setting; + if worse metrics train better.",
        metric_does_not_rank,
    ),
    Claim(
        "T2",
        "The two rankings agree less once a discriminator is added.",
        "Intervals of the noise-free ρ without and with it do not overlap, at .05 over all adversarial settings.",
        agree_less,
    ),
    Claim(
        "T3",
        "DISTS on a random VGG-16 trains better than on ResNet-50 and CLIP-ViT, in at least one setting.",
        "Contrasts with both; the less sure of the two decides, corrected over settings.",
        random_vgg_is_better,
    ),
)
FEATURES = (
    Claim(
        "T10",
        "DISTS on pretrained DINOv2 does extremely badly on TQD.",
        "SRCC on TQD of every other measure minus that of DINOv2; the smallest decides.",
        dino_fails_on_texture,
    ),
    Claim(
        "T11",
        "Convolutional features beat transformer features on synthetic distortions.",
        "Mean SRCC of DISTS on convolutional backbones minus that on transformers, jackknife over references.",
        transformers_rank_worse,
    ),
)
