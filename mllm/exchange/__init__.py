"""Benchmarks and results in the formats of other toolkits: VLMEvalKit and lmms-eval."""

from typing import TYPE_CHECKING

from ...common.doors import door

if TYPE_CHECKING:
    from .lmms_eval import write_lmms_tasks
    from .vlmevalkit import read_vlmevalkit, write_vlmevalkit

__all__ = ["read_vlmevalkit", "write_lmms_tasks", "write_vlmevalkit"]

__getattr__, __dir__ = door(
    __name__,
    {".lmms_eval": ["write_lmms_tasks"], ".vlmevalkit": ["read_vlmevalkit", "write_vlmevalkit"]},
)
