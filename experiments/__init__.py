"""Experiments: one YAML file to tables, statistics and a report, over a store that computes nothing twice.

>>> from lopsided import experiments
>>> experiments.run("quickstart.yaml", store="runs")  # doctest: +SKIP
>>> study = experiments.analyse("quickstart.yaml", store="runs")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

from ..common.doors import door

if TYPE_CHECKING:
    from .adaptive import Until, begin, plan_of
    from .api import (
        analyse,
        collect_tables,
        compare,
        failure_lines,
        follow,
        look_at_results,
        plan,
        report,
        retry,
        run,
        run_until,
        status,
    )
    from .explain import Cost, Difference, cost, difference, reasons
    from .planning import Plan, Statuses
    from .results.gallery import gallery_rows
    from .results.trained import find_generator
    from .running.execute import Summary
    from .running.progress import Reporter
    from .running.provenance import provenance
    from .schema.errors import ExperimentError
    from .schema.experiment import Experiment
    from .schema.load import load_experiment
    from .schema.mllm import BatchModel, LocalModel, ServedModel
    from .selection import select
    from .store import Status, Store
    from .upkeep.archive import Moved, pack, unpack
    from .upkeep.garbage import delete_garbage, garbage
    from .upkeep.verify import record_outputs, repair, verify
    from .watching import Look, Running, Watcher

__all__ = [
    "BatchModel",
    "Cost",
    "Difference",
    "Experiment",
    "ExperimentError",
    "LocalModel",
    "Look",
    "Moved",
    "Plan",
    "Reporter",
    "Running",
    "ServedModel",
    "Status",
    "Statuses",
    "Store",
    "Summary",
    "Until",
    "Watcher",
    "analyse",
    "begin",
    "collect_tables",
    "compare",
    "cost",
    "delete_garbage",
    "difference",
    "failure_lines",
    "find_generator",
    "follow",
    "gallery_rows",
    "garbage",
    "load_experiment",
    "look_at_results",
    "pack",
    "plan",
    "plan_of",
    "provenance",
    "reasons",
    "record_outputs",
    "repair",
    "report",
    "retry",
    "run",
    "run_until",
    "select",
    "status",
    "unpack",
    "verify",
]


# Most of these need torch. They are imported when first used, so that the command line's help appears at once.
__getattr__, __dir__ = door(
    __name__,
    {
        ".adaptive": ["Until", "begin", "plan_of"],
        ".api": [
            "analyse",
            "collect_tables",
            "compare",
            "failure_lines",
            "follow",
            "look_at_results",
            "plan",
            "report",
            "retry",
            "run",
            "run_until",
            "status",
        ],
        ".explain": ["Cost", "Difference", "cost", "difference", "reasons"],
        ".planning": ["Plan", "Statuses"],
        ".results.gallery": ["gallery_rows"],
        ".results.trained": ["find_generator"],
        ".running.execute": ["Summary"],
        ".running.progress": ["Reporter"],
        ".running.provenance": ["provenance"],
        ".schema.errors": ["ExperimentError"],
        ".schema.experiment": ["Experiment"],
        ".schema.load": ["load_experiment"],
        ".schema.mllm": ["BatchModel", "LocalModel", "ServedModel"],
        ".selection": ["select"],
        ".store": ["Status", "Store"],
        ".upkeep.archive": ["Moved", "pack", "unpack"],
        ".upkeep.garbage": ["delete_garbage", "garbage"],
        ".upkeep.verify": ["record_outputs", "repair", "verify"],
        ".watching": ["Look", "Running", "Watcher"],
    },
)
