"""What a study cannot show, said from its own tables."""

from __future__ import annotations

from .figures.style import count, pretty
from .study import Study
from .tables import grouped

FEW_SEEDS = 5
FEW_REFERENCES = 20


def limitations(study: Study) -> list[str]:
    """Return the limitations that apply to this study, the gravest first."""
    assessed, trained = study.assessment.table, study.gains.table
    found = []
    graded = sorted(assessed.loc[assessed["label_kind"] == "severity_grade", "dataset"].unique())
    if graded:
        found.append(
            f"The labels of {', '.join(map(pretty, graded))} are severity grades: the strength at which a distortion"
            " was applied, not the opinion of people. An SRCC with them says whether a measure orders strengths,"
            " within and across distortions; it is not agreement with human scores."
        )
    names = {*assessed["measure"], *trained["fidelity"], *trained["discriminator"]}
    if random := sorted(name for name in names if str(name).endswith("-r")):
        found.append(
            f"Names that end in -R ({', '.join(map(pretty, random))}) are backbones with seeded random weights, not"
            " trained ones; their results say nothing of the trained networks of the same name."
        )
    if len(trained):
        generators = sorted(trained["generator"].unique())
        same_size = "input" in set(study.tables.sr_scores["fidelity"])
        task, networks = ("restoration", "restorers") if same_size else ("super-resolution", "super-resolvers")
        steps = study.tables.training["step"].max() if len(study.tables.training) else None
        length = f", trained for at most {int(steps):,} steps a stage" if steps is not None else ""
        found.append(
            f"{count(len(generators), 'generator')} ({', '.join(map(pretty, generators))}){length}, and one task,"
            f" {task}: small networks and short training need not behave like published {networks}."
        )
        seeds = int(trained["n_seeds"].min())
        if seeds == 1:
            found.append("One seed: intervals of gains cover images only, and say nothing of another training run.")
        elif seeds < FEW_SEEDS:
            narrow = 1 - ((seeds - 1) / seeds) ** 0.5
            found.append(
                f"{seeds} seeds: a bootstrap over so few understates the part of an interval that is due to seeds (by"
                f" about {narrow:.0%} of its width)."
            )
        if trained["n_judges"].nunique() > 1:
            found.append(
                "Judges related to a measure are left out of its gain, so measures are not all judged by the same"
                " judges; the table of trained with × judged by shows each judge on its own."
            )
        if (trained["discriminator"] != "none").any():
            found.append(
                "A judge that shares its backbone with a discriminator, rather than with the measure, is not left out."
            )
    references = {dataset: int(rows["n_references"].max()) for dataset, rows in grouped(assessed, "dataset")}
    if few := {dataset: n for dataset, n in references.items() if n < FEW_REFERENCES}:
        listed = ", ".join(f"{pretty(dataset)}: {n}" for dataset, n in few.items())
        found.append(
            f"Few reference images ({listed}): intervals clustered by reference are themselves uncertain, and although"
            " widened they hold the true value less often than they say: 89 to 94 % of the time with ten references in"
            " simulations."
        )
    cells = study.tables.cells
    if lost := int(cells["status"].isin(["failed", "diverged"]).sum()):
        found.append(
            f"{count(lost, 'cell')} failed or diverged and {'has' if lost == 1 else 'have'} no scores; what diverges"
            " is not chosen at random, so what is left may flatter its setting."
        )
    found.append(
        "Intervals of single gains and of inversions are not corrected for how many there are; pairwise differences in"
        " SRCC carry Holm-corrected p-values. Sampling noise shuffles ranks, which pulls the resampled ρ towards 0."
    )
    return found
