"""The verbs of the command line as functions, for notebooks and scripts."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..common.files import remove, write_text
from ..common.identity import canonical_json, identity
from ..sr.tasks import Bicubic
from .adaptive import Record, Until, begin, look, plan_of, planned_looks, read_record, save, with_added_seeds
from .planning import Plan, Statuses, make_plan
from .running import execute as executors
from .running.progress import Reporter
from .running.provenance import provenance
from .schema.errors import ExperimentError
from .schema.execution import Executor
from .schema.experiment import Experiment
from .schema.load import load_experiment
from .schema.restoration import SuperResolution
from .selection import select
from .stages.cell import Cell
from .stages.stage import Stage
from .store import Store, checked, disk_errors
from .store.outputs import FAILURE, PROVENANCE

if TYPE_CHECKING:  # scipy and matplotlib come with it; imported late, a run with nothing to do stays fast
    from ..analysis import Study, StudyTables

log = logging.getLogger(__name__)

Source = str | Path | Experiment


def plan(experiment: Source, overrides: Sequence[str] = (), *, store: str | Path | None = None) -> Plan:
    """Plan an experiment given by its YAML file (or already loaded).

    Args:
        experiment: its YAML file, or already loaded.
        overrides: values of the file to replace, as ``KEY=VALUE``.
        store: folder of results; seeds that a run until something was decided has added there are in the plan.

    Raises:
        LopsidedError: the YAML or the data are wrong.
    """
    loaded = _loaded(experiment, overrides)
    return make_plan(loaded if store is None else with_added_seeds(loaded, Store(store)))


def run(
    experiment: Source,
    *,
    store: str | Path = "runs",
    overrides: Sequence[str] = (),
    reporter: Reporter | None = None,
    planned: Plan | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    retry: bool = True,
) -> executors.Summary:
    """Compute every cell that is not done yet; see :func:`~lopsided.experiments.running.execute.execute`.

    Args:
        experiment: its YAML file, or already loaded.
        store: folder of results.
        overrides: see :func:`plan`.
        reporter: follows the run.
        planned: the plan, where it is already made.
        workers: how many processes share the cells, in place of what the file says.
        executor: where they run, in place of what the file says.
        only: stages, cells' IDs or words of their titles: what is not named is left out (inputs are not).
        skip: the same, for what is left out with all that needs it.
        retry: try cells again that failed before.

    Raises:
        LopsidedError: something that is needed is missing.
    """
    planned = planned or plan(experiment, overrides, store=store)
    chosen = {"workers": workers, "executor": executor}
    execution = planned.experiment.execution.model_copy(
        update={name: value for name, value in chosen.items() if value is not None}
    )
    cells = select(planned.cells, only, skip) if only or skip else None
    return executors.execute(planned, Store(store), execution, reporter or Reporter(), only=cells, retry=retry)


def run_until(
    experiment: Source,
    until: Until,
    *,
    store: str | Path = "runs",
    overrides: Sequence[str] = (),
    say: Callable[[str], None] = log.info,
    reporter: Callable[[], Reporter] = Reporter,
    **options: Any,
) -> executors.Summary:
    """Run an experiment, and add seeds in rounds until what is asked is decided or the budget is spent.

    After each round, when all cells have ended, the results are looked at. The number of looks is fixed beforehand, and
    every p-value of trained cells is multiplied by it, in the report as well: stopping early finds nothing by itself.
    The same call goes on where an earlier one was stopped.

    Args:
        experiment: its YAML file, or already loaded.
        until: what is asked for, and the budget.
        store: folder of results.
        overrides: see :func:`plan`.
        say: told what each look found, line by line.
        reporter: makes what follows each round.
        options: further ones of :func:`run`.

    Returns:
        What the last round did. If cells failed or it was stopped, no look was made after it.

    Raises:
        LopsidedError: see :func:`run`; no contrast has the words; something else was asked for before.
    """
    loaded, place = _loaded(experiment, overrides), Store(store)
    record = begin(loaded, place, until)
    while True:
        planned = plan_of(loaded, record)
        summary = run(loaded, store=store, planned=planned, reporter=reporter(), **options)
        if not summary.ok or summary.remaining:
            return summary
        record, lines = look_at_results(planned, place, record, until)
        with disk_errors(place.root):
            save(place, loaded.name, record)
        for line in lines:
            say(line)
        if record.end:
            return summary


def look_at_results(planned: Plan, store: Store, record: Record, until: Until) -> tuple[Record, list[str]]:
    """Look at the results of a plan that is computed, as :func:`run_until` does; nothing is written.

    Args:
        planned: the plan.
        store: where its results are.
        record: of the looks so far, see :func:`~lopsided.experiments.adaptive.begin`.
        until: what is asked for.

    Returns:
        The record with this look, and what to tell, as lines.
    """
    from ..analysis import analyse as analyse_tables
    from .results import tables

    def study() -> Study:
        settings = {**_analysis(planned.experiment, store), "looks": record.planned}
        return analyse_tables(tables.collect(planned, store), **settings)

    return look(planned.experiment, store, record, until, study)


def retry(
    experiment: Source, *, store: str | Path = "runs", overrides: Sequence[str] = (), only: Sequence[str] = ()
) -> list[Cell[Stage]]:
    """Set the cells of an experiment that failed back to pending, and return them; what they resume from is kept."""
    planned, place = plan(experiment, overrides, store=store), _existing(store)
    failed = [cell for cell, status in planned.with_status(place) if status.state == "failed"]
    if only:
        wanted = {cell.id for cell in select(planned.cells, only)}
        failed = [cell for cell in failed if cell.id in wanted]
    for cell in failed:
        with disk_errors(place.root), place.lease(cell.stage, cell.id) as lease:
            place.begin(lease)
    return failed


def failure_lines(store: Store, stage: str, cell: str) -> list[str]:
    """Return what was kept of a cell's failure, as lines: traceback, last lines of its log, versions and machine."""
    try:
        record = json.loads((store.folder(stage, cell) / FAILURE).read_text(encoding="utf-8"))
        made = {key: value for key, value in record.items() if key not in ("reason", "traceback", "last_lines")}
        return [*record["traceback"], *record["last_lines"], canonical_json(made)]
    except (OSError, ValueError, KeyError, TypeError):
        return ["nothing more is kept of this failure"]


