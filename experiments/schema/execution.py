"""How an experiment is computed: device, threads, checkpoints."""

from __future__ import annotations

import re

from pydantic import (
    Field,
    field_validator,
)

from ...common.fields import STEPS, THREADS, Settings
from ...sr import Runtime

_DEVICE = re.compile(r"^(cpu|cuda(:\d+)?|mps)\Z")


class Execution(Settings):
    """How cells are computed; nothing here changes what is computed, or a cell's identity."""

    threads: int = Field(
        default=1, ge=1, le=THREADS, description="CPU threads of torch. One is safest on busy machines."
    )
    device: str = Field(
        default="cpu", description="cpu, cuda, cuda:N or mps.", json_schema_extra={"pattern": _DEVICE.pattern}
    )
    checkpoint_every: int = Field(default=500, ge=1, le=STEPS, description="Steps between training checkpoints.")
    channels_last: bool = Field(default=True, description="Keep images channels last in memory.")
    compile: bool = Field(default=False, description="Compile the generators with torch.compile.")
    loader_threads: int = Field(
        default=1, ge=0, le=THREADS, description="Threads that draw crops ahead of the training."
    )
    tensorboard: bool = Field(default=False, description="Write TensorBoard event files beside each training.")

    @property
    def runtime(self) -> Runtime:
        """How trainings run."""
        return Runtime(self.device, self.channels_last, self.compile, self.loader_threads)

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not _DEVICE.search(value):
            raise ValueError(f"unknown device '{value}'; known: cpu, cuda, cuda:N (such as cuda:0), mps")
        return value
