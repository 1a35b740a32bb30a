"""The other direction: does a discriminator that trains well also start a good no-reference model?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .contrasts import contrast
from .gain import Gains
from .no_reference import DISCRIMINATOR
from .statistics.frames import grouped, records
from .statistics.rank_correlation import critical_rho, exact_p, spearman
from .trained import CellKey

POINT_COLUMNS = [
    *("dataset", "model", "generator", "discriminator", "gan_weight", "fidelity"),
    *("transfer", "transfer_low", "transfer_high", "gain", "gain_low", "gain_high", "status"),
]
COLUMNS = ["dataset", "model", "generator", "n", "rho", "p", "critical_rho", "status"]
MIN_DISCRIMINATORS = 3


def reverse_asymmetry(differences: pd.DataFrame, gains: Gains) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join a discriminator's transfer to NR models with what it does for training.

    Args:
        differences: Table ``nr_differences``; transfer is the SRCC from the discriminator minus that from random.
        gains: Result of ``gains``; the outcome is the contrast of the cell the discriminator was trained in with the
            cell of the same measure without a discriminator.

    Returns:
        Points: one row per model and discriminator. Summary: Spearman's ρ over discriminators with its exact p; with
        few of them only |ρ| = 1 or nothing can have p < .05.
    """
    chosen = differences.loc[(differences["a"] == DISCRIMINATOR) & (differences["b"] == "random")]
    points = []
    for row in records(chosen.loc[chosen["stage"].isna() & (chosen["status"] == "ok")]):
        trained = gains.trained.get(str(row["generator"]))
        key = CellKey(str(row["generator"]), str(row["fidelity"]), str(row["discriminator"]), float(row["gan_weight"]))
        without = CellKey(key.generator, key.fidelity, "none", 0.0)
        point = {name: row[name] for name in POINT_COLUMNS[:6]} | {"transfer": row["difference"]}
        point |= {f"transfer_{end}": row[f"difference_{end}"] for end in ("low", "high")}
        point |= dict.fromkeys(("gain", "gain_low", "gain_high"), np.nan)
        if trained is None or key not in trained.keys or without not in trained.keys:
            points.append(point | {"status": "no scores of its cell and of the one without a discriminator"})
            continue
        found = contrast(trained, [trained.index(key)], [trained.index(without)])
        low, high = found.estimate.interval(0.95)
        points.append(
            point | {"gain": found.estimate.value, "gain_low": low, "gain_high": high, "status": found.status}
        )
    table = pd.DataFrame(points, columns=POINT_COLUMNS)
    rows = []
    for (dataset, model, generator), of in grouped(table.loc[table["gain"].notna()], "dataset", "model", "generator"):
        row = {"dataset": dataset, "model": model, "generator": generator, "n": len(of), "rho": np.nan, "p": np.nan}
        row |= {"critical_rho": critical_rho(len(of)), "status": "ok"}
        if len(of) < MIN_DISCRIMINATORS:
            rows.append(row | {"status": "fewer than three discriminators"})
            continue
        rho = float(spearman(of["transfer"], of["gain"]))
        rows.append(row | {"rho": rho, "p": exact_p(of["transfer"], of["gain"])[0] if np.isfinite(rho) else np.nan})
    return table, pd.DataFrame(rows, columns=COLUMNS)
