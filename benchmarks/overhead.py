"""What lopsided costs before anything is computed: imports, help, planning 10,000 cells, a run with nothing to do.

    python benchmarks/overhead.py [--store STORE]

CPU seconds of whole processes, median of some, the two sides of each ratio in turn. STORE is one in which the
quickstart is finished; without it the last row is left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

QUICKSTART = Path(__file__).parents[1] / "experiments" / "quickstart.yaml"
SEEDS = 69  # the quickstart with so many seeds has some 10,000 cells
PLAN = f"""
import resource, time
from lopsided import experiments
experiments.load_experiment({str(QUICKSTART)!r})  # imports
before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
plan = experiments.plan({str(QUICKSTART)!r}, ["grid.seed={list(range(SEEDS))}"])
ids = [cell.id for cell in plan.cells]
print(len(ids), time.process_time() - before[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def cpu_seconds(command: list[str]) -> float:
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def compare(name: str, ours: list[str], theirs: list[str], runs: int) -> None:
    cpu_seconds(ours)  # caches of the file system, compiled files
    cpu_seconds(theirs)
    pairs = [(cpu_seconds(ours), cpu_seconds(theirs)) for _ in range(runs)]
    us, them = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(our / their for our, their in pairs)
    print(f"{name}: {us:.2f} s against {them:.2f} s, ratio {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="a store in which the quickstart is finished")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    python = [sys.executable, "-c"]
    lopsided = [sys.executable, "-m", "lopsided"]
    torch = [*python, "import torch, torchvision"]
    compare("import lopsided.losses / torch, torchvision", [*python, "import lopsided.losses"], torch, arguments.runs)
    compare("lopsided --help / import typer, rich", [*lopsided, "--help"], [*python, "import typer, rich.table"], 5)
    planned = subprocess.run([*python, PLAN], check=True, capture_output=True, text=True).stdout.split()
    print(f"plan of {planned[0]} cells: {float(planned[1]):.2f} s of CPU, {float(planned[2]):.0f} MB at its peak")
    if arguments.store:
        run = [*lopsided, "run", str(QUICKSTART), "--store", str(arguments.store)]
        compare(
            "cached run of the quickstart / import torch, pandas, pydantic",
            run,
            [*python, "import torch, pandas, pydantic"],
            arguments.runs,
        )


if __name__ == "__main__":
    main()
