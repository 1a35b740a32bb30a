"""The report's section on multimodal LLMs as measures."""

from __future__ import annotations

from .. import figures
from ..statistics.frames import where
from ..statistics.rated import AS_MEAN
from ..study import Study
from .blocks import Block, Cell, Section, jackknifed, name, picture, table, text, with_interval

HEADING = ("scorers", "Multimodal LLMs as measures")


def section(study: Study) -> Section:
    """Return forest and table of the multimodal LLMs' ratings."""
    scorers = study.parts["mllm_assessment"]
    if scorers.empty:
        return Section(*HEADING)
    shown = where(scorers, reading=AS_MEAN)
    shown = shown.assign(measure=shown["scorer"], dataset=shown["benchmark"] + ", " + shown["dimension"])
    forest = figures.assessment_forest(shown)
    caption = (
        "Agreement of each scorer's ratings with people's, signed so that + is agreement; replies that failed count as"
        f" the scorer's mean. PLCC is raw (no logistic fit). Lines: {jackknifed(study)}."
    )
    failed = scorers["n_valid"].lt(scorers["n"]).any()
    columns: dict[str, Cell] = {
        "benchmark": text("benchmark"),
        "dimension": text("dimension"),
        "scorer": name("scorer"),
        **({"failed replies": text("reading")} if failed else {}),
        "SRCC": with_interval("srcc"),
        "KRCC (τ-b)": with_interval("krcc"),
        "PLCC (raw)": with_interval("plcc"),
        "items": text("n"),
        "valid": text("n_valid"),
        **({"read by a judge": text("n_by_judge")} if scorers["n_by_judge"].gt(0).any() else {}),
        "references": text("n_references"),
        **({"failures": text("failures"), "status": text("status")} if failed else {}),
    }
    readings = scorers if failed else where(scorers, reading=AS_MEAN)
    ordered = readings.sort_values(["benchmark", "dimension", "srcc"], ascending=[True, True, False], kind="stable")
    note = (
        "Valid only leaves failed replies out, as published numbers do, and makes a scorer that does not answer hard"
        " items look better than it is; failures as mean gives failed replies the scorer's own mean, i.e. no opinion."
    )
    blocks: list[Block] = [
        picture(forest, "Forest plot of multimodal LLMs' ratings: values as below.", caption),
        table(ordered, "Agreement with people", columns, note=note if failed else "", folded=True),
    ]
    return Section(*HEADING, blocks)
