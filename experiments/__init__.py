"""Experiments: one YAML file to tables, statistics and a report, over a store that computes nothing twice.

>>> from lopsided import experiments
>>> experiments.run("quickstart.yaml", store="runs")  # doctest: +SKIP
>>> study = experiments.analyse("quickstart.yaml", store="runs")  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import analyse, collect_tables, plan, report, run, status
    from .planning import Plan
    from .results.gallery import gallery_rows
    from .running.progress import Reporter
    from .schema.errors import ExperimentError
    from .schema.experiment import Experiment
    from .schema.load import load_experiment
    from .store import Status, Store

_FROM = {
    "Experiment": ".schema.experiment",
    "ExperimentError": ".schema.errors",
    "Plan": ".planning",
    "Reporter": ".running.progress",
    "Status": ".store",
    "Store": ".store",
    "analyse": ".api",
    "collect_tables": ".api",
    "gallery_rows": ".results.gallery",
    "load_experiment": ".schema.load",
    "plan": ".api",
    "report": ".api",
    "run": ".api",
    "status": ".api",
}

__all__ = [
    "Experiment",
    "ExperimentError",
    "Plan",
    "Reporter",
    "Status",
    "Store",
    "analyse",
    "collect_tables",
    "gallery_rows",
    "load_experiment",
    "plan",
    "report",
    "run",
    "status",
]


def __getattr__(name: str) -> Any:
    """Import on first use: most names need torch, and the command line's help does not."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FROM[name], __name__), name)
