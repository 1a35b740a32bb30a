"""Experiments: one YAML file to tables, statistics and a report, over a store that computes nothing twice.

>>> from lopsided import experiments
>>> experiments.run("quickstart.yaml", store="runs")  # doctest: +SKIP
>>> study = experiments.analyse("quickstart.yaml", store="runs")  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import analyse, collect_tables, follow, plan, report, run, status
    from .planning import Plan
    from .results.gallery import gallery_rows
    from .results.trained import find_generator
    from .running.progress import Reporter
    from .running.provenance import provenance
    from .schema.errors import ExperimentError
    from .schema.experiment import Experiment
    from .schema.load import load_experiment
    from .schema.mllm import LocalModel, ServedModel
    from .store import Status, Store

_FROM = {
    "Experiment": ".schema.experiment",
    "ExperimentError": ".schema.errors",
    "LocalModel": ".schema.mllm",
    "Plan": ".planning",
    "Reporter": ".running.progress",
    "ServedModel": ".schema.mllm",
    "Status": ".store",
    "Store": ".store",
    "analyse": ".api",
    "collect_tables": ".api",
    "find_generator": ".results.trained",
    "follow": ".api",
    "gallery_rows": ".results.gallery",
    "load_experiment": ".schema.load",
    "plan": ".api",
    "provenance": ".running.provenance",
    "report": ".api",
    "run": ".api",
    "status": ".api",
}

__all__ = [
    "Experiment",
    "ExperimentError",
    "LocalModel",
    "Plan",
    "Reporter",
    "ServedModel",
    "Status",
    "Store",
    "analyse",
    "collect_tables",
    "find_generator",
    "follow",
    "gallery_rows",
    "load_experiment",
    "plan",
    "provenance",
    "report",
    "run",
    "status",
]


def __getattr__(name: str) -> Any:
    """Import on first use: most names need torch, and the command line's help does not."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FROM[name], __name__), name)
