"""What answers prompts: a model in this process, or a server."""

from typing import TYPE_CHECKING

from ...common.doors import door

if TYPE_CHECKING:
    from .backend import Backend, LevelLogits, Prompt, Reply
    from .batch import BatchRequests, BatchResults
    from .decision_endpoint import decision_config
    from .meter import Meter
    from .server import ServerBackend
    from .transformers import TransformersBackend
    from .vllm import VllmBackend

__all__ = [
    "Backend",
    "BatchRequests",
    "BatchResults",
    "LevelLogits",
    "Meter",
    "Prompt",
    "Reply",
    "ServerBackend",
    "TransformersBackend",
    "VllmBackend",
    "decision_config",
]

__getattr__, __dir__ = door(
    __name__,
    {
        ".backend": ["Backend", "LevelLogits", "Prompt", "Reply"],
        ".batch": ["BatchRequests", "BatchResults"],
        ".decision_endpoint": ["decision_config"],
        ".meter": ["Meter"],
        ".server": ["ServerBackend"],
        ".transformers": ["TransformersBackend"],
        ".vllm": ["VllmBackend"],
    },
)
