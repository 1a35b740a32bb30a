"""``lopsided score``: measures and judges on two files or two folders, no-reference judges on one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.errors import LopsidedError
from . import console
from .options import Device, Threads, flag

if TYPE_CHECKING:
    import pandas as pd

    from ..iqa import Judge, PairedFiles

SHOWN = 20


def _list(wanted: bool) -> None:
    if wanted:
        from ..iqa import NO_REFERENCE, list_judges

        for key in list_judges():
            console.say(key, ("  no-reference" if key in NO_REFERENCE else "", "dim"))
        raise typer.Exit


def score(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="An image, or a folder with its sub-folders.")],
    measures: Annotated[
        list[str],
        typer.Option(
            "--measures",
            "-m",
            metavar="KEYS",
            help="Keys with commas between them, or a mapping such as '{measure: dists, backbone: vgg16-r}' "
            "(repeatable); --list shows the keys.",
        ),
    ],
    references: Annotated[
        Path | None,
        typer.Option("--references", "-r", metavar="PATH", help="What to compare with: an image, or a folder."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.csv", help="Write the scores of all images to it.")
    ] = None,
    crop: Annotated[
        int, typer.Option("--crop", metavar="N", min=0, help="Pixels to cut off each border first, often the scale.")
    ] = 0,
    suffix: Annotated[
        str,
        typer.Option(
            "--suffix", metavar="TEXT", help="What names of images have at the end, and references do not: _x4, say."
        ),
    ] = "",
    partial: Annotated[bool, flag("--partial", help="Score the pairs alone if some files have no partner.")] = False,
    every: Annotated[bool, flag("--all", help=f"Show every image, not only the first {SHOWN}.")] = False,
    device: Device = "cpu",
    threads: Threads = 1,
    _: Annotated[
        bool,
        typer.Option("--list", metavar="", help="List the keys of all measures.", callback=_list, is_eager=True),
    ] = False,
) -> None:
    """Score images by any measures: against references of the same names, or alone by no-reference models.

    Images are read as 8-bit RGB and never resized. Exit status 1 if one of them could not be scored.

    Example: lopsided score restored -r originals -m psnr_y,ssim,dists --crop 4 -o scores.csv
    """
    import torch

    from ..iqa import build_judges, pair_files, score_files, summarise_scores

    if output and output.suffix != ".csv":
        raise LopsidedError(f"--output {output}: the name must end in .csv")
    torch.set_num_threads(threads)
    found = pair_files(images, references, suffix=suffix)
    _check_partners(found, partial)
    with console.progress("scoring", "images", "loading the measures") as progress:
        judges = build_judges(_keys(measures), references=references is not None, crop=crop, device=device)
        table = score_files(found, judges, progress=progress)
    names = [pair.name for pair in found.pairs]
    _print(table.head(len(names)).assign(image=names), judges, every)
    if len(names) > 1:
        _print_summary(summarise_scores(table, judges))
    if output:
        _write(output, table)
    _close(table, found)


def _keys(measures: Sequence[str]) -> list[str | dict[str, Any]]:
    """Return the measures that the options name, each a key or a mapping."""
    from ..common.yaml_text import parse_value

    keys: list[str | dict[str, Any]] = []
    for value in measures:
        if not value.lstrip().startswith("{"):
            keys += [key.strip() for key in value.split(",") if key.strip()]
            continue
        keys.append(parse_value(value, "--measures"))
    return keys


def _check_partners(found: PairedFiles, partial: bool) -> None:
    """List the files without a partner, and refuse them unless they are accepted."""
    images, references = found.without_reference, found.without_image
    lines = [f"{path}: no reference" for path in images] + [f"{path}: no image" for path in references]
    console.some("note" if partial else "wrong", lines, SHOWN, "these are the first", problem=not partial)
    counts = f"{len(images)} images without a reference, {len(references)} references without an image"
    if not found.pairs:
        raise LopsidedError(f"no image has a reference of its name: {counts}; --suffix is for names such as a_x4.png")
    if lines and not partial:
        raise LopsidedError(f"{counts}; --partial scores only the {len(found.pairs)} pairs")


def _print(table: pd.DataFrame, judges: Sequence[Judge], every: bool) -> None:
    keys = [judge.spec.key for judge in judges]
    heads = [f"{judge.spec.key} {'↓' if judge.lower_is_better else '↑'}" for judge in judges]
    shown = console.table("image", *heads, numbers=heads)
    rows = table if every else table.head(SHOWN)
    for row in rows.to_dict("records"):
        shown.add_row(str(row["image"]), *(_number(row[key]) for key in keys))
    console.show(shown)
    if len(rows) < len(table):
        console.say(f"… and {len(table) - len(rows)} more; --all shows them, --output writes them")


def _print_summary(summary: pd.DataFrame) -> None:
    numbers = ["mean", "standard error", "SD", "images"]
    shown = console.table("measure", "better", *numbers, numbers=numbers, whole=["measure"])
    for row in summary.to_dict("records"):
        values = [_number(row[name]) for name in ("mean", "se", "sd")]
        shown.add_row(row["measure"], row["better"], *values, str(row["n"]))
    console.say()
    console.show(shown)


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.5g}"


def _write(path: Path, table: pd.DataFrame) -> None:
    from ..common.files import atomic_path
    from ..common.spreadsheets import without_formulas

    with atomic_path(path) as temporary:
        without_formulas(table).to_csv(temporary, index=False)
    console.say(f"scores: {path}")


def _close(table: pd.DataFrame, found: PairedFiles) -> None:
    """Count what went in; exit with status 1 if an image has no score."""
    failed = table.loc[table["status"] == "failed"]
    lines = [f"{row['image']}: {row['reason'].removeprefix(row['image'] + ': ')}" for row in failed.to_dict("records")]
    console.some("failed", lines, SHOWN, "--output writes them", problem=True)
    line = f"scored {(table['status'] == 'ok').sum()}, failed {len(failed)}"
    if found.without_reference:
        line += f", without a reference {len(found.without_reference)}"
    line += f" of {len(table)}"
    console.say(line + (f"; references without an image: {len(found.without_image)}" if found.without_image else ""))
    if len(failed):
        raise typer.Exit(console.FAILED)
