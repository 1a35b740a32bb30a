"""The comparison of ratings after training with those before."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lopsided.mllm import create_preset
from lopsided.mllm.align.evaluation import BEFORE, LOGS, evaluate_into, write_table


def test_the_change_of_srcc_is_of_the_items_that_were_read_both_times(tmp_path):
    rng = np.random.default_rng(0)
    label = rng.uniform(0, 100, 30)
    about = {"set": "own", "dimension": "quality", "item": [f"{n:03}" for n in range(30)], "status": "ok", "reply": ""}
    rows = pd.DataFrame({**about, "reference": np.repeat(np.arange(10), 3), "label": label})
    before = rows.assign(value=label + rng.normal(0, 60, 30), **{LOGS: None})
    after = rows.assign(value=label + rng.normal(0, 10, 30), **{LOGS: None})
    before.loc[4, "value"] = after.loc[7, "value"] = np.nan
    write_table(tmp_path / BEFORE, before.sample(frac=1, random_state=1))  # whatever the order
    found = evaluate_into(tmp_path, after, create_preset("numeric")).set_index("ratings")

    both = ~np.isin(np.arange(30), [4, 7])
    first, second = (float(np.asarray(stats.spearmanr(of["value"][both], label[both]))[0]) for of in (before, after))
    row = found.loc["after"]
    assert row["srcc_change"] == pytest.approx(second - first)
    assert row["srcc_change_low"] < second - first < row["srcc_change_high"]
    assert row["srcc"] != pytest.approx(second)  # of all that were read after training
    assert found.loc["before"].filter(like="srcc_change").isna().all()
