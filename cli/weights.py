"""``lopsided weights list | fetch | verify``: files of pretrained weights, and whether they are the right ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from ..common.errors import LopsidedError
from . import console

app = typer.Typer(name="weights", help="List, download and verify files of pretrained weights.", no_args_is_help=True)

NAME = "Name from 'lopsided weights list', or the name of a file"


@app.command("list")
def list_files() -> None:
    """List every file of weights: what for, from where, and whether it is here. Nothing is read or downloaded.

    Example: lopsided weights list
    """
    from .. import losses  # noqa: F401 - registers its files
    from ..backbones.files import MIRROR
    from ..backbones.inventory import inventory

    table = console.table("name", "what for, licence, file, where from", "state", whole=["name", "state"])
    mirror = urlsplit(os.environ.get(MIRROR, "")).netloc
    hub = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).netloc
    for entry in inventory():
        if file := entry.file:
            place = mirror or (hub if file.hub_id else urlsplit(file.url).netloc) or "no address"
            purpose = "backbone" if entry.backbone else file.purpose
            about = console.text(f"{purpose}, {file.licence}", (f"\n{file.name}, {place}", "dim"))
            table.add_row(entry.key, about, console.state("on disk" if file.on_disk() else "not here"))
    console.show(table)
    console.say("Every backbone also has a twin, NAME-r, with seeded random weights, which needs no file.")


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help=f"{NAME}.")],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FOLDER",
            file_okay=False,
            help="Folder to write to; set LOPSIDED_WEIGHTS to it to use the files.",
        ),
    ] = None,
) -> None:
    """Download files of weights that are not here, verify them, and say where they are.

    It uses the network even if HF_HUB_OFFLINE is set. LOPSIDED_MIRROR and HF_ENDPOINT name mirrors.

    Example: lopsided weights fetch vgg16 dinov2_vits14 --to weights
    """
    from .. import losses  # noqa: F401 - registers its files
    from ..backbones import BackboneError
    from ..backbones.inventory import find_entries, verify_entry

    counts = {"fetched": 0, "already here": 0, "failed": 0}
    for entry in find_entries(names):
        file, backbone = entry.file, entry.backbone
        try:
            if file is None:
                raise BackboneError("random weights are drawn from a seed; there is no file to fetch")
            found = file.on_disk() if to is None else path if (path := to / file.name).is_file() else None
            path = (found or file.fetch(to)).resolve()
            state = "already here" if found else "fetched"
            _line(state, entry.key, verify_entry(entry, path), path)
            if backbone and not file.sha256:
                pin = f"{{name: {backbone.name}, weights: {path}}}"
                console.say(f"    its authors publish no digest; to be sure to use these very bytes, write {pin}")
        except (LopsidedError, OSError) as error:
            state = "failed"
            _line(state, entry.key, console.explain(error))
        counts[state] += 1
    _summary(counts)
    if counts["failed"]:
        raise typer.Exit(console.FAILED)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help=f"{NAME}; default: all.")] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record", metavar="FILE", help="Add the outputs to this JSON file, as known answers to check by."
        ),
    ] = None,
) -> None:
    """Verify the files of weights that are here: digest, names and shapes, and the network's output on a test image.

    Exit status 1 if one is wrong, or if one that you name is not here.

    Example: lopsided weights verify vgg16
    """
    from .. import losses  # noqa: F401 - registers its files
    from ..backbones import build_extractor, known_answers
    from ..backbones.inventory import find_entries, inventory, verify_entry

    counts = {"verified": 0, "wrong": 0, "not here": 0}
    absent = []
    for entry in find_entries(names) if names else inventory():
        path = entry.file.on_disk() if entry.file else None
        if entry.file and path is None:
            absent.append(entry.key)
            continue
        try:
            state = "verified"
            _line(state, entry.key, verify_entry(entry, path), path)
            if record and (spec := entry.at(path)):
                known_answers.record(record, spec, path, build_extractor(spec))
        except (LopsidedError, OSError) as error:
            state = "wrong"
            _line(state, entry.key, console.explain(error))
        counts[state] += 1
    counts["not here"] = len(absent)
    if absent:
        console.tell("not here", ", ".join(absent))
    _summary(counts)
    if counts["wrong"] or (names and absent):
        raise typer.Exit(console.FAILED)


def _line(state: str, key: str, about: str, path: Path | None = None) -> None:
    where = [(f"\n    {path}", "dim")] if path else []
    console.tell(state, (key, "bold"), f": {about}", *where, problem=state in ("wrong", "failed"))


def _summary(counts: dict[str, int]) -> None:
    console.say(", ".join(f"{count} {state}" for state, count in counts.items()))