def follow(experiment: Source, *, store: str | Path = "runs", overrides: Sequence[str] = ()) -> None:
    """Take part in a run under torchrun, in every process but the first; see :func:`run`."""
    planned = plan(experiment, overrides, store=store)
    executors.follow(planned, Store(store), planned.experiment.execution)


def status(experiment: Source, *, store: str | Path = "runs", overrides: Sequence[str] = ()) -> Statuses:
    """Return every cell of the experiment with what the store knows of it, as pairs; a notebook shows their number."""
    return plan(experiment, overrides, store=store).with_status(Store(store))


def collect_tables(
    experiment: Source,
    *,
    store: str | Path = "runs",
    overrides: Sequence[str] = (),
    folder: str | Path | None = None,
    formats: tuple[str, ...] = ("parquet",),
) -> StudyTables:
    """Collect the result tables, and write them to ``folder`` (default: the experiment's folder in the store)."""
    from .results import tables

    planned, place = plan(experiment, overrides, store=store), _existing(store)
    collected = tables.collect(planned, place)
    with disk_errors(place.root):
        collected.save(folder or place.experiment(planned.experiment.name) / "tables", formats)
    return collected


def analyse(experiment: Source, *, store: str | Path = "runs", overrides: Sequence[str] = ()) -> Study:
    """Collect the tables and derive everything the report shows.

    Raises:
        AnalysisError: too little is done for an analysis.
    """
    from ..analysis import analyse as analyse_tables
    from .results import tables

    planned, place = plan(experiment, overrides, store=store), _existing(store)
    collected = tables.collect(planned, place)
    return analyse_tables(collected, **_analysis(planned.experiment, place))


