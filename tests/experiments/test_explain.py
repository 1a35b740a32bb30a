"""What a plan says beyond its cells: why they are new, what they will take, how two differ, how far a run is."""

import json
import time

import pytest
from support.counting import Sum, cell, plan_of

from lopsided.experiments import ExperimentError, Reporter, Statuses, Store, Watcher, cost, difference, reasons
from lopsided.experiments.running.execute import execute
from lopsided.experiments.store.lease import PROGRESS


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def run(store, *cells):
    plan = plan_of(*cells)
    return execute(plan, store, plan.experiment.execution, Reporter())


def why(store, *cells):
    return reasons(plan_of(*cells).with_status(store), store)


def test_a_new_cell_names_what_differs_from_the_nearest_finished_one(store):
    near, far, wanted = cell(1), cell(7, does="count with care"), cell(2)
    assert why(store, wanted) == {wanted.id: "no finished count in this store"}
    run(store, near, far)
    assert why(store, near, far, wanted) == {wanted.id: f"number 2 (not 1); nearest: {near.id}"}
    other = cell(7, does="other")
    assert why(store, other) == {other.id: f"settings.does other (not count with care); nearest: {far.id}"}


def test_a_cell_whose_input_is_new_says_so(store):
    first = cell(1)
    second = cell(2, first, kind=Sum)
    assert why(store, first, second)[second.id] == "needs count, which is new"
    run(store, first)
    assert why(store, first, second) == {second.id: "no finished sum in this store"}


def test_time_and_disk_are_judged_by_finished_cells(store):
    cells, unknown = [cell(number) for number in range(4)], cell(9, kind=Sum)
    run(store, *cells[:2])
    for one, seconds in zip(cells[:2], (10.0, 30.0), strict=True):
        path = store.folder(one.stage, one.id) / "status.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": seconds}))
    size = sum(output.size for one in cells[:2] for output in (store.status(one.stage, one.id).outputs or {}).values())
    for known in (cells, cells[2:]):  # by those of the plan, and by others in the store
        found = cost(plan_of(*known, unknown).with_status(store), store)
        assert found.seconds == pytest.approx(40.0)
        assert found.size == pytest.approx(size)
        assert found.unknown == ("sum",)


def test_two_cells_compared(store):
    one, other = cell(1), cell(2)
    run(store, one, other)
    found = difference(store, one.id[:8], other.id[:8])
    assert found.settings == [("number", "1", "2")]
    assert found.outputs == [("count.json", "different")]
    assert {name for name, *_ in found.making} <= {"started"}
    assert difference(store, one.id, one.id).settings == []
    with pytest.raises(ExperimentError, match="there is no cell 'zzz' in"):
        difference(store, one.id, "zzz")
    with pytest.raises(ExperimentError, match=r"2 cells begin with ''.*give more of the ID"):
        difference(store, one.id, "")


def test_a_watcher_sees_what_others_do_and_reads_little(store, monkeypatch):
    cells = [cell(number) for number in range(6)]
    plan = plan_of(*cells)
    run(store, cells[0])
    watcher = Watcher(plan, store)
    assert watcher.look().counts == {"done": 1, "pending": 5}
    run(store, cells[1])
    with store.lease("count", cells[2].id) as lease:
        progress = {"done": 3, "total": 12, "note": "loss 0.1", "seconds": 1.5, "memory_mb": 100.0}
        (lease.folder / PROGRESS).write_text(json.dumps(progress))
        read = []
        real = store.status
        monkeypatch.setattr(store, "status", lambda *key: read.append(key) or real(*key))
        look = watcher.look()
        (running,) = look.running
    assert read == [("count", cells[1].id)]
    assert look.counts == {"done": 2, "running": 1, "pending": 3}
    assert (running.cell, running.done, running.total, running.rate) == (cells[2], 3, 12, 2.0)
    assert not (lease.folder / PROGRESS).exists()
    assert isinstance(watcher.statuses, Statuses)
    time.sleep(1.1)
    assert watcher.look().per_minute == pytest.approx(60 / 1.1, rel=0.5)
    store.remove("count", cells[0].id)
    assert watcher.look().counts == {"done": 1, "interrupted": 1, "pending": 4}


def test_progress_of_a_cell_is_shown_while_it_is_computed(store, monkeypatch):
    from lopsided.experiments.store import lease as module

    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    from support.counting import Count

    seen = {}

    class Slow(Count):
        stage = "count"

        def run(self, cell, folder, context):
            context.progress(4, 10, "loss 1")
            path = context.store.folder(cell.stage, cell.id) / PROGRESS
            end = time.monotonic() + 5
            while not path.exists() and time.monotonic() < end:
                time.sleep(0.01)
            seen.update(json.loads(path.read_text()))
            super().run(cell, folder, context)

    run(store, cell(1, kind=Slow))
    assert (seen["done"], seen["total"], seen["note"]) == (4, 10, "loss 1")
    assert seen["memory_mb"] > 10
    assert not list(store.root.glob(f"cells/*/*/{PROGRESS}"))
