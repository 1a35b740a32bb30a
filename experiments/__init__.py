"""Experiments: typed YAML, grids, a content-addressed store, executors, and the command line.

>>> from lopsided import experiments
>>> experiments.run("quickstart.yaml", store="runs")
>>> study = experiments.analyse("quickstart.yaml", store="runs")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import analyse, collect_tables, plan, report, run, status
    from .schema.errors import ExperimentError
    from .schema.experiment import Experiment
    from .schema.load import load_experiment

__all__ = [
    "Experiment",
    "ExperimentError",
    "analyse",
    "collect_tables",
    "load_experiment",
    "plan",
    "report",
    "run",
    "status",
]

_ELSEWHERE = {"load_experiment": ".load", "Experiment": ".spec", "ExperimentError": ".spec"}


def __getattr__(name: str) -> Any:
    """Import on first use: these names need torch, and the command line's help does not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, ".api"), __name__), name)
