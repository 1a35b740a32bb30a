"""From result tables to a study: everything that is derived, in one go."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

import pandas as pd

from .advice import advise
from .asymmetry import compare_rankings
from .claims import evaluate_claims
from .components import compare_spreads
from .diagnostics import predict_gains
from .disagreement import judge_disagreement
from .distortions import assess_distortions
from .draws import average_assessment, name_means, summarise_draws
from .errors import AnalysisError
from .gain import gains
from .independence import INDEPENDENCE
from .raters import compare_raters
from .result_tables import TABLES, StudyTables, count_rows
from .reverse import reverse_asymmetry
from .robustness import influence, sureness
from .self_preference import self_preference
from .statistics.assessment import assess
from .study import Study


class Part(Protocol):
    """A module that derives further tables from the result tables."""

    def derive(self, tables: StudyTables, *, n_boot: int, seed: int) -> dict[str, pd.DataFrame]:
        """Return the tables by name."""
        ...


def analyse(
    tables: StudyTables,
    n_boot: int = 2000,
    seed: int = 0,
    *,
    independence: tuple[str, ...] = INDEPENDENCE,
    looks: int = 1,
) -> Study:
    """Derive everything from the tables; the same tables and seed give the same study.

    Args:
        tables: The result tables.
        n_boot: Resamples of every bootstrap: win probabilities, judged pairs, no-reference models on one split.
        seed: Seed of the resamples.
        independence: Kinds of families ("backbone", "form", "data") that a judge must not share with what it judges.
        looks: How often the scores of trained cells may be looked at, each time with more seeds; see ``Estimate``.

    Raises:
        AnalysisError: Not tables; see ``assess``, ``gains``, ``compare_rankings`` and the ``derive`` of each part.

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
    if not isinstance(tables, StudyTables):  # pyright: ignore[reportUnnecessaryIsInstance] - people pass a folder
        raise AnalysisError(f"analyse takes tables, e.g. StudyTables.load(folder), got {tables!r}")
    assessment = assess(tables.fr_scores, n_boot=n_boot, seed=seed)
    gained = gains(tables.sr_scores, tables.cells, independence=independence, looks=looks)
    parts: dict[str, pd.DataFrame] = {}
    for table in TABLES.values():
        if table.part:
            part = cast(Part, import_module(f".{table.part}", __package__))
            parts |= part.derive(tables, n_boot=n_boot, seed=seed)
    means = name_means({*tables.sr_scores["fidelity"], *tables.cells["fidelity"].dropna()}, tables.fr_scores["measure"])
    averaged = gained
    if means:
        averaged = gains(tables.sr_scores, tables.cells, independence=independence, looks=looks, means=means)
    compared = compare_rankings(average_assessment(assessment, means), averaged, seed=seed)
    spreads = compare_spreads(averaged, seed=seed)
    parts["draws"] = summarise_draws(assessment.table, gained.table, means)
    parts["assessment_distortions"] = assess_distortions(tables.fr_scores)
    parts["raters"], parts["rater_differences"] = compare_raters(tables.fr_scores, tables.nr_scores, tables.mllm_scores)
    parts["self_preference"] = self_preference(gained, tables.sr_scores)
    parts["judge_disagreement"], parts["judge_disagreement_images"] = judge_disagreement(tables.sr_scores)
    parts["influence"] = influence(compared)
    parts["rank_probabilities"], parts["inversion_probabilities"] = sureness(compared, seed=seed)
    parts["reverse_points"], parts["reverse_asymmetry"] = reverse_asymmetry(parts["nr_differences"], gained)
    parts["gain_predictions"] = predict_gains(parts["diagnostics_predictors"], compared.points, seed=seed)
    counts = count_rows(tables)
    study = Study(tables, assessment, gained, compared, spreads, parts, counts, n_boot, seed, independence, looks=looks)
    parts["claims"] = evaluate_claims(study)
    parts["advice"] = advise(study)
    return study
