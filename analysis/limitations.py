"""What a study cannot show, derived from its own tables."""

from __future__ import annotations

from collections.abc import Mapping

from .figures.style import count, pretty
from .statistics.frames import grouped, records
from .study import Study

FEW_SEEDS = 5
HELD = {2: 0.55, 3: 0.74, 4: 0.82}  # by seeds: benchmarks/resampling.py, 100 images, seeds that spread by 1
FEW_REFERENCES = 20
# What last digits depend on, of what is recorded of a cell's making: equal specs with equal values give equal bits.
MACHINE = ("processor", "device", "threads", "python", "torch", "torchvision", "numpy", "scipy", "pandas", "pillow")
MACHINE += ("scikit-image", "basicsr", "pyiqa", "lpips")


def limitations(study: Study, facts: Mapping[str, object] | None = None) -> list[str]:
    """Return the limitations that apply to this study, the most serious first.

    Args:
        study: Result of ``analyse``.
        facts: What identifies the run, see ``write_report``; a list holds the different values of its cells.
    """
    assessed, trained, rated = study.assessment.table, study.gains.table, study.parts["nr_assessment"]
    found = []
    labelled = [table.loc[table["label_kind"] == "severity_grade", "dataset"] for table in (assessed, rated)]
    graded = sorted(set().union(*labelled))
    if graded:
        found.append(
            f"The labels of {', '.join(map(pretty, graded))} are severity grades: the strength at which a distortion"
            " was applied, not the opinion of people. An SRCC with them says whether a measure or a model orders"
            " strengths, within and across distortions; it is not agreement with human scores."
        )
    names = {*assessed["measure"], *trained["fidelity"], *trained["discriminator"], *study.gains.judges["judge"]}
    if random := sorted(name for name in names if str(name).endswith("-r")):
        found.append(
            f"Names that end in -R ({', '.join(map(pretty, random))}) are backbones with seeded random weights, not"
            " trained ones; their results say nothing about the trained networks of the same name."
        )
    if len(trained):
        generators = sorted(trained["generator"].unique())
        same_size = "input" in set(study.tables.sr_scores["fidelity"])
        task, networks = ("restoration", "restorers") if same_size else ("super-resolution", "super-resolvers")
        steps = study.tables.training["step"].max() if len(study.tables.training) else None
        length = f", trained for at most {int(steps):,} steps per stage" if steps is not None else ""
        found.append(
            f"{count(len(generators), 'generator')} ({', '.join(map(pretty, generators))}){length}, and one task,"
            f" {task}: small networks after short training may behave differently from published {networks}."
        )
        seeds = int(trained["n_seeds"].min())
        if seeds == 1:
            found.append("One seed: intervals of gains cover images only, and say nothing about another training run.")
        elif seeds < FEW_SEEDS:
            found.append(
                f"{seeds} seeds: intervals of gains hold the true gain less often than they say if seeds differ; where"
                f" they differ more than images do, {HELD[seeds]:.0%} of the time in simulations instead of 95 %."
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
    started = rated.loc[rated["discriminator"] != "", "n_seeds"]
    if len(started) and started.min() == 1:
        found.append(
            "One seed of a discriminator that no-reference models start from: their intervals are about that training"
            " only, and say nothing about another one."
        )
    references = {dataset: int(rows["n_references"].max()) for dataset, rows in grouped(assessed, "dataset")}
    if few := {dataset: n for dataset, n in references.items() if n < FEW_REFERENCES}:
        listed = ", ".join(f"{pretty(dataset)}: {n}" for dataset, n in few.items())
        found.append(
            f"Few reference images ({listed}): intervals clustered by reference are themselves uncertain, and although"
            " widened they hold the true value less often than they say: 89 to 94 % of the time with ten references in"
            " simulations."
        )
    contamination = study.tables.contamination
    learnt = contamination.query("role == 'measure' and finding in ('trained on it', 'shares references')")
    for dataset, rows in grouped(learnt, "dataset"):
        measures = ", ".join(pretty(measure) for measure in rows["subject"])
        found.append(
            f"{measures} learnt from {pretty(dataset)} or from the same photographs: the SRCC there is no test."
        )
    twice = contamination.query("role == 'test images' and finding in ('shares references', 'shares files')")
    for dataset, rows in grouped(twice, "dataset"):
        shared = "; ".join(
            f"{row['subject']}: {int(row['n_shared'])} of {int(row['n'])} shared" for row in records(rows)
        )
        found.append(
            f"{pretty(dataset)} has photographs of the test images ({shared}): what is particular about them moves both"
            " rankings, by SRCC there and by gain, so that the two are not independent."
        )
    cells = study.tables.cells
    if lost := int(cells["status"].isin(["failed", "diverged"]).sum()):
        found.append(
            f"{count(lost, 'cell')} failed or diverged and {'has' if lost == 1 else 'have'} no scores; what diverges"
            " is not chosen at random, so what is left can make its setting look better than it is."
        )
    known = facts or {}
    mixed = {name: values for name in MACHINE if isinstance(values := known.get(name), list) and len(values) > 1}
    if mixed:
        listed = "; ".join(f"{name}: {', '.join(values)}" for name, values in mixed.items())
        found.append(
            f"Cells come from several kinds of machine or versions ({listed}): numbers are equal bit for bit only on"
            " one kind of processor with one set of versions; part of a difference between cells may come from there."
        )
    found.append(
        "Intervals of single gains and of inversions are not corrected for how many there are; pairwise differences in"
        " SRCC carry Holm-corrected p-values. Sampling noise shuffles ranks, which pulls the resampled ρ towards 0."
    )
    return found
