"""The store: one holder a cell, leases that outlive no process, records that survive damage."""

import errno
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pandas as pd
import pytest

from lopsided.experiments import ExperimentError
from lopsided.experiments.store import DamagedError, LeasedError, LostLeaseError, Status, Store, checked
from lopsided.experiments.store import lease as module

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
    with store.lease("finetune", "abc") as lease:
        return lease.folder


def foreign(**changes):
    """The record of a lease that another machine holds."""
    return {"host": "elsewhere", "pid": 1, "start": 5, "lease": "theirs", **changes}


def ended(store, state, reason="", **outputs):
    """Compute the cell: write its outputs, and record how it ended."""
    with store.lease("finetune", "abc") as lease:
        for name, text in outputs.items():
            (lease.outputs / name).write_text(text)
        store.finish(lease, state, reason, 1.23456, 99.99)
    return lease.folder


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


@pytest.mark.parametrize("seconds", [-1e7, 0, 1e7])
def test_a_live_process_of_this_machine_keeps_its_lease_whatever_the_clock_says(store, other, monkeypatch, seconds):
    monkeypatch.setattr(module, "STALE_SECONDS", 0.01)
    other.send_signal(signal.SIGSTOP)
    at = time.time() + seconds
    os.utime(store.folder("finetune", "abc") / "lease.json", (at, at))
    for _ in range(3):
        assert store.status("finetune", "abc").state == "running"
        time.sleep(0.02)
    with pytest.raises(LeasedError):
        take(store)


def test_a_process_that_got_the_number_of_a_dead_one_holds_nothing(store, other):
    path = store.folder("finetune", "abc") / "lease.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "start": record["start"] - 1}))
    assert store.status("finetune", "abc").state == "pending"


@pytest.mark.parametrize("seconds", [-1e7, 0, 1e7])
def test_a_lease_of_another_machine_holds_while_it_is_renewed_by_whatever_clock(store, monkeypatch, seconds):
    monkeypatch.setattr(module, "STALE_SECONDS", 0.1)
    path, began = write(store, "lease.json", foreign()), time.time() + seconds
    for beat in range(6):
        os.utime(path, (began + beat, began + beat))
        assert store.status("finetune", "abc").state == "running"
        with pytest.raises(LeasedError, match="process 1 on elsewhere"):
            take(store)
        time.sleep(0.05)
    time.sleep(0.1)
    assert store.status("finetune", "abc").state == "pending"
    take(store)


def test_another_holder_of_a_foreign_lease_is_given_its_time_too(store, monkeypatch):
    monkeypatch.setattr(module, "STALE_SECONDS", 0.1)
    for lease in ("one", "two"):
        path = write(store, "lease.json", foreign(lease=lease))
        os.utime(path, (1, 1))
        assert store.status("finetune", "abc").state == "running"
        time.sleep(0.15)
    assert store.status("finetune", "abc").state == "pending"


