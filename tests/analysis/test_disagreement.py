"""Where multimodal LLMs and other judges disagree: known orders, direction, ties, and what does not count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lopsided.analysis import judge_disagreement


def scores(**of_judge: tuple[str, bool, list[float]]) -> pd.DataFrame:
    """Return scores of two images restored by two trainings: of image x by a and b, then of image y."""
    rows = [
        {"judge": judge, "judge_families": families, "higher_is_better": up, "value": value}
        | {"image": "xy"[n // 2], "fidelity": "ab"[n % 2]}
        for judge, (families, up, values) in of_judge.items()
        for n, value in enumerate(values)
    ]
    common = {"generator": "g", "discriminator": "none", "gan_weight": 0.0, "seed": 0, "test_set": "t", "status": "ok"}
    return pd.DataFrame(rows).assign(**common)


LLM = ("backbone:x;form:mllm", True, [1.0, 2.0, 1.0, 5.0])


def test_opposed_orders_are_counted_in_the_direction_of_each_judge() -> None:
    given = scores(
        llm=LLM,
        agrees=("form:lpips", False, [0.5, 0.4, 0.9, 0.1]),
        opposes=("form:ssim", True, [0.5, 0.4, 0.9, 0.1]),
        half=("form:psnr", True, [0.5, 0.4, 0.1, 0.9]),
        flat=("form:flat", True, [1.0, 1.0, 1.0, 2.0]),
    )
    pairs, _ = judge_disagreement(given)
    found = pairs.set_index("judge")
    assert found["opposed"].to_dict() == {"agrees": 0.0, "flat": 0.0, "half": 0.5, "opposes": 1.0}
    assert found.loc["flat", ["n_pairs", "n_opposed", "n_tied"]].tolist() == [2, 0, 1]
    assert set(pairs["rater"]) == {"llm"}


def test_the_worst_image_comes_first_and_says_what_each_prefers() -> None:
    _, images = judge_disagreement(scores(llm=LLM, ssim=("form:ssim", True, [0.5, 0.4, 0.9, 0.1])))
    assert images["image"].tolist() == ["y", "x"]
    assert images["fidelity_preferred"].tolist() == ["b", "b"]
    assert images["fidelity_other"].tolist() == ["a", "a"]
    centred = np.array([-0.5, 0.5, -2, 2])
    assert images["by_rater"].iloc[0] == pytest.approx(4 / centred.std(ddof=1))


def test_what_is_not_ok_or_untrained_does_not_count_and_both_kinds_are_needed() -> None:
    given = scores(llm=LLM, ssim=("form:ssim", True, [0.5, 0.4, 0.9, 0.1]))
    given.loc[(given["judge"] == "llm") & (given["image"] == "y"), "status"] = "partial"
    untrained = given.assign(fidelity="bicubic", value=100.0).drop_duplicates(["judge", "image"])
    pairs, images = judge_disagreement(pd.concat([given, untrained], ignore_index=True))
    assert pairs["n_pairs"].tolist() == [1]
    assert images["image"].tolist() == ["x"]
    for one in ("llm", "ssim"):
        assert all(table.empty for table in judge_disagreement(given.loc[given["judge"] == one]))
    assert all(table.empty for table in judge_disagreement(given.iloc[:0]))
