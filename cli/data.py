"""``lopsided data list | check | import``: IQA data sets, and whether they are what they should be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from ..common.errors import LopsidedError

if TYPE_CHECKING:
    from ..iqa.datasets import CheckReport, DatasetInfo
    from ..iqa.manifest import Labels

app = typer.Typer(name="data", help="List, check and import IQA data sets.", no_args_is_help=True)
out = Console()
err = Console(stderr=True)

SHOWN = 20
All = Annotated[bool, typer.Option("--all", help=f"Show every line, not the first {SHOWN}.")]
Manifest = Annotated[Path, typer.Option("--to", metavar="MANIFEST.csv", help="The manifest to write.")]


@app.command("list")
def list_sets() -> None:
    """List the data sets that can be read as their authors publish them. Nothing is downloaded."""
    from ..iqa.datasets import dataset_info, list_datasets

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("images", justify="right")
    table.add_column("references", justify="right")
    table.add_column("labels, licence\n[dim]files[/]", overflow="fold")
    for name in list_datasets():
        info = dataset_info(name)
        images, references = (f"{n:,}" if n else "·" for n in (info.images, info.references))
        table.add_row(name, images, references, f"{_meaning(info)}\n[dim]{info.layout}[/]")
    out.print(table)
    out.print("Any other set: 'lopsided data import' makes a manifest of a CSV and its images.", highlight=False)


@app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As listed; or manifest, for a manifest.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The data set's folder, or the manifest.")],
    partial: Annotated[bool, typer.Option("--partial", help="Accept fewer images than were published.")] = False,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="MANIFEST.csv", help="If all is right, write a manifest with hashes.")
    ] = None,
    every: All = False,
) -> None:
    """Check counts, labels, and that every image decodes; exit status 1 if something is wrong.

    A manifest written with --to records every file's hash: checking the manifest later finds any change.
    """
    from ..iqa.datasets import check_dataset, list_images, write_manifest

    with _progress("checking") as progress:
        report = check_dataset(name, path, complete=not partial, progress=progress)
    _report(report, every)
    if to:
        write_manifest(list_images(name, path), to)
        out.print(f"manifest: {to}", highlight=False, markup=False, soft_wrap=True)


@app.command("import")
def import_table(
    table: Annotated[Path, typer.Argument(metavar="CSV", help="Separated by commas, semicolons or tabs.")],
    to: Manifest,
    image: Annotated[str, typer.Option("--image", metavar="COLUMN", help="Images' paths.")],
    label: Annotated[str, typer.Option("--label", metavar="COLUMN", help="Labels.")],
    kind: Annotated[str, typer.Option("--kind", help="mos, dmos or severity_grade.")],
    direction: Annotated[str, typer.Option("--better", help="higher or lower: which labels are of better images.")],
    scale: Annotated[tuple[float, float], typer.Option("--scale", metavar="MIN MAX", help="Ends of the scale.")],
    reference: Annotated[str | None, typer.Option("--reference", metavar="COLUMN", help="References' paths.")] = None,
    distortion: Annotated[
        str | None, typer.Option("--distortion", metavar="COLUMN", help="Kind of distortion.")
    ] = None,
    level: Annotated[str | None, typer.Option("--level", metavar="COLUMN", help="Strength, whole numbers.")] = None,
    std: Annotated[str | None, typer.Option("--std", metavar="COLUMN", help="Standard deviations.")] = None,
    std_of: Annotated[str | None, typer.Option("--std-of", help="votes or mean: what they are of.")] = None,
    votes: Annotated[str | None, typer.Option("--votes", metavar="COLUMN", help="Numbers of votes.")] = None,
    split: Annotated[str | None, typer.Option("--split", metavar="COLUMN", help="train, validation or test.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="What paths are relative to; default: the CSV.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of images and labels.")] = None,
    encoding: Annotated[str, typer.Option("--encoding", help="Encoding of the CSV, such as latin-1.")] = "utf-8",
    every: All = False,
) -> None:
    """Make a manifest of a CSV and its images; it is written only if every row and image is right.

    Kind, direction and scale of the labels must be stated: nothing is guessed from the numbers.
    """
    from ..iqa.datasets import Columns, import_csv

    columns = Columns(image, label, reference, distortion, level, std, votes, split)
    labels = _labels(kind, direction, scale, std_of, licence)
    if std_of and not std:
        raise LopsidedError(f"--std-of {std_of}: says what a deviation is of; give its column with --std")
    with _progress("importing") as progress:
        report = import_csv(table, to, columns, labels, images=images, encoding=encoding, progress=progress)
    _report(report, every)
    out.print(f"manifest: {to}", highlight=False, markup=False, soft_wrap=True)


def _labels(kind: str, direction: str, scale: tuple[float, float], std_of: str | None, licence: str | None) -> Labels:
    """Make sense of what the options say of the labels."""
    from typing import get_args

    from ..iqa.manifest import LabelKind, Labels, StdOf

    for option, value, known in (
        ("--kind", kind, get_args(LabelKind)),
        ("--better", direction, ("higher", "lower")),
        ("--std-of", std_of, (None, *get_args(StdOf))),
    ):
        if value not in known:
            raise LopsidedError(f"{option} {value}: known are {', '.join(word for word in known if word)}")
    if kind == "severity_grade" and direction == "higher":
        raise LopsidedError("--better higher: severity grades are lower for better images")
    if not scale[0] < scale[1]:
        raise LopsidedError(f"--scale {scale[0]:g} {scale[1]:g}: the first end must be below the second")
    return Labels(kind, direction == "higher", scale, std_of, licence)  # pyright: ignore[reportArgumentType]


def _meaning(info: DatasetInfo) -> str:
    """Say in one line what a set's labels are."""
    if info.labels is None:
        return "judged pairs" if info.task == "pairs" else "stated by its manifest"
    low, high = info.labels.scale or (None, None)
    ends = f" {low:g} to {high:g}" if low is not None else ""
    better = "higher" if info.labels.higher_is_better else "lower"
    return f"{info.labels.kind.upper()}{ends}, {better} is better; licence: {info.labels.licence}"


def _report(report: CheckReport, every: bool) -> None:
    """Print problems, notes and counts; exit with status 1 if there are problems."""
    _lines(err, "wrong", "red", report.problems, every)
    _lines(out, "note", "yellow", report.notes, every)
    text = f"{report.name}: {report.listed} listed, {report.right} right, {report.wrong} wrong"
    out.print(
        f"{text}; {len(report.problems)} problem(s), {len(report.notes)} note(s)", highlight=False, soft_wrap=True
    )
    if not report.ok:
        raise typer.Exit(1)


def _lines(console: Console, word: str, colour: str, lines: tuple[str, ...], every: bool) -> None:
    shown = lines if every else lines[:SHOWN]
    for line in shown:
        console.print(f"[{colour}]{word}[/] ", end="")
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if len(shown) < len(lines):
        console.print(f"… and {len(lines) - len(shown)} more; --all shows them", highlight=False)


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Any]:
    """Show a bar on a terminal; a log gets the results only."""
    columns = (TextColumn(what), BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=None, note="reading labels")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)