def test_whoever_wakes_after_losing_a_lease_leaves_the_new_one_alone(store, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    with store.lease("finetune", "abc") as lease:
        theirs = write(store, "lease.json", foreign())  # taken over while this machine slept
        old = time.time() - 30
        os.utime(theirs, (old, old))
        time.sleep(0.1)
        assert abs(theirs.stat().st_mtime - old) < 1  # not renewed on their behalf
        assert not lease.held
    assert json.loads(lease.path.read_text()) == foreign()


@pytest.mark.parametrize("state", ["done", "failed", "diverged"])
def test_whoever_lost_a_lease_records_nothing(store, state):
    """What the other process did in the meantime stays as it is: neither outputs nor the end are replaced."""
    with store.lease("finetune", "abc") as lease:
        (lease.outputs / "generator").write_text("ours")
        lease.path.unlink()
        folder = ended(store, "done", generator="theirs")
        before = (folder / "status.json").read_text()
        with pytest.raises(LostLeaseError, match="finetune abc was taken over by another process"):
            store.finish(lease, state, "because", 1, 1)
    assert (folder / "status.json").read_text() == before
    assert (folder / "generator").read_text() == "theirs"
    assert sorted(path.name for path in folder.iterdir()) == ["generator", "status.json"]


@pytest.mark.parametrize("state", ["done", "failed", "diverged"])
def test_whoever_sleeps_while_it_records_changes_nothing_of_what_another_recorded(store, monkeypatch, state):
    """It slept after its last look at the lease: what it has written aside is gone, so nothing can be put in place."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # the two are on different machines
    checks = []
    real = module.Lease.check

    def slept(lease):
        checks.append(lease)
        if len(checks) == 1:  # the look was right, and then the machine slept
            lease.path.unlink()
            ended(store, "done", generator="theirs")
        else:
            real(lease)

    with store.lease("finetune", "abc") as lease:
        (lease.outputs / "generator").write_text("ours")
        monkeypatch.setattr(module.Lease, "check", lambda lease: slept(lease) if lease.id == mine else real(lease))
        mine = lease.id
        with pytest.raises(LostLeaseError):
            store.finish(lease, state, "because", 1, 1)
    assert store.status("finetune", "abc").state == "done"
    assert (lease.folder / "generator").read_text() == "theirs"
    assert checked(lease.folder, "generator")[1]


def test_nothing_depends_on_locks(store, monkeypatch):
    """As on a network file system that has none: eight threads take what a dead process left, and one gets it."""

    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    write(store, "lease.json", foreign(host=socket.gethostname(), pid=0))
    started = threading.Barrier(8)

    def attempt(_):
        started.wait()
        with suppress(LeasedError), store.lease("finetune", "abc") as lease:
            time.sleep(0.2)
            return lease.held
        return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_processes_that_die_without_getting_further_are_counted(store):
    def left_by_a_dead_process(size):
        work = store.folder("finetune", "abc") / "work"
        work.mkdir(parents=True, exist_ok=True)
        (work / "step.bin").write_bytes(bytes(size))
        with store.lease("finetune", "abc") as lease:
            record = {**json.loads(lease.path.read_text()), "pid": 0}
        write(store, "lease.json", record)
        return lease.deaths

    assert [left_by_a_dead_process(size) for size in (1, 1, 1, 2, 2)] == [0, 1, 2, 1, 2]
    with store.lease("finetune", "abc"):
        pass
    with store.lease("finetune", "abc") as lease:  # the last holder gave it back
        assert lease.deaths == 0


def test_the_index_knows_how_cells_ended_and_can_be_rebuilt(store):
    index = store.index
    assert index.ended(["finetune"]) == {}
    for state in ("failed", "done"):
        ended(store, state)
        assert index.ended(["finetune", "judge"]) == {"abc": state}
    store.reset("finetune", "abc")
    assert index.ended(["finetune"]) == {}
    ended(store, "diverged")
    index.put("finetune", "abc", None)
    index.put("finetune", "gone", "done")
    index.repair({("finetune", "abc"): "diverged", ("finetune", "gone"): None})
    assert index.ended(["finetune"]) == {"abc": "diverged"}
    store.remove("finetune", "abc")
    assert index.ended(["finetune"]) == {}


def test_a_held_lease_is_renewed_and_then_given_back(store, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    with store.lease("finetune", "abc") as held:
        lease = held.path
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
        '{"host": "h", "pid": 1e999}',
        "[" * 100_000,
        '{"host": ' + "[" * 2000,
        b"\xff\xfe\x00",
        b"\0" * 5000,
    ],
)
def test_damaged_leases_are_taken_over(store, content):
    path = write(store, "lease.json", "")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert store.status("finetune", "abc").state == "pending"
    take(store)


def test_a_folder_in_place_of_a_lease_is_named(store):
    (store.folder("finetune", "abc") / "lease.json").mkdir(parents=True)
    for look in (take, lambda store: store.status("finetune", "abc")):
        with pytest.raises(ExperimentError, match=r"lease.json' is a folder, .*; move it away"):
            look(store)


@pytest.mark.parametrize("pid", [0, -1, 10**30])
def test_leases_of_impossible_processes_are_taken_over(store, pid):
    write(store, "lease.json", {"host": socket.gethostname(), "pid": pid})
    assert store.status("finetune", "abc").state == "pending"
    take(store)


def test_of_many_that_take_over_a_dead_lease_at_once_one_gets_it(store):
    """Each round leaves the lease of a dead process, which eight threads try to replace while holding on to theirs."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
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
    with store.lease("finetune", "abc") as lease:
        assert store.status("finetune", "abc").state == "running"
        (lease.folder / "work").mkdir()
    assert store.status("finetune", "abc").state == "interrupted"
    ended(store, "done")
    status = store.status("finetune", "abc")
    assert (status.state, status.seconds, status.peak_memory_mb) == ("done", 1.235, 100.0)
    assert status.ended == pytest.approx(time.time(), abs=5)


@pytest.mark.parametrize(("state", "kept"), [("failed", True), ("done", False), ("diverged", False)])
def test_working_files_are_kept_for_a_retry_and_only_for_that(store, state, kept):
    folder = take(store)
    (folder / "work").mkdir()
    (folder / "work" / "checkpoint").write_text("x")
    ended(store, state, "because")
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


@pytest.mark.parametrize("record", [{"format": 3}, {"format": 99, "state": "abandoned"}, {"colour": "red"}])
def test_a_status_of_a_newer_version_is_refused_and_not_computed_again(store, record):
    path = write(store, "status.json", {"state": "done", "reason": "", **record})
    with pytest.raises(ExperimentError, match=rf"'{path}' was written by a newer lopsided: .*; update lopsided"):
        store.status("finetune", "abc")


def test_a_status_from_before_outputs_were_recorded_is_read_as_it_is(store):
    old = {"state": "done", "reason": "", "seconds": 1.5, "peak_memory_mb": 2.0, "ended": 3.0, "together": 1}
    write(store, "status.json", old)
    assert store.status("finetune", "abc") == Status(**old)


# --- outputs --------------------------------------------------------------------------------------------------------


def test_outputs_appear_when_the_cell_ends_and_are_recorded(store):
    with store.lease("finetune", "abc") as lease:
        (lease.outputs / "images").mkdir()
        (lease.outputs / "images" / "a.png").write_text("pixels")
        pd.DataFrame({"x": [1, 2, 3]}).to_parquet(lease.outputs / "scores.parquet")
        write(store, "spec.json", {"inputs": {"pretrain": "def"}})
        write(store, "log.txt", "said")
        assert not (lease.folder / "scores.parquet").exists()
        store.finish(lease, "done", "", 1, 1, inputs={"pretrain": {"generator": "0" * 64}})
    assert store.input_ids("finetune", "abc") == {"pretrain": "def"}
    status = store.status("finetune", "abc")
    assert status.inputs == {"pretrain": {"generator": "0" * 64}}
    assert status.outputs is not None
    assert set(status.outputs) == {"images/a.png", "scores.parquet", "spec.json"}
    assert status.outputs["scores.parquet"].rows == 3
    assert status.outputs["images/a.png"].size == 6
    assert status.outputs["images/a.png"].sha256 == hashlib.sha256(b"pixels").hexdigest()


@pytest.mark.parametrize("state", ["failed", None])
def test_outputs_of_a_cell_that_failed_or_was_interrupted_do_not_appear(store, state):
    with store.lease("finetune", "abc") as lease:
        (lease.outputs / "generator").write_text("half")
        if state:
            store.finish(lease, state, "because", 1, 1)
    assert not (lease.folder / "generator").exists()
    assert not list(lease.folder.glob(".*"))


def test_what_an_earlier_attempt_wrote_does_not_stay_beside_the_outputs(store):
    write(store, "old.parquet", "of a version that wrote in place")
    folder = ended(store, "done", new="x")
    assert sorted(path.name for path in folder.iterdir()) == ["new", "status.json"]


def test_outputs_are_compared_when_they_are_read_once_per_process(store, monkeypatch):
    from lopsided.experiments.store import outputs

    folder, hashed = ended(store, "done", a="x" * 100), []
    real = outputs.sha256_file
    monkeypatch.setattr(outputs, "sha256_file", lambda path: hashed.append(path) or real(path))
    assert checked(folder, "a") == checked(folder, "a") == (folder / "a", hashlib.sha256(b"x" * 100).hexdigest())
    assert hashed.count(folder / "a") == 1
    os.utime(folder / "a", (1, 1))
    checked(folder, "a")
    assert hashed.count(folder / "a") == 2


@pytest.mark.parametrize(
    ("content", "found"),
    [("x" * 99 + "y", "100 bytes with"), ("x" * 99, "99 bytes"), ("x" * 101, "101 bytes"), (None, "no such file")],
)
def test_every_damage_of_an_output_is_one_clear_error(store, content, found):
    folder = ended(store, "done", a="x" * 100)
    checked(folder, "a")
    path = folder / "a"
    path.unlink() if content is None else path.write_text(content)
    message = rf"'{path}' is damaged: 100 bytes with SHA-256 \w{{12}}… were recorded, found {found}.*lopsided verify"
    with pytest.raises(DamagedError, match=message):
        checked(folder, "a")


def test_a_folder_of_outputs_is_compared_as_a_whole(store):
    with store.lease("finetune", "abc") as lease:
        (lease.outputs / "images").mkdir()
        for name in "ab":
            (lease.outputs / "images" / name).write_text(name)
        store.finish(lease, "done", "", 1, 1)
    _, before = checked(lease.folder, "images")
    assert before
    (lease.folder / "images" / "b").write_text("c")
    with pytest.raises(DamagedError, match="images/b' is damaged"):
        checked(lease.folder, "images")
