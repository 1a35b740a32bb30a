"""The smoke test's experiment, and a part of it."""

from lopsided.experiments import load_experiment, plan
from support.paths import ROOT

SMOKE = ROOT / "experiments" / "smoke.yaml"
# A part of the smoke test: what it trains is in the store of the whole.
PART = ["grid.fidelity=ssim", "judges=[psnr_y]", "assessment={}"]


def cells(overrides=(), experiment=SMOKE):
    return plan(load_experiment(experiment, list(overrides))).cells


def cell_of(overrides, **labels):
    """The one fine-tuning cell with these labels."""
    (cell,) = [
        cell
        for cell in cells(overrides)
        if cell.stage == "finetune" and all(cell.labels[key] == value for key, value in labels.items())
    ]
    return cell


def modified(store):
    return {path: path.stat().st_mtime_ns for path in (store / "cells").rglob("*") if path.name != ".lock"}
