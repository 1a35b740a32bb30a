"""A study: the result tables, and everything that is derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..common.html import html_paragraph, html_table
from .asymmetry import Asymmetry
from .figures.claim_summary import style_claims
from .figures.style import interval, pretty, setting_name
from .gain import Gains
from .independence import INDEPENDENCE
from .result_tables import StudyTables, write_table
from .statistics.assessment import Assessment
from .statistics.bootstrap import LEVEL
from .statistics.frames import grouped, records


@dataclass(frozen=True, repr=False)
class Study:
    """Everything derived from the tables.

    Attributes:
        tables: What it was derived from.
        assessment: SRCC, KRCC, PLCC of every measure on every data set.
        gains: Gain of every trained cell.
        asymmetry: Rank agreement of the two, with the mean of several draws of random weights as one measure.
        spreads: What matters more for the gain, the measure or the adversarial setting.
        parts: Further tables by name. Derived by the modules that ``ResultTable.part`` names: ``nr_splits``,
            ``nr_assessment`` and ``nr_differences`` of no-reference models, ``mllm_assessment`` of multimodal LLMs'
            ratings, ``stability`` of adversarial trainings, and the realised ``gradients`` of loss terms.
            ``assessment_distortions``: SRCC within each kind of distortion. ``raters`` and ``rater_differences``:
            measures, no-reference models and multimodal LLMs on the same images. ``judge_disagreement`` and
            ``judge_disagreement_images``: where multimodal LLMs and other judges of restored images disagree. Of the
            comparison: ``claims``, ``advice``, ``draws`` (how much draws of random weights differ),
            ``self_preference``, ``influence``, ``rank_probabilities``, ``inversion_probabilities``,
            ``reverse_asymmetry``, ``reverse_points`` and ``gain_predictions``.
        counts: Number of rows by table, group (stage, judge or measure) and status.
        n_boot: Resamples of every bootstrap.
        seed: Seed of the resamples.
        independence: Kinds of families that a judge must not share with what it judges.
        level: Coverage of the intervals.
        looks: How often the scores of trained cells may be looked at, each time with more seeds.
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
    looks: int = 1

    @property
    def trains(self) -> bool:
        """Whether anything was trained or restored: otherwise there is assessment alone, and no asymmetry."""
        return bool(len(self.tables.sr_scores) or (self.tables.cells["stage"] == "finetune").any())

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

    def __repr__(self) -> str:
        return f"Study({self.tables}; derived: {len(self.derived())} tables, n_boot={self.n_boot}, seed={self.seed})"

    def _repr_html_(self) -> str:
        """Show in a notebook what became of the rankings and the claims, and what the study rests on."""
        settings = [
            (
                *(pretty(row[name]) for name in ("generator", "dataset")),
                setting_name(row["discriminator"], row["gan_weight"]),
                row["n"],
                interval(row["rho"], row["rho_low"], row["rho_high"]),
                interval(row["trend"], row["trend_low"], row["trend_high"]),
                row["trend_verdict"] if row["status"] == "ok" else row["status"],
            )
            for row in records(self.asymmetry.settings)
        ]
        header = [
            "generator",
            "data set",
            "adversarial setting",
            "measures",
            "ρ(SRCC, gain)",
            "trend (judge SDs)",
            "verdict",
        ]
        counts = [(*key, rows["count"].sum()) for key, rows in grouped(self.counts, "table", "status")]
        return "".join(
            [
                html_paragraph("Do better metrics make better objectives? A positive trend says that they do."),
                html_table(header, settings),
                html_paragraph("What became of the claims:"),
                style_claims(self.parts["claims"]).to_html(),
                html_paragraph("What this rests on:"),
                html_table(["result table", "status", "rows"], counts),
            ]
        )
