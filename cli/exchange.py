"""``lopsided exchange``: a benchmark for VLMEvalKit or lmms-eval, and VLMEvalKit's replies as a folder of ratings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .options import flag, key_values

if TYPE_CHECKING:
    from ..mllm import Benchmark, Preset

app = typer.Typer(
    name="exchange", help="Let VLMEvalKit or lmms-eval ask the questions of a benchmark.", no_args_is_help=True
)

KeyValues = list[str]
Name = Annotated[str, typer.Argument(metavar="BENCHMARK", help="Its name, such as jsonl; see docs/mllm_benchmarks.md.")]
Source = Annotated[Path, typer.Argument(metavar="PATH", help="Folder of the benchmark; for jsonl, the file.")]
PresetName = Annotated[
    str,
    typer.Option("--preset", metavar="NAME", help="What is asked and how replies are read; numeric works everywhere."),
]
Options = Annotated[KeyValues, typer.Option("--option", metavar="KEY=VALUE", help="Option of the preset (repeatable).")]
Reading = Annotated[
    KeyValues, typer.Option("--reader", metavar="KEY=VALUE", help="Option of the benchmark's reader (repeatable).")
]
Partial = Annotated[bool, flag("--partial", help="Accept fewer items than were published.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N items.")]


@app.command()
def to_vlmevalkit(
    benchmark: Name,
    path: Source,
    *,
    to: Annotated[Path, typer.Option("--to", metavar="FILE.tsv", help="The file, with images inside.")],
    preset: PresetName = "numeric",
    options: Options = [],  # noqa: B006 - typer reads the defaults
    reading: Reading = [],  # noqa: B006
    partial: Partial = False,
    limit: Limit = None,
) -> None:
    """Write a benchmark as a TSV file of VLMEvalKit.

    Example: lopsided exchange to-vlmevalkit jsonl data/own.jsonl --to LMUData/Own.tsv
    """
    from ..mllm.exchange import write_vlmevalkit

    found, asked = _opened(benchmark, path, preset, options, reading, partial)
    items = found.items[:limit]
    write_vlmevalkit(items, asked, to)
    console.say(f"{len(items)} items: {to}; next: python run.py --data {to.stem} --model MODEL")


@app.command()
def from_vlmevalkit(
    benchmark: Name,
    path: Source,
    *,
    file: Annotated[Path, typer.Option("--from", metavar="FILE", help="VLMEvalKit's result, .xlsx, .tsv or .csv.")],
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Name of the model that replied.")],
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Folder of results, which must hold none.")],
    preset: PresetName = "numeric",
    options: Options = [],  # noqa: B006
    reading: Reading = [],  # noqa: B006
    partial: Partial = False,
    limit: Limit = None,
) -> None:
    """Read VLMEvalKit's replies into a folder of ratings, as rate writes it; leaderboard takes it.

    Give the preset, options and limit with which the TSV file was written.

    Example: lopsided exchange from-vlmevalkit jsonl data/own.jsonl --from m_Own.xlsx --model m --to out/m
    """
    from ..mllm.exchange import read_vlmevalkit

    found, asked = _opened(benchmark, path, preset, options, reading, partial)
    rated = read_vlmevalkit(file, found, found.items[:limit], asked, model, to)
    counts = ", ".join(f"{count} {status}" for status, count in rated.run.statuses.most_common())
    console.say(f"{len(rated.run.rows)} items: {counts}; {to}")
    if rated.run.failed:
        raise typer.Exit(console.FAILED)


@app.command()
def to_lmms_eval(
    benchmark: Name,
    path: Source,
    *,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Folder for the tasks and their data.")],
    preset: PresetName = "numeric",
    options: Options = [],  # noqa: B006
    reading: Reading = [],  # noqa: B006
    partial: Partial = False,
    limit: Limit = None,
) -> None:
    """Write a benchmark as tasks of lmms-eval, which call this package to read replies and to measure.

    Example: lopsided exchange to-lmms-eval jsonl data/own.jsonl --to tasks
    """
    from ..mllm.exchange import write_lmms_tasks

    found, _ = _opened(benchmark, path, preset, options, reading, partial)
    names = write_lmms_tasks(found.items[:limit], preset, to, options=key_values("--option", options))
    console.say(f"next: lmms-eval --include_path {to} --tasks {','.join(names)} --model MODEL")


def _opened(
    name: str, path: Path, preset: str, options: KeyValues, reading: KeyValues, partial: bool
) -> tuple[Benchmark, Preset]:
    """Return the benchmark and the preset with its options."""
    from ..mllm import create_preset, open_benchmark

    found = open_benchmark(name, path, strict=not partial, **key_values("--reader", reading))
    for note in found.notes:
        console.tell("note", note)
    return found, create_preset(preset, **key_values("--option", options))
