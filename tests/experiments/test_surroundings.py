"""What a run meets outside of itself: signals, closed terminals, stores that are read-only, gone, full, oddly named."""

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from support.command_line import command, environment, invoke, lopsided, sets, started, wait_for
from support.smoke import PART, SMOKE

from lopsided.common.files import leftovers
from lopsided.experiments import ExperimentError, Store, collect_tables, verify

FEW = [*PART, "grid.discriminator=none"]
TWO = [*FEW, "grid.fidelity=none", "grid.seed=[0,1]", "super_resolution.pretrain.steps=150"]
ENDLESS = [*TWO, "super_resolution.pretrain.steps=100000"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished store under a name with a space and letters of several scripts. To be copied, not changed."""
    store = tmp_path_factory.mktemp("of") / "my store ü 写真's"
    lopsided("run", SMOKE, "--store", store, overrides=FEW)
    return store


def hear_hangups():
    """Undo what these tests inherit if they run under nohup themselves."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def holders(store):
    """Processes that hold cells."""
    found: set[int] = set()
    for path in store.glob("cells/*/*/lease.json"):
        try:
            found.add(json.loads(path.read_text())["pid"])
        except FileNotFoundError:
            continue
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def tables(store, overrides):
    found = collect_tables(SMOKE, store=store, overrides=overrides)
    training = found.training[found.training["term"] != "seconds"].reset_index(drop=True)
    return [found.sr_scores, training, found.cells[["cell", "stage", "status"]]]


def nothing_is_left(store):
    """No lease, no temporary file, and no damage."""
    return not holders(store) and not list(leftovers(store)) and not verify(Store(store)).faults


# --- signals --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    store = tmp_path_factory.mktemp("calm")
    lopsided("run", SMOKE, "--store", store, "--no-report", overrides=TWO)
    return tables(store, TWO)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_to_all_processes_stops_each_after_a_checkpoint_and_the_next_run_goes_on(calm, tmp_path, number):
    """Batch systems, and shells that end, send it to every process; the first one also passes it on."""
    run = ("run", SMOKE, "--store", tmp_path, "--no-report", "-j", 2)
    process = started(*run, overrides=TWO, start_new_session=True, preexec_fn=hear_hangups)
    workers = wait_for(lambda: found if len(found := holders(tmp_path)) == 2 else set[int](), process, 120)
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, output + errors
    assert "the same command resumes" in errors
    assert "Traceback" not in errors
    assert not any(map(alive, workers))
    assert nothing_is_left(tmp_path)
    cells = [path.parent for path in tmp_path.glob("cells/pretrain/*/spec.json")]
    for cell in cells:
        stopped = list((cell / "work").glob("step-*.json"))
        assert stopped or (cell / "status.json").exists()
    result = lopsided(*run, overrides=TWO)
    assert " 0 computed" not in result.stdout
    for seen, wanted in zip(tables(tmp_path, TWO), calm, strict=True):
        pd.testing.assert_frame_equal(seen, wanted, check_exact=True)


@pytest.mark.slow
def test_a_closed_terminal_stops_a_run_after_a_checkpoint(tmp_path):
    """Though nothing can be written to the terminal any more."""
    arguments = command("run", SMOKE, "--store", tmp_path, *sets(ENDLESS))
    pid, terminal = pty.fork()
    if pid == 0:
        hear_hangups()
        os.execvpe(arguments[0], arguments, environment())
    os.set_blocking(terminal, False)
    deadline = time.monotonic() + 90
    while not list(tmp_path.glob("cells/*/*/*/step-*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
        try:
            os.read(terminal, 1 << 16)
        except BlockingIOError:
            continue
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert nothing_is_left(tmp_path)
    (log,) = tmp_path.glob("cells/pretrain/*/log.txt")
    assert "stopped after step" in log.read_text()


@pytest.mark.slow
def test_a_run_under_nohup_outlives_its_terminal(tmp_path):
    process = started(
        *("run", SMOKE, "--store", tmp_path, "--no-report"),
        overrides=ENDLESS,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    wait_for(lambda: list(tmp_path.glob("cells/*/*/*/step-*.json")), process, 120)
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=120) == 130


# --- stores that are not as they should be --------------------------------------------------------------------------


@pytest.fixture
def unprivileged():
    """The beginning of a command that may do what an ordinary user may: nobody stops root from writing."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root needs setpriv")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]


@pytest.fixture
def guarded(finished, tmp_path):
    """A store without the right to write."""
    store = shutil.copytree(finished, tmp_path / "runs")
    places = [store, *store.rglob("*")]
    for path in places:
        path.chmod(path.stat().st_mode & ~0o222)
    yield store
    for path in places:
        path.chmod(path.stat().st_mode | 0o200)


def shown(prefix, *arguments, overrides=()):
    done = subprocess.run(
        [*prefix, *command(*arguments, *sets(overrides))],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "more", "says"),
    [
        (("run", SMOKE), [], "0 computed"),
        (("run", SMOKE, "--no-report", "-j", 2), ["grid.seed=[0,1]"], None),
        (("plan", SMOKE), [], "0 new"),
        (("status", SMOKE), [], "finetune"),
        (("report", SMOKE), [], None),
        (("report", SMOKE, "--to", "elsewhere"), [], "report: elsewhere/report.html"),
        (("tables", SMOKE), [], None),
        (("tables", SMOKE, "--to", "elsewhere"), [], "elsewhere/sr_scores"),
    ],
)
def test_a_read_only_store_can_be_read_and_nothing_else(
    guarded, unprivileged, tmp_path, monkeypatch, arguments, more, says
):
    monkeypatch.chdir(tmp_path)
    status, out, err = shown(unprivileged, *arguments, "--store", guarded, overrides=[*FEW, *more])
    if says:
        assert (status, err) == (0, "")
        assert says in out
    else:
        assert status == 1
        (line,) = err.splitlines()
        assert line.startswith(f"error: the store '{guarded}' cannot be written to or read: ")
        assert "--to" in line


def test_a_read_only_store_is_checked_and_not_changed(guarded, unprivileged):
    assert shown(unprivileged, "verify", guarded)[0] == 0
    assert shown(unprivileged, "gc", guarded, "--keep", SMOKE)[:1] == (0,)
    status, out, err = shown(unprivileged, "gc", guarded, "--keep", SMOKE.with_name("quickstart.yaml"), "--delete")
    assert status == 1
    assert "cannot be written to" in err
    assert "in all" not in out
    assert verify(Store(guarded)).cells


def test_cells_that_cannot_be_listed_are_not_called_whole(guarded, unprivileged):
    (guarded / "cells" / "judge").chmod(0)
    status, _, err = shown(unprivileged, "verify", guarded)
    assert status == 1
    assert "Permission denied" in err


def test_what_cannot_be_deleted_is_not_called_deleted(guarded, unprivileged):
    guarded.joinpath("cache").chmod(0o755)
    left = guarded / "cache" / "ladder-0123"
    left.mkdir()
    (left / "image.png").touch()
    left.chmod(0o555)
    status, out, err = shown(unprivileged, "gc", guarded, "--keep", SMOKE, "--delete")
    left.chmod(0o755)
    assert status == 1
    assert "in all" not in out
    assert f"'{left}' cannot be deleted" in err


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_that_vanishes_ends_the_run_and_nothing_takes_its_place(tmp_path, workers):
    store, elsewhere = tmp_path / "runs", tmp_path / "renamed"
    process = started("run", SMOKE, "--store", store, "-j", workers, overrides=ENDLESS)
    wait_for(lambda: len(holders(store)) == workers and list(store.glob("cells/*/*/*/step-*.json")), process, 120)
    store.rename(elsewhere)
    (store / "cells").mkdir(parents=True)  # as where a share was mounted, and another store is below
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    message = f"the store '{store}' is not there any more: it was deleted, renamed or unmounted in the meantime"
    assert f"error: {message}" in errors
    assert errors.count(message) == workers + (workers > 1)  # with several, the first process supervises them
    assert "Traceback" not in errors
    assert not list(store.rglob("status.json"))
    assert not list(store.rglob("lease.json"))
    assert list(elsewhere.glob("cells/*/*/*/step-*.json"))


def test_a_store_object_is_of_one_folder(tmp_path):
    store = Store(tmp_path / "runs")
    with store.lease("finetune", "abc"):
        pass
    store.root.rename(tmp_path / "renamed")
    with pytest.raises(ExperimentError, match="is not there any more"), store.lease("finetune", "abc"):
        pass
    assert not store.root.exists()


def test_names_with_spaces_quotes_and_letters_of_any_script_work_from_end_to_end(finished, tmp_path):
    store = shutil.copytree(finished, tmp_path / finished.name)
    assert (store / "experiments" / "smoke" / "report.html").exists()
    assert invoke("report", SMOKE, "--store", store, *sets(FEW)).status == 0
    assert "0 new" in invoke("plan", SMOKE, "--store", store, *sets(FEW)).out
    assert "damaged cells: 0" in invoke("verify", store).out
    assert invoke("gc", store, "--keep", SMOKE).status == 0
    next(store.glob("cells/judge/*/scores.parquet")).write_bytes(b"")
    problem = invoke("report", SMOKE, "--store", store, *sets(FEW))
    assert problem.status == 1
    name, *repair = shlex.split(problem.err.partition("; '")[2].partition("' sets it back")[0])  # can be pasted
    assert (name, repair) == ("lopsided", ["verify", str(store), "--repair"])
    assert invoke(*repair).status == 0
    assert "1 computed" in invoke("run", SMOKE, "--store", store, *sets(FEW)).out


@pytest.mark.slow
def test_a_disk_that_is_truly_full_fails_with_one_clear_message_and_another_run_completes_the_rest(tmp_path):
    """In a small file system of its own, where the system lets ordinary users mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    mount = f"mount -t tmpfs -o size=15m none '{place}'"
    if not shutil.which("unshare") or subprocess.run([*alone, mount], check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    run = " ".join(command("run", f"'{SMOKE}'", "--store", f"'{place}/runs'", "--no-report", *sets(FEW)))
    script = f"{mount}; {run} || echo status $?; mount -o remount,size=64m '{place}'; {run}"
    script += f"; {' '.join(command('verify'))} '{place}/runs'"
    done = subprocess.run([*alone, script], capture_output=True, text=True, env=environment(), check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "status 1" in done.stdout
    assert "the disk is full (" in done.stderr
    assert "No space left on device" in done.stderr
    assert "failed" not in done.stdout.partition("status 1")[2]
    assert "damaged cells: 0" in done.stdout
