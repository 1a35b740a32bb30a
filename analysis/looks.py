"""Adding seeds until something is decided: what is open at a look, and how many seeds would settle it.

Who looks at results again and again, and stops when they please, finds too much. The number of looks K is therefore
fixed beforehand, and every p-value of trained cells is K times as large (``over_looks``): whatever the rule for adding
seeds, the whole-study rates of false findings stay below their level. ``benchmarks/null_looks.py`` simulates it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .asymmetry import Asymmetry
from .contrasts import contrast
from .errors import AnalysisError
from .gain import Gains
from .power import needed_seeds
from .statistics.contrast import Estimate
from .statistics.frames import Row, records
from .trained import CellKey
from .verdicts import ESTABLISHED, FAMILIES, verdict

# What --until can name besides words of a contrast: the first sentence of the report.
DECIDED = "decided"
HEADLINE = ("trend", "inversion")
COLUMNS = ["contrast", "value", "p", "verdict", "needed_seeds"]


def list_contrasts(gained: Gains, compared: Asymmetry) -> pd.DataFrame:
    """Return every contrast that seeds can decide.

    Args:
        gained: Result of ``gains``.
        compared: Result of ``compare_rankings``.

    Returns:
        One row per contrast: its name in words (``trend`` or ``inversion`` or ``gain``, generator, data set, measures,
        setting), its value in judge SDs, the ``p`` that has to be below .05 (corrected for its family and the looks),
        the verdict, and ``needed_seeds`` that would establish a true difference of the size seen in four studies of
        five (NaN: more than 50, or unknown).
    """
    rows = [*_trends(gained, compared), *_inversions(gained, compared), *_gains(gained)]
    return pd.DataFrame(rows, columns=COLUMNS)


@dataclass(frozen=True)
class Look:
    """What a look finds of the contrasts that were asked for.

    Attributes:
        asked: The rows of ``list_contrasts`` that were asked for.
        settled: Whether all that was asked is decided.
        needed: Seeds that would settle it, by the power computation; None: more than 50, or unknown.
    """

    asked: pd.DataFrame
    settled: bool
    needed: int | None


def look_at(contrasts: pd.DataFrame, until: Sequence[str]) -> Look:
    """Return what is decided of what was asked for.

    Args:
        contrasts: Result of ``list_contrasts``.
        until: What was asked for: "decided", which is any trend or inversion, or words that a contrast's name has;
            all contrasts with these words are to be decided.

    Raises:
        AnalysisError: No contrast has these words.

    Examples:
        >>> rows = [("trend net set none 0", 1.0, 0.01, "established", 3), ("gain net ssim none 0", 0.2, 0.3, "", 9)]
        >>> found = look_at(pd.DataFrame(rows, columns=COLUMNS), ["decided", "gain ssim"])
        >>> found.settled, found.needed
        (False, 9)
    """
    established = contrasts["verdict"] == ESTABLISHED
    of_headline = contrasts["contrast"].str.split().str[0].isin(HEADLINE)
    asked, needed = pd.Series(False, index=contrasts.index), [0.0]
    for name in until:
        if name == DECIDED:
            fits, enough = of_headline, bool((established & of_headline).any())
        else:
            words = set(name.split())
            fits = contrasts["contrast"].map(lambda text, words=words: words <= set(text.split())).astype(bool)
            enough = bool(established[fits].all())
        if not fits.any():
            raise AnalysisError(_unknown(name, contrasts))
        asked |= fits
        if not enough:
            seeds = contrasts.loc[fits & ~established, "needed_seeds"].fillna(np.inf)
            needed.append(float(seeds.min() if name == DECIDED else seeds.max()))
    most = max(needed)
    return Look(contrasts.loc[asked], most == 0, int(most) if np.isfinite(most) else None)


def next_count(now: int, needed: int | None, most: int, *, last: bool) -> int:
    """Return how many seeds the next look has: what the power computation asks for, at most twice as many as now.

    Args:
        now: Seeds so far.
        needed: Seeds that would settle it; None: unknown, or more than 50.
        most: The largest number.
        last: Whether no look comes after the next one; then the number may grow at once.

    Examples:
        >>> next_count(3, 5, most=12, last=False), next_count(3, 30, most=12, last=False)
        (5, 6)
        >>> next_count(3, None, most=12, last=True)
        12
    """
    wanted = max(needed or most, now + 1)
    return min(wanted if last else min(wanted, 2 * now), most)


def _unknown(name: str, contrasts: pd.DataFrame) -> str:
    known = contrasts["contrast"].tolist()
    if not known:
        return f"nothing can be decided until '{name}': no two trained cells have scores of a judge"
    listed = "; ".join(known[:5]) + ("; …" if len(known) > 5 else "")
    return f"no contrast has the words '{name}'; known: {listed}; '{DECIDED}' is any trend or inversion"


def _trends(gained: Gains, compared: Asymmetry) -> Iterator[dict]:
    rows = records(compared.settings)
    for row in rows:
        if row["status"] != "ok":
            continue
        found = Estimate.of(row, "trend", "trend", gained.looks)
        yield {
            "contrast": f"trend {_place(row)}",
            "value": row["trend"],
            "p": FAMILIES * row["trend_p_holm"],
            "verdict": row["trend_verdict"],
            "needed_seeds": _needed(found, FAMILIES * len(rows), gained, row["generator"]),
        }


def _inversions(gained: Gains, compared: Asymmetry) -> Iterator[dict]:
    rows = [row for row in records(compared.pairs) if row["status"] == "ok"]
    for row in rows:
        found = Estimate.of(row, "gain_difference", "gain", gained.looks)
        yield {
            "contrast": f"inversion {row['better_metric']} {row['worse_metric']} {_place(row)}",
            "value": row["gain_difference"],
            "p": FAMILIES * row["p_corrected"],
            "verdict": row["verdict"],
            "needed_seeds": _needed(found, FAMILIES * len(rows), gained, row["generator"]),
        }


def _gains(gained: Gains) -> Iterator[dict]:
    rows = records(gained.table)
    for row in rows:
        trained = gained.trained.get(row["generator"])
        key = CellKey(row["generator"], row["fidelity"], row["discriminator"], float(row["gan_weight"]))
        if trained is None or trained.baseline is None or key not in trained.keys:
            continue
        found = contrast(trained, [trained.index(key)], [trained.baseline]).estimate
        n_tests = sum(other["generator"] == row["generator"] for other in rows)
        yield {
            "contrast": f"gain {key.generator} {key.fidelity} {key.discriminator} {key.gan_weight:g}",
            "value": row["gain"],
            "p": row["p_holm"],
            "verdict": verdict(row["p_holm"], row["n_seeds"]),
            "needed_seeds": _needed(found, n_tests, gained, key.generator),
        }


def _place(row: Row) -> str:
    return f"{row['generator']} {row['dataset']} {row['discriminator']} {row['gan_weight']:g}"


def _needed(found: Estimate, n_tests: int, gained: Gains, generator: str) -> float:
    seeds = needed_seeds(found, found.value, found.n_images, n_tests, len(gained.trained[generator].keys))
    return float(seeds) if seeds else np.nan
