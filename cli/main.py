"""The command line; ``lopsided --help`` lists its commands."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from .. import __version__
from ..common.errors import LopsidedError
from ..common.files import write_text
from . import data as data_command
from . import learn as learn_command
from . import published as published_command
from . import rate as rate_command
from . import restore as restore_command
from . import weights as weights_command

# Model hubs wait most of a minute offline before they say so; lopsided looks for weights on disk first.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

app = typer.Typer(
    name="lopsided",
    help="Study the asymmetry between perceptual optimization and perceptual assessment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_command.app)
app.add_typer(published_command.app)
app.add_typer(weights_command.app)
app.command()(learn_command.learn_weights)
app.command()(rate_command.rate)
app.command()(restore_command.restore)
app.command()(restore_command.export)
out = Console()
err = Console(stderr=True)

Experiment = Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml", help="The experiment.")]
StoreFolder = Annotated[Path, typer.Option("--store", help="Folder of results.")]
Overrides = Annotated[list[str], typer.Option("--set", help="Replace a value: key.path=value (repeatable).")]

STATES = {
    "done": "green",
    "diverged": "magenta",
    "failed": "red",
    "running": "yellow",
    "interrupted": "yellow",
    "pending": "dim",
}


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__, highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    _state["debug"] = debug
    handler = RichHandler(console=err, show_path=False, show_time=False, markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("lopsided").setLevel(logging.INFO)
    handler.setLevel(logging.INFO if debug else logging.WARNING)


_state: dict[str, Any] = {"debug": False}


@app.command()
def plan(
    experiment: Experiment,
    store: StoreFolder = Path("runs"),
    set_: Overrides = [],  # noqa: B006  (typer reads the default)
    every: Annotated[bool, typer.Option("--all", help="One row a cell, judging too.")] = False,
) -> None:
    """Show what `run` would compute, what is cached, and why."""
    from ..experiments import api
    from ..experiments.store import Store

    planned = api.plan(experiment, set_)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("stage", "cells", "state", "why"):
        table.add_column(name, overflow="fold")
    rows: dict[tuple[str, str, str, str], int] = {}
    counts = {"cached": 0, "new": 0}
    for cell, status in planned.with_status(Store(store)):
        new = status.state not in ("done", "diverged")
        counts["new" if new else "cached"] += 1
        row = (cell.stage, _row_label(cell, every), _state_text(status.state, new), _why(status))
        rows[row] = rows.get(row, 0) + 1
    for (stage, label, state, why), count in rows.items():
        table.add_row(stage, label + (f" [dim]×{count}[/]" if count > 1 else ""), state, why)
    out.print(table)
    out.print(f"{counts['new']} new, {counts['cached']} cached of {len(planned.cells)} cells in '{store}'")


@app.command()
def run(
    experiment: Experiment,
    store: StoreFolder = Path("runs"),
    set_: Overrides = [],  # noqa: B006
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="Processes that share the cells.")] = 1,
    write: Annotated[bool, typer.Option("--report/--no-report", help="Write the report at the end.")] = True,
) -> None:
    """Compute every cell that is not done; Ctrl-C leaves a store that the same command resumes.

    torchrun --nproc-per-node N -m lopsided run … shares each training among N processes, one GPU each.
    """
    from ..experiments import api
    from ..experiments.running.progress import Reporter

    if int(os.environ.get("RANK", "0")) > 0:  # of torchrun
        api.follow(experiment, store=store, overrides=set_)
        return
    try:
        planned = api.plan(experiment, set_)
        summary = api.run(experiment, store=store, planned=planned, reporter=Reporter(out), workers=workers)
    except KeyboardInterrupt:
        err.print("interrupted; the same command resumes from the last checkpoint")
        raise typer.Exit(130) from None
    parts = [f"{summary.done} computed", f"{summary.cached} cached"]
    parts += [f"{n} {what}" for n, what in ((summary.diverged, "diverged"), (len(summary.failed), "failed")) if n]
    parts += [f"{n} {what}" for n, what in ((summary.skipped, "skipped"), (summary.remaining, "not reached")) if n]
    out.print(f"{', '.join(parts)} of {len(planned.cells)} cells, in {summary.seconds:.0f} s", highlight=False)
    for cell, reason in summary.failed:
        err.print(f"[red]failed[/] {cell.title}: ", end="", soft_wrap=True)
        err.print(reason, markup=False, highlight=False, soft_wrap=True)
    if summary.stopped:
        err.print("stopped; the same command resumes")
        raise typer.Exit(130)
    if not summary.ok:
        raise typer.Exit(1)
    if write:
        path = api.report(experiment, store=store, overrides=set_, planned=planned, force=False)
        out.print(f"report: {path}", soft_wrap=True, highlight=False)


@app.command()
def status(experiment: Experiment, store: StoreFolder = Path("runs"), set_: Overrides = []) -> None:  # noqa: B006
    """Count the experiment's cells by stage and state, and list what failed or diverged."""
    from ..experiments import api

    found = api.status(experiment, store=store, overrides=set_)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("stage")
    for state in STATES:
        table.add_column(state, justify="right")
    table.add_column("time", justify="right")
    for stage in dict.fromkeys(cell.stage for cell, _ in found):
        states = [s for c, s in found if c.stage == stage]
        counts = [sum(s.state == state for s in states) for state in STATES]
        seconds = sum(s.seconds or 0 for s in states)
        table.add_row(stage, *(str(n) if n else "·" for n in counts), f"{seconds:.0f} s")
    out.print(table)
    for cell, state in found:
        if state.state in ("failed", "diverged", "running", "interrupted"):
            line = f"{state.state}: {cell.title} [{cell.id}]: {state.reason}"
            out.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def report(experiment: Experiment, store: StoreFolder = Path("runs"), set_: Overrides = []) -> None:  # noqa: B006
    """Write tables, derived tables and a self-contained report.html from what is done."""
    from ..experiments import api

    path = api.report(experiment, store=store, overrides=set_)
    out.print(f"report: {path}", soft_wrap=True, highlight=False)


