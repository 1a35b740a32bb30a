"""The report's sections on what went in, where it came from, and what came out."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
import scipy

from ..figures.no_reference_forest import model_name
from ..figures.style import label_name, pretty
from ..statistics.frames import Row, grouped, records, where
from ..study import Study
from .blocks import (
    Block,
    Cell,
    Table,
    Text,
    jackknifed,
    name,
    named_list,
    readable,
    setting,
    significant,
    table,
    tested,
    text,
    yes,
)


def data_blocks(study: Study) -> list[Block]:
    """Return what was judged, and by which judges."""
    blocks: list[Block] = []
    fr, sr = study.tables.fr_scores, study.tables.sr_scores
    if len(fr):
        keys = ["dataset", "dataset_id", "label_kind", "label_higher_is_better"]
        counted = fr.groupby(keys, sort=True).agg(
            references=("reference", "nunique"), distortions=("distortion", "nunique"), measures=("measure", "nunique")
        )
        counted["images"] = (
            fr.drop_duplicates([*keys, "reference", "image", "distortion", "level"]).groupby(keys).size()
        )
        columns = {
            "data set": name("dataset"),
            "id": text("dataset_id"),
            "images": text("images"),
            "references": text("references"),
            "distortions": text("distortions"),
            "labels": lambda row: label_name(row["label_kind"]),
            "higher label is better": yes("label_higher_is_better"),
            "measures": text("measures"),
        }
        blocks.append(table(counted.reset_index(), "Labelled data sets", columns))
    nr = study.tables.nr_scores
    if len(nr):
        counted = (
            study.parts["nr_assessment"]
            .groupby("dataset", sort=True)
            .agg(
                n=("n", "max"),
                n_references=("n_references", "max"),
                n_splits=("n_splits", "max"),
                models=("model", "nunique"),
            )
        )
        keys = ["dataset", "dataset_id", "label_kind", "label_higher_is_better"]
        columns = {
            "data set": name("dataset"),
            "id": text("dataset_id"),
            "test images": text("n"),
            "references": text("n_references"),
            "splits": text("n_splits"),
            "labels": lambda row: label_name(row["label_kind"]),
            "higher label is better": yes("label_higher_is_better"),
            "models": text("models"),
        }
        known = nr.loc[:, keys].drop_duplicates().merge(counted.reset_index(), on="dataset").sort_values("dataset")
        note = "Test images of all splits together; an image without a reference is its own reference."
        blocks.append(table(known, "Labelled data sets of the no-reference models", columns, note=note))
    blocks += contamination_blocks(study.tables.contamination)
    if len(sr):
        counted = (
            sr.groupby("test_set", sort=True).agg(images=("image", "nunique"), seeds=("seed", "nunique")).reset_index()
        )
        columns = {"test set": name("test_set"), "images": text("images"), "seeds": text("seeds")}
        blocks.append(table(counted, "Super-resolution test sets", columns))
        columns = {
            "generator": name("generator"),
            "judge": name("judge"),
            "id": text("judge_id"),
            "families": named_list("families"),
            "direction": lambda row: "higher is better" if row["higher_is_better"] else "lower is better",
            "1 judge SD": significant("unit"),
            "which is the spread of": text("unit_of"),
            "SD of replies to one image": significant("reply_sd"),
            "scores": text("n_scores"),
            "not ok": text("n_not_ok"),
            "status": text("status"),
        }
        note = (
            "A judge is left out of a comparison if it is what a compared cell was trained with or shares a family with"
            " that. 1 judge SD is in the judge's own unit and taken from the pixel-only cell alone, so that no other"
            " cell can move it."
        )
        blocks.append(
            table(study.gains.judges, "Judges", columns, note=note, optional=["families", "SD of replies to one image"])
        )
    return blocks


def contamination_blocks(found: pd.DataFrame) -> list[Block]:
    """Return the matrix of subjects by data sets, and what it says in words."""
    if found.empty:
        return []

    def shown(dataset: str) -> Cell:
        def cell(row: Row) -> str:
            of = records(where(found, subject=row["subject"], dataset=dataset))
            if not of:
                return "–"
            shared = of[0]["n_shared"]
            return of[0]["finding"] + (
                "" if pd.isna(shared) or not shared else f" ({int(shared)} of {int(of[0]['n'])})"
            )

        return cell

    columns: dict[str, Cell] = {"subject": name("subject"), "role": text("role")}
    columns |= {pretty(dataset): shown(dataset) for dataset in found["dataset"].unique()}
    note = (
        "“trained on it”: its weights were learnt from the labels of that data set, so its SRCC there is not a test;"
        " “shares references”, “shares files”: pictures of equal pixels or bytes are in both, crops of one photograph"
        " are not recognised; “none known”: its training data are known and do not include this; “unknown”: they are"
        " unknown. Pretraining of backbones does not count."
    )
    blocks: list[Block] = [table(found.drop_duplicates("subject"), "Contamination", columns, note=note)]
    graver = found.query("finding != 'none known' and detail != ''")
    if len(graver):
        columns = {
            "subject": name("subject"),
            "data set": name("dataset"),
            "finding": text("finding"),
            "in words": text("detail"),
        }
        blocks.append(table(graver, "Contamination, in words", columns, folded=True))
    return blocks


def count_blocks(study: Study) -> list[Block]:
    """Return the number of rows by status, and everything that was lost on the way."""
    columns = {
        "table": text("table"),
        "stage, judge or measure": text("group"),
        "status": text("status"),
        "rows": lambda row: f"{row['count']:,}",
    }
    totals = "; ".join(
        f"{table_name}: {status} {rows['count'].sum():,}"
        for (table_name, status), rows in grouped(study.counts, "table", "status")
    )
    blocks: list[Block] = []
    if totals:
        blocks.append(Text(f"Rows by status. {totals}."))
    cells = study.tables.cells
    lost = cells.loc[cells["status"] != "done"]
    if len(lost):
        columns_lost = {column: text(column) for column in ("cell", "stage", "status", "reason")}
        blocks.append(table(lost, "Cells that are not done", columns_lost))
    undone = (
        [
            ("gain", f"{pretty(row['fidelity'])}, {setting(row)}", row["status"])
            for row in records(study.gains.table)
            if row["status"] != "ok"
        ]
        + [
            (
                "gain by judge",
                f"{pretty(row['fidelity'])}, {setting(row)}, judged by {pretty(row['judge'])}",
                lacking(row) or row["status"],
            )
            for row in records(study.gains.by_judge)
            if row["status"] != "ok"
        ]
        + [
            ("assessment", f"{pretty(row['measure'])} on {pretty(row['dataset'])}", row["status"])
            for row in records(study.assessment.table)
            if row["status"] != "ok"
        ]
    )
    undone += [
        (
            "no-reference",
            f"{model_name(row['model'])} from {row['initialisation']} on {pretty(row['dataset'])}",
            row["status"],
        )
        for row in records(study.parts["nr_assessment"])
        if row["status"] != "ok"
    ]
    if undone:
        frame = pd.DataFrame(undone, columns=["of", "what", "status"])
        shown = {"of": text("of"), "what": text("what"), "why it has no value": text("status")}
        blocks.append(table(frame, "Values that could not be computed", shown))
    left_out = study.asymmetry.settings
    left_out = left_out.loc[left_out["excluded"] != ""]
    if len(left_out):
        shown = {
            "generator": name("generator"),
            "data set": name("dataset"),
            "adversarial setting": setting,
            "measure and reason": readable("excluded"),
        }
        blocks.append(table(left_out, "Measures left out of the comparison", shown))
    blocks.append(table(study.counts, "All counts", columns, folded=True))
    return blocks


def lacking(row: Row) -> str:
    """Say how many scores of a cell by a judge cannot be used, or "" if all can."""
    counts = ((row["n_not_ok"], "not ok"), (row["n_missing"], "missing"))
    return " and ".join(f"{count} {what}" for count, what in counts if count)


def fact_table(study: Study, facts: Mapping[str, object]) -> Table:
    """Return the facts that identify the run and the analysis."""
    cells = study.tables.cells
    known: dict[str, object] = dict(facts)
    if cells["seconds"].notna().any():
        known["Compute, all cells"] = (
            f"{cells['seconds'].sum() / 3600:,.2f} h ({int(cells['seconds'].notna().sum())} cells)"
        )
    if cells["peak_memory_mb"].notna().any():
        known["Peak memory of a cell"] = f"{cells['peak_memory_mb'].max():,.0f} MB"
    known["Intervals"] = (
        f"{jackknifed(study)}; {tested(study)}; {study.n_boot:,} resamples elsewhere (seed {study.seed})"
    )
    known["Judges independent by"] = list(study.independence) or "nothing"
    known["Analysis"] = (
        f"Python {platform.python_version()}, numpy {np.__version__}, pandas {pd.__version__}, scipy"
        f" {scipy.__version__}, matplotlib {mpl.__version__}"
    )
    shown = {key: ", ".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in known.items()}
    facts_of_run = pd.DataFrame({"fact": list(shown), "value": list(shown.values())})
    return table(facts_of_run, "What identifies this run", {"fact": text("fact"), "value": text("value")})
