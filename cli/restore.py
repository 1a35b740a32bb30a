"""``lopsided restore``: use a trained generator on images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from .options import RUNS, Architecture, CellStore, Device, Scale, Threads, flag


def restore(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An image, or a folder with its sub-folders.")],
    generator: Annotated[
        str,
        typer.Option(
            "--generator", metavar="FILE|CELL", help="File of weights; or the ID or folder of a finished cell."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", metavar="FOLDER", file_okay=False, help="Folder to write PNG files to.")
    ],
    name: Architecture = None,
    scale: Scale = None,
    store: CellStore = RUNS,
    tile: Annotated[
        int,
        typer.Option(
            "--tile", metavar="N", help="Side of a tile in low-resolution pixels; smaller tiles need less memory."
        ),
    ] = 192,
    overlap: Annotated[
        int, typer.Option("--overlap", metavar="N", help="Low-resolution pixels that neighbouring tiles share.")
    ] = 32,
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="Tiles computed together.")] = 1,
    device: Device = "cpu",
    threads: Threads = 1,
    precision: Annotated[str, typer.Option("--precision", metavar="NAME", help="fp32, bf16 or fp16.")] = "fp32",
    alpha: Annotated[
        str,
        typer.Option("--alpha", metavar="WORD", help="keep or drop the transparency of images, or refuse such images."),
    ] = "keep",
    overwrite: Annotated[
        bool, flag("--overwrite", help="Restore images again that are in the folder already.")
    ] = False,
) -> None:
    """Restore images with a trained generator: enlarge them, or undo the degradation it was trained on.

    After Ctrl-C the same command continues. Images that cannot be read are named at the end; the others are restored.

    Example: lopsided restore photos --generator x4.safetensors --output restored
    """
    import torch

    from ..experiments import find_generator
    from ..sr.export import load_exported
    from ..sr.restore import Tiling
    from ..sr.restore_files import RestoreSettings, restore_folder

    torch.set_num_threads(threads)
    settings = RestoreSettings(Tiling(tile, overlap, batch), device, precision, alpha)  # pyright: ignore[reportArgumentType]
    loaded = load_exported(find_generator(generator, store)[0], name, scale)
    with console.resumable(), console.progress("restoring", "images") as progress:
        summary = restore_folder(source, output, loaded, settings, overwrite=overwrite, progress=progress)
    for path, reason in summary.failed:
        console.tell("failed", f"{path}: {reason}", problem=True)
    console.say(str(summary))
    if summary.failed:
        raise typer.Exit(console.FAILED)