@app.command()
def tables(
    experiment: Experiment,
    store: StoreFolder = Path("runs"),
    set_: Overrides = [],  # noqa: B006
    to: Annotated[Path | None, typer.Option("--to", help="Folder to write to.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV as well as Parquet.")] = False,
) -> None:
    """Write the result tables: sr_scores, fr_scores, nr_scores, mllm_scores, training, cells."""
    from ..experiments import api
    from ..experiments.store import Store

    name = api.plan(experiment, set_).experiment.name
    folder = to or Store(store).experiment(name) / "tables"
    formats = ("parquet", "csv") if csv else ("parquet",)
    found = api.collect_tables(experiment, store=store, overrides=set_, folder=folder, formats=formats)
    for table in ("sr_scores", "fr_scores", "nr_scores", "mllm_scores", "training", "cells"):
        out.print(f"{folder / table}: {len(getattr(found, table))} rows", soft_wrap=True, highlight=False)


@app.command()
def schema(
    to: Annotated[Path | None, typer.Option("--to", help="File to write; default: standard output.")] = None,
) -> None:
    """Write the JSON Schema of experiment files, for completion in editors."""
    from ..experiments.schema.experiment import Experiment as Model

    text = json.dumps(Model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
    if to is None:
        sys.stdout.write(text)
    else:
        write_text(to, text)


def _row_label(cell: Any, every: bool) -> str:
    if not every and "judge" in cell.labels:
        return f"[dim]by[/] {cell.labels['judge']}"
    if not every and cell.stage == "restore":
        return f"[dim]test set[/] {cell.labels['test_set']}"
    return cell.title.removeprefix(f"{cell.stage} ")


def _state_text(state: str, new: bool) -> str:
    text = "new" if new else "cached"
    return f"[{STATES[state]}]{text if state in ('pending', 'done') else state}[/]"


def _why(status: Any) -> str:
    if status.state == "done":
        return ""
    if status.state == "pending":
        return "not computed yet"
    if status.state == "failed":
        return f"will be tried again: {status.reason}"
    return status.reason


def main() -> None:
    """Run the command line; errors of the user's world are printed without a traceback and exit with status 1."""
    try:
        app()
    except (LopsidedError, OSError) as error:
        if _state["debug"]:
            raise
        err.print("[red]error:[/] ", end="")
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
