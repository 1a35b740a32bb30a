"""Kill, damage and starve a run again and again, and compare its tables with those of a calm one.

Every fault must be found or do no harm: at the end ``verify`` finds nothing, nothing is left over, and the tables of
the two stores are equal, times apart.

    python benchmarks/chaos.py --kills 30 --signals 4 --corruptions 4 --lease-faults 2 --full-disks 1 [--disk FOLDER]

FOLDER is on a small file system of its own, such as a tmpfs of 100 MiB, which is then truly filled; without it a limit
on the size of files stands for the full disk.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from lopsided.experiments import Store, collect_tables, garbage, load_experiment, plan, repair, verify

SMOKE = Path(__file__).parents[1] / "experiments" / "smoke.yaml"
PATIENCE = 300.0  # seconds for one run
LIMIT = 100_000  # bytes of a file where a limit stands for the full disk
LEFT, LARGE = 2 << 20, 1 << 30  # bytes free at most on the disk that is filled, and what is too large to be filled


class Chaos:
    """One store that suffers.

    Args:
        root: the store.
        overrides: of the smoke test's experiment.
        draw: what decides when and where.
        fill: the store is on a disk that may be filled.
    """

    def __init__(self, root: Path, overrides: list[str], draw: random.Random, *, fill: bool) -> None:
        self.store, self.overrides, self.draw, self.fill = Store(root), overrides, draw, fill
        self.cells = plan(load_experiment(SMOKE, overrides)).cells
        self.seen: Counter[str] = Counter()

    def started(self, limit: int | None = None) -> subprocess.Popen[str]:
        """Start a run with two workers."""
        sets = [part for override in self.overrides for part in ("--set", override)]
        command = [sys.executable, "-m", "lopsided", "run", str(SMOKE), "--store", str(self.store.root), *sets]
        return subprocess.Popen(
            [*command, "--no-report", "--workers", "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )

    def calm(self) -> str:
        """Let a run come to its end; returns what it said."""
        process = self.started()
        said, _ = process.communicate(timeout=PATIENCE)
        if "Traceback" in said:
            raise AssertionError(said)
        return said

    def unfinished(self) -> None:
        """See that there is something left to compute: some cells are removed if all are done."""
        keys = [(cell.stage, cell.id) for cell in self.cells]
        if all(self.store.status(*key).state == "done" for key in keys):
            for key in self.draw.sample(keys, len(keys) // 2):
                self.store.remove(*key)

    def at_work(self) -> tuple[subprocess.Popen[str], Path | None]:
        """Start a run and wait until it holds a cell; returns it and the lease."""
        self.unfinished()
        held = {path: path.read_text() for path in self.leases()}
        process, deadline = self.started(), time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            for path in self.leases():
                try:
                    if held.get(path) != path.read_text():
                        return process, path
                except FileNotFoundError:
                    continue
            time.sleep(0.005)
        return process, None

    def leases(self) -> list[Path]:
        """Return the leases that there are."""
        return list(self.store.root.glob("cells/*/*/lease.json"))

    # --- faults -----------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """Kill the first process, or all."""
        process, _ = self.at_work()
        time.sleep(self.draw.uniform(0, 1.5))
        everyone = self.draw.random() < 0.5
        try:
            os.killpg(process.pid, signal.SIGKILL) if everyone else process.kill()
        except ProcessLookupError:
            self.seen["too late"] += 1
        process.communicate(timeout=PATIENCE)  # the helpers hold the pipe: this waits until they have ended too
        self.seen["all processes killed" if everyone else "first process killed"] += 1

    def signal(self) -> None:
        """Ask all processes to stop, as batch systems and closed terminals do."""
        process, _ = self.at_work()
        time.sleep(self.draw.uniform(0, 1.5))
        number = self.draw.choice([signal.SIGTERM, signal.SIGHUP])
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            self.seen["too late"] += 1
        said, _ = process.communicate(timeout=PATIENCE)
        if "Traceback" in said or self.leases():
            raise AssertionError(f"{said} {self.leases()}")
        self.seen[number.name] += 1

    def corruption(self) -> None:
        """Flip a bit of an output: ``verify`` must name that file."""
        self.calm()
        cell = self.draw.choice(self.cells)
        outputs = self.store.status(cell.stage, cell.id).outputs or {}
        name = self.draw.choice(sorted(outputs))
        path = self.store.folder(cell.stage, cell.id) / name
        data = bytearray(path.read_bytes())
        data[self.draw.randrange(len(data))] ^= 1 << self.draw.randrange(8)
        path.write_bytes(data)
        found = verify(self.store)
        if not any(f"'{path}' is damaged" in fault.reason for fault in found.faults):
            raise AssertionError(f"a flipped bit of '{path}' was not found")
        self.seen[f"bit flipped in {path.suffix}"] += 1
        self.seen["cells set back"] += len(repair(self.store, found))

    def lease_fault(self) -> None:
        """Take a live process's cell from it: by deleting its lease, or for a machine whose clock is years ahead."""
        process, lease = self.at_work()
        if lease is None:
            self.seen["too late"] += 1
            return
        foreign = self.seen["lease deleted"] > self.seen["lease of another machine"]
        if foreign:
            lease.write_text(json.dumps({"host": "elsewhere", "pid": 1, "start": 1, "lease": "theirs"}))
            ahead = time.time() + 1e8
            os.utime(lease, (ahead, ahead))
        else:
            lease.unlink(missing_ok=True)
        process.communicate(timeout=PATIENCE)
        self.seen["lease of another machine" if foreign else "lease deleted"] += 1

    def full_disk(self) -> None:
        """Let writing fail: of everything on a disk that is filled, or else of every large file."""
        self.unfinished()
        filler = self.store.root.with_name("filler")
        if self.fill:
            free = shutil.disk_usage(filler.parent).free
            if free > LARGE:
                raise SystemExit(f"{filler.parent} is too large to be filled: {free >> 20} MiB are free")
            filler.write_bytes(bytes(max(0, free - self.draw.randrange(LEFT))))
        said, _ = self.started(None if self.fill else LIMIT).communicate(timeout=PATIENCE)
        filler.unlink(missing_ok=True)
        if "Traceback" in said:
            raise AssertionError(said)
        self.seen["full disk" if "disk is full" in said else "limited files"] += 1


