"""A study: the result tables, and everything that is derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import pandas as pd

from .advice import advise
from .asymmetry import Asymmetry, compare_rankings
from .claims import evaluate_claims
from .components import compare_spreads
from .diagnostics import predict_gains
from .distortions import assess_distortions
from .gain import Gains, gains
from .independence import INDEPENDENCE
from .result_tables import TABLES, StudyTables, count_rows, write_table
from .reverse import reverse_asymmetry
from .robustness import influence, sureness
from .self_preference import self_preference
from .statistics.assessment import Assessment, assess
from .statistics.bootstrap import LEVEL


@dataclass(frozen=True)
class Study:
    """Everything derived from the tables.

    Attributes:
        tables: What it was derived from.
        assessment: SRCC, KRCC, PLCC of every measure on every data set.
        gains: Gain of every trained cell.
        asymmetry: Rank agreement of the two.
        spreads: What matters more for the gain, the measure or the adversarial setting.
        parts: Further tables by name. Derived by the modules that ``ResultTable.part`` names: ``nr_splits``,
            ``nr_assessment`` and ``nr_differences`` of no-reference models, ``mllm_assessment`` of multimodal LLMs'
            ratings, ``stability`` of adversarial trainings. ``assessment_distortions``: SRCC within
            each kind of distortion. Of the comparison: ``claims``, ``advice``,
            ``self_preference``, ``influence``, ``rank_probabilities``, ``inversion_probabilities``,
            ``reverse_asymmetry``, ``reverse_points`` and ``gain_predictions``.
        counts: Number of rows by table, group (stage, judge or measure) and status.
        n_boot: Resamples of every interval.
        seed: Seed of the resamples.
        independence: Kinds of families that a judge must not share with what it judges.
        level: Coverage of the intervals.
    """

    tables: StudyTables
    assessment: Assessment
    gains: Gains
    asymmetry: Asymmetry
    spreads: pd.DataFrame
    parts: dict[str, pd.DataFrame]
    counts: pd.DataFrame
    n_boot: int
    seed: int
    independence: tuple[str, ...] = INDEPENDENCE
    level: float = LEVEL

    def derived(self) -> dict[str, pd.DataFrame]:
        """Return the derived tables by name, in reading order."""
        return {
            "asymmetry": self.asymmetry.settings,
            "asymmetry_changes": self.asymmetry.changes,
            "asymmetry_by_judge": self.asymmetry.by_judge,
            "asymmetry_points": self.asymmetry.points,
            "asymmetry_pairs": self.asymmetry.pairs,
            "spreads": self.spreads,
            "assessment": self.assessment.table,
            "assessment_differences": self.assessment.differences,
            "assessment_ranks": self.assessment.ranks,
            "gains": self.gains.table,
            "gains_by_judge": self.gains.by_judge,
            "mean_scores": self.gains.means,
            "judges": self.gains.judges,
            **self.parts,
            "counts": self.counts,
        }

    def save(self, folder: str | Path) -> None:
        """Write every derived table to ``folder`` as ``<name>.parquet`` and ``<name>.csv``."""
        for name, table in self.derived().items():
            write_table(table, folder, name, ("parquet", "csv"))


class Part(Protocol):
    """A module that derives further tables from the result tables."""

    def derive(self, tables: StudyTables, *, n_boot: int, seed: int) -> dict[str, pd.DataFrame]:
        """Return the tables by name."""
        ...


def analyse(
    tables: StudyTables, n_boot: int = 2000, seed: int = 0, *, independence: tuple[str, ...] = INDEPENDENCE
) -> Study:
    """Derive everything from the tables; the same tables and seed give the same study.

    Args:
        tables: The result tables.
        n_boot: Resamples of every bootstrap interval.
        seed: Seed of the resamples.
        independence: Kinds of families ("backbone", "form", "data") that a judge must not share with what it judges.

    Raises:
        AnalysisError: See ``assess``, ``gains``, ``compare_rankings`` and the ``derive`` of each part.

    Examples:
        Scores of one measure for two photographs, each distorted at four levels:

        >>> import pandas as pd
        >>> rows = [(f"photo{p}", level, 10 * level + p) for p in (1, 2) for level in (1, 2, 3, 4)]
        >>> scores = pd.DataFrame(rows, columns=["reference", "level", "score"]).assign(
        ...     measure="mine", measure_id="1", dataset="blurred", dataset_id="2", image="", distortion="blur",
        ...     label=lambda row: row["level"], label_kind="severity_grade", label_higher_is_better=False,
        ...     higher_is_better=False, status="ok",
        ... )
        >>> study = analyse(StudyTables(fr_scores=scores), n_boot=100)
        >>> study.assessment.table[["measure", "n", "n_references", "srcc"]].round(3)
          measure  n  n_references   srcc
        0    mine  8             2  0.976
    """
    assessment = assess(tables.fr_scores, n_boot=n_boot, seed=seed)
    gained = gains(tables.sr_scores, tables.cells, independence=independence)
    parts: dict[str, pd.DataFrame] = {}
    for table in TABLES.values():
        if table.part:
            part = cast(Part, import_module(f".{table.part}", __package__))
            parts |= part.derive(tables, n_boot=n_boot, seed=seed)
    compared = compare_rankings(assessment, gained, seed=seed)
    spreads = compare_spreads(gained, seed=seed)
    parts["assessment_distortions"] = assess_distortions(tables.fr_scores)
    parts["self_preference"] = self_preference(gained, tables.sr_scores)
    parts["influence"] = influence(assessment, gained, compared)
    parts["rank_probabilities"], parts["inversion_probabilities"] = sureness(assessment, gained, compared, seed=seed)
    parts["reverse_points"], parts["reverse_asymmetry"] = reverse_asymmetry(parts["nr_differences"], gained)
    parts["gain_predictions"] = predict_gains(parts["diagnostics_predictors"], compared.points, seed=seed)
    study = Study(tables, assessment, gained, compared, spreads, parts, count_rows(tables), n_boot, seed, independence)
    parts["claims"] = evaluate_claims(study)
    parts["advice"] = advise(study)
    return study
