"""``lopsided restore`` and ``lopsided export``: use a trained generator on images, and give it to other programs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ..common.errors import LopsidedError
from ..common.identity import sha256_file

PLAIN_SECONDS = 15.0  # between two lines in a log
STAGES = ("finetune", "pretrain")  # those whose cells hold a generator

out = Console()
err = Console(stderr=True)

Name = Annotated[
    str | None, typer.Option("--generator-name", metavar="NAME", help="Its architecture, if the file does not say it.")
]
Scale = Annotated[int | None, typer.Option("--scale", help="Its scale, if the file does not say it.")]
StoreFolder = Annotated[Path, typer.Option("--store", help="Folder of results, where cells are looked up.")]


def restore(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An image, or a folder with its sub-folders.")],
    generator: Annotated[
        str, typer.Option("--generator", metavar="FILE|CELL", help="Weights; or the ID or folder of a finished cell.")
    ],
    output: Annotated[Path, typer.Option("--output", metavar="FOLDER", help="Folder of the restored PNG files.")],
    name: Name = None,
    scale: Scale = None,
    store: StoreFolder = Path("runs"),
    tile: Annotated[int, typer.Option("--tile", help="Side of a tile in LR pixels; bounds the memory.")] = 192,
    overlap: Annotated[int, typer.Option("--overlap", help="LR pixels that neighbouring tiles share.")] = 32,
    batch: Annotated[int, typer.Option("--batch", help="Tiles computed together.")] = 1,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:N or mps.")] = "cpu",
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads of torch.")] = 1,
    precision: Annotated[str, typer.Option("--precision", help="fp32, bf16 or fp16.")] = "fp32",
    alpha: Annotated[str, typer.Option("--alpha", help="Of transparent images: keep, drop or refuse.")] = "keep",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Restore again what is there already.")] = False,
) -> None:
    """Super-resolve images with a trained generator; the same command goes on where it was interrupted."""
    import torch

    from ..sr.export import load_exported
    from ..sr.restore import Tiling
    from ..sr.restore_files import RestoreSettings, restore_folder

    torch.set_num_threads(threads)
    settings = RestoreSettings(Tiling(tile, overlap, batch), device, precision, alpha)  # pyright: ignore[reportArgumentType]
    loaded = load_exported(find_generator(generator, store)[0], name, scale)
    try:
        with _progress() as progress:
            summary = restore_folder(source, output, loaded, settings, overwrite=overwrite, progress=progress)
    except KeyboardInterrupt:
        err.print("interrupted; the same command goes on")
        raise typer.Exit(130) from None
    for path, reason in summary.failed:
        err.print("[red]failed[/] ", end="")
        err.print(f"{path}: {reason}", markup=False, highlight=False, soft_wrap=True)
    out.print(str(summary), highlight=False)
    if summary.failed:
        raise typer.Exit(1)


def export(
    source: Annotated[str, typer.Argument(metavar="CELL|FILE", help="ID or folder of a finished cell; or weights.")],
    to: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .safetensors, or .pth for BasicSR.")],
    name: Name = None,
    scale: Scale = None,
    store: StoreFolder = Path("runs"),
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the weights, to be noted.")] = None,
) -> None:
    """Write a trained generator for other programs: spandrel and what is built on it, BasicSR."""
    from ..sr.export import export_generator, load_exported, read_metadata

    path, origin = find_generator(source, store)
    loaded = load_exported(path, name, scale)
    # What a file that was exported before says of its origin stays.
    kept = {key: value for key, value in read_metadata(path).items() if key in ("training", "licence")}
    export_generator(to, loaded, {"training": origin, **kept, **({"licence": licence} if licence else {})})
    out.print(f"{loaded.spec.name} ×{loaded.scale}: {to}", highlight=False, markup=False, soft_wrap=True)


def find_generator(source: str, store: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file of a generator, and what is known of its training.

    Args:
        source: a file; or the folder or the ID of a cell.
        store: where IDs are looked up.

    Raises:
        LopsidedError: there is nothing of that name, or the cell is not done.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path, {"file": path.name, "sha256": sha256_file(path)}
    from ..experiments.stages.train import GENERATOR
    from ..experiments.store import Store

    folders = [path] if path.is_dir() else [Store(store).folder(stage, source) for stage in STAGES]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        raise LopsidedError(f"no file '{source}', and no cell of that ID in '{store}'; {_hint(source)}")
    folder = folder.resolve()
    # A cell lies in <store>/cells/<stage>/<id>.
    stage, cell = folder.parent.name, folder.name
    if stage not in STAGES:
        raise LopsidedError(f"'{source}' is no cell that trains a generator; those are {' and '.join(STAGES)} cells")
    status = Store(folder.parents[2]).status(stage, cell)
    if status.state != "done":
        raise LopsidedError(f"cell {cell} is {status.state}{f': {status.reason}' if status.reason else ''}")
    return folder / GENERATOR, {"stage": stage, "cell": cell}


def _hint(source: str) -> str:
    from ..sr.generators import list_generators

    if source in list_generators():
        return f"it is an architecture: --generator FILE --generator-name {source} --scale N"
    return "give a file of weights, a cell's folder, or --store"


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[float, int, str], None]]:
    """Show a bar with rate and time left on a terminal, and a line every quarter of a minute in a log."""
    began = last_line = time.monotonic()

    def rate(done: float, total: int) -> str:
        elapsed = time.monotonic() - began
        if not done:
            return ""
        each = elapsed / done
        speed = f"{1 / each:.1f} images/s" if each < 1 else f"{each:.1f} s an image"
        return f"{speed}  {timedelta(seconds=round(each * (total - done)))} left"

    columns = (TextColumn("restoring"), BarColumn(24), TextColumn("{task.fields[note]}", markup=False))
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=None, note="")

        def show(done: float, total: int, name: str) -> None:
            nonlocal last_line
            note = f"{int(done)}/{total}  {rate(done, total)}  {name}"
            bar.update(task, completed=done, total=total, note=note)
            if not out.is_terminal and time.monotonic() - last_line >= PLAIN_SECONDS:
                last_line = time.monotonic()
                out.print(f"restoring {note}", highlight=False, markup=False, soft_wrap=True)

        yield show
