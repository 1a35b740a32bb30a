"""Stability of trainings as a table and in the report: what is counted, averaged and left out."""

import numpy as np
import pandas as pd

from lopsided.analysis.result_tables import SCHEMAS
from lopsided.analysis.stability import COLUMNS, stability
from lopsided.analysis.statistics.frames import where

SETTING = {"generator": "g", "fidelity": "ssim", "gan_weight": 0.1, "seed": 0}


def cell(key, discriminator="patch", status="done", stage="finetune", **other):
    row = {"cell": key, "stage": stage, "status": status, "discriminator": discriminator, **SETTING, **other}
    return {column: row.get(column) for column in SCHEMAS["cells"]}


def term(key, name, value, step=10):
    row = {"cell": key, "stage": "finetune", "term": name, "value": value, "step": step, **SETTING}
    return {column: row.get(column) for column in SCHEMAS["training"]}


def tables():
    cells = [
        cell("a"),
        cell("b", seed=1),
        cell("c", seed=2, status="diverged"),
        cell("d", seed=3, status="failed"),
        cell("e", discriminator="none", gan_weight=0.0),
        cell("f", discriminator="unet"),
        cell("a", stage="judge"),
    ]
    training = [
        *(term(key, "stability/skipped_steps", n) for key, n in (("a", 0.0), ("b", 2.0), ("c", 5.0))),
        *(term(key, "stability/discriminator_saturation", n) for key, n in (("a", 0.2), ("b", 0.4))),
        term("a", "d_accuracy", 0.9),
        term("e", "stability/pixel_final_over_best", 9.0),
    ]
    return pd.DataFrame(training), pd.DataFrame(cells)


def test_trainings_are_grouped_by_discriminator_and_weight_and_counted_by_how_they_ended():
    found = stability(*tables())
    assert list(found.columns) == COLUMNS
    assert found["discriminator"].tolist() == ["patch", "unet"]
    patch = found.iloc[0]
    assert (patch["trainings"], patch["diverged"], patch["skipped_steps"]) == (3, 1, 7)
    saturation = [patch[f"discriminator_saturation{end}"] for end in ("", "_low", "_high")]
    np.testing.assert_allclose(saturation, [0.3, 0.2, 0.4])
    assert np.isnan(patch["pixel_final_over_best"]), "of trainings without a discriminator nothing is shown"
    assert np.isnan(found.iloc[1]["discriminator_saturation"])


def test_without_adversarial_trainings_there_is_no_row():
    training, cells = tables()
    assert stability(training, where(cells, discriminator="none")).empty
