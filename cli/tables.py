"""``lopsided tables``: the results as files."""

from __future__ import annotations

from typing import Annotated

from . import console
from .options import RUNS, Experiment, Overrides, ReportFolder, StoreFolder, flag


def tables(
    experiment: Experiment,
    store: StoreFolder = RUNS,
    set_: Overrides = [],  # noqa: B006 - typer reads the default
    to: ReportFolder = None,
    csv: Annotated[bool, flag("--csv", help="Write CSV files as well as Parquet files.")] = False,
) -> None:
    """Write the results as tables, one row per observation, for your own analysis.

    Example: lopsided tables study.yaml --csv --to tables
    """
    from ..analysis.result_tables import SCHEMAS
    from ..experiments import Store, collect_tables, load_experiment

    loaded = load_experiment(experiment, set_)
    folder = to or Store(store).experiment(loaded.name) / "tables"
    found = collect_tables(loaded, store=store, folder=folder, formats=("parquet", "csv") if csv else ("parquet",))
    for name in SCHEMAS:
        console.say(f"{folder / name}: {len(getattr(found, name))} rows")
