"""Where multimodal LLMs and other judges disagree on restored images: how often, and on which images most."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from .result_tables import UNTRAINED
from .statistics.frames import grouped

LLM = "form:mllm"  # the family of judges that are multimodal LLMs
SETTING = ["fidelity", "discriminator", "gan_weight"]
UNIT = ["test_set", "seed", "image"]  # restorations of one image are compared, made with one seed
SHOWN = 3  # images of each multimodal LLM
PAIRS = ["generator", "rater", "judge", "n_pairs", "n_opposed", "n_tied", "opposed"]
IMAGES = [
    *("generator", "rater", "test_set", "seed", "image"),
    *(f"{name}_{of}" for of in ("preferred", "other") for name in SETTING),
    *("by_rater", "by_judges", "n_judges"),
]


def judge_disagreement(sr_scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare how multimodal LLMs and the other judges order restorations of the same image.

    Scores of each judge are centred within an image and divided by the SD of what is left, so that judges can be
    compared; + is better. Scores that are not "ok", and images that a judge gives no two scores, do not count.

    Args:
        sr_scores: The table of that name.

    Returns:
        One row per generator, multimodal LLM (``rater``) and other ``judge``: ``n_pairs`` of restorations of one image,
        of which they order ``n_opposed`` the other way round and one of them does not tell ``n_tied`` apart;
        ``opposed``, the share of opposed pairs among those without ties. And of each rater the images on which it and
        the mean of all other judges disagree most, worst first: which restoration it preferred, which the judges did,
        and by how much (``by_rater``, ``by_judges``, in SDs; the smaller of the two orders). Both are empty without
        both kinds of judge. They describe these images; no test is made.

    Examples:
        >>> rows = [("a", "llm", "form:mllm", 1.0), ("b", "llm", "form:mllm", 2.0)]
        >>> rows += [("a", "ssim", "form:ssim", 0.9), ("b", "ssim", "form:ssim", 0.5)]
        >>> scores = pd.DataFrame(rows, columns=["fidelity", "judge", "judge_families", "value"]).assign(
        ...     generator="g", discriminator="none", gan_weight=0.0, seed=0, test_set="t", image="i",
        ...     higher_is_better=True, status="ok",
        ... )
        >>> pairs, images = judge_disagreement(scores)
        >>> pairs[["rater", "judge", "n_pairs", "n_opposed", "opposed"]].to_dict("records")
        [{'rater': 'llm', 'judge': 'ssim', 'n_pairs': 1, 'n_opposed': 1, 'opposed': 1.0}]
        >>> images[["fidelity_preferred", "fidelity_other"]].to_dict("records")
        [{'fidelity_preferred': 'b', 'fidelity_other': 'a'}]
    """
    pairs: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    usable = sr_scores.loc[(sr_scores["status"] == "ok") & ~sr_scores["fidelity"].isin(UNTRAINED)]
    for generator, scores in grouped(usable, "generator") if len(usable) else ():
        is_llm = scores["judge_families"].fillna("").str.split(";").map(lambda families: LLM in families)
        raters, judges = (sorted(scores.loc[of, "judge"].unique()) for of in (is_llm, ~is_llm))
        if not raters or not judges:
            continue
        differences = _differences(scores)
        for rater in raters:
            pairs += [{"generator": generator, "rater": rater, **_pair(differences, rater, judge)} for judge in judges]
            panel = differences[judges].mean(axis=1)
            images += [{"generator": generator, **row} for row in _worst(differences, rater, panel, judges)]
    return pd.DataFrame(pairs, columns=PAIRS), pd.DataFrame(images, columns=IMAGES)


def _differences(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a − b of every two restorations of an image, one column per judge, in its SDs; NaN where it lacks one."""
    signed = scores["value"] * np.where(scores["higher_is_better"], 1, -1)
    centred = signed - signed.groupby([scores["judge"], *(scores[name] for name in UNIT)]).transform("mean")
    spread = centred.groupby(scores["judge"]).transform("std")
    keys = [*UNIT, *SETTING, "judge"]
    wide = scores.assign(value=centred / spread.where(spread > 0)).set_index(keys)["value"].unstack("judge")
    tables = []
    for unit, of in grouped(wide.reset_index(), *UNIT):
        settings, values = of[SETTING].to_numpy().tolist(), of[list(wide.columns)].to_numpy()
        for a, b in combinations(range(len(of)), 2):
            row = dict(zip(UNIT, unit, strict=True)) | {"a": settings[a], "b": settings[b]}
            tables.append(row | dict(zip(wide.columns, values[a] - values[b], strict=True)))
    return pd.DataFrame(tables, columns=[*UNIT, "a", "b", *wide.columns])


def _pair(differences: pd.DataFrame, rater: str, judge: str) -> dict[str, Any]:
    both = differences[[rater, judge]].dropna()
    product = both[rater] * both[judge]
    opposed, tied = int((product < 0).sum()), int((product == 0).sum())
    clear = len(both) - tied
    counts = {"judge": judge, "n_pairs": len(both), "n_opposed": opposed, "n_tied": tied}
    return {**counts, "opposed": opposed / clear if clear else np.nan}


def _worst(differences: pd.DataFrame, rater: str, panel: pd.Series, judges: list[str]) -> list[dict[str, Any]]:
    """Return the images on which a rater and the mean of the judges are furthest apart in opposite directions."""
    own = differences[rater]
    against = np.minimum(own.abs(), panel.abs()).where(own * panel < 0)
    rows, seen = [], set()
    for index in against.dropna().sort_values(ascending=False, kind="stable").index:
        row = differences.loc[index]
        if (image := (row["test_set"], row["image"])) in seen:
            continue
        seen.add(image)
        first = own[index] > 0
        preferred, other = (row["a"], row["b"]) if first else (row["b"], row["a"])
        found = {"rater": rater, **{name: row[name] for name in UNIT}}
        found |= {f"{name}_preferred": value for name, value in zip(SETTING, preferred, strict=True)}
        found |= {f"{name}_other": value for name, value in zip(SETTING, other, strict=True)}
        sizes = {"by_rater": abs(own[index]), "by_judges": abs(panel[index])}
        rows.append(found | sizes | {"n_judges": int(row[judges].notna().sum())})
        if len(rows) == SHOWN:
            break
    return rows
