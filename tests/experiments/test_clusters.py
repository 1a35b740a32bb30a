"""Slurm without a Slurm: how the pool reads its answers. ``benchmarks/executors.py`` tries real ones, and Ray."""

import subprocess

import pytest
from support.counting import cell, plan_of

from lopsided.experiments import ExperimentError, Reporter, Store
from lopsided.experiments.running.execute import execute
from lopsided.experiments.running.executors import slurm_pool as module
from lopsided.experiments.running.executors.slurm_pool import SlurmPool


@pytest.mark.parametrize(
    ("status", "out", "error", "expected"),
    [
        (0, "1_0 R\n1_1 PD\n", "", 2),
        (0, "", "", 0),
        (1, "", "slurm_load_jobs error: Invalid job id specified", 0),  # they ended a while ago
        (1, "", "Unable to contact slurm controller", 3),  # nothing is known: as many as before
    ],
)
def test_jobs_are_counted_and_a_silent_slurm_ends_nothing(monkeypatch, status, out, error, expected):
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, status, stdout=out, stderr=error)
    )
    pool = SlurmPool()
    pool._ids, pool._alive = ["1"], 3
    assert pool.tend() == expected


def test_a_machine_without_slurm_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ExperimentError, match="'squeue' is not here: is this a machine from which Slurm takes jobs"):
        module._call("squeue")


def test_ray_on_this_machine(tmp_path):
    pytest.importorskip("ray")
    store = Store(tmp_path / "runs")
    plan = plan_of(*(cell(number) for number in range(4)), executor="ray", workers=2)
    assert execute(plan, store, plan.experiment.execution, Reporter()).done == 4
