"""What a study cannot show, derived from its own tables."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .figures.style import count, pretty
from .statistics.frames import grouped, records
from .study import Study
from .trained import BY_SEED_AND_IMAGE
from .verdicts import MIN_SEEDS

FEW_SEEDS = 5
FEW_JUDGES = 3
FEW_REFERENCES = 20
RANDOM = re.compile(r"-r(?:[@+]|$)")
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
    found += of_imports(study)
    names = {*assessed["measure"], *trained["fidelity"], *trained["discriminator"], *study.gains.judges["judge"]}
    if random := sorted(name for name in names if RANDOM.search(str(name))):
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
        found += of_seeds(study) + of_judges(study)
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
            f"Few reference images ({listed}): intervals over references are themselves uncertain, and hold the true"
            " value less often than they say: 91 to 94 % of the time with ten references in simulations, and less if a"
            " measure fails on a kind of picture that none of them shows."
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
    found += of_losses(study)
    found += of_looks(study)
    known = facts or {}
    mixed = {name: values for name in MACHINE if isinstance(values := known.get(name), list) and len(values) > 1}
    if mixed:
        listed = "; ".join(f"{name}: {', '.join(values)}" for name, values in mixed.items())
        found.append(
            f"Cells come from several kinds of machine or versions ({listed}): numbers are equal bit for bit only on"
            " one kind of processor with one set of versions; part of a difference between cells may come from there."
        )
    found.append(
        "Verdicts are corrected for all that was looked at within one question (all trends, all pairs, all gains of a"
        " generator, all tests of a claim), not across questions; intervals are not corrected. Gains, trends and"
        " verdicts speak of these measures, settings and judges."
    )
    return found


def of_imports(study: Study) -> list[str]:
    """Say which scores were published elsewhere instead of computed here."""
    scores = study.tables.fr_scores
    if "imported_from" not in scores or scores["imported_from"].isna().all():
        return []
    sets = scores.dropna(subset="imported_from").groupby("dataset", sort=True)["imported_from"].first()
    listed = "; ".join(f"{pretty(str(dataset))}: {origin}" for dataset, origin in sets.items())
    return [
        f"Scores of imported sets were published by others and not computed here ({listed}). Only the measures in their"
        " tables are assessed there."
    ]


def of_seeds(study: Study) -> list[str]:
    """Return what the number of seeds and test sets limits."""
    found = []
    trained = study.gains.table
    seeds = trained.loc[trained["gain"].notna(), "n_seeds"]
    fewest = int(seeds.min()) if len(seeds) else 0
    if fewest == 1:
        found.append(
            "One seed: nothing is known of how much another training run would differ, so gains, trends and inversions"
            " have no interval and no test, and every verdict on them is “undecided”."
        )
    elif 1 < fewest < MIN_SEEDS:
        found.append(
            f"{fewest} seeds: no finding on trainings can be more than “suggested”. With so few seeds of unequal noise,"
            f" false findings are more frequent than stated; “established” needs {MIN_SEEDS} seeds."
        )
    elif MIN_SEEDS <= fewest < FEW_SEEDS:
        found.append(
            f"{fewest} seeds: how much trainings differ is known only roughly, so intervals are wide and only large"
            " differences can be established."
        )
    sets = sorted(study.tables.sr_scores["test_set"].unique())
    if len(sets) > 1:
        found.append(
            f"Several test sets ({', '.join(map(pretty, sets))}) count equally in every gain, however many images each"
            " has; a verdict is about their mean, not about each of them."
        )
    return found


def of_judges(study: Study) -> list[str]:
    """Return what the choice of judges and their units limits."""
    found = []
    compared = study.asymmetry.settings
    of_generator = {name: set(trained.judges) for name, trained in study.gains.trained.items()}
    panels = {
        (row["judges"], ", ".join(map(pretty, sorted(of_generator[row["generator"]] - set(row["judges"].split(";"))))))
        for row in records(compared.loc[compared["n_judges"] > 0])
    }
    for judges, left in sorted(panels):
        used = judges.split(";")
        few = " So few judges decide much: see each of them alone." if len(used) < FEW_JUDGES else ""
        if left or few:
            without = f", without {left}" if left else ""
            found.append(
                f"Rankings are compared by {count(len(used), 'judge')} that all measures of a setting share"
                f" ({', '.join(map(pretty, used))}){without}; what the others see is in the tables by judge only.{few}"
            )
    judges = study.gains.judges
    if (judges["status"] == "ok").any():
        of_what = sorted(set(judges.loc[judges["status"] == "ok", "unit_of"]))
        text = (
            f"1 judge SD is the spread of the pixel-only cell over {', '.join(of_what)}: an estimate itself, and of"
            " another size for every judge, so a mean over judges weighs them by how steady they are. Gains in the"
            " judges' own units are in the table of single judges."
        )
        if of_what != [BY_SEED_AND_IMAGE]:
            text += " It is not comparable with that of a study with several seeds and images."
        found.append(text)
    return found


def of_looks(study: Study) -> list[str]:
    """Say what it costs that seeds were added until something was decided."""
    if study.looks == 1:
        return []
    return [
        f"Seeds were added in up to {study.looks} looks at the results. So that this finds nothing by itself, p-values"
        f" of trained cells are multiplied by {study.looks}, and intervals hold at all looks together. Not corrected:"
        " no-reference models that start from discriminators, and predictors of gains."
    ]


def of_losses(study: Study) -> list[str]:
    """Return what lost cells and seeds limit."""
    found = []
    cells, gains = study.tables.cells, study.gains.table
    if lost := int(cells["status"].isin(["failed", "diverged"]).sum()):
        found.append(
            f"{count(lost, 'cell')} failed or diverged and {'has' if lost == 1 else 'have'} no scores; what diverges"
            " is not chosen at random, so what is left can make its setting look better than it is."
        )
    if hit := int((gains["n_lost"] > 0).sum()):
        found.append(
            f"{count(hit, 'trained cell')} lost seeds: the measures concerned are left out of ρ and trends (ρ is also"
            " given with them ranked worst), and pairs with them are also compared with the lost seeds as the worst."
            " Their gains are those of the seeds that are left."
        )
    return found
