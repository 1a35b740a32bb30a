"""Which cells are free: what is asked of the store, and what follows from how cells end."""

import pytest
from support.counting import SMOKE, Sum, cell, plan_of

from lopsided.experiments import ExperimentError, Reporter, Store, load_experiment, select
from lopsided.experiments.running import board as module
from lopsided.experiments.running.board import Board
from lopsided.experiments.running.execute import execute


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def end(store, one, state="done"):
    with store.lease(one.stage, one.id) as lease:
        store.finish(lease, state, "", 1.0, 1.0)


def chain():
    first = cell(0)
    second = cell(1, first, kind=Sum)
    return first, second, cell(2, second)


def test_a_cell_is_free_when_its_inputs_are_done(store):
    first, second, third = chain()
    board = Board([first, second, third], store)
    assert board.next() == [first]
    board.settle(first, "done")
    assert board.next() == [second]
    end(store, second)  # in another process
    assert board.look(now=True).ended == [(first, "done"), (second, "done")]
    assert board.next() == [third]
    board.settle(third, "done")
    assert board.over


@pytest.mark.parametrize("state", ["failed", "diverged"])
def test_what_needs_a_cell_that_was_not_done_is_lost(store, state):
    first, second, third = chain()
    board = Board([first, second, third], store)
    board.settle(first, state)
    assert board.look().lost == [second, third]
    assert board.over


def test_inputs_outside_the_run_count_as_the_index_has_them(store):
    first, second, third = chain()
    assert Board([second, third], store).look().lost == [second, third]
    end(store, first)
    assert Board([second, third], store).next() == [second]


def test_a_cell_that_another_process_holds_is_passed_over_and_looked_at_later(store, monkeypatch):
    cells = [cell(number) for number in range(3)]
    board = Board(cells, store)
    with store.lease("count", cells[0].id):
        assert board.next() == [cells[1]]
    for one in cells[1:]:  # first those that nobody was seen to hold
        assert board.next() == [one]
        board.settle(one, "done")
    assert board.next() == []  # not asked again so soon
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.0)
    assert board.next() == [cells[0]]


def test_what_is_asked_of_the_store_does_not_grow_with_the_cells(store, monkeypatch):
    cells = [cell(number) for number in range(2000)]
    asked = []
    monkeypatch.setattr(store, "holder", lambda *key: asked.append(key) or True)
    monkeypatch.setattr(store, "status", lambda *_: pytest.fail("a status was read"))
    board = Board(cells, store)
    assert board.next() == []
    assert len(asked) == module.MOST_LEASES
    board.look(now=True)


def test_held_cells_of_a_stage_do_not_hide_free_ones(store, monkeypatch):
    """What was freed first and is held by others comes after what nobody was seen to hold."""
    roots = [cell(number) for number in range(2)]
    firsts, lasts = ([cell(10 + index, root, kind=Sum) for index in range(100)] for root in roots)
    held = {one.id for one in firsts}
    monkeypatch.setattr(store, "holder", lambda _stage, one: one in held)
    board = Board([*roots, *firsts, *lasts, cell(1000)], store, 100, "me")
    board.settle(roots[0], "done")
    board.settle(roots[1], "done")
    board.settle(next(iter(board._ready["count"].values())), "done")
    for _ in range(100):
        (taken,) = board.next()
        assert taken in lasts
        board.settle(taken, "done")


def test_a_cell_whose_holder_is_gone_is_found_before_other_work(store, monkeypatch):
    cells = [cell(number) for number in range(50)]
    held = {cells[3].id}
    monkeypatch.setattr(store, "holder", lambda _stage, one: one in held)
    board = Board(cells, store)
    for one in cells[:3]:
        board.settle(one, "done")
    assert board.next() == [cells[4]]
    held.clear()
    assert board.next() == [cells[4]]
    monkeypatch.setattr(module, "STALE_SECONDS", 0.0)  # a minute later
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.0)
    assert board.next() == [cells[3]]


def test_workers_begin_in_different_places(store):
    cells = [cell(number) for number in range(50)]
    firsts = {Board(cells, store, 10, f"worker {number}").next()[0].id for number in range(10)}
    assert len(firsts) > 5


def test_a_worker_takes_the_stages_it_is_for(store):
    first, second, third = chain()
    board = Board([first, second, third], store, stages=["sum"])
    assert board.next() == []
    board.settle(first, "done")
    assert board.next() == [second]
    board.settle(second, "done")
    assert board.idle
    assert not board.over


def test_a_failure_budget_ends_the_run(store):
    cells = [cell(number, does="fail") for number in range(9)]
    plan = plan_of(*cells, failure_budget=2)
    summary = execute(plan, store, plan.experiment.execution, Reporter())
    assert len(summary.failed) == 3
    assert not summary.ok


