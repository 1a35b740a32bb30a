"""Experiments: typed YAML, grids, a content-addressed store, executors, and the command line.

>>> from lopsided import experiments
>>> experiments.run("quickstart.yaml", store="runs")
>>> study = experiments.analyse("quickstart.yaml", store="runs")
"""

from .api import analyse, collect_tables, plan, report, run, status
from .load import load_experiment
from .spec import Experiment, ExperimentError

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
