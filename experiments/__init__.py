"""Experiments: one YAML file to tables, statistics and a report, over a store that computes nothing twice.

>>> from lopsided import experiments
>>> experiments.run("quickstart.yaml", store="runs")  # doctest: +SKIP
>>> study = experiments.analyse("quickstart.yaml", store="runs")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

from ..common.doors import door

if TYPE_CHECKING:
    from .api import analyse, collect_tables, compare, follow, plan, report, run, status
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
    from .upkeep.garbage import delete_garbage, garbage
    from .upkeep.verify import record_outputs, repair, verify

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
    "compare",
    "delete_garbage",
    "find_generator",
    "follow",
    "gallery_rows",
    "garbage",
    "load_experiment",
    "plan",
    "provenance",
    "record_outputs",
    "repair",
    "report",
    "run",
    "status",
    "verify",
]


# Most of these need torch. They are imported when first used, so that the command line's help appears at once.
__getattr__, __dir__ = door(
    __name__,
    {
        ".api": ["analyse", "collect_tables", "compare", "follow", "plan", "report", "run", "status"],
        ".planning": ["Plan"],
        ".results.gallery": ["gallery_rows"],
        ".results.trained": ["find_generator"],
        ".running.progress": ["Reporter"],
        ".running.provenance": ["provenance"],
        ".schema.errors": ["ExperimentError"],
        ".schema.experiment": ["Experiment"],
        ".schema.load": ["load_experiment"],
        ".schema.mllm": ["LocalModel", "ServedModel"],
        ".store": ["Status", "Store"],
        ".upkeep.garbage": ["delete_garbage", "garbage"],
        ".upkeep.verify": ["record_outputs", "repair", "verify"],
    },
)
