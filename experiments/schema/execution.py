"""How an experiment is computed: device, threads, checkpoints."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from ...common.fields import STEPS, THREADS, Settings
from ...sr import Runtime, TrackerName

_DEVICE = re.compile(r"^(cpu|cuda(:\d+)?|mps)\Z")
PROCESSES = 10_000  # the most workers of a run


def known_device(value: str) -> str:
    """Return the name of a device.

    Raises:
        ValueError: it is none.
    """
    if not _DEVICE.search(value):
        raise ValueError(f"unknown device '{value}'; known: cpu, cuda, cuda:N (such as cuda:0), mps")
    return value


Device = Annotated[str, AfterValidator(known_device), Field(json_schema_extra={"pattern": _DEVICE.pattern})]


class Workers(Settings):
    """A group of equal workers: processes that take cells and compute them."""

    count: int = Field(default=1, ge=1, le=PROCESSES, description="How many.")
    stages: tuple[str, ...] = Field(
        default=(), description="Stages whose cells they compute, e.g. [pretrain, finetune]; none: all."
    )
    device: Device | None = Field(default=None, description="Their device; none: that of the run.")
    cpus: int | None = Field(
        default=None, ge=1, le=THREADS, description="CPUs to ask Slurm or Ray for, each; none: the run's threads."
    )
    gpus: float | None = Field(
        default=None, ge=0, le=64, description="GPUs to ask Slurm or Ray for, each; none: one, if the device is cuda."
    )
    memory: float | None = Field(
        default=None, gt=0, le=1_000_000, description="GiB of memory to ask Slurm or Ray for, each."
    )


class Slurm(Settings):
    """How jobs are submitted to Slurm."""

    minutes: int = Field(
        default=240,
        ge=1,
        le=100_000,
        description="Time limit of a job. Near it, the job checkpoints and is queued again.",
    )
    warning: int = Field(
        default=120, ge=10, le=3600, description="Seconds before the limit at which Slurm asks the job to checkpoint."
    )
    options: dict[str, str | Annotated[int, Field(ge=0, le=10**9)]] = Field(
        default={}, description="Other options of sbatch, e.g. {partition: gpu, account: vision}."
    )
    setup: tuple[str, ...] = Field(default=(), description="Shell commands before the worker, e.g. [module load cuda].")


class Ray(Settings):
    """How to reach a Ray cluster."""

    address: str | None = Field(default=None, description="auto, host:port or ray://…; none: Ray is started here.")


Executor = Literal["serial", "local", "slurm", "ray"]


class Execution(Settings):
    """How cells are computed; nothing here changes what is computed, or a cell's identity."""

    threads: int = Field(
        default=1, ge=1, le=THREADS, description="CPU threads of torch. One is safest on busy machines."
    )
    device: Device = Field(default="cpu", description="cpu, cuda, cuda:N or mps.")
    checkpoint_every: int = Field(default=500, ge=1, le=STEPS, description="Steps between training checkpoints.")
    channels_last: bool = Field(default=True, description="Keep images channels last in memory.")
    compile: bool = Field(default=False, description="Compile the generators with torch.compile.")
    loader_threads: int = Field(
        default=1, ge=0, le=THREADS, description="Threads that draw crops ahead of the training."
    )
    tracking: tuple[TrackerName, ...] = Field(
        default=("tensorboard",),
        description="What shows the curves of trainings besides the report: tensorboard, wandb, mlflow; []: nothing.",
        json_schema_extra={"uniqueItems": True},
    )
    executor: Executor | None = Field(
        default=None,
        description="Where cells are computed: serial (this process), local (processes of this machine), slurm, ray; "
        "none: local if there are several workers.",
    )
    workers: Annotated[int, Field(ge=1, le=PROCESSES)] | tuple[Workers, ...] = Field(
        default=1, description="How many processes share the cells, or groups of them with what each needs."
    )
    attempts: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="Processes that may die in one cell, in a row, before it counts as failed.",
    )
    failure_budget: int | None = Field(
        default=None, ge=0, le=10**9, description="Cells that may fail before the run stops; none: any number."
    )
    slurm: Slurm = Field(default=Slurm(), description="For the executor slurm.")
    ray: Ray = Field(default=Ray(), description="For the executor ray.")

    @property
    def groups(self) -> tuple[Workers, ...]:
        """The workers, group by group."""
        return (Workers(count=self.workers),) if isinstance(self.workers, int) else self.workers

    @property
    def worker_count(self) -> int:
        """How many workers there are."""
        return sum(group.count for group in self.groups)

    def of(self, group: Workers) -> Execution:
        """Return what holds for the workers of a group."""
        return self.model_copy(update={"device": group.device}) if group.device else self

    @property
    def runtime(self) -> Runtime:
        """How trainings run."""
        return Runtime(self.device, self.channels_last, self.compile, self.loader_threads)

    @field_validator("workers")
    @classmethod
    def _some_workers(cls, value: int | tuple[Workers, ...]) -> int | tuple[Workers, ...]:
        count = value if isinstance(value, int) else sum(group.count for group in value)
        if not 1 <= count <= PROCESSES:
            raise ValueError(f"{count} workers; between 1 and {PROCESSES} are possible")
        return value
