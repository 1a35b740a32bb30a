"""All judges' scores of all trained cells of one generator as one array, with what is lost, related or has no unit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .independence import INDEPENDENCE, is_related
from .result_tables import UNTRAINED
from .statistics.contrast import Grid
from .statistics.correlation import Floats
from .statistics.frames import grouped, records, where

CELL = ["generator", "fidelity", "discriminator", "gan_weight"]
LOST = ("failed", "diverged")
# A spread below this share of the judge's largest score is rounding error.
NO_SPREAD = 1e-9
BY_SEED_AND_IMAGE = "seed × image interaction"
BY_IMAGE = "images (one seed)"
BY_SEED = "seeds (one image)"

Flags = NDArray[np.bool_]


class CellKey(NamedTuple):
    """What identifies a trained cell, apart from its seed."""

    generator: str
    fidelity: str
    discriminator: str
    gan_weight: float

    @property
    def setting(self) -> tuple[str, float]:
        """The adversarial setting."""
        return self.discriminator, self.gan_weight

    @property
    def is_baseline(self) -> bool:
        """Whether this is the pixel-only cell."""
        return self.fidelity == "none" and self.discriminator == "none"


@dataclass(frozen=True)
class Panel:
    """The judges of a comparison, and those that it had to leave out.

    Attributes:
        judges: Indices of the judges that are used.
        related: Names of those related to a compared cell.
        incomplete: Names of those without a finite score of every image of every seed that a compared cell has.
        no_unit: Names of those without a unit, see ``Trained.unit_status``.
    """

    judges: tuple[int, ...]
    related: tuple[str, ...]
    incomplete: tuple[str, ...]
    no_unit: tuple[str, ...]

    @property
    def status(self) -> str:
        """Say "ok", or why there is no judge."""
        if self.judges:
            return "ok"
        if self.incomplete:
            return "no independent judge with all scores"
        return "no independent judge with spread" if self.no_unit else "no independent judge"


@dataclass(frozen=True)
class Trained:
    """Scores of the trained cells of one generator.

    Attributes:
        keys: The cells, the pixel-only one among them if it has scores.
        seeds: Distinct seeds.
        images: Distinct (test_set, image).
        judges: Judge keys.
        values: ``(cells, judges, seeds, images)``, signed so that higher is better, in the judge's own unit; NaN where
            a score is missing or not ok.
        lost: ``(cells, seeds)``, true where a cell has no score at all for a seed.
        n_not_ok: ``(cells, judges)``, scores that are there but not ok.
        n_missing: ``(cells, judges)``, scores that should be there, of the seeds that are not lost.
        related: ``(cells, judges)``, whether the judge is related to what the cell was trained with.
        unit: ``(judges,)``, one judge SD in the judge's own unit: the standard deviation of the seed × image
            interaction of the pixel-only cell, which no other cell of the grid can move.
        unit_of: What each judge's unit is the spread of.
        unit_status: "ok", or why a judge has no unit.
        looks: How often these scores may be looked at, each time with more seeds; see ``Estimate``.
        draws: Of cells that are means over draws of random weights, what each draw has above the mean: as in ``Grid``,
            with an axis for judges, ``(draws, cells, judges, seeds, images)``.
    """

    keys: list[CellKey]
    seeds: list
    images: list
    judges: list[str]
    values: Floats
    lost: Flags
    n_not_ok: NDArray[np.intp]
    n_missing: NDArray[np.intp]
    related: Flags
    unit: Floats
    unit_of: list[str]
    unit_status: list[str]
    looks: int = 1
    draws: list[Floats] = field(default_factory=list)
    _grids: dict[tuple[tuple[int, ...], bool], Grid] = field(default_factory=dict, repr=False, compare=False)

    def index(self, key: CellKey) -> int:
        """Return the number of a cell."""
        return self.keys.index(key)

    @property
    def baseline(self) -> int | None:
        """The number of the pixel-only cell, or None if it has no scores."""
        return next((number for number, key in enumerate(self.keys) if key.is_baseline), None)

    def panel(self, cells: Sequence[int], only: Sequence[int] | None = None, *, raw: bool = False) -> Panel:
        """Choose the judges that are independent of all of these cells and have every score of theirs.

        Args:
            cells: Numbers of the compared cells.
            only: Consider only these judges, whether related or not.
            raw: Scores stay in the judge's own unit, so a judge needs no unit.
        """
        cells = list(cells)
        considered = range(len(self.judges)) if only is None else only
        used, related, incomplete, no_unit = [], [], [], []
        for j in considered:
            if only is None and self.related[cells, j].any():
                related.append(self.judges[j])
            elif self.unit_status[j] != "ok" and not raw:
                no_unit.append(self.judges[j])
            elif self.n_not_ok[cells, j].any() or self.n_missing[cells, j].any():
                incomplete.append(self.judges[j])
            else:
                used.append(j)
        return Panel(tuple(used), tuple(related), tuple(incomplete), tuple(no_unit))

    def grid(self, judges: tuple[int, ...], *, raw: bool = False) -> Grid:
        """Return all cells' scores by the mean of these judges, each in its judge SD, or in its own unit (one judge).

        A cell that one of the judges has not scored completely counts as lost at the seeds in question.
        """
        key = judges, raw
        if key not in self._grids:
            unit = 1.0 if raw else self.unit[list(judges), None, None]
            mean, *draws = ((of[..., list(judges), :, :] / unit).mean(axis=-3) for of in (self.values, *self.draws))
            mean[np.isnan(mean).any(axis=2)] = np.nan
            settings = [f"{key.discriminator}/{key.gan_weight!r}" for key in self.keys]
            strata = [test_set for test_set, _ in self.images]
            self._grids[judges, raw] = Grid(mean, settings, strata, self.looks, draws)
        return self._grids[judges, raw]


def trained_cells(
    sr_scores: pd.DataFrame, independence: Collection[str] = INDEPENDENCE, looks: int = 1
) -> dict[str, Trained]:
    """Gather the scores of every generator that has a trained cell, by generator."""
    return {
        str(generator): _gather(scores, independence, looks)
        for generator, scores in grouped(sr_scores.loc[~sr_scores["fidelity"].isin(UNTRAINED)], "generator")
    }


def _gather(scores: pd.DataFrame, independence: Collection[str], looks: int) -> Trained:
    sign = np.where(scores["higher_is_better"].to_numpy(dtype=bool), 1.0, -1.0)
    ok = (scores["status"] == "ok").to_numpy(dtype=bool)
    axes = [
        pd.MultiIndex.from_frame(scores.loc[:, CELL]),
        pd.Index(scores["judge"]),
        pd.Index(scores["seed"]),
        pd.MultiIndex.from_frame(scores.loc[:, ["test_set", "image"]]),
    ]
    codes, labels = zip(*(axis.factorize(sort=True) for axis in axes), strict=True)
    shape = [len(found) for found in labels]
    values, there = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    values[codes] = np.where(ok, sign * scores["value"].to_numpy(dtype=float), np.nan)
    there[codes] = True
    lost = np.logical_not(there.any(axis=(1, 3)))
    expected = ~np.broadcast_to(lost[:, None, :, None], shape)
    keys = [CellKey(str(g), str(f), str(d), float(w)) for g, f, d, w in labels[0]]
    judges = [str(judge) for judge in labels[1]]
    first_of_cell = {
        CellKey(row["generator"], row["fidelity"], row["discriminator"], float(row["gan_weight"])): row
        for row in records(scores.drop_duplicates(CELL))
    }
    first_of_judge = {str(row["judge"]): row for row in records(scores.drop_duplicates("judge"))}
    baseline = next((values[number] for number, key in enumerate(keys) if key.is_baseline), None)
    unit, unit_of, unit_status = judge_units(baseline, judges)
    return Trained(
        keys=keys,
        seeds=list(labels[2]),
        images=list(labels[3]),
        judges=judges,
        values=values,
        lost=lost,
        n_not_ok=(there & np.isnan(values)).sum(axis=(2, 3)),
        n_missing=(expected & ~there).sum(axis=(2, 3)),
        related=np.array(
            [[is_related(first_of_cell[key], first_of_judge[judge], independence) for judge in judges] for key in keys]
        ),
        unit=unit,
        unit_of=unit_of,
        unit_status=unit_status,
        looks=looks,
    )


def judge_units(baseline: Floats | None, judges: list[str]) -> tuple[Floats, list[str], list[str]]:
    """Return each judge's SD, what it is the SD of, and "ok" or why there is none."""
    if baseline is None:
        return (
            np.full(len(judges), np.nan),
            [""] * len(judges),
            ["no pixel-only cell to take the unit from"] * len(judges),
        )
    units, statuses, unit_of = np.full(len(judges), np.nan), [], []
    for j, values in enumerate(baseline):
        values = values[~np.isnan(values).any(axis=1)]
        n_seeds, n_images = values.shape
        if n_seeds > 1 and n_images > 1:
            rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
            df = (n_seeds - 1) * (n_images - 1)
            unit_of.append(BY_SEED_AND_IMAGE)
        else:
            rest, df = values - values.mean() if values.size else values, values.size - 1
            unit_of.append(BY_IMAGE if n_images > 1 else BY_SEED)
        if df < 1:
            statuses.append("fewer than two complete pixel-only scores")
            continue
        units[j] = np.sqrt((rest**2).sum() / df)
        has_spread = units[j] > NO_SPREAD * np.abs(values).max()
        statuses.append("ok" if has_spread else "no spread")
    return units, unit_of, statuses


def lost_seeds(cells: pd.DataFrame, key: CellKey) -> dict[str, int]:
    """Count the seeds of a cell whose training failed or diverged, by status."""
    of = where(cells, stage="finetune", **key._asdict())
    counts = of.loc[of["status"].isin(LOST)].drop_duplicates("seed")["status"].value_counts()
    return {str(status): int(n) for status, n in counts.items()}
