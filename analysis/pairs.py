"""Agreement with judged pairs: 2AFC accuracy and precision of just-noticeable differences, by part and overall."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from .statistics.agreement import jnd_precision, two_afc
from .statistics.bootstrap import LEVEL, percentile_interval
from .statistics.correlation import Floats
from .statistics.frames import grouped, incomplete, require_finite_where_ok, require_one, require_unique

ALL = "mean of the parts"
GROUP = ["measure", "task", "split"]
COLUMNS = [*GROUP, "subset", "n", "n_not_ok", "value", "value_low", "value_high", "status"]


def assess_pairs(pair_scores: pd.DataFrame, *, n_boot: int = 2000, seed: int = 0, level: float = LEVEL) -> pd.DataFrame:
    """Compare measures with what people said about pairs.

    Args:
        pair_scores: As ``lopsided.iqa.evaluate_pairs`` returns it; tables of several measures can be joined.
        n_boot: Number of resamples.
        seed: Seed of the resamples; measures on the same pairs share them.
        level: Coverage of the intervals, in (0, 1). Pairs are resampled one by one within each part: it is not
            known which patches come from one photograph, so intervals may be too narrow.

    Returns:
        One row per measure, task, split and part (``subset``), and one for ``ALL``, the plain mean over the parts
        as papers report it: ``n`` pairs, ``n_not_ok`` of them; ``value`` with ``_low`` and ``_high``: 2AFC accuracy
        or JND precision, in [0, 1], higher is better; ``status`` "ok" or why it is NaN.

    Raises:
        AnalysisError: Repeated rows; an "ok" score that is not finite; a measure with two ids or directions.

    Examples:
        Two triplets; the measure finds the first image nearer in one, the second in the other:

        >>> rows = [("1", 0.1, 0.2, 0.0), ("2", 0.4, 0.3, 0.8)]
        >>> scores = pd.DataFrame(rows, columns=["pair", "first", "second", "judgement"]).assign(
        ...     measure="mine", measure_id="1", task="2afc", split="val", subset="cnn", status="ok",
        ...     higher_is_better=False,
        ... )
        >>> assess_pairs(scores, n_boot=100)[["subset", "n", "value", "status"]]
                      subset  n  value status
        0                cnn  2    0.9     ok
        1  mean of the parts  2    0.9     ok
    """
    require_unique(pair_scores, ["measure", "pair"], "pair_scores")
    require_finite_where_ok(pair_scores, "first", "pair_scores")
    for of in ("measure_id", "higher_is_better"):
        require_one(pair_scores, ["measure"], of, "pair_scores")
    rows = []
    for key, of_task in grouped(pair_scores, *GROUP):
        parts, again = [], []
        for subset, pairs in grouped(of_task, "subset"):
            value, replicates, status = _part(pairs.sort_values("pair"), n_boot, seed)
            parts.append(_row(key, subset, pairs, value, replicates, status, level))
            again.append(replicates)
        lacking = [str(part["subset"]) for part in parts if part["status"] != "ok"]
        status = f"no value for {', '.join(lacking)}" if lacking else "ok"
        value = float("nan") if lacking else float(np.mean([part["value"] for part in parts]))
        rows += [*parts, _row(key, ALL, of_task, value, np.mean(again, axis=0), status, level)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _part(pairs: pd.DataFrame, n_boot: int, seed: int) -> tuple[float, Floats, str]:
    """Return a part's value, its replicates, and "ok" or why it has no value."""
    first, second, judged = (pairs[name].to_numpy(dtype=float) for name in ("first", "second", "judgement"))
    higher = bool(pairs["higher_is_better"].iloc[0])
    nothing = np.full(n_boot, np.nan)
    if status := incomplete(int((pairs["status"] != "ok").sum()), 0, len(pairs)):
        return float("nan"), nothing, status
    if pairs["task"].iloc[0] == "jnd" and not judged.any():
        return float("nan"), nothing, "nobody finds any pair the same"

    def value(of: np.ndarray) -> float:
        if pairs["task"].iloc[0] == "2afc":
            return two_afc(first[of], second[of], judged[of], score_higher_is_better=higher)
        # A resample in which nobody finds any pair the same has no recall.
        return jnd_precision(first[of], judged[of], score_higher_is_better=higher) if judged[of].any() else np.nan

    return value(np.arange(len(pairs))), _resampled(value, len(pairs), n_boot, seed), "ok"


def _resampled(value: Callable[[np.ndarray], float], n: int, n_boot: int, seed: int) -> Floats:
    rng = np.random.default_rng([seed, 0])
    return np.array([value(rng.integers(0, n, n)) for _ in range(n_boot)])


def _row(
    key: tuple[str, ...], subset: str, pairs: pd.DataFrame, value: float, again: Floats, status: str, level: float
) -> dict:
    low, high = percentile_interval(again, level) if status == "ok" else (float("nan"), float("nan"))
    return {
        **dict(zip(GROUP, key, strict=True)),
        "subset": subset,
        "n": len(pairs),
        "n_not_ok": int((pairs["status"] != "ok").sum()),
        "value": value,
        "value_low": low,
        "value_high": high,
        "status": status,
    }
