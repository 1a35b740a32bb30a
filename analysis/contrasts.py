"""The one tool for "A is better than B": trained cells against others, by judges that are independent of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from .statistics.bootstrap import LEVEL
from .statistics.contrast import Estimate
from .statistics.correlation import Floats
from .trained import Panel, Trained

# The trimmed mean over judges drops the lowest and the highest fifth; below this number it would drop none.
MIN_TRIMMED = 6
TRIMMED_SHARE = 0.2
ONE_SEED, ONE_IMAGE, NO_COMMON_SEED = "one seed", "one image", "no common seed"
SAMPLE_COLUMNS = [
    *("n_seeds", "n_images", "n_judges", "judges", "judges_related", "judges_incomplete", "judges_no_unit", "status"),
]
COLUMNS = [
    *("value", "se", "df", "low", "high", "p"),
    *("general", "general_low", "general_high", "without_one_low", "without_one_high"),
    *SAMPLE_COLUMNS,
]


@dataclass(frozen=True)
class Contrast:
    """What a comparison of cells found.

    Attributes:
        panel: The judges.
        estimate: The difference in judge SDs (+: A is better), mean over the panel, with its error over new seeds and
            images: it speaks of *these* judges.
        by_judge: ``(judges of the panel,)``, the difference by each of them, in its SD.
        status: "ok", or why there is no test: no judge, no common seed, one seed, one image.
    """

    panel: Panel
    estimate: Estimate
    by_judge: Floats
    status: str

    @property
    def general(self) -> Estimate:
        """The difference for judges like these: the mean over judges, trimmed from six on, judges random as well.

        SE² = SE² of the panel + variance between judges / their number (Yuen, Biometrika 61, 1974, if trimmed); no SE
        below two judges.
        """
        n, found = len(self.by_judge), self.estimate
        if n < 2 or np.isnan(found.se):
            value = float(self.by_judge.mean()) if n else np.nan
            return Estimate(value, np.nan, np.nan, found.n_seeds, found.n_images, looks=found.looks)
        cut = int(TRIMMED_SHARE * n) if n >= MIN_TRIMMED else 0
        ordered = np.sort(self.by_judge)
        kept = n - 2 * cut
        winsorised = np.clip(ordered, ordered[cut], ordered[n - 1 - cut])
        of_judges = (n - 1) * winsorised.var(ddof=1) / (kept * (kept - 1))
        of_panel = found.se**2
        total = of_judges + of_panel
        freedom = total**2 / (of_judges**2 / (kept - 1) + of_panel**2 / found.df) if total > 0 else found.df
        value = float(ordered[cut : n - cut].mean())
        error = float(np.sqrt(total)), float(freedom)
        return Estimate(value, *error, found.n_seeds, found.n_images, looks=found.looks)

    @property
    def without_one(self) -> tuple[float, float]:
        """The smallest and the largest difference if any one judge is left out; NaN with one judge."""
        n = len(self.by_judge)
        if n < 2:
            return np.nan, np.nan
        left = (self.by_judge.sum() - self.by_judge) / (n - 1)
        return float(left.min()), float(left.max())

    def row(self, trained: Trained, level: float = LEVEL) -> dict:
        """Return the columns ``COLUMNS`` of a table of contrasts."""
        found, general = self.estimate, self.general
        values = (
            *(found.value, found.se, found.df, *found.interval(level), found.p),
            *(general.value, *general.interval(level), *self.without_one),
        )
        return dict(zip(COLUMNS, values, strict=False)) | self.sample(trained)

    def sample(self, trained: Trained) -> dict:
        """Return those of the columns that say what the comparison rests on."""
        found, names = self.estimate, [trained.judges[j] for j in self.panel.judges]
        values = (
            *(found.n_seeds, found.n_images, len(names), ";".join(names)),
            *(";".join(left) for left in (self.panel.related, self.panel.incomplete, self.panel.no_unit)),
            self.status,
        )
        return dict(zip(SAMPLE_COLUMNS, values, strict=True))


def contrast(
    trained: Trained,
    a: Sequence[int],
    b: Sequence[int],
    judges: Sequence[int] | None = None,
    *,
    raw: bool = False,
) -> Contrast:
    """Compare the mean of cells ``a`` with the mean of cells ``b``, paired by seed and image.

    Args:
        trained: Scores of one generator.
        a: Numbers of cells, see ``Trained.index``.
        b: Numbers of cells.
        judges: Numbers of the judges; all that are independent of every cell of ``a`` and ``b`` if left out.
        raw: Give differences in the judge's own unit; for one judge.

    Examples:
        >>> import pandas as pd
        >>> rows = [
        ...     (fidelity, seed, image, image + seed + 0.1 * ((7 * image + 3 * seed + 5 * len(fidelity)) % 4) + better)
        ...     for fidelity, better in (("none", 0), ("ssim", 1)) for seed in (0, 1, 2) for image in (1, 2, 3, 4)
        ... ]
        >>> scores = pd.DataFrame(rows, columns=["fidelity", "seed", "image", "value"]).assign(
        ...     generator="unet", fidelity_id=lambda row: row["fidelity"], fidelity_families="", discriminator="none",
        ...     discriminator_id="none", gan_weight=0.0, test_set="set5", judge="musiq", judge_id="musiq",
        ...     judge_families="form:musiq", higher_is_better=True, status="ok",
        ... )
        >>> from lopsided.analysis.trained import trained_cells
        >>> found = contrast(trained_cells(scores)["unet"], a=[1], b=[0], judges=[0], raw=True)
        >>> round(found.estimate.value, 2), found.estimate.n_seeds, found.status
        (1.0, 3, 'ok')
    """
    weights = np.zeros(len(trained.keys))
    weights[list(a)] += 1 / len(a)
    weights[list(b)] -= 1 / len(b)
    return weighted_contrast(trained, weights, judges, raw=raw)


def weighted_contrast(
    trained: Trained, weights: ArrayLike, judges: Sequence[int] | None = None, *, raw: bool = False
) -> Contrast:
    """Estimate Σ weight × gain over cells, ``weights`` ``(cells,)`` adding up to 0; see ``contrast``."""
    weights = np.asarray(weights, dtype=float)
    panel = trained.panel(np.flatnonzero(weights).tolist(), only=judges, raw=raw)
    if not panel.judges:
        return Contrast(panel, Estimate(np.nan, np.nan, np.nan, 0, len(trained.images)), np.empty(0), panel.status)
    found = trained.grid(panel.judges, raw=raw).contrast(weights)
    by_judge = np.array([trained.grid((j,), raw=raw).contrast_value(weights) for j in panel.judges])
    status = "ok"
    if not found.n_seeds:
        status = NO_COMMON_SEED
    elif np.isnan(found.se):
        status = ONE_SEED if found.n_seeds < 2 else ONE_IMAGE
    return Contrast(panel, found, by_judge, status)


def trend_weights(metric: ArrayLike) -> Floats:
    """Return weights ``(n,)`` that measure how gain rises with the rank as a metric, or zeros if all tie.

    Σ weight × gain is the difference between the best and the worst metric on the straight line through gains against
    ranks: the slope per rank times n − 1.

    Examples:
        >>> trend_weights([0.9, 0.5, 0.7])
        array([ 1., -1.,  0.])
    """
    centred = stats.rankdata(metric) - (len(np.asarray(metric)) + 1) / 2
    squares = (centred**2).sum()
    return centred * (len(centred) - 1) / squares if squares else centred