def report(
    experiment: Source,
    *,
    store: str | Path = "runs",
    overrides: Sequence[str] = (),
    planned: Plan | None = None,
    force: bool = True,
    folder: str | Path | None = None,
) -> Path:
    """Write tables, derived tables and ``report.html``; returns the report's path.

    A report made from cells of which this experiment has only a part, or none, is another experiment's of the same
    name: its folder is renamed first, and the log says so. Adding seeds, judges or measures is an extension, whose
    report takes the place of the earlier one.

    Args:
        experiment: its YAML file, or already loaded.
        store: folder of results.
        overrides: see :func:`plan`.
        planned: the plan, where it is already made.
        force: write even if the report there was made from the same cells and settings.
        folder: where to write; default: the experiment's folder in the store.

    Raises:
        AnalysisError: too little is done for an analysis.
        ExperimentError: an output is damaged, or the folder cannot be written to.
    """
    planned, place = planned or plan(experiment, overrides, store=store), _existing(store)
    exp = planned.experiment
    own = place.experiment(exp.name)
    to = Path(folder) if folder else own
    path, stamp = to / "report.html", to / "report.json"
    made_from = _made_from(planned, place)
    if not force and path.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == made_from:
        return path

    from ..analysis import analyse as analyse_tables
    from ..analysis import write_report
    from .results import tables
    from .results.gallery import disagreement_rows, gallery_rows
    from .results.recovered import recovered_rows

    with disk_errors(place.root):
        if to == own:
            _set_aside(own, stamp, planned)
        collected = tables.collect(planned, place)
        collected.save(to / "tables")
        study = analyse_tables(collected, **_analysis(exp, place))
        study.save(to / "derived")
        write_report(
            study,
            path,
            title=exp.title or exp.name,
            description=exp.description,
            disagreement_rows=disagreement_rows(planned, place, study.parts["judge_disagreement_images"]),
            gallery_rows=[*gallery_rows(planned, place), *recovered_rows(planned, place)],
            facts=_facts(planned, place),
        )
        write_text(stamp, made_from)
    return path


def compare(sources: Sequence[Source], *, store: str | Path = "runs", folder: str | Path | None = None) -> Path:
    """Write ``comparison.html`` and its tables: two or more experiments of one store beside one another.

    Args:
        sources: their YAML files, or already loaded.
        store: folder of results.
        folder: where to write; default: a folder of the experiments' names in the store.

    Raises:
        AnalysisError: too little is done for an analysis.
        ExperimentError: fewer than two experiments, or two of one name; an output is damaged, or the folder cannot be
            written to.
    """
    plans = {planned.experiment.name: planned for planned in (plan(source, store=store) for source in sources)}
    if len(plans) < 2 or len(plans) < len(sources):
        names = ", ".join(f"'{name}'" for name in plans)
        raise ExperimentError(f"a comparison needs two or more experiments of different names, got {names}")
    place = _existing(store)
    to = Path(folder) if folder else place.experiment("-and-".join(plans))

    from ..analysis import write_comparison
    from ..analysis.result_tables import write_table

    studies = {name: analyse(planned.experiment, store=store) for name, planned in plans.items()}
    with disk_errors(place.root):
        compared = write_comparison(
            studies,
            to / "comparison.html",
            settings={name: _settings(planned.experiment) for name, planned in plans.items()},
            facts={name: {k: _words(v) for k, v in _facts(planned, place).items()} for name, planned in plans.items()},
        )
        for name in ("gains", "metrics"):
            write_table(getattr(compared, name), to / "derived", name, ("parquet", "csv"))
    return to / "comparison.html"


def _analysis(experiment: Experiment, store: Store) -> dict[str, Any]:
    """Return how an experiment is analysed, the looks at it included."""
    settings, looks = experiment.analysis, planned_looks(experiment, store)
    return {"n_boot": settings.resamples, "seed": settings.seed, "independence": settings.independence, "looks": looks}


def _settings(experiment: Experiment) -> dict[str, str]:
    """Return every setting that can change a result: its path in the YAML and its value."""
    found: dict[str, str] = {}

    def walk(path: str, value: object) -> None:
        if isinstance(value, dict) and value:
            for key, of in value.items():
                walk(f"{path}.{key}" if path else str(key), of)
        else:
            found[path] = _words(value)

    walk("", experiment.model_dump(mode="json", exclude={"name", "title", "description", "execution"}))
    return found


def _words(value: object) -> str:
    return ", ".join(map(_words, value)) if isinstance(value, list) else str(value)


