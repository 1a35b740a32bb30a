"""The report's section on measures as metrics."""

from __future__ import annotations

from .. import figures
from ..figures.assessment_forest import caption as assessment_forest_caption
from ..figures.critical_difference import caption as critical_difference_caption
from ..figures.style import label_name, pretty
from ..statistics.frames import grouped
from ..study import Study
from .blocks import Block, Picture, jackknifed, name, number, p_value, picture, table, text, with_interval


def assessment_blocks(study: Study) -> list[Block]:
    """Return forest and tables of the assessment."""
    assessed = study.assessment.table
    if assessed.empty:
        return []
    how = assessment_forest_caption(assessed, jackknifed(study))
    columns = {
        "data set": name("dataset"),
        "measure": name("measure"),
        "id": text("measure_id"),
        "labels": lambda row: label_name(row["label_kind"]),
        "images": text("n"),
        "references": text("n_references"),
        "SRCC": with_interval("srcc"),
        "KRCC (τ-b)": with_interval("krcc"),
        "PLCC (raw)": with_interval("plcc"),
        "PLCC (logistic 4)": number("plcc_logistic4", 3),
        "PLCC (logistic 5)": number("plcc_logistic5", 3),
        "RMSE": number("rmse", 3),
        "outlier ratio": number("outlier_ratio", 3),
        "concordance": number("concordance", 3),
        "not ok": text("n_not_ok"),
        "missing": text("n_missing"),
        "status": text("status"),
    }
    ordered = assessed.sort_values(["dataset", "srcc"], ascending=[True, False])
    blocks: list[Block] = [
        picture(
            figures.assessment_forest(assessed), "Forest plot of correlations with the labels: values as below.", how
        ),
        table(
            ordered,
            "Agreement with the labels, best first",
            columns,
            note="Logistic 4, 5: PLCC after VQEG's fits with 4 and 5 parameters; RMSE, in the unit of the labels, and"
            " outlier ratio after the first. Concordance: share of pairs of images with significantly different labels"
            " that the measure orders as they do. “–”: the fit or the labels do not allow it.",
            folded=True,
        ),
    ]
    differences = study.assessment.differences
    if len(differences):
        columns = {
            "data set": name("dataset"),
            "measure a": name("measure_a"),
            "measure b": name("measure_b"),
            "SRCC of a − b": with_interval("difference"),
            "win probability of a": number("win_probability"),
            "p": p_value("p"),
            "p, Holm": p_value("p_holm"),
        }
        note = (
            "Intervals and p: t test, difference over its standard error from leaving out each reference, references −"
            " 1 degrees of freedom; Holm: over the pairs of a data set. Win probability: the share of resamples of"
            " references in which a is ahead."
        )
        blocks.append(table(differences, "Paired differences", columns, note=note, folded=True))
    by_distortion = study.parts["assessment_distortions"]
    if len(by_distortion):
        wide = by_distortion.pivot(index=["dataset", "measure"], columns="distortion", values="srcc").reset_index()
        columns = {"data set": name("dataset"), "measure": name("measure")}
        for distortion in sorted(by_distortion["distortion"].unique()):
            columns[pretty(str(distortion))] = number(distortion)
        note = "SRCC within each kind of distortion; intervals are in the table assessment_distortions."
        blocks.append(table(wide, "By distortion", columns, note=note, folded=True))
    ranks = study.assessment.ranks
    if len(ranks):
        columns = {
            "data set": lambda row: pretty(row["dataset"]) if row["dataset"] else "all",
            "ranked within each": lambda row: row["over"].removesuffix("s"),
            "blocks": text("n_blocks"),
            "left out": text("n_left_out"),
            "measure": name("measure"),
            "mean rank": number("mean_rank"),
            "Friedman χ²": number("friedman_chi2"),
            "p": p_value("friedman_p"),
            "critical difference": number("critical_difference"),
        }
        for (over, dataset), of_blocks in grouped(ranks, "over", "dataset"):
            if of_blocks["critical_difference"].iloc[0] < len(of_blocks) - 1:  # else the test can tell nothing apart
                drawn = figures.critical_difference(of_blocks)
                described = f"Critical-difference diagram over {over}: mean ranks as below."
                said = "As above." if isinstance(blocks[-1], Picture) else critical_difference_caption(of_blocks)
                of = pretty(dataset) if dataset else "All data sets"
                blocks.append(picture(drawn, described, f"{of}. {said}"))
        ordered = ranks.sort_values(["over", "dataset", "mean_rank"], ascending=[False, True, True], kind="stable")
        note = (
            "Measures ranked by SRCC within each reference or data set, 1 is best. p: Friedman's test that all are"
            f" alike. Two measures differ (Nemenyi, {study.level:.0%}, corrected for all pairs) if their mean ranks are"
            " further apart than the critical difference. Left out: blocks in which a measure has no SRCC."
        )
        blocks.append(table(ordered, "Mean ranks", columns, note=note, folded=True))
    return blocks
