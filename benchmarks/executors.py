"""One experiment on several executors: every table must be equal, bit for bit.

    python benchmarks/executors.py serial local worker [slurm] [ray] [--ray-address HOST:PORT] [--set KEY=VALUE]

``worker`` is two hand-started ``lopsided worker``. ``slurm`` needs a cluster that takes jobs from here, and ``ray`` the
library; ``--signal`` sends SIGUSR1 to the jobs of Slurm, which then checkpoint and are queued again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from lopsided.experiments import collect_tables

SMOKE = Path(__file__).parents[1] / "experiments" / "smoke.yaml"
PART = ["grid.fidelity=[ssim]", "judges=[psnr_y]", "assessment={}"]
LOPSIDED = [sys.executable, "-m", "lopsided"]


def tables(store: Path, overrides: list[str]) -> list[Any]:
    """Return the result tables without times."""
    found = collect_tables(SMOKE, store=store, overrides=overrides)
    training = found.training[found.training["term"] != "seconds"].reset_index(drop=True)
    return [found.sr_scores, found.fr_scores, training, found.cells[["cell", "stage", "status"]]]


def computed(store: Path) -> Counter[int]:
    """Return how many cells were computed to the end how often: a cell's log says "done" once for each time."""
    logs = store.glob("cells/*/*/log.txt")
    return Counter(sum(" done " in f"{line} " for line in log.read_text().splitlines()) for log in logs)


def main() -> None:
    """Run the experiment on each executor in turn, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("executors", nargs="+", choices=["serial", "local", "worker", "slurm", "ray"])
    parser.add_argument("--ray-address", help="of a cluster; without it, Ray is started here")
    parser.add_argument("--signal", action="store_true", help="send SIGUSR1 to the jobs of Slurm after a while")
    parser.add_argument("--set", action="append", default=[], help="changes the smoke test's experiment")
    options = parser.parse_args()
    overrides = [*PART, *options.set]
    sets = [part for override in overrides for part in ("--set", override)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    calm: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        for executor in options.executors:
            store, began = Path(folder, executor), time.monotonic()
            run = [*LOPSIDED, "run", str(SMOKE), "--store", str(store), "--no-report", *sets]
            commands = [[*run, "--executor", executor, "--workers", "1" if executor == "serial" else "2"]]
            if executor == "worker":
                commands = [[*LOPSIDED, "worker", str(store), str(SMOKE), *sets]] * 2
            elif executor == "ray" and options.ray_address:
                commands = [[*commands[0], "--set", f"execution.ray={{address: '{options.ray_address}'}}"]]
            processes = [subprocess.Popen(command, env=environment) for command in commands]
            if executor == "slurm" and options.signal:
                while not list(store.glob("cells/*/*/work/*")):  # a training has written its first checkpoint
                    time.sleep(0.1)
                subprocess.run(["scancel", "--signal=USR1", "--name=lopsided"], check=True)
            statuses = [process.wait() for process in processes]
            if any(statuses):
                raise SystemExit(f"{executor} failed")
            seen = tables(store, overrides)
            calm = calm or seen
            for expected, found in zip(calm, seen, strict=True):
                pd.testing.assert_frame_equal(expected, found, check_exact=True)
            print(
                f"{executor}: tables equal to those of {options.executors[0]}; {time.monotonic() - began:.0f} s; "
                f"cells by the times they were computed: {dict(computed(store))}",
                flush=True,
            )


if __name__ == "__main__":
    main()
