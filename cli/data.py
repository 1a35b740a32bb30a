"""``lopsided data list | check | import``: IQA data sets, and whether their files are complete and correct."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.errors import LopsidedError
from . import console
from .options import flag

if TYPE_CHECKING:
    from ..iqa.datasets import CheckReport, DatasetInfo
    from ..iqa.manifest import Labels

app = typer.Typer(name="data", help="List, check and import data sets of rated images.", no_args_is_help=True)

SHOWN = 20
All = Annotated[bool, flag("--all", help=f"Show every problem, not only the first {SHOWN}.")]


def _column(option: str, text: str) -> Any:
    return typer.Option(option, metavar="COLUMN", help=text)


@app.command("list")
def list_sets() -> None:
    """List the data sets that can be read as their authors publish them. Nothing is downloaded.

    Example: lopsided data list
    """
    from ..iqa.datasets import dataset_info, list_datasets

    table = console.table(
        "name", "images", "references", "labels, licence, files", numbers=["images", "references"], whole=["name"]
    )
    for name in list_datasets():
        info = dataset_info(name)
        images, references = (f"{n:,}" if n else "·" for n in (info.images, info.references))
        table.add_row(name, images, references, console.text(_meaning(info), (f"\n{info.layout}", "dim")))
    console.show(table)
    console.say("Any other set: 'lopsided data import' makes a manifest of a CSV file and its images.")


@app.command()
def check(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name from 'lopsided data list'; or the word manifest, for a manifest."),
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of the data set, or the manifest.")],
    partial: Annotated[bool, flag("--partial", help="Accept fewer images than were published.")] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="MANIFEST.csv", help="If all is well, write a manifest with the hash of each file."
        ),
    ] = None,
    every: All = False,
) -> None:
    """Check a data set: are all files there, does every image decode, is every label in its range?

    Exit status 1 if something is wrong. With the manifest that --to writes, a later check finds any changed file.

    Example: lopsided data check kadid-10k data/kadid10k --to kadid.csv
    """
    from ..iqa.datasets import check_dataset, list_images, write_manifest

    with console.progress("checking", "images", "reading labels") as progress:
        report = check_dataset(name, path, complete=not partial, progress=progress)
    _report(report, every)
    if to:
        write_manifest(list_images(name, path), to)
        console.say(f"manifest: {to}")


@app.command("import")
def import_table(
    table: Annotated[Path, typer.Argument(metavar="CSV", help="Table with commas, semicolons or tabs.")],
    to: Annotated[Path, typer.Option("--to", metavar="MANIFEST.csv", help="Manifest to write.")],
    image: Annotated[str, _column("--image", "Column of the images' paths.")],
    label: Annotated[str, _column("--label", "Column of the labels.")],
    kind: Annotated[str, typer.Option("--kind", metavar="WORD", help="mos, dmos or severity_grade.")],
    direction: Annotated[
        str, typer.Option("--better", metavar="WORD", help="Which labels better images have: higher or lower.")
    ],
    scale: Annotated[
        tuple[float, float], typer.Option("--scale", metavar="MIN MAX", help="Lowest and highest possible label.")
    ],
    reference: Annotated[str | None, _column("--reference", "Column of the references' paths.")] = None,
    distortion: Annotated[str | None, _column("--distortion", "Column of the kinds of distortion.")] = None,
    level: Annotated[str | None, _column("--level", "Column of the strengths, whole numbers.")] = None,
    std: Annotated[str | None, _column("--std", "Column of the labels' standard deviations.")] = None,
    std_of: Annotated[
        str | None,
        typer.Option("--std-of", metavar="WORD", help="What --std is the deviation of: single votes, or their mean."),
    ] = None,
    votes: Annotated[str | None, _column("--votes", "Column of the numbers of votes.")] = None,
    split: Annotated[str | None, _column("--split", "Column that says train, validation or test.")] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="FOLDER", help="Folder that paths start from; default: that of the CSV file."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="TEXT", help="Licence of images and labels.")
    ] = None,
    encoding: Annotated[
        str, typer.Option("--encoding", metavar="NAME", help="Encoding of the CSV file, such as latin-1.")
    ] = "utf-8",
    every: All = False,
) -> None:
    """Make a manifest of your own CSV file and images. It is written only if every row and every image is right.

    Nothing is guessed from the numbers: say what kind of labels they are, which are better, and the ends of the scale.

    Example: lopsided data import my.csv --to mine.csv --image file --label mos --kind mos --better higher --scale 1 5
    """
    from ..iqa.datasets import Columns, import_csv

    columns = Columns(image, label, reference, distortion, level, std, votes, split)
    labels = _labels(kind, direction, scale, std_of, licence)
    if std_of and not std:
        raise LopsidedError(f"--std-of {std_of}: needs the column of the deviations; name it with --std")
    with console.progress("importing", "images", "reading labels") as progress:
        report = import_csv(table, to, columns, labels, images=images, encoding=encoding, progress=progress)
    _report(report, every)
    console.say(f"manifest: {to}")


def _labels(kind: str, direction: str, scale: tuple[float, float], std_of: str | None, licence: str | None) -> Labels:
    """Return what the options say about the labels."""
    from typing import get_args

    from ..iqa.manifest import LabelKind, Labels, StdOf

    for option, value, known in (
        ("--kind", kind, get_args(LabelKind)),
        ("--better", direction, ("higher", "lower")),
        ("--std-of", std_of, (None, *get_args(StdOf))),
    ):
        if value not in known:
            raise LopsidedError(f"{option} {value}: known: {', '.join(word for word in known if word)}")
    if kind == "severity_grade" and direction == "higher":
        raise LopsidedError("--better higher: severity grades are lower for better images")
    if not scale[0] < scale[1]:
        raise LopsidedError(f"--scale {scale[0]:g} {scale[1]:g}: the first end must be below the second")
    return Labels(kind, direction == "higher", scale, std_of, licence)  # pyright: ignore[reportArgumentType]


def _meaning(info: DatasetInfo) -> str:
    """Say in one line what the labels of a data set are."""
    if info.labels is None:
        return "judged pairs" if info.task == "pairs" else "stated by its manifest"
    low, high = info.labels.scale or (None, None)
    ends = f" {low:g} to {high:g}" if low is not None else ""
    better = "higher" if info.labels.higher_is_better else "lower"
    return f"{info.labels.kind.upper()}{ends}, {better} is better; licence: {info.labels.licence}"


def _report(report: CheckReport, every: bool) -> None:
    """Print problems, notes and counts; exit with status 1 if there are problems."""
    most = None if every else SHOWN
    console.some("wrong", report.problems, most, "--all shows them", problem=True)
    console.some("note", report.notes, most, "--all shows them")
    counts = f"{report.name}: {report.listed} listed, {report.right} right, {report.wrong} wrong"
    console.say(f"{counts}; {len(report.problems)} problem(s), {len(report.notes)} note(s)")
    if not report.ok:
        raise typer.Exit(console.FAILED)
