"""The report's section on the reverse asymmetry: does a discriminator that trains well start a good NR model?"""

from __future__ import annotations

from ..figures.no_reference_forest import model_name
from ..study import Study
from .blocks import Block, name, number, p_value, setting, table, text, with_interval


def reverse_blocks(study: Study) -> list[Block]:
    """Return ρ over discriminators, and the discriminators."""
    points, found = study.parts["reverse_points"], study.parts["reverse_asymmetry"]
    blocks: list[Block] = []
    if len(found):
        columns = {
            "data set": name("dataset"),
            "model": lambda row: model_name(row["model"]),
            "generator": name("generator"),
            "discriminators": text("n"),
            "ρ(transfer, gain)": number("rho"),
            "p": p_value("p"),
            "|ρ| needed for p < 0.05": number("critical_rho", 3),
            "status": text("status"),
        }
        note = (
            "Over discriminators; transfer: SRCC of the no-reference model that starts from the discriminator minus"
            " that of one that starts from random weights; gain: what the discriminator added to the training it comes"
            " from. “–”: with so few discriminators no |ρ| reaches p < 0.05."
        )
        blocks.append(table(found, "Do good trainers transfer well?", columns, note=note, optional=["status"]))
    if len(points):
        columns = {
            "data set": name("dataset"),
            "model": lambda row: model_name(row["model"]),
            "generator": name("generator"),
            "adversarial setting": setting,
            "trained with": name("fidelity"),
            "transfer (SRCC)": with_interval("transfer", 3),
            "gain (judge SDs)": with_interval("gain"),
            "status": text("status"),
        }
        note = "Gain: the cell it was trained in minus the cell of the same measure without a discriminator."
        blocks.append(table(points, "Discriminators", columns, note=note, folded=len(found) > 0, optional=["status"]))
    return blocks
