"""Damage is found when a result is read and by ``verify``; what kills leave, and what nobody needs, is cleaned up."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.command_line import invoke
from support.smoke import PART, SMOKE

from lopsided.common import files
from lopsided.experiments import (
    ExperimentError,
    Store,
    collect_tables,
    delete_garbage,
    garbage,
    load_experiment,
    plan,
    record_outputs,
    repair,
    run,
    verify,
)
from lopsided.experiments.running.progress import SilentReporter
from lopsided.experiments.store import DamagedError

FEW = [*PART, "grid.discriminator=none"]
PLANNED = plan(load_experiment(SMOKE, FEW))


def again(store):
    return run(SMOKE, store=store.root, overrides=FEW, reporter=SilentReporter())


def tables(store) -> list[Any]:
    found = collect_tables(SMOKE, store=store.root, overrides=FEW)
    return [found.sr_scores, found.training[found.training["term"] != "seconds"].reset_index(drop=True)]


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A small store, and its tables. To be copied, not changed."""
    store = Store(tmp_path_factory.mktemp("calm") / "runs")
    assert again(store).ok
    return store, tables(store)


@pytest.fixture
def store(calm, tmp_path):
    return Store(shutil.copytree(calm[0].root, tmp_path / "runs"))


def folder(store, stage, number=0):
    cell = PLANNED.of_stage(stage)[number]
    return store.folder(stage, cell.id)


