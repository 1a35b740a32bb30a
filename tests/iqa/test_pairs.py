"""Judged pairs: every pair scored as the measure would alone, and the agreement with people made of it."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data

from lopsided.analysis.errors import AnalysisError
from lopsided.analysis.pairs import ALL, assess_pairs
from lopsided.analysis.statistics.agreement import jnd_precision, two_afc
from lopsided.common.images import read_rgb, to_tensor
from lopsided.iqa.datasets import PairDataset
from lopsided.iqa.pairs import evaluate_pairs
from lopsided.losses import create_measure

SIDE = 64


def patch(number, blur):
    y, x = divmod(number, 5)
    crop = data.astronaut()[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE].astype(float)
    return np.clip(ndimage.gaussian_filter(crop, (blur, blur, 0)), 0, 255).astype(np.uint8)


def write(folder, kinds, number, judgement, *blurs):
    *patches, judged = kinds
    for kind, blur in zip(patches, blurs, strict=True):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(patch(number, blur)).save(folder / kind / f"{number:06}.png")
    (folder / judged).mkdir(exist_ok=True)
    np.save(folder / judged / f"{number:06}.npy", np.array([judgement]))


@pytest.fixture(scope="module")
def bapps(tmp_path_factory):
    """Photographs blurred more and less: the sharper patch is found closer, slight blur is not seen."""
    root = tmp_path_factory.mktemp("bapps")
    triplet, pair = ("ref", "p0", "p1", "judge"), ("p0", "p1", "same")
    for number in range(12):
        weak, strong = 0.6 + 0.05 * number, 2.0
        second_is_closer = number % 2
        blurs = (0, strong, weak) if second_is_closer else (0, weak, strong)
        for subset in ("cnn", "traditional"):
            write(root / "2afc/val" / subset, triplet, number, 0.8 if second_is_closer else 0.2, *blurs)
        write(root / "jnd/val/cnn", pair, number, 1.0 if number < 4 else 0.0, 0, 0.2 if number < 4 else 2.5)
    return PairDataset(root)


@pytest.mark.parametrize("key", ["ssim", "l1", "dists-squeezenet1_1-r"])
def test_every_pair_is_scored_as_by_itself(bapps, key):
    measure = create_measure(key)
    told = []
    table = evaluate_pairs(measure, bapps, progress=lambda *seen: told.append(seen))
    assert table["pair"].tolist() == [row.name for row in bapps.rows]
    assert told[-1][:2] == (36, 36)
    for row, scored in zip(bapps.rows[::7], table.iloc[::7].to_dict("records"), strict=True):
        first, second = (to_tensor(read_rgb(path)) for path in (row.first, row.second))
        if row.reference:
            reference = to_tensor(read_rgb(row.reference))
            assert scored["first"] == pytest.approx(measure.score(first, reference).item(), rel=1e-4, abs=1e-6)
            assert scored["second"] == pytest.approx(measure.score(second, reference).item(), rel=1e-4, abs=1e-6)
        else:
            assert scored["first"] == pytest.approx(measure.score(first, second).item(), rel=1e-4, abs=1e-6)
            assert np.isnan(scored["second"])


@pytest.mark.parametrize("key", ["ssim", "l2"])
def test_a_measure_that_sees_blur_agrees_with_people(bapps, key):
    found = assess_pairs(evaluate_pairs(create_measure(key), bapps), n_boot=200).set_index(["task", "subset"])
    # Four of five people chose the sharper patch: more agreement than that is impossible.
    assert found.loc[("2afc", "cnn"), "value"] == pytest.approx(0.8)
    assert found.loc[("2afc", ALL), "n"] == 24
    assert found.loc[("jnd", "cnn"), "value"] == pytest.approx(1.0)
    assert (found["status"] == "ok").all()
    low, value, high = (found.loc[("2afc", ALL), name] for name in ("value_low", "value", "value_high"))
    assert low <= value <= high


def made(n=40, seed=0, **changed):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "pair": [f"p{i}" for i in range(n)],
            "task": "2afc",
            "split": "validation",
            "subset": np.where(np.arange(n) < 10, "few", "many"),
            "judgement": rng.random(n),
            "first": rng.random(n),
            "second": rng.random(n),
            "higher_is_better": False,
            "measure": "m",
            "measure_id": "id",
            "status": "ok",
        }
    )
    return table.assign(**changed)


def test_the_whole_is_the_mean_of_the_parts_not_of_the_pairs():
    table = made()
    found = assess_pairs(table, n_boot=50).set_index("subset")["value"]
    parts = [
        two_afc(part["first"], part["second"], part["judgement"], score_higher_is_better=False)
        for _, part in table.groupby("subset")
    ]
    assert found[ALL] == pytest.approx(np.mean(parts))
    pooled = two_afc(table["first"], table["second"], table["judgement"], score_higher_is_better=False)
    assert found[ALL] != pytest.approx(pooled)


def test_jnd_is_the_average_precision():
    table = made(task="jnd", second=np.nan)
    found = assess_pairs(table, n_boot=50).set_index("subset")["value"]
    few = table[table["subset"] == "few"]
    assert found["few"] == pytest.approx(jnd_precision(few["first"], few["judgement"], score_higher_is_better=False))


def test_a_score_that_is_not_finite_is_counted_and_leaves_no_value():
    table = made()
    table.loc[3, ["first", "status"]] = [np.nan, "non-finite"]
    found = assess_pairs(table, n_boot=50).set_index("subset")
    assert found.loc["few", "status"] == "1 not ok of 10 scores"
    assert found.loc[ALL, "status"] == "no value for few"
    assert found.loc[ALL, "n_not_ok"] == 1
    assert np.isnan(found.loc[ALL, "value"])
    assert found.loc["many", "status"] == "ok"


def test_jnd_without_any_pair_that_is_the_same_says_so():
    found = assess_pairs(made(task="jnd", judgement=0.0), n_boot=50)
    assert set(found["status"]) == {"nobody finds any pair the same", "no value for few, many"}


def test_repeated_pairs_and_false_ok_are_refused():
    table = made()
    with pytest.raises(AnalysisError, match="repeated"):
        assess_pairs(pd.concat([table, table]))
    table.loc[3, "first"] = np.nan
    with pytest.raises(AnalysisError, match="not finite"):
        assess_pairs(table)
