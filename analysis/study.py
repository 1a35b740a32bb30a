"""A study: the result tables read from disk, and everything that is derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..common.files import atomic_path
from .assessment import Assessment, assess
from .asymmetry import Asymmetry, asymmetry
from .gain import Gains, gains
from .no_reference import NoReference, assess_nr
from .result_tables import StudyTables
from .scorers import assess_scorers
from .stability import stability
from .statistics.bootstrap import LEVEL
from .statistics.frames import grouped

COUNT_COLUMNS = ["table", "group", "status", "count"]


@dataclass(frozen=True)
class Study:
    """Everything derived from the tables.

    Attributes:
        tables: What it was derived from.
        assessment: SRCC, KRCC, PLCC of every measure on every data set.
        gains: Gain of every trained cell.
        asymmetry: Rank agreement of the two.
        stability: Stability of the adversarial trainings by generator, discriminator and weight.
        no_reference: SRCC, KRCC, PLCC of every no-reference model, and differences between its initialisations.
        scorers: SRCC, KRCC, PLCC of every multimodal LLM's ratings, in two readings of failed replies.
        counts: Rows in by table, group (stage, judge or measure) and status.
        n_boot: Resamples of every interval.
        seed: Seed of the resamples.
        level: Coverage of the intervals.
    """

    tables: StudyTables
    assessment: Assessment
    gains: Gains
    asymmetry: Asymmetry
    stability: pd.DataFrame
    no_reference: NoReference
    scorers: pd.DataFrame
    counts: pd.DataFrame
    n_boot: int
    seed: int
    level: float = LEVEL

    def derived(self) -> dict[str, pd.DataFrame]:
        """Return the derived tables by name, in reading order."""
        return {
            "asymmetry": self.asymmetry.settings,
            "asymmetry_changes": self.asymmetry.changes,
            "asymmetry_points": self.asymmetry.points,
            "asymmetry_pairs": self.asymmetry.pairs,
            "spread": self.asymmetry.spread,
            "assessment": self.assessment.table,
            "assessment_differences": self.assessment.differences,
            "assessment_ranks": self.assessment.ranks,
            "gains": self.gains.table,
            "gains_by_judge": self.gains.by_judge,
            "mean_scores": self.gains.means,
            "judges": self.gains.judges,
            "stability": self.stability,
            "nr_splits": self.no_reference.splits,
            "nr_assessment": self.no_reference.table,
            "nr_differences": self.no_reference.differences,
            "mllm_assessment": self.scorers,
            "counts": self.counts,
        }

    def save(self, folder: Path) -> None:
        """Write every derived table to ``folder`` as ``<name>.parquet`` and ``<name>.csv``."""
        for name, table in self.derived().items():
            with atomic_path(Path(folder) / f"{name}.parquet") as temporary:
                table.to_parquet(temporary, index=False)
            with atomic_path(Path(folder) / f"{name}.csv") as temporary:
                table.to_csv(temporary, index=False)


def analyse(tables: StudyTables, n_boot: int = 2000, seed: int = 0) -> Study:
    """Derive everything from the tables; the same tables and seed give the same study.

    Args:
        tables: The result tables.
        n_boot: Resamples of every interval.
        seed: Seed of the resamples.

    Raises:
        AnalysisError: See ``assess``, ``gains``, ``assess_nr``, ``assess_scorers`` and ``asymmetry``.
    """
    assessment = assess(tables.fr_scores, n_boot=n_boot, seed=seed)
    gained = gains(tables.sr_scores, n_boot=n_boot, seed=seed)
    steady = stability(tables.training, tables.cells)
    return Study(
        tables,
        assessment,
        gained,
        asymmetry(assessment, gained),
        steady,
        assess_nr(tables.nr_scores, n_boot=n_boot, seed=seed),
        assess_scorers(tables.mllm_scores, n_boot=n_boot, seed=seed),
        count_rows(tables),
        n_boot,
        seed,
    )


def count_rows(tables: StudyTables) -> pd.DataFrame:
    """Count rows by status: cells per stage, SR scores per judge, other scores per what gives them and on what."""
    sources = (
        ("cells", tables.cells, tables.cells["stage"]),
        ("sr_scores", tables.sr_scores, tables.sr_scores["judge"]),
        ("fr_scores", tables.fr_scores, tables.fr_scores["measure"] + " on " + tables.fr_scores["dataset"]),
        ("nr_scores", tables.nr_scores, tables.nr_scores["model"] + " on " + tables.nr_scores["dataset"]),
        ("mllm_scores", tables.mllm_scores, tables.mllm_scores["scorer"] + " on " + tables.mllm_scores["benchmark"]),
    )
    rows = [
        (name, group, status, len(found))
        for name, table, by in sources
        if len(table)
        for (group, status), found in grouped(table.assign(group=by), "group", "status")
    ]
    return pd.DataFrame(rows, columns=COUNT_COLUMNS)
