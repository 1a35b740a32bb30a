"""Super-resolution and restoration: generators, tasks, image pairs, training, restoring, export.

>>> import torch
>>> from lopsided.sr import GeneratorSpec, build_generator, super_resolve
>>> generator = build_generator(GeneratorSpec(name="swinir-tiny"), scale=4)
>>> super_resolve(generator, torch.rand(1, 3, 20, 30), scale=4).shape
torch.Size([1, 3, 80, 120])

Names are imported when they are first used. None of them imports basicsr or spandrel before a network needs it.
"""

from typing import TYPE_CHECKING

from ..common.doors import door

if TYPE_CHECKING:
    from ..common.sources import parse_source
    from .adversarial_share import AdversarialShare
    from .checkpoint import read_tensors, write_tensors
    from .degradation import bicubic_resize, mod_crop
    from .distributed import current_ranks, join_torchrun
    from .errors import SuperResolutionError
    from .export import LoadedGenerator, export_generator, load_exported, read_metadata
    from .generators import ARCHITECTURES, Architecture, GeneratorSpec, build_generator, list_generators, list_shipped
    from .history import read_history
    from .images import Pair, PairCache, pairs
    from .loss import Adversarial, Fidelity
    from .real_world import Pass, RealWorld, SecondPass
    from .restore import Tiling, super_resolve
    from .restore_files import RestoreSettings, RestoreSummary, restore_folder, restore_image
    from .spec import FinetuneSpec, Runtime, TrainingSpec
    from .stability import summarise_stability
    from .task_list import TASKS, AnyTask
    from .tasks import Bicubic, Deblurring, Degradation, Denoising, Jpeg
    from .tracking import OpenTracker, Tracker, TrackerName, require_trackers, tracker
    from .trainer import DivergedError, Skip, StoppedError, Trainer
    from .validation import Validated, Validation

__all__ = [
    "ARCHITECTURES",
    "TASKS",
    "Adversarial",
    "AdversarialShare",
    "AnyTask",
    "Architecture",
    "Bicubic",
    "Deblurring",
    "Degradation",
    "Denoising",
    "DivergedError",
    "Fidelity",
    "FinetuneSpec",
    "GeneratorSpec",
    "Jpeg",
    "LoadedGenerator",
    "OpenTracker",
    "Pair",
    "PairCache",
    "Pass",
    "RealWorld",
    "RestoreSettings",
    "RestoreSummary",
    "Runtime",
    "SecondPass",
    "Skip",
    "StoppedError",
    "SuperResolutionError",
    "Tiling",
    "Tracker",
    "TrackerName",
    "Trainer",
    "TrainingSpec",
    "Validated",
    "Validation",
    "bicubic_resize",
    "build_generator",
    "current_ranks",
    "export_generator",
    "join_torchrun",
    "list_generators",
    "list_shipped",
    "load_exported",
    "mod_crop",
    "pairs",
    "parse_source",
    "read_history",
    "read_metadata",
    "read_tensors",
    "require_trackers",
    "restore_folder",
    "restore_image",
    "summarise_stability",
    "super_resolve",
    "tracker",
    "write_tensors",
]

__getattr__, __dir__ = door(
    __name__,
    {
        "..common.sources": ["parse_source"],
        ".adversarial_share": ["AdversarialShare"],
        ".checkpoint": ["read_tensors", "write_tensors"],
        ".degradation": ["bicubic_resize", "mod_crop"],
        ".distributed": ["current_ranks", "join_torchrun"],
        ".errors": ["SuperResolutionError"],
        ".export": ["LoadedGenerator", "export_generator", "load_exported", "read_metadata"],
        ".generators": [
            "ARCHITECTURES",
            "Architecture",
            "GeneratorSpec",
            "build_generator",
            "list_generators",
            "list_shipped",
        ],
        ".history": ["read_history"],
        ".images": ["Pair", "PairCache", "pairs"],
        ".loss": ["Adversarial", "Fidelity"],
        ".real_world": ["Pass", "RealWorld", "SecondPass"],
        ".restore": ["Tiling", "super_resolve"],
        ".restore_files": ["RestoreSettings", "RestoreSummary", "restore_folder", "restore_image"],
        ".spec": ["FinetuneSpec", "Runtime", "TrainingSpec"],
        ".stability": ["summarise_stability"],
        ".task_list": ["TASKS", "AnyTask"],
        ".tasks": ["Bicubic", "Deblurring", "Degradation", "Denoising", "Jpeg"],
        ".tracking": ["OpenTracker", "Tracker", "TrackerName", "require_trackers", "tracker"],
        ".trainer": ["DivergedError", "Skip", "StoppedError", "Trainer"],
        ".validation": ["Validated", "Validation"],
    },
)