def test_part_of_a_plan(store):
    first, second, third = chain()
    other = cell(7)
    cells = [first, second, third, other]
    assert select(cells, only=["sum"]) == [first, second]
    assert select(cells, only=[third.id[:8]]) == [first, second, third]
    assert select(cells, only=["7"]) == [other]
    assert select(cells, skip=["sum"]) == [first, other]
    with pytest.raises(ExperimentError, match="no cell is called 'summ'; did you mean 'sum'"):
        select(cells, only=["summ"])
    plan = plan_of(*cells)
    summary = execute(plan, store, plan.experiment.execution, Reporter(), only=[first, second])
    assert (summary.done, summary.remaining) == (2, 2)


def test_a_failure_keeps_what_is_known_of_it_until_it_is_tried_again(store):
    from lopsided.experiments import failure_lines

    broken = cell(0, does="break")
    plan = plan_of(broken)
    execute(plan, store, plan.experiment.execution, Reporter())
    lines = failure_lines(store, "count", broken.id)
    assert any("ZeroDivisionError: by 0" in line for line in lines)
    assert any("counting.py" in line for line in lines)  # where
    assert '"python"' in lines[-1]
    again = execute(plan, store, plan.experiment.execution, Reporter(), retry=False)
    assert len(again.failed) == 1
    assert "ZeroDivisionError" in store.status("count", broken.id).reason
    with store.lease("count", broken.id) as lease:
        store.begin(lease)
    assert failure_lines(store, "count", broken.id) == ["nothing more is kept of this failure"]
    assert store.status("count", broken.id).state == "pending"


def test_a_run_tries_failed_cells_again_and_whoever_joins_does_not(store):
    failing = cell(0, does="fail")
    plan = plan_of(failing)
    for retry, times in ((True, 1), (True, 2), (False, 2)):
        execute(plan, store, plan.experiment.execution, Reporter(), retry=retry)
        log = (store.folder("count", failing.id) / "log.txt").read_text()
        assert log.count("it is meant to fail") == times


def test_an_index_that_is_wrong_is_put_right_when_a_run_begins(store):
    first, second, third = chain()
    plan = plan_of(first, second, third)
    store.index.put("count", first.id, "done")  # which it is not
    summary = execute(plan, store, plan.experiment.execution, Reporter())
    assert summary.done == 3
    store.reset(third.stage, third.id)
    for one in (first, second):
        store.index.put(one.stage, one.id, None)  # as in a store of an older version
    summary = execute(plan, store, plan.experiment.execution, Reporter())
    assert (summary.done, summary.cached) == (1, 2)
    assert set(store.index.ended(["count", "sum"])) == {first.id, second.id, third.id}


def test_a_worker_that_dies_costs_an_attempt_at_one_cell(store, caplog):
    fine = [cell(number) for number in range(6)]
    poison, once = cell(10, does="die9"), cell(11, does="die1")
    plan = plan_of(*fine, poison, once, executor="local", workers=1, attempts=2)
    summary = execute(plan, store, plan.experiment.execution, Reporter())
    assert summary.done == 7
    ((failed, reason),) = summary.failed
    assert failed is poison
    assert "2 processes in a row died in this cell without getting further" in reason
    assert len((store.root / "deaths-10").read_text()) == 2
    assert caplog.text.count("a worker died (signal SIGKILL); started again") == 3


def test_every_stage_needs_a_worker(store):
    from lopsided.experiments.schema.execution import Workers

    plan = plan_of(*chain(), executor="local", workers=(Workers(count=2, stages=("sum",)),))
    with pytest.raises(ExperimentError, match=r"execution.workers: no group computes 'count'"):
        execute(plan, store, plan.experiment.execution, Reporter())
    plan = plan_of(*chain(), executor="local", workers=(Workers(stages=("finetun",)), Workers()))
    with pytest.raises(ExperimentError, match=r"unknown stage 'finetun'; did you mean 'finetune'"):
        execute(plan, store, plan.experiment.execution, Reporter())


def test_groups_of_workers_in_a_file():
    groups = "execution.workers=[{count: 2, stages: [pretrain], gpus: 0.5}, {count: 3, device: cpu}]"
    execution = load_experiment(SMOKE, [groups, "execution.device=cuda"]).execution
    assert execution.worker_count == 5
    assert [execution.of(group).device for group in execution.groups] == ["cuda", "cpu"]
    refused = (("0", "at least 1, got 0"), ("[{device: gpu}]", "unknown device 'gpu'"), ("[{counts: 2}]", "counts"))
    for wrong, said in refused:
        with pytest.raises(ExperimentError, match=said):
            load_experiment(SMOKE, [f"execution.workers={wrong}"])


@pytest.mark.parametrize(("executor", "library"), [("slurm", "submitit"), ("ray", "ray")])
def test_an_executor_without_its_library_says_what_to_install(store, monkeypatch, executor, library):
    from importlib import util

    monkeypatch.setattr(util, "find_spec", lambda _name: None)
    plan = plan_of(cell(0), executor=executor)
    with pytest.raises(ExperimentError, match=rf"needs {library}, .* pip install 'lopsided\[{executor}\]'"):
        execute(plan, store, plan.experiment.execution, Reporter())
