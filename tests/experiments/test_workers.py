"""Several processes on one store: each cell computed once, results independent of who computed what."""

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from support.paths import ROOT

from lopsided.experiments import collect_tables

SMOKE = ROOT / "experiments" / "smoke.yaml"
RUN = [sys.executable, "-m", "lopsided.cli.main", "run", str(SMOKE), "--no-report"]


def scores(store):
    tables = collect_tables(SMOKE, store=store)
    assert set(tables.cells["status"]) == {"done"}
    return tables.sr_scores, tables.fr_scores


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    store = tmp_path_factory.mktemp("serial")
    subprocess.run([*RUN, "--store", str(store)], check=True, capture_output=True)
    return scores(store)


def test_workers_share_the_cells_and_change_no_number(serial, tmp_path):
    done = subprocess.run([*RUN, "--store", str(tmp_path), "-j", "2"], check=True, capture_output=True, text=True)
    assert "43 computed, 0 cached of 43 cells" in done.stdout
    for expected, seen in zip(serial, scores(tmp_path), strict=True):
        pd.testing.assert_frame_equal(expected, seen, check_exact=True)
    assert not list(tmp_path.rglob("lease.json"))


def test_workers_started_by_hand_compute_each_cell_once(serial, tmp_path):
    worker = [*RUN[:3], "worker", str(tmp_path), str(SMOKE)]
    commands = [worker, [*RUN, "--store", str(tmp_path)]]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    for run in runs:
        run.communicate()
        assert run.returncode == 0
    # A cell's log says "done" once for each time it was computed.
    ends = Counter(
        path.parent.name
        for path in tmp_path.glob("cells/*/*/log.txt")
        for line in path.read_text().splitlines()
        if " done " in f"{line} "
    )
    assert len(ends) == 43
    assert set(ends.values()) == {1}
    for expected, seen in zip(serial, scores(tmp_path), strict=True):
        pd.testing.assert_frame_equal(expected, seen, check_exact=True)


def test_a_cell_left_by_a_dead_process_is_taken_over(serial, tmp_path):
    subprocess.run([*RUN, "--store", str(tmp_path)], check=True, capture_output=True)
    folder = next((tmp_path / "cells" / "judge").iterdir())
    (folder / "status.json").unlink()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (folder / "lease.json").write_text(json.dumps({"host": socket.gethostname(), "pid": gone.pid}))
    again = subprocess.run([*RUN, "--store", str(tmp_path)], check=True, capture_output=True, text=True)
    assert "1 computed, 42 cached of 43 cells" in again.stdout
    for expected, seen in zip(serial, scores(tmp_path), strict=True):
        pd.testing.assert_frame_equal(expected, seen, check_exact=True)


def children(pid):
    """Processes that a process has started, and those that they have."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            found.setdefault(int(fields[1]), []).append(int(path.parent.name))
    below = found.get(pid, [])
    return below + [one for child in below for one in children(child)]


def alive(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_helpers_end_when_the_first_process_is_killed(tmp_path):
    """And what they were at resumes."""
    long = ["--set", "super_resolution.pretrain.steps=100000", "--set", "grid.seed=[0,1]"]
    process = subprocess.Popen([*RUN, *long, "--store", str(tmp_path), "-j", "2"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while len(list(tmp_path.glob("cells/pretrain/*/*/step-*.json"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    helpers = children(process.pid)
    process.kill()
    process.wait()
    assert helpers
    while any(map(alive, helpers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, helpers))
    leases = [json.loads(path.read_text())["pid"] for path in tmp_path.glob("cells/*/*/lease.json")]
    assert not leases  # the workers gave them back


def test_cells_behind_a_diverged_one_are_skipped_and_the_run_ends(tmp_path):
    """Also on the second run, when the divergence is history."""
    diverging = [*RUN, "--store", str(tmp_path), "--set", "super_resolution.pretrain.learning_rate=1.0e9"]
    for expected in ("1 diverged, ", "1 diverged, "):
        done = subprocess.run(diverging, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
        assert "skipped" in done.stdout
