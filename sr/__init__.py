"""Super-resolution: generators, image pairs, training with fidelity and adversarial terms, restoration.

The names below import no basicsr; what needs it loads it when called.
"""

from .export import LoadedGenerator, export_generator, load_exported
from .generators import GeneratorSpec, build_generator
from .loss import Adversarial, Fidelity
from .restore import Tiling, super_resolve
from .restore_files import RestoreSettings, restore_folder, restore_image
from .spec import FinetuneSpec, Runtime, TrainingSpec
from .trainer import DivergedError, Trainer
from .validation import Validated, Validation

__all__ = [
    "Adversarial",
    "DivergedError",
    "Fidelity",
    "FinetuneSpec",
    "GeneratorSpec",
    "LoadedGenerator",
    "RestoreSettings",
    "Runtime",
    "Tiling",
    "Trainer",
    "TrainingSpec",
    "Validated",
    "Validation",
    "build_generator",
    "export_generator",
    "load_exported",
    "restore_folder",
    "restore_image",
    "super_resolve",
]
