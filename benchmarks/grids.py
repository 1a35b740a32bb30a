"""What a grid costs besides its computing: the work around each cell, a cached run, two workers against one.

    python benchmarks/grids.py scheduling workers [--cells 1000] [--rounds 3] [--seeds 8]
    python benchmarks/grids.py cached --experiment STUDY.yaml --store STORE

``scheduling``: cells that do next to nothing, in this process: lease, folder, status, digests, index; then the same
again, where all are cached. ``cached``: ``lopsided run`` where all cells of an experiment are done. ``workers``: the
same small trainings by one process and by two, in turns, as whole commands; ``cells`` is the time between the first
cell's beginning and the last one's end, without the start of Python. On a busy machine, trust CPU time: two workers
cannot be faster than twice the CPU time of one over theirs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from lopsided.common.files import write_json
from lopsided.experiments import Plan, Reporter, Store, load_experiment, plan
from lopsided.experiments.running.execute import execute
from lopsided.experiments.stages.cell import Cell
from lopsided.experiments.stages.stage import Stage

SMOKE = Path(__file__).parents[1] / "experiments" / "smoke.yaml"
RUN = [sys.executable, "-m", "lopsided", "run"]
# Trainings of some seconds, and judgements of each; all seeds are independent.
PART = ["grid.fidelity=[ssim]", "grid.discriminator=patch", "judges=[psnr_y]", "assessment={}"]
STEPS = ["super_resolution.pretrain.steps=60", "super_resolution.finetune={steps: 60, batch: 2, patch: 32}"]


class Number(Stage):
    """Write a number."""

    stage: ClassVar[str] = "number"
    number: int

    def content(self) -> dict[str, Any]:
        """The number."""
        return {"number": self.number}

    def run(self, cell: Cell[Stage], folder: Path, context: Any) -> None:  # noqa: ARG002 - as all stages have it
        """Write it."""
        write_json(folder / "number.json", {"number": self.number})


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of a run, those of its child processes included."""
    began, before = time.perf_counter(), os.times()
    run()
    wall, after = time.perf_counter() - began, os.times()
    return wall, sum(after[:4]) - sum(before[:4])


def scheduling(options: argparse.Namespace) -> None:
    """Compute cells that do nothing, then find them all done."""
    chain: list[Cell[Stage]] = []
    for number in range(options.cells):  # every tenth is read by the nine after it
        inputs = {"before": chain[number - number % 10]} if number % 10 else {}
        chain.append(Cell(Number(number=number), inputs, {"number": number}))
    experiment = load_experiment(SMOKE)
    planned = Plan(experiment, tuple(chain))
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for what in ("computed", "cached"):
                store = Store(folder)
                wall, cpu = timed(lambda store=store: execute(planned, store, experiment.execution, Reporter()))
                each = f"{1e3 * wall / options.cells:.1f} ms per cell, {1e3 * cpu / options.cells:.1f} ms of CPU"
                print(f"{options.cells} cells {what}: {wall:.2f} s, {cpu:.2f} s of CPU: {each}", flush=True)


def cached(options: argparse.Namespace) -> None:
    """Run an experiment that is done."""
    cells = len(plan(options.experiment, store=options.store).cells)
    command = [*RUN, str(options.experiment), "--store", str(options.store)]
    for _ in range(options.rounds):
        wall, cpu = timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
        print(f"run of {cells} cached cells, as a command: {wall:.2f} s, {cpu:.2f} s of CPU", flush=True)


def workers(options: argparse.Namespace) -> None:
    """Run the same experiment with one worker and with two, in turns."""
    overrides = [*PART, *STEPS, f"grid.seed={list(range(options.seeds))}"]
    sets = [part for override in overrides for part in ("--set", override)]
    ratios: dict[str, list[float]] = {"command": [], "cells": [], "in work": []}
    for turn in range(options.rounds):
        seen: dict[int, tuple[float, float, float]] = {}
        for count in (1, 2) if turn % 2 else (2, 1):
            with tempfile.TemporaryDirectory() as folder:
                command = [*RUN, str(SMOKE), "--store", folder, "--no-report", "--workers", str(count), *sets]
                wall, cpu = timed(lambda command=command: subprocess.run(command, check=True, capture_output=True))
                statuses = [status for _, status in plan(SMOKE, overrides).with_status(Store(folder))]
            ends = [status.ended or 0.0 for status in statuses]
            span = max(ends) - min(end - (status.seconds or 0.0) for end, status in zip(ends, statuses, strict=True))
            work = sum(status.seconds or 0.0 for status in statuses) / span
            seen[count] = wall, span, 1 / work
            load = os.getloadavg()[0]
            print(
                f"{count} workers, {len(statuses)} cells: {wall:.1f} s, cells {span:.1f} s, {work:.2f} in work, "
                f"{cpu:.1f} s of CPU; load {load:.1f}",
                flush=True,
            )
        for place, values in enumerate(ratios.values()):
            values.append(seen[1][place] / seen[2][place])
    for name, values in ratios.items():
        print(f"two against one, {name}: {statistics.median(values):.2f} × ({min(values):.2f} to {max(values):.2f})")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"scheduling": scheduling, "cached": cached, "workers": workers}
    parser.add_argument("parts", nargs="+", choices=parts)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=8, help="of the experiment for workers")
    parser.add_argument("--experiment", type=Path, help="for cached")
    parser.add_argument("--store", type=Path, help="for cached; all of the experiment is done there")
    options = parser.parse_args()
    if "cached" in options.parts and not (options.experiment and options.store):
        parser.error("cached needs --experiment and --store")
    for name in options.parts:
        parts[name](options)


if __name__ == "__main__":
    main()
