"""How hard each term of the loss pulled in training: what a weight came to, which is not what the YAML says."""

from __future__ import annotations

import pandas as pd

from .result_tables import StudyTables
from .statistics.frames import grouped, where

WHERE = ("generator", "fidelity", "discriminator", "gan_weight")
TERMS = ("pixel", "fidelity", "adversarial")
RATIOS = ("fidelity_ratio", "adversarial_share")
COLUMNS = [*WHERE, "trainings", *(f"{name}{end}" for name in RATIOS for end in ("", "_low", "_high"))]


def gradients(tables: StudyTables) -> pd.DataFrame:
    """Return the realised shares of the loss terms, a covariate of every comparison of losses.

    Matching at the start gives the fidelity measure the gradient norm of the pixel loss, but not later: a measure that
    is easily satisfied pulls less and less. The share of a discriminator changes with its slopes.

    Args:
        tables: the result tables; ``training`` has the norms of the weighted terms' gradients on the image.

    Returns:
        One row for each generator, measure, discriminator and weight: ``trainings``; ``fidelity_ratio``, the fidelity
        term's gradient norm over the pixel loss's; ``adversarial_share``, the adversarial term's norm over the sum of
        all terms' norms. Each is the mean over the windows of a training, then over trainings, with the least
        (``_low``) and largest (``_high``) training; NaN without that term.
    """
    training = where(tables.training, stage="finetune")
    norms = training.loc[training["term"].isin([f"gradient_{term}" for term in TERMS])]
    rows = []
    for values, of_setting in grouped(norms, *WHERE):
        found: dict[str, list[float]] = {name: [] for name in RATIOS}
        for _, of_cell in grouped(of_setting, "cell"):
            wide = of_cell.pivot_table(index="step", columns="term", values="value", aggfunc="first")
            wide = wide.reindex(columns=[f"gradient_{term}" for term in TERMS])
            pixel, fidelity, adversarial = (wide[f"gradient_{term}"] for term in TERMS)
            found["fidelity_ratio"].append((fidelity / pixel.where(pixel > 0)).mean())
            found["adversarial_share"].append((adversarial / wide.sum(axis=1).where(lambda total: total > 0)).mean())
        row = {**dict(zip(WHERE, values, strict=True)), "trainings": of_setting["cell"].nunique()}
        for name, each in found.items():
            seen = pd.Series(each, dtype=float)
            row |= {name: seen.mean(), f"{name}_low": seen.min(), f"{name}_high": seen.max()}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)
