"""Kill, damage and starve a run again and again, and compare its tables with those of a calm one.

Every fault must be found or do no harm: at the end ``verify`` finds nothing, nothing is left over, and the tables of
the two stores are equal, times apart.

    python benchmarks/chaos.py --kills 30 --signals 4 --corruptions 4 --lease-faults 3 --full-disks 1 --checkpoints 1 \
        --sleepers 1 --clocks 1 [--disk FOLDER]

FOLDER is on a small file system of its own, such as a tmpfs of 100 MiB, which is then truly filled; without it a limit
on the size of files stands for the full disk. A sleeper is stopped until another machine has taken its cell over, and
then woken; the other machine is this one under another name (``unshare --uts``, as root). A clock that is a day off is
that of ``faketime``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lopsided.experiments import Store, collect_tables, garbage, load_experiment, plan, repair, verify

SMOKE = Path(__file__).parents[1] / "experiments" / "smoke.yaml"
PATIENCE = 900.0  # seconds for one run
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
        self.faults = 0  # of leases
        self.removed: Counter[str] = Counter()  # how often a cell was set back

    def started(self, limit: int | None = None, under: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start a run with two workers."""
        sets = [part for override in self.overrides for part in ("--set", override)]
        command = [sys.executable, "-m", "lopsided", "run", str(SMOKE), "--store", str(self.store.root), *sets]
        return subprocess.Popen(
            [*under, *command, "--no-report", "--workers", "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )

    def calm(self, under: Sequence[str] = ()) -> str:
        """Let a run come to its end; returns what it said."""
        process = self.started(under=under)
        said, _ = process.communicate(timeout=PATIENCE)
        if "Traceback" in said:
            raise AssertionError(said)
        return said

    def unfinished(self) -> None:
        """See that there is something left to compute: some cells are removed if all are done."""
        keys = [(cell.stage, cell.id) for cell in self.cells]
        if all(self.store.status(*key).state == "done" for key in keys):
            for key in self.draw.sample(keys, len(keys) // 2):
                self.store.remove(*key)  # with its log

    def at_work(self, under: Sequence[str] = ()) -> tuple[subprocess.Popen[str], Path | None]:
        """Start a run and wait until it holds a cell; returns it and the lease."""
        self.unfinished()
        held = {path: path.read_text() for path in self.leases()}
        process, deadline = self.started(under=under), time.monotonic() + PATIENCE
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
        """Kill a worker, which is started again, or the first process, whose workers then end, or all."""
        process, lease = self.at_work()
        time.sleep(self.draw.uniform(0, 1.5))
        whom = self.draw.choice(["a worker", "the first process", "all processes"])
        try:
            if whom == "all processes":
                os.killpg(process.pid, signal.SIGKILL)
            elif whom == "the first process":
                process.kill()
            elif lease:
                os.kill(int(json.loads(lease.read_text())["pid"]), signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError, ValueError):
            self.seen["too late"] += 1
        said, _ = process.communicate(
            timeout=PATIENCE
        )  # the workers hold the pipe: this waits until they have ended too
        if "Traceback" in said:
            raise AssertionError(said)
        self.seen[f"{whom} killed"] += 1

    def checkpoint(self) -> None:
        """Kill a run in a training, and cut its newest checkpoint in half."""
        process, deadline = self.at_work()[0], time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            if found := sorted(self.store.root.glob("cells/*/*/work/step-*.safetensors")):
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate(timeout=PATIENCE)
                path = next((path for path in reversed(found) if path.exists()), None)
                if path:
                    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
                    self.seen["checkpoint cut in half"] += 1
                    return
                break
            time.sleep(0.005)
        process.communicate(timeout=PATIENCE)
        self.seen["too late"] += 1

    def sleeper(self) -> None:
        """Stop a run for longer than its lease lasts, until another machine has done its cells, and wake it."""
        process, _ = self.at_work()
        os.killpg(process.pid, signal.SIGSTOP)
        while not (asleep := self.leases()) and process.poll() is None:  # it was between two cells
            os.killpg(process.pid, signal.SIGCONT)
            time.sleep(0.05)
            os.killpg(process.pid, signal.SIGSTOP)
        self.calm(under=["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"])
        os.killpg(process.pid, signal.SIGCONT)
        said, _ = process.communicate(timeout=PATIENCE)
        if "Traceback" in said:
            raise AssertionError(said)
        lost = [path for path in asleep if "did not show itself" in (path.parent / "log.txt").read_text()]
        self.seen["runs that slept"] += 1
        self.seen["cells that a sleeper lost"] += len(lost)

    def clock(self) -> None:
        """Let two runs share the store, of which one has a clock that is a day off."""
        process, _ = self.at_work(under=["faketime", "-f", self.draw.choice(["-1d", "+1d"])])
        said = self.calm() + process.communicate(timeout=PATIENCE)[0]
        if "Traceback" in said:
            raise AssertionError(said)
        self.seen["clock a day off"] += 1

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
        back = repair(self.store, found)
        self.removed.update(cell for _, cell in back)
        self.seen["cells set back"] += len(back)

    def lease_fault(self) -> None:
        """Take a live process's cell: its lease is deleted, damaged, or of a machine whose clock is years ahead."""
        process, lease = self.at_work()
        if lease is None:
            self.seen["too late"] += 1
            return
        kind = ("lease damaged", "lease deleted", "lease of another machine")[self.faults % 3]
        self.faults += 1
        if kind == "lease damaged":
            lease.write_bytes(b"\0" * 100)
        elif kind == "lease of another machine":
            lease.write_text(json.dumps({"host": "elsewhere", "pid": 1, "start": 1, "lease": "theirs"}))
            ahead = time.time() + 1e8
            os.utime(lease, (ahead, ahead))
        else:
            lease.unlink(missing_ok=True)
        process.communicate(timeout=PATIENCE)
        self.seen[kind] += 1

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

    def computed_again(self) -> dict[str, int]:
        """Return cells that were computed to the end more often than they had to be: their logs say so each time."""
        logs = {
            path.parent.name: path.read_text(errors="replace") for path in self.store.root.glob("cells/*/*/log.txt")
        }
        times = {cell: len(re.findall(r"INFO done ?$", text, re.MULTILINE)) for cell, text in logs.items()}
        return {cell: count for cell, count in times.items() if count > 1 + self.removed[cell]}


def tables(store: Path, overrides: list[str]) -> list[Any]:
    """Return the result tables without times."""
    found = collect_tables(SMOKE, store=store, overrides=overrides)
    training = found.training[found.training["term"] != "seconds"].reset_index(drop=True)
    return [found.sr_scores, found.fr_scores, training, found.cells[["cell", "stage", "status"]]]


def main() -> None:
    """Run the chaos and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    faults_by_default = {"kills": 30, "signals": 4, "corruptions": 4, "lease-faults": 3, "full-disks": 1}
    faults_by_default |= {"checkpoints": 1, "sleepers": 0, "clocks": 0}
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
            *[chaos.checkpoint] * options.checkpoints,
            *[chaos.sleeper] * options.sleepers,
            *[chaos.clock] * options.clocks,
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
        if again := chaos.computed_again():
            raise SystemExit(f"computed to the end again, though they were done: {again}")
        print(f"nothing is damaged ({found.files} files of {found.cells} cells) or left over; tables are equal")


if __name__ == "__main__":
    main()