def _made_from(planned: Plan, store: Store) -> str:
    """Text that changes whenever the report would."""
    exp = planned.experiment
    cells = {
        f"{cell.stage}/{cell.id}": {
            "state": status.state,
            "labels": dict(cell.labels),
            "outputs": {name: output.sha256 for name, output in sorted((status.outputs or {}).items())},
        }
        for cell, status in planned.with_status(store)
    }
    settings = {"title": exp.title, "description": exp.description, "analysis": exp.analysis.model_dump()}
    if record := read_record(store, planned.experiment.name):
        settings["looks"] = asdict(record)
    return canonical_json({"lopsided": __version__, "cells": cells, **settings})


def _set_aside(folder: Path, stamp: Path, planned: Plan) -> None:
    """Keep the report of another experiment that has the same name."""
    try:
        earlier = set(json.loads(stamp.read_text(encoding="utf-8"))["cells"])
    except (OSError, ValueError, KeyError, TypeError):  # no report yet, or nothing is known of it
        return
    if earlier <= {f"{cell.stage}/{cell.id}" for cell in planned.cells}:
        return
    aside = folder.with_name(f"{folder.name}-{identity(sorted(earlier))}")
    remove(aside)  # a report of the same cells
    folder.rename(aside)
    log.warning(
        "'%s' held the report of another experiment with the name '%s' (or a larger one): it is in '%s' now; give one "
        "of them another name to keep both in their places",
        folder,
        planned.experiment.name,
        aside,
    )


def _existing(root: str | Path) -> Store:
    """Return the store, which has to exist: its name may be mistyped."""
    if not Path(root).is_dir():
        raise ExperimentError(f"there is no store '{root}'; run the experiment first, or name another folder")
    return Store(root)


def _loaded(experiment: Source, overrides: Sequence[str]) -> Experiment:
    if isinstance(experiment, Experiment):
        if overrides:
            raise ExperimentError("overrides apply to a YAML file, not to a loaded experiment")
        return experiment
    return load_experiment(experiment, overrides)


def _task(sr: SuperResolution) -> str:
    if isinstance(sr.task, Bicubic):
        return f"×{sr.scale} super-resolution of antialiased bicubic degradation"
    kind = "restoration" if sr.scale == 1 else f"×{sr.scale} super-resolution"
    options = sr.task.model_dump(mode="json", exclude_defaults=True)
    return f"{kind}, degradation {sr.task.name()}" + (f" with {canonical_json(options)}" if options else "")


def _training(sr: SuperResolution) -> dict[str, object]:
    return {
        "task": _task(sr),
        "pretraining": f"{sr.pretrain.steps} steps of {sr.pretrain.batch} crops of {sr.pretrain.patch} px",
        "fine-tuning": f"{sr.finetune.steps} steps of {sr.finetune.batch} crops of {sr.finetune.patch} px",
        "gradient matching": "on" if sr.finetune.gradient_matching else "off",
    }


def _looks(record: Record) -> str:
    asked = ", ".join(f"'{name}'" for name in record.names)
    return f"until {asked}, with {', '.join(str(len(one['seeds'])) for one in record.looks)} seeds; {record.end}"


def _facts(planned: Plan, store: Store) -> dict[str, object]:
    """Collect what the done cells record of their making; several values (two machines, say) are all named."""
    seen: dict[str, set[str]] = {}
    unknown: list[str] = []
    seconds = 0.0
    for cell, status in planned.with_status(store):
        seconds += status.seconds or 0.0
        if status.state != "done":
            continue
        try:
            path, _ = checked(store.folder(cell.stage, cell.id), PROVENANCE)
            record = json.loads(path.read_text(encoding="utf-8"))
            flat = {**record, **{name: v for name, v in record["packages"].items() if v}}
        except (ExperimentError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            unknown.append(cell.id)
            continue
        for key, value in flat.items():
            if key not in ("packages", "started"):
                seen.setdefault(key, set()).add(str(value))
    now = provenance(planned.experiment.execution.threads, planned.experiment.execution.device)
    sr = planned.experiment.super_resolution
    return {
        "experiment": planned.experiment.name,
        **(_training(sr) if sr else {}),
        "compute": f"{seconds / 60:.1f} min in all cells",
        **({"looks": _looks(record)} if (record := read_record(store, planned.experiment.name)) else {}),
        "report made": now["started"],
        **{key: sorted(values) for key, values in seen.items()},
        **({"provenance missing or damaged": f"{len(unknown)} cell(s), first {unknown[0]}"} if unknown else {}),
    }
