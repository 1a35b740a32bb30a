"""What matters more for the gain, the measure or the adversarial setting? Spreads with their noise subtracted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .gain import Gains
from .power import needed_repeats
from .result_tables import UNTRAINED
from .statistics.bootstrap import LEVEL
from .statistics.variance_components import Component, split_variance
from .trained import Trained
from .verdicts import weakened

COLUMNS = [
    *("generator", "scope", "n_measures", "n_settings", "n_seeds", "n_images", "n_judges", "judges", "left_out"),
    *(name + end for name in ("sd_measure", "sd_setting", "ratio") for end in ("", "_low", "_high")),
    *("probability", "needed_repeats", "verdict", "status"),
]
ALL, ADVERSARIAL = "all settings", "adversarial settings"


def compare_spreads(gains: Gains, *, level: float = LEVEL, seed: int = 0) -> pd.DataFrame:
    """Compare, per generator, how much true gains differ between measures and between settings.

    Args:
        gains: Result of ``gains``.
        level: Coverage of the intervals.
        seed: Seed of what is drawn for the interval of the ratio.

    Returns:
        One row per generator and scope: ``sd_measure`` and ``sd_setting``, the SD of true gains (judge SDs) over these
        measures and over these settings, noise subtracted; their ``ratio``; ``probability`` that it is above 1;
        ``needed_repeats``, how many times the seeds and the images a verdict needs if the SDs are as estimated (NaN:
        more than 64, or no difference);
        ``verdict`` "setting dominates" or "measure dominates" if its interval leaves out 1, a suggestion below three
        seeds, else "undecided". It speaks of these judges. Measures or settings that lack a cell are left out, and
        named.
    """
    rows = [
        _row(trained, generator, scope, level, seed)
        for generator, trained in gains.trained.items()
        for scope in (ALL, ADVERSARIAL)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(trained: Trained, generator: str, scope: str, level: float, seed: int) -> dict:
    cells = {
        (key.fidelity, key.setting): number
        for number, key in enumerate(trained.keys)
        if key.fidelity not in ("none", *UNTRAINED)
        and (scope == ALL or key.discriminator != "none")
        and not trained.lost[number].any()
    }
    measures, settings, left = _complete({measure for measure, _ in cells}, {of for _, of in cells}, set(cells))
    row = dict.fromkeys(COLUMNS, float("nan")) | {"generator": generator, "scope": scope, "judges": "", "n_judges": 0}
    row |= {"n_measures": len(measures), "n_settings": len(settings), "left_out": ";".join(left), "verdict": ""}
    row |= {"n_seeds": len(trained.seeds), "n_images": len(trained.images)}
    if min(len(measures), len(settings)) < 2:
        return row | {"status": "fewer than two measures or settings with every cell"}
    used = [cells[measure, setting] for measure in measures for setting in settings]
    panel = trained.panel(used)
    if not panel.judges:
        return row | {"status": f"{panel.status} of all cells"}
    grid, shape = trained.grid(panel.judges), (len(measures), len(settings))
    values = grid.values[used].reshape(*shape, *grid.values.shape[1:])
    draws = [of[:, used].mean(axis=2).reshape(-1, *shape) for of in grid.draws]
    level = 1 - (1 - level) / trained.looks
    found = split_variance(values, level, seed, draws)
    row |= {"n_judges": len(panel.judges), "judges": ";".join(trained.judges[j] for j in panel.judges)}
    if np.isnan(found.ratio_low):
        return row | {"status": found.verdict}
    return row | {
        **dict(zip(("sd_measure", "sd_measure_low", "sd_measure_high"), _ends(found.measures), strict=True)),
        **dict(zip(("sd_setting", "sd_setting_low", "sd_setting_high"), _ends(found.settings), strict=True)),
        "ratio": found.ratio,
        "ratio_low": found.ratio_low,
        "ratio_high": found.ratio_high,
        "probability": found.p_settings_larger,
        "needed_repeats": needed_repeats(found, level) or np.nan,
        "verdict": weakened(found.verdict, len(trained.seeds)),
        "status": "ok",
    }


def _ends(component: Component) -> tuple[float, float, float]:
    return component.sd, component.low, component.high


def _complete(measures: set, settings: set, cells: set) -> tuple[list, list, list[str]]:
    """Leave out, one by one, the measure or setting that lacks most cells until every cell is there."""
    left: list[str] = []
    while measures and settings:
        lacking = {("measure", m): sum((m, s) not in cells for s in settings) / len(settings) for m in measures}
        lacking |= {("setting", s): sum((m, s) not in cells for m in measures) / len(measures) for s in settings}
        (kind, name), share = max(lacking.items(), key=lambda item: (item[1], str(item[0])))
        if not share:
            break
        (measures if kind == "measure" else settings).discard(name)
        left.append(name if kind == "measure" else f"{name[0]} {name[1]:g}")
    return sorted(measures), sorted(settings), left