def tables(store: Path, overrides: list[str]) -> list[Any]:
    """Return the result tables without times."""
    found = collect_tables(SMOKE, store=store, overrides=overrides)
    training = found.training[found.training["term"] != "seconds"].reset_index(drop=True)
    return [found.sr_scores, found.fr_scores, training, found.cells[["cell", "stage", "status"]]]


def main() -> None:
    """Run the chaos and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    faults_by_default = {"kills": 30, "signals": 4, "corruptions": 4, "lease-faults": 2, "full-disks": 1}
    for name, default in {**faults_by_default, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--disk", type=Path, help="folder on a small file system that may be filled")
    parser.add_argument("--set", action="append", default=[], help="changes the smoke test's experiment")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.disk) as folder:
        draw, fill = random.Random(options.seed), options.disk is not None
        calm, chaos = (Chaos(Path(folder, name), options.set, draw, fill=fill) for name in ("calm", "chaos"))
        began = time.monotonic()
        calm.calm()
        print(f"{len(calm.cells)} cells, calm: {time.monotonic() - began:.0f} s", flush=True)
        faults: list[Callable[[], None]] = [
            *[chaos.kill] * options.kills,
            *[chaos.signal] * options.signals,
            *[chaos.corruption] * options.corruptions,
            *[chaos.lease_fault] * options.lease_faults,
            *[chaos.full_disk] * options.full_disks,
        ]
        draw.shuffle(faults)
        for fault in faults:
            fault()
        said = chaos.calm()
        last, found, left = said.strip().splitlines()[-1], verify(chaos.store), garbage(chaos.store)
        print(f"chaos: {time.monotonic() - began:.0f} s; {dict(chaos.seen)}", flush=True)
        if found.faults or found.unrecorded or left or chaos.leases():
            raise SystemExit(f"{last}: {found.faults} {found.unrecorded} {left} {chaos.leases()}")
        for seen, expected in zip(*(tables(one.store.root, options.set) for one in (chaos, calm)), strict=True):
            pd.testing.assert_frame_equal(seen, expected, check_exact=True)
        print(f"nothing is damaged ({found.files} files of {found.cells} cells) or left over; tables are equal")


if __name__ == "__main__":
    main()
