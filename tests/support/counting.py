"""A stage that does next to nothing, for plans of any shape without training."""

import os
import signal
import time
from pathlib import Path
from typing import ClassVar

from lopsided.common.errors import LopsidedError
from lopsided.common.files import write_json
from lopsided.experiments import Plan, load_experiment
from lopsided.experiments.stages.cell import Cell
from lopsided.experiments.stages.stage import Stage
from support.paths import ROOT

SMOKE = ROOT / "experiments" / "smoke.yaml"


class Count(Stage):
    """Write a number, or fail or die in the attempt."""

    stage: ClassVar[str] = "count"
    number: int
    does: str = "count"
    seconds: float = 0.0

    def content(self):
        return {"number": self.number, "settings": {"does": self.does}}

    def run(self, cell, folder: Path, context):
        if self.does == "fail":
            raise LopsidedError("it is meant to fail")
        if self.does == "break":
            raise ZeroDivisionError("by 0")
        deaths = context.store.root / f"deaths-{self.number}"
        if self.does.startswith("die") and len(deaths.read_text() if deaths.exists() else "") < int(self.does[3:]):
            with deaths.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and not context.stop():
            time.sleep(0.01)
        context.progress(1, 2, "half way")
        for role in cell.inputs:
            context.input(cell, role, "count.json")
        write_json(folder / "count.json", {"count": self.number})


class Sum(Count):
    """The same, as another stage."""

    stage: ClassVar[str] = "sum"


def plan_of(*cells, **execution):
    """A plan of these cells, which nothing but the stages above is in."""
    experiment = load_experiment(SMOKE)
    changed = experiment.execution.model_copy(update=execution)
    return Plan(experiment.model_copy(update={"execution": changed}), cells)


def cell(number, *inputs, kind=Count, **settings):
    """A cell of that number."""
    return Cell(kind(number=number, **settings), {str(i): one for i, one in enumerate(inputs)}, {"number": number})
