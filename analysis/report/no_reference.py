"""The report's section on no-reference models."""

from __future__ import annotations

import pandas as pd

from .. import figures
from ..figures.no_reference_forest import arm_name, model_name, source_names
from ..figures.no_reference_forest import caption as no_reference_forest_caption
from ..figures.style import count
from ..no_reference import CHANCE, DISCRIMINATOR, SOURCE
from ..statistics.frames import grouped, where
from ..study import Study
from .blocks import Block, Cell, Section, Text, name, p_value, picture, table, text, with_interval

HEADING = ("no-reference", "No-reference models")


def section(study: Study) -> Section:
    """Return forest and tables of the no-reference models."""
    splits, models, differences = (study.parts[f"nr_{name}"] for name in ("splits", "assessment", "differences"))
    if models.empty:
        return Section(*HEADING)
    sources = source_names(models)
    blocks: list[Block] = [Text(said) for said in discriminators_as_starts(differences)]
    whole, probes = (models.loc[chosen] for chosen in (models["stage"].isna(), models["stage"].notna()))
    if len(whole):
        blocks.append(
            picture(
                figures.no_reference_forest(models, splits),
                "Forest plot of no-reference models by initialisation: values as below.",
                no_reference_forest_caption(whole, study.level),
            )
        )
    several = models["dataset"].nunique() > 1
    model: dict[str, Cell] = {
        **({"data set": name("dataset")} if several else {}),
        "model": lambda row: model_name(row["model"]),
    }
    unpaired = bool(differences["n_unpaired_seeds"].any())
    columns: dict[str, Cell] = {
        "a": lambda row: arm_name({**row, "initialisation": row["a"]}, sources),
        "b": lambda row: f"{CHANCE} (0)" if row["b"] == CHANCE else arm_name({**row, "initialisation": row["b"]}, {}),
        "SRCC of a − b": with_interval("difference"),
        "p": p_value("p"),
        "p, Holm": p_value("p_holm"),
        "splits": text("n_splits"),
        "seeds": text("n_seeds"),
        **({"unpaired": text("n_unpaired_seeds")} if unpaired else {}),
        **({"status": text("status")} if differences["status"].ne("ok").any() else {}),
    }
    note = (
        "Means over splits and seeds; a and b saw the same splits and images, and where both have seeds, equal seeds"
        " are paired: a discriminator with the random weights it started from. p: t test whose variance allows"
        " for the images that splits share, or over resampled references for a single split; the spread over seeds is"
        " added where there are several. Holm: over all comparisons of a data set."
        + (" Unpaired: seeds that only one of the two has." if unpaired else "")
    )
    of_whole = differences.loc[differences["stage"].isna()]
    if len(of_whole):
        ordered = of_whole.sort_values(["dataset", "model", "a", "discriminator", "b"], kind="stable")
        blocks.append(table(ordered, "How much the initialisation matters", {**model, **columns}, note=note))
    values: dict[str, Cell] = {
        "initialisation": lambda row: arm_name(row, sources),
        "SRCC": with_interval("srcc"),
        "KRCC (τ-b)": with_interval("krcc"),
        "PLCC (raw)": with_interval("plcc"),
        "splits": text("n_splits"),
        "seeds": text("n_seeds"),
        **({"status": text("status")} if models["status"].ne("ok").any() else {}),
    }
    note = "Medians over splits of means over seeds, with intervals."
    if len(whole):
        ordered = whole.sort_values(["dataset", "model", "srcc"], ascending=[True, True, False], kind="stable")
        blocks.append(table(ordered, "Agreement with the labels", {**model, **values}, note=note, folded=True))
    if len(probes):
        ordered = probes.sort_values(["dataset", "model", "initialisation", *SOURCE, "stage"], kind="stable")
        blocks.append(
            table(
                ordered,
                "Layer by layer",
                {**model, "layer": text("stage"), **values},
                note="Models that see one layer each, counted from 0, the finest. " + note,
                folded=True,
            )
        )
        of_probes = differences.loc[differences["stage"].notna()]
        note = "As above; Holm's correction is over all layers of a data set."
        shown = {**model, "layer": text("stage"), **columns}
        blocks.append(table(of_probes, "Differences, layer by layer", shown, note=note, folded=True))
    return Section(*HEADING, blocks)


def discriminators_as_starts(differences: pd.DataFrame) -> list[str]:
    """Say how often a discriminator was the better or the worse start, beyond noise."""
    whole = where(differences.loc[differences["stage"].isna()], a=DISCRIMINATOR, status="ok")
    said = []
    for b, rows in grouped(whole, "b"):
        sure = rows.loc[rows["p_holm"] < 0.05]
        better, worse = int((sure["difference"] > 0).sum()), int((sure["difference"] < 0).sum())
        said.append(
            f"Of {count(len(rows), 'comparison')} of a discriminator's weights with {b} ones as a start, {better} are"
            f" in favour of the discriminator's and {worse} of the {b} ones (p < 0.05, Holm);"
            f" {len(rows) - better - worse} are undecided."
        )
    return said
