"""The stages, in the order in which a plan goes through them. Nothing else names them all."""

from __future__ import annotations

from .align import Align
from .assess_fr import AssessFR
from .assess_nr import AssessNR
from .diagnose import Diagnose, MaximumDifferentiation
from .import_fr import ImportFR
from .judge import JudgeImages
from .learn_weights import LearnWeights
from .rate import Rate
from .restore import Restore
from .stage import Stage
from .train import Finetune, Pretrain

STAGES: tuple[type[Stage], ...] = (
    LearnWeights,
    Align,
    Pretrain,
    Finetune,
    Restore,
    JudgeImages,
    Rate,
    AssessFR,
    ImportFR,
    AssessNR,
    Diagnose,
    MaximumDifferentiation,
)
