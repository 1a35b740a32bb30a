"""Memory and file descriptors of a long training: neither may grow.

Two fine-tunings of the smoke test's generator, one with the pixel loss alone and one with a fidelity term and a
discriminator; a validation every 50 steps and a checkpoint every 10, as ``lopsided run`` does them. Needs ``/proc``.

    python benchmarks/endurance.py [--steps 1000] [--every 100]
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from lopsided.common.images import write_png
from lopsided.experiments import Reporter, load_experiment, run

SMOKE = Path(__file__).parents[1] / "experiments" / "smoke.yaml"
OVERRIDES = [
    "grid.fidelity=ssim",
    "grid.discriminator=patch",
    "judges=[psnr_y]",
    "assessment={}",
    "execution.checkpoint_every=10",
]


class Watch(Reporter):
    """Notes memory and file descriptors as the fine-tuning goes on.

    Args:
        every: steps between two notes.
    """

    def __init__(self, every: int) -> None:
        super().__init__(Console(file=io.StringIO()))
        self.every = every
        self.seen: dict[str, list[tuple[float, int]]] = defaultdict(list)  # by cell: MiB resident, open descriptors

    def started(self, cell: Any, others: int = 0) -> None:
        """Note which cell begins."""
        super().started(cell, others)
        self.cell = cell.title

    def step(self, done: int, total: int, note: str) -> None:
        """Note one of the steps."""
        super().step(done, total, note)
        if total >= self.every and done % self.every == 0:
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            now = pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(list(Path("/proc/self/fd").iterdir()))
            self.seen[self.cell].append(now)
            print("{}: {:6} steps: {:7.1f} MiB resident, {} open files".format(self.cell, done, *now), flush=True)


def main() -> None:
    """Run the training and say by how much memory and descriptors have grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100)
    options = parser.parse_args()
    watch = Watch(options.every)
    with tempfile.TemporaryDirectory() as place:
        noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
        for number, image in enumerate(noise):
            write_png(Path(place, "validation", f"{number}.png"), image)
        validation = f"{{images: {{folder: {place}/validation}}, every: 50, judges: [psnr_y]}}"
        overrides = [f"super_resolution.finetune.steps={options.steps}", f"super_resolution.validation={validation}"]
        experiment = load_experiment(SMOKE, [*OVERRIDES, *overrides])
        if not run(experiment, store=Path(place, "runs"), reporter=watch).ok:
            raise SystemExit("the run failed")
    for cell, seen in watch.seen.items():
        (memory, files), (last_memory, last_files) = seen[0], seen[-1]
        print(f"{cell}: {last_memory - memory:+.1f} MiB, {last_files - files:+} open files since step {options.every}")


if __name__ == "__main__":
    main()
