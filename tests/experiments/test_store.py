"""The store: one holder a cell, leases that outlive no process, records that survive damage."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from lopsided.experiments import store as module
from lopsided.experiments.store import LeasedError, Status, Store

HOLD = """
import sys, time
from lopsided.experiments.store import Store
with Store(sys.argv[1]).lease("finetune", "abc"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def other(store):
    """Another live process that holds the cell."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(store.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
    process.wait()


def write(store, name, content):
    folder = store.folder("finetune", "abc")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def take(store):
    with store.lease("finetune", "abc") as folder:
        return folder


# --- leases ---------------------------------------------------------------------------------------------------------


def test_a_live_process_keeps_others_out_and_a_killed_one_does_not(store, other):
    assert store.status("finetune", "abc").state == "running"
    assert str(other.pid) in store.status("finetune", "abc").reason
    with pytest.raises(LeasedError, match=rf"cell abc is being computed by process {other.pid} on"):
        take(store)
    other.send_signal(signal.SIGKILL)
    # Not waited for: a killed process whose parent has not asked after it yet is a zombie, and dead all the same.
    deadline = time.monotonic() + 10
    while store.status("finetune", "abc").state == "running" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert store.status("finetune", "abc").state == "pending"
    assert take(store) == store.folder("finetune", "abc")


def test_a_lease_that_is_not_renewed_is_taken_over_though_its_process_lives(store, other):
    other.send_signal(signal.SIGSTOP)
    lease = store.folder("finetune", "abc") / "lease.json"
    old = time.time() - module.STALE_SECONDS - 1
    os.utime(lease, (old, old))
    assert store.status("finetune", "abc").state == "pending"
    with store.lease("finetune", "abc"):
        assert json.loads(lease.read_text())["pid"] == os.getpid()


def test_a_lease_of_another_machine_holds_until_it_is_stale(store):
    path = write(store, "lease.json", {"host": "elsewhere", "pid": 1})
    with pytest.raises(LeasedError, match="process 1 on elsewhere"):
        take(store)
    old = time.time() - module.STALE_SECONDS - 1
    os.utime(path, (old, old))
    take(store)


def test_whoever_wakes_after_losing_a_lease_leaves_the_new_one_alone(store, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    with store.lease("finetune", "abc") as folder:
        theirs = write(store, "lease.json", {"host": "elsewhere", "pid": 1})  # taken over while this machine slept
        old = time.time() - 30
        os.utime(theirs, (old, old))
        time.sleep(0.1)
        assert abs(theirs.stat().st_mtime - old) < 1  # not renewed on their behalf
    assert json.loads((folder / "lease.json").read_text())["host"] == "elsewhere"


def test_a_held_lease_is_renewed_and_then_given_back(store, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    with store.lease("finetune", "abc") as folder:
        lease = folder / "lease.json"
        old = time.time() - 30
        os.utime(lease, (old, old))
        deadline = time.monotonic() + 5
        while lease.stat().st_mtime < old + 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lease.stat().st_mtime > old + 1
    assert not lease.exists()


def test_a_lease_is_given_back_when_the_work_raises(store):
    with pytest.raises(ZeroDivisionError), store.lease("finetune", "abc"):
        raise ZeroDivisionError
    assert store.status("finetune", "abc").state == "pending"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '"x"',
        "{}",
        '{"host": "h"}',
        '{"host": null, "pid": null}',
        '{"host": 1, "pid": "x"}',
    ],
)
def test_damaged_leases_are_taken_over(store, content):
    write(store, "lease.json", content)
    assert store.status("finetune", "abc").state == "pending"
    take(store)


@pytest.mark.parametrize("pid", [0, -1, 10**30])
def test_leases_of_impossible_processes_are_taken_over(store, pid):
    import socket

    write(store, "lease.json", {"host": socket.gethostname(), "pid": pid})
    assert store.status("finetune", "abc").state == "pending"
    take(store)


def test_of_many_that_take_over_a_dead_lease_at_once_one_gets_it(store):
    """Each round leaves the lease of a dead process, which eight threads try to replace while holding on to theirs."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    import socket
    import threading

    for _ in range(10):
        write(store, "lease.json", {"host": socket.gethostname(), "pid": dead.pid})
        barrier, decided = threading.Barrier(8), threading.Barrier(8)

        def attempt(_, barrier=barrier, decided=decided):
            barrier.wait()
            try:
                with store.lease("finetune", "abc"):
                    decided.wait()
                    return 1
            except LeasedError:
                decided.wait()
                return 0

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(attempt, range(8))) == 1


# --- states ---------------------------------------------------------------------------------------------------------


def test_states_from_nothing_to_done(store):
    assert store.status("finetune", "abc") == Status("pending")
    with store.lease("finetune", "abc") as folder:
        assert store.status("finetune", "abc").state == "running"
        (folder / "work").mkdir()
    assert store.status("finetune", "abc").state == "interrupted"
    store.finish(folder, "done", "", 1.23456, 99.99)
    status = store.status("finetune", "abc")
    assert (status.state, status.seconds, status.peak_memory_mb) == ("done", 1.235, 100.0)
    assert status.ended == pytest.approx(time.time(), abs=5)


@pytest.mark.parametrize(("state", "kept"), [("failed", True), ("done", False), ("diverged", False)])
def test_working_files_are_kept_for_a_retry_and_only_for_that(store, state, kept):
    folder = take(store)
    (folder / "work").mkdir()
    (folder / "work" / "checkpoint").write_text("x")
    store.finish(folder, state, "because", 1, 1)
    assert (folder / "work" / "checkpoint").exists() == kept
    assert (store.status("finetune", "abc").state, store.status("finetune", "abc").reason) == (state, "because")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "3", "{}", '{"state": "finished"}', '{"state": "running"}', '{"status": "done"}']
)
def test_a_damaged_status_is_a_failure_that_is_tried_again_and_says_where_it_is(store, content):
    path = write(store, "status.json", content)
    status = store.status("finetune", "abc")
    assert (status.state, status.reason) == ("failed", f"its status file '{path}' is damaged")


def test_a_status_that_is_not_text_is_damaged(store):
    write(store, "status.json", "").write_bytes(b"\xff\xfe\x00")
    assert store.status("finetune", "abc").state == "failed"