def flip(path, bit=None):
    data = bytearray(path.read_bytes())
    bit = 8 * (len(data) // 2) if bit is None else bit
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def dropped_row(store):
    path = folder(store, "judge") / "scores.parquet"
    pd.read_parquet(path).iloc[:-1].to_parquet(path, index=False)
    return path


def picture_of_another_cell(store):
    one, other = (next((folder(store, "restore", n) / "images").iterdir()) for n in (0, 1))
    shutil.copyfile(other, one)
    return one


def edited_line(store):
    path = folder(store, "finetune") / "training.jsonl"
    row, *others = path.read_text().splitlines()
    path.write_text("\n".join([row.replace("0.0", "0.1"), *others]) + "\n")
    return path


def flipped(stage, name):
    def damage(store):
        path = next(folder(store, stage).rglob(name))
        flip(path)
        return path

    return damage


def deleted(stage, name):
    def damage(store):
        path = next(folder(store, stage).rglob(name))
        path.unlink()
        return path

    return damage


DAMAGE = {
    "a bit of a pretrained generator": flipped("pretrain", "generator.safetensors"),
    "a bit of a fine-tuned generator": flipped("finetune", "generator.safetensors"),
    "a bit of a picture": flipped("restore", "*.png"),
    "a missing picture": deleted("restore", "*.png"),
    "another cell's picture": picture_of_another_cell,
    "a dropped row of scores": dropped_row,
    "a missing table": deleted("judge", "scores.parquet"),
    "an edited line of a training": edited_line,
    "a bit of a result": flipped("finetune", "result.json"),
    "a bit of a specification": flipped("judge", "spec.json"),
    "a bit of a provenance": flipped("finetune", "provenance.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_any_damage_is_found_named_and_repaired(calm, store, damage):
    path = DAMAGE[damage](store)
    (fault,) = verify(store).faults
    stage, cell = fault.cell
    assert path.is_relative_to(store.folder(stage, cell))
    assert f"'{path}' is damaged" in fault.reason
    expected = set()
    for one in PLANNED.cells:  # inputs come first
        if any(source.id == cell or source.id in expected for source in one.inputs.values()):
            expected.add(one.id)
    assert {key[1] for key in fault.dependants} == expected
    assert len(repair(store, verify(store))) == 1 + len(expected)
    assert again(store).done == 1 + len(expected)
    for seen, wanted in zip(tables(store), calm[1], strict=True):
        pd.testing.assert_frame_equal(seen, wanted, check_exact=True)
    assert not verify(store).faults


@pytest.mark.parametrize(
    "damage", ["a dropped row of scores", "a missing table", "an edited line of a training", "a bit of a result"]
)
def test_damaged_outputs_get_into_no_table(store, damage):
    path = DAMAGE[damage](store)
    with pytest.raises(DamagedError, match=rf"'{path}' is damaged: .* were recorded, found .*--repair"):
        tables(store)


def test_every_flipped_bit_of_a_table_is_one_clear_error(store):
    path, draw = folder(store, "judge") / "scores.parquet", random.Random(0)
    whole = path.read_bytes()
    for _ in range(100):
        path.write_bytes(whole)
        flip(path, draw.randrange(8 * len(whole)))
        with pytest.raises(DamagedError, match="is damaged"):
            tables(store)


@pytest.mark.parametrize("damage", ["a bit of a picture", "another cell's picture", "a missing picture"])
def test_a_damaged_input_fails_the_cells_that_read_it(store, damage):
    path = DAMAGE[damage](store)
    for one in PLANNED.of_stage("judge"):
        shutil.rmtree(store.folder("judge", one.id))
    summary = again(store)
    assert len(summary.failed) == 1
    assert summary.failed[0][1].startswith(f"'{path}' is damaged")


def test_a_cell_made_from_other_bytes_than_its_input_has_now_is_found(store):
    """As after one was deleted by hand and computed again on another machine."""
    cell = PLANNED.of_stage("pretrain")[0]
    path = folder(store, "pretrain") / "status.json"
    flip(folder(store, "pretrain") / "generator.safetensors")
    record = json.loads(path.read_text())
    del record["outputs"]
    path.write_text(json.dumps(record))
    record_outputs(store, verify(store))
    faults = {fault.cell: fault.reason for fault in verify(store).faults}
    wanted = {("finetune", one.id) for one in PLANNED.of_stage("finetune")}
    assert set(faults) == wanted
    assert set(faults.values()) == {f"it was made from another 'generator.safetensors' than pretrain {cell.id} has now"}


def test_a_store_from_before_outputs_were_recorded_is_used_as_it_is(calm, store):
    for path in store.root.glob("cells/*/*/status.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in record.items() if k not in ("format", "outputs", "inputs")}))
    summary = again(store)
    assert (summary.done, summary.cached) == (0, len(PLANNED.cells))
    for seen, wanted in zip(tables(store), calm[1], strict=True):
        pd.testing.assert_frame_equal(seen, wanted, check_exact=True)
    found = verify(store)
    assert (found.faults, len(found.unrecorded), found.cells) == ([], len(PLANNED.cells), len(PLANNED.cells))
    record_outputs(store, found)
    assert (verify(store).faults, verify(store).unrecorded) == ([], [])
    flip(folder(store, "judge") / "scores.parquet")
    assert len(verify(store).faults) == 1


def test_a_cell_that_is_being_computed_is_not_set_back(store):
    flip(folder(store, "judge") / "scores.parquet")
    with store.lease("judge", PLANNED.of_stage("judge")[0].id), pytest.raises(ExperimentError, match="being computed"):
        repair(store, verify(store))


def test_the_command_names_damage_and_exits_non_zero(store):
    whole = invoke("verify", store.root)
    assert (whole.status, whole.err) == (0, "")
    assert "damaged cells: 0" in whole.out
    path = DAMAGE["a bit of a pretrained generator"](store)
    for arguments in ((), (SMOKE, *(part for override in FEW for part in ("--set", override)))):
        shown = invoke("verify", store.root, *arguments)
        assert shown.status == 1
        assert f"'{path}' is damaged" in shown.err
        assert f"made from it: finetune {PLANNED.of_stage('finetune')[0].id}" in shown.err
        assert "damaged cells: 1, others made from them: " in shown.out
    assert invoke("verify", store.root, "--repair").status == 0
    assert invoke("verify", store.root).status == 0


# --- what is left over ----------------------------------------------------------------------------------------------

LEAVE = """
import sys
from pathlib import Path
from lopsided.common.files import temporary_name
for name in sys.argv[1:]:
    path = temporary_name(Path(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if not path.suffix else path.write_bytes(b"x" * 1000)
    print(path)
"""


def left_by_a_kill(store):
    places = [store.cache / "pairs-x" / "hr.u8", store.cache / "ladder-x", folder(store, "judge") / "scores.parquet"]
    shown = subprocess.run([sys.executable, "-c", LEAVE, *map(str, places)], capture_output=True, text=True, check=True)
    return [Path(line) for line in shown.stdout.splitlines()]


def test_leftovers_of_kills_are_shown_and_deleted(store):
    left = left_by_a_kill(store)
    work = folder(store, "finetune") / "work"
    work.mkdir()
    assert {one.path for one in garbage(store)} == {*left, work}
    shown = invoke("gc", store.root)
    assert all(str(path) in shown.out for path in left)
    assert all(path.exists() for path in left)
    assert invoke("gc", store.root, "--delete").status == 0
    assert not any(path.exists() for path in [*left, work])
    assert garbage(store) == []
    assert not verify(store).faults


def test_the_next_run_deletes_what_a_kill_left_in_the_cache(store):
    left = left_by_a_kill(store)
    again(store)
    assert not any(path.exists() for path in left if path.is_relative_to(store.cache))


def test_what_a_live_process_writes_stays(store):
    mine = files.temporary_name(store.cache / "hr.u8")
    mine.write_text("")
    os.utime(mine, (1, 1))
    assert garbage(store) == []
    with store.lease("judge", PLANNED.of_stage("judge")[0].id), store.using_cache():
        found = garbage(store, [plan(load_experiment(SMOKE, [*FEW, "super_resolution.pretrain.steps=1"]))])
        assert folder(store, "judge") not in {one.path for one in found}
        assert not [one for one in found if one.path.parent == store.cache]


def test_temporary_files_of_unknown_processes_are_left_for_an_hour(store):
    unknown = [store.cache / ".hr.0123abcd.tmp.u8", store.cache / ".tmpAbC123"]
    for path in unknown:
        path.write_text("")
    assert garbage(store) == []
    old = time.time() - files.LEFT_SECONDS - 60
    os.utime(unknown[0], (old, old))
    assert [one.path for one in garbage(store)] == unknown[:1]


def test_a_number_that_another_process_has_by_now_keeps_nothing(store):
    name = files.temporary_name(store.cache / "hr.u8").name
    _, _, start = name.split(".")[2].split("-")[:3]
    path = store.cache / name.replace(f"-{start}-", f"-{int(start) - 1}-")
    path.write_text("")
    assert [one.path for one in garbage(store)] == [path]
    assert socket.gethostname() not in path.name  # hosts may have long names


def test_cells_and_caches_that_no_experiment_needs_go_on_request_only(store):
    (store.cache / "ladder-0123").mkdir()
    more = [*FEW, "judges=[psnr_y,nlpd]"]
    assert run(SMOKE, store=store.root, overrides=more, reporter=SilentReporter()).ok
    assert garbage(store) == []
    assert [one.path.name for one in garbage(store, [PLANNED, plan(load_experiment(SMOKE, more))])] == ["ladder-0123"]
    found = garbage(store, [PLANNED])
    assert {one.cell[0] if one.cell else one.path.name for one in found} == {"judge", "ladder-0123"}
    assert delete_garbage(store, found) == []
    assert garbage(store, [PLANNED]) == []
    summary = again(store)
    assert (summary.done, summary.cached) == (0, len(PLANNED.cells))
    assert len(list(store.cache.glob("pairs-*"))) == 1
