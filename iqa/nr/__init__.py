"""No-reference quality models on any backbone: heads, initialisations, training protocols and splits.

>>> from lopsided.iqa.nr import NRSpec
>>> NRSpec(backbone="squeezenet1_1", initialisation="pretrained", protocol="linear_probe").key
'squeezenet1_1/linear-probe'

:func:`evaluate_nr` trains and scores such a model: one row per test image and split.
"""

from .errors import NRDivergedError, NRError
from .evaluation import evaluate_nr, evaluate_split, fit_nr
from .features import FeatureCache
from .model import NRModel, load_nr
from .spec import (
    FineTuned,
    FromDiscriminator,
    Frozen,
    LinearProbe,
    NRSpec,
    Pretrained,
    Random,
    SelfSupervised,
    ZeroLabelSpec,
    list_nr_backbones,
)
from .splits import Split, Splits

__all__ = [
    "FeatureCache",
    "FineTuned",
    "FromDiscriminator",
    "Frozen",
    "LinearProbe",
    "NRDivergedError",
    "NRError",
    "NRModel",
    "NRSpec",
    "Pretrained",
    "Random",
    "SelfSupervised",
    "Split",
    "Splits",
    "ZeroLabelSpec",
    "evaluate_nr",
    "evaluate_split",
    "fit_nr",
    "list_nr_backbones",
    "load_nr",
]
