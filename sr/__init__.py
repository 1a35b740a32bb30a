"""Super-resolution: generators, image pairs, training with fidelity and adversarial terms, restoration.

The names below import no basicsr; what needs it loads it when called.
"""

from .generators import GeneratorSpec, build_generator
from .restore import super_resolve
from .spec import FinetuneSpec, TrainingSpec
from .trainer import Adversarial, DivergedError, Fidelity, Trainer

__all__ = [
    "Adversarial",
    "DivergedError",
    "Fidelity",
    "FinetuneSpec",
    "GeneratorSpec",
    "Trainer",
    "TrainingSpec",
    "build_generator",
    "super_resolve",
]
