"""Workers as jobs of Slurm, one array per group. They pull cells from the store, which every node must see."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ....common.errors import one_line
from ...schema.errors import ExperimentError
from ...schema.execution import Workers
from ..work import Task, be_worker
from .pool import Pool

ASK_SECONDS = 15.0  # between two questions to Slurm about the jobs
END_SECONDS = 300.0  # for which jobs that were asked to end are waited for


class SlurmPool(Pool):
    """Jobs of Slurm, submitted with submitit.

    A job that nears its time limit, or gets SIGUSR1, checkpoints and is queued again. One that gets SIGTERM, as before
    a preemption, checkpoints and ends; Slurm queues it again if the cluster does so with preempted jobs.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._asked, self._alive = 0.0, 0

    def start(self, tasks: Sequence[Task]) -> None:
        """Submit an array of jobs for each group."""
        import submitit  # pyright: ignore[reportMissingImports]

        settings = tasks[0].execution.slurm
        folder = tasks[0].store / "jobs" / time.strftime(f"%Y%m%d-%H%M%S-{uuid.uuid4().hex[:6]}")
        folder.mkdir(parents=True)
        groups: dict[Workers, list[Task]] = defaultdict(list)
        for task in tasks:
            groups[task.needs].append(task)
        try:
            for number, (group, members) in enumerate(groups.items()):
                # One file for all jobs of the group: a plan of 10,000 cells is megabytes.
                path = folder / f"group-{number}.pickle"
                path.write_bytes(pickle.dumps(members[0]))
                executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
                executor.update_parameters(
                    name="lopsided",
                    timeout_min=settings.minutes,
                    nodes=1,
                    tasks_per_node=1,
                    cpus_per_task=group.cpus or members[0].execution.threads,
                    slurm_signal_delay_s=settings.warning,
                    slurm_setup=[*settings.setup],
                    slurm_additional_parameters={"requeue": True, **settings.options},
                    **_requests(group, members[0]),
                )
                with executor.batch():
                    jobs = [executor.submit(_work, path) for _ in members]
                self._ids.append(jobs[0].job_id.partition("_")[0])
                if len(jobs) == 1:
                    self._ids[-1] = jobs[0].job_id
        except (RuntimeError, submitit.core.utils.FailedJobError, OSError) as error:
            raise ExperimentError(f"Slurm does not take the jobs: {one_line(error)}; see execution.slurm") from None

    def tend(self) -> int:
        """Ask Slurm every now and then how many of the jobs are queued or running."""
        if time.monotonic() - self._asked >= ASK_SECONDS:
            self._asked, self._alive = time.monotonic(), self._queued()
        return self._alive

    def stop(self, *, at_once: bool = False) -> None:
        """Cancel the jobs that wait, ask those that run to checkpoint, and wait for them."""
        if not self._ids:
            return
        if not at_once:
            _call("scancel", "--state=PENDING", *self._ids)
            _call("scancel", "--signal=TERM", *self._ids)
            end = time.monotonic() + END_SECONDS
            while self._queued() and time.monotonic() < end:
                time.sleep(1.0)
        _call("scancel", *self._ids)

    def _queued(self) -> int:
        done = _call("squeue", "--noheader", "--array", "--jobs", ",".join(self._ids))
        if done.returncode and "Invalid job id" not in done.stderr:
            return max(1, self._alive)  # Slurm does not answer now; the jobs need not have ended
        return len(done.stdout.splitlines())


def _requests(group: Workers, task: Task) -> dict[str, object]:
    gpus = group.gpus if group.gpus is not None else float(task.execution.device.startswith("cuda"))
    if gpus % 1:
        raise ExperimentError(f"execution.workers: {gpus} GPUs per worker, and Slurm gives whole ones; use 0, 1, …")
    return {
        **({"gpus_per_node": int(gpus)} if gpus else {}),
        **({"mem_gb": group.memory} if group.memory else {}),
    }


def _work(path: Path) -> None:
    """Be a worker: this is what a job runs."""
    task: Task = pickle.loads(path.read_bytes())  # noqa: S301 - written by the run that submitted the job
    warnings = [signal.SIGUSR1, signal.SIGUSR2]  # the second is what submitit asks Slurm for
    if be_worker(task, [signal.SIGTERM, *warnings]) in warnings:
        array, number = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        _call("scontrol", "requeue", f"{array}_{number}" if array else os.environ["SLURM_JOB_ID"])


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm; of jobs that have ended it knows nothing, which is no error here."""
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    except FileNotFoundError:
        raise ExperimentError(f"'{command[0]}' is not here: is this a machine from which Slurm takes jobs?") from None
