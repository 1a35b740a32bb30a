"""How stable adversarial training was, by discriminator and weight: means and ranges over trainings."""

from __future__ import annotations

import pandas as pd

from .gradients import gradients
from .result_tables import STABILITY, StudyTables
from .statistics.frames import grouped, where

WHERE = ("generator", "discriminator", "gan_weight")
# What is shown; definitions in lopsided.sr.stability.
MEASUREMENTS = (
    "discriminator_saturation",
    "discriminator_blindness",
    "discriminator_oscillation",
    "pixel_final_over_best",
    "generator_gradient_spike",
    "adversarial_gradient_share",
)
COLUMNS = [
    *WHERE,
    *("trainings", "diverged", "skipped_steps"),
    *(f"{name}{end}" for name in MEASUREMENTS for end in ("", "_low", "_high")),
]


def derive(tables: StudyTables, **_: int) -> dict[str, pd.DataFrame]:
    """Return the tables that the study and its report take from here; nothing is resampled."""
    return {"stability": stability(tables.training, tables.cells), "gradients": gradients(tables)}


def stability(training: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Summarise the adversarial trainings of every generator, discriminator and weight.

    Args:
        training: table ``training``; the summary of a training is its terms ``stability/<measurement>``.
        cells: table ``cells``, which says which trainings diverged.

    Returns:
        One row for each generator, discriminator and weight: ``trainings`` that ended, how many of them ``diverged``,
        ``skipped_steps`` in all, and mean, least and largest value of every measurement over the trainings that have
        it (NaN if none has).
    """
    finetuned = where(cells, stage="finetune")
    ended = finetuned.loc[finetuned["discriminator"].ne("none") & finetuned["status"].isin(["done", "diverged"])]
    summaries = training.loc[training["term"].str.startswith(STABILITY)]
    rows = []
    for values, group in grouped(ended, *WHERE):
        of_group = summaries.loc[summaries["cell"].isin(list(group["cell"]))]
        row = {
            **dict(zip(WHERE, values, strict=True)),
            "trainings": len(group),
            "diverged": int(group["status"].eq("diverged").sum()),
            "skipped_steps": int(where(of_group, term=f"{STABILITY}skipped_steps")["value"].sum()),
        }
        for name in MEASUREMENTS:
            found = where(of_group, term=STABILITY + name)["value"]
            row |= {name: found.mean(), f"{name}_low": found.min(), f"{name}_high": found.max()}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)
