"""The one list of tasks, and the field type that reads them from YAML."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field

from ..common.errors import did_you_mean
from ..common.fields import ByKey
from ..common.registry import Registry
from .real_world import RealWorld
from .tasks import Bicubic, Deblurring, Degradation, Denoising, Jpeg

Task = Bicubic | RealWorld | Denoising | Jpeg | Deblurring
"""Every task. A new one is added here, and nowhere else."""

TASKS: Registry[type[Degradation]] = Registry("task")
for _task in get_args(Task):
    TASKS.register(_task.name(), _task)


def _known(value: Any) -> Any:
    """Refuse a value that names no task, before pydantic chooses among the tasks."""
    if isinstance(value, Degradation):
        return value
    if not isinstance(value, dict) or "degradation" not in value:
        raise ValueError(f"a task is a name ({', '.join(TASKS)}) or a mapping with `degradation: <name>`")
    name = str(value["degradation"])
    if name not in TASKS:
        raise ValueError(f"unknown degradation '{name}'; {did_you_mean(name, TASKS)}")
    return value


AnyTask = Annotated[
    Annotated[Task, Field(discriminator="degradation")],
    BeforeValidator(_known),
    ByKey(list(TASKS), "degradation"),
]
"""Field type: the name of a task, or a mapping with ``degradation: <name>`` and its options."""
