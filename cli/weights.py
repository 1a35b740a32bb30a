"""``lopsided weights list | fetch | verify``: files of pretrained weights, and whether they are what they should be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table

from ..common.errors import LopsidedError, did_you_mean
from ..common.identity import sha256_file

if TYPE_CHECKING:
    from ..backbones.files import WeightsFile
    from ..backbones.registry import BackboneSpec

app = typer.Typer(name="weights", help="List, fetch and verify files of pretrained weights.", no_args_is_help=True)
out = Console()
err = Console(stderr=True)

Keys = Annotated[list[str], typer.Argument(metavar="NAME", help="Keys of backbones or names of files, as listed.")]


@dataclass(frozen=True)
class Entry:
    """One origin of weights: a file, the backbone it belongs to, or both; random twins have no file."""

    key: str
    file: WeightsFile | None
    backbone: BackboneSpec | None


@app.command("list")
def list_files() -> None:
    """List every file of weights: what for, where from, and whether it is here. Nothing is read or fetched."""
    from ..backbones.files import MIRROR

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("what for, licence\n[dim]file, where from[/]", overflow="fold")
    table.add_column("state", no_wrap=True)
    mirror = urlsplit(os.environ.get(MIRROR, "")).netloc
    hub = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).netloc
    for entry in _entries():
        if file := entry.file:
            place = mirror or (hub if file.hub_id else urlsplit(file.url).netloc) or "no address"
            purpose = "backbone" if entry.backbone else file.purpose
            state = "[green]on disk[/]" if file.on_disk() else "not here"
            table.add_row(entry.key, f"{purpose}, {file.licence}\n[dim]{file.name}, {place}[/]", state)
    out.print(table)
    out.print("Every backbone has a twin, NAME-r, whose seeded random weights need no file.", highlight=False)


@app.command()
def fetch(
    names: Keys,
    to: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Offline folder to write into.")] = None,
) -> None:
    """Download files that are not here, verify them, and say where they are.

    An explicit wish for the network: HF_HUB_OFFLINE is not asked. Mirrors: LOPSIDED_MIRROR, HF_ENDPOINT.
    """
    from ..backbones import BackboneError

    counts = {"fetched": 0, "already here": 0, "failed": 0}
    for entry in _chosen(names):
        file, backbone = entry.file, entry.backbone
        try:
            if file is None:
                raise BackboneError("random weights are drawn from a seed; there is no file to fetch")
            found = file.on_disk() if to is None else path if (path := to / file.name).is_file() else None
            path = (found or file.fetch(to)).resolve()
            state = "already here" if found else "fetched"
            _line(state, entry.key, _verify(entry, path), path)
            if backbone and not file.sha256:
                pin = f"    no digest is published; pin these bytes by {{name: {backbone.name}, weights: {path}}}"
                out.print(pin, markup=False, soft_wrap=True, highlight=False)
        except (LopsidedError, OSError) as error:
            state = "failed"
            _line(state, entry.key, str(error))
        counts[state] += 1
    _summary(counts)
    if counts["failed"]:
        raise typer.Exit(1)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]", help="As listed; default: all.")] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="Add the known answers to this JSON file.")
    ] = None,
) -> None:
    """Check digest, names and shapes, and known answer of every file that is here.

    Exit status 1 if one is wrong, or if one that is named is not here.
    """
    from ..backbones import build_extractor, known_answers

    counts = {"verified": 0, "wrong": 0, "not here": 0}
    absent = []
    for entry in _chosen(names) if names else _entries():
        path = entry.file.on_disk() if entry.file else None
        if entry.file and path is None:
            absent.append(entry.key)
            continue
        try:
            state = "verified"
            _line(state, entry.key, _verify(entry, path), path)
            if record and entry.backbone:
                spec = _by_path(entry.backbone, path)
                known_answers.record(record, spec, path, build_extractor(spec))
        except (LopsidedError, OSError) as error:
            state = "wrong"
            _line(state, entry.key, str(error))
        counts[state] += 1
    counts["not here"] = len(absent)
    if absent:
        _line("not here", ", ".join(absent), "")
    _summary(counts)
    if counts["wrong"] or (names and absent):
        raise typer.Exit(1)


def _entries() -> list[Entry]:
    """Every file: those of backbones by the backbone's key, known copies and all others by the file's name."""
    from .. import losses  # noqa: F401  (registers its files)
    from ..backbones.files import registered_files
    from ..backbones.weights import published, weights_file

    backbones = [Entry(s.name if s.weights == "official" else s.weights, weights_file(s), s) for s in published()]
    return backbones + [Entry(file.name, file, None) for file in registered_files()]


def _chosen(names: list[str]) -> list[Entry]:
    from ..backbones import BackboneError, BackboneSpec, list_backbones

    twins = [Entry(name, None, BackboneSpec(name=name)) for name in list_backbones() if name.endswith("-r")]
    entries = _entries()
    # A file's own name is as good as the key of its backbone.
    known = {e.file.name: e for e in entries if e.file} | {entry.key: entry for entry in [*entries, *twins]}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, "see 'lopsided weights list'")
            raise BackboneError(f"no weights called '{name}'; {hint}")
    return list(dict.fromkeys(known[name] for name in names))


def _verify(entry: Entry, path: Path | None) -> str:
    """Return what was found right, and what could not be checked.

    Raises:
        LopsidedError: what is wrong.
    """
    from ..backbones import build_extractor, known_answers
    from ..backbones.weights import read_state

    right = []
    if entry.file and path:
        entry.file.check(path)
        right.append("digest right" if entry.file.sha256 else f"SHA-256 {sha256_file(path)}")
        if not entry.backbone:
            read_state(path)
            right.append("readable")
    if entry.backbone:
        spec = _by_path(entry.backbone, path)
        build_extractor(spec)  # loads strictly, and compares with the known answer
        known = known_answers.stored(spec, path)
        right += ["loads", "known answer right" if known else "no known answer stored"]
    return ", ".join(right)


def _by_path(spec: BackboneSpec, path: Path | None) -> BackboneSpec:
    return spec.model_copy(update={"weights": str(path)}) if path else spec


COLOURS = {"verified": "green", "fetched": "green", "wrong": "red", "failed": "red"}


def _line(state: str, key: str, text: str, path: Path | None = None) -> None:
    console = err if COLOURS.get(state) == "red" else out
    console.print(
        f"[{COLOURS.get(state, 'dim')}]{state}[/]  [bold]{key}[/]", end="  " if text else "\n", highlight=False
    )
    if text:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if path:
        console.print(f"    {path}", style="dim", markup=False, highlight=False, soft_wrap=True)


def _summary(counts: dict[str, int]) -> None:
    out.print(", ".join(f"{count} {state}" for state, count in counts.items()), highlight=False)
