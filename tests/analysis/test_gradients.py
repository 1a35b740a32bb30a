"""The realised shares of the loss terms."""

import numpy as np
import pandas as pd
import pytest

from lopsided.analysis.gradients import COLUMNS, gradients
from lopsided.analysis.result_tables import SCHEMAS, StudyTables


def rows(cell, fidelity, discriminator, norms):
    """``norms``: one mapping of terms to gradient norms for each window."""
    same = {"cell": cell, "stage": "finetune", "generator": "g", "fidelity": fidelity, "discriminator": discriminator}
    same |= {"gan_weight": 0.1 if discriminator != "none" else 0.0, "seed": 0}
    return [
        {**same, "step": 10 * window, "term": f"gradient_{term}", "value": value}
        for window, of_window in enumerate(norms, 1)
        for term, value in of_window.items()
    ]


def test_ratios_are_means_of_windows_then_of_trainings():
    training = pd.DataFrame(
        [
            *rows("a", "ssim", "patch", [{"pixel": 2, "fidelity": 2, "adversarial": 1}] * 2),
            *rows(
                *("b", "ssim", "patch"),
                [
                    {"pixel": 2, "fidelity": 1, "adversarial": 1},
                    {"pixel": 1, "fidelity": 1, "adversarial": 2},
                ],
            ),
            *rows("c", "none", "none", [{"pixel": 3}]),
            {**rows("c", "none", "none", [{"pixel": 3}])[0], "term": "gradient_generator", "value": 99.0},
            {**rows("p", "none", "none", [{"pixel": 3}])[0], "stage": "pretrain"},
        ],
        columns=SCHEMAS["training"],
    )
    found = gradients(StudyTables(training=training))
    assert list(found.columns) == COLUMNS
    assert found["fidelity"].tolist() == ["none", "ssim"]
    pixel, ssim = found.to_dict("records")
    assert (pixel["trainings"], ssim["trainings"]) == (1, 2)
    assert np.isnan([pixel["fidelity_ratio"], pixel["adversarial_share"]]).all()
    assert ssim["fidelity_ratio"] == pytest.approx((1 + 0.75) / 2)
    assert (ssim["fidelity_ratio_low"], ssim["fidelity_ratio_high"]) == (0.75, 1)
    assert ssim["adversarial_share"] == pytest.approx((0.2 + (0.25 + 0.5) / 2) / 2)


def test_without_trainings_there_is_no_row():
    assert gradients(StudyTables()).empty
