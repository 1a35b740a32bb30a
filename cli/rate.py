"""``lopsided rate``: put a benchmark or a folder of images to a multimodal LLM, here or behind a server."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from ..common.errors import LopsidedError
from ..common.files import atomic_path, write_json

if TYPE_CHECKING:
    import pandas as pd

    from ..experiments.schema.mllm import LocalModel, ServedModel
    from ..mllm import Run
    from ..mllm.backends.meter import Meter
    from ..mllm.benchmarks import Benchmark
    from ..mllm.item import Item
    from ..mllm.scoring.presets import Preset
    from ..mllm.scoring.scorer import Scorer

PLAIN_SECONDS = 15.0  # between two lines in a log
RESULTS, META, SCORES = "results.jsonl", "meta.json", "mllm_scores.parquet"
FAILURES_SHOWN = 5
WORDS = ("benchmark", "dimension", "reading", "of", "base")
# What is printed of the metrics' tables, a value with its interval where it has one.
WORDS = ("benchmark", "dimension", "reading", "of", "base")
SHOWN = {
    "ratings": ("srcc", "plcc", "krcc", "mae"),
    "choices": ("accuracy", "accuracy_valid", "chance"),
    "answers": ("accuracy", "accuracy_valid"),
    "entropy": ("entropy", "corrected", "normalised"),
    "retention": ("retention", "retention_valid"),
}

out = Console()
err = Console(stderr=True)


def rate(
    benchmark: Annotated[str | None, typer.Argument(metavar="BENCHMARK", help="Its name, such as jsonl.")] = None,
    path: Annotated[Path | None, typer.Argument(metavar="PATH", help="Its folder; of jsonl the file.")] = None,
    *,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder of the results, of one scorer.")],
    model: Annotated[str, typer.Option("--model", help="A folder, a name on the hub, or the server's name for it.")],
    preset: Annotated[str, typer.Option("--preset", help="What is asked and how replies are read, such as q-align.")],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Rate the images of a folder instead.")
    ] = None,
    dimension: Annotated[
        str | None, typer.Option("--dimension", help="What --images are rated for; default: the preset's first.")
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="An OpenAI-compatible server, up to and with /v1.")
    ] = None,
    options: Annotated[
        list[str], typer.Option("--option", metavar="KEY=VALUE", help="Option of the preset (repeatable).")
    ] = [],  # noqa: B006 - typer reads the default
    reading: Annotated[
        list[str], typer.Option("--reader", metavar="KEY=VALUE", help="Option of the benchmark's reader (repeatable).")
    ] = [],  # noqa: B006
    partial: Annotated[bool, typer.Option("--partial", help="Accept fewer items than were published.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many items.")] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:N, mps or auto.")] = "cpu",
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")] = "auto",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Prompts computed together.")] = 16,
    revision: Annotated[str | None, typer.Option("--revision", help="Revision on the hub.")] = None,
    max_pixels: Annotated[int | None, typer.Option("--max-pixels", help="Larger images are reduced.")] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads of torch.")] = 1,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Most requests at one time.")] = 32,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds that one request may take.")] = 120.0,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="Environment variable that holds the key.")
    ] = None,
    logprobs: Annotated[str, typer.Option("--logprobs", help="auto, chat, decision or none.")] = "auto",
    top_logprobs: Annotated[int, typer.Option("--top-logprobs", min=1, help="Most probable tokens to ask for.")] = 20,
    prefix: Annotated[
        str, typer.Option("--prefix", help="refuse, or continue: the server goes on with it.")
    ] = "refuse",
    fields: Annotated[
        list[str], typer.Option("--field", metavar="KEY=VALUE", help="Further field of every request (repeatable).")
    ] = [],  # noqa: B006
    prices: Annotated[
        tuple[float, float] | None,
        typer.Option("--prices", metavar="IN OUT", help="Of a million tokens read and written, for the closing line."),
    ] = None,
) -> None:
    """Rate a benchmark's items or a folder's images, and print the metrics; the same command goes on after a stop.

    Nothing is asked twice: a second run of the same command only computes the metrics again.
    """
    import torch

    from ..mllm import rate as rate_items
    from ..mllm.backends.meter import Meter
    from ..mllm.scoring.scorer import Scorer

    torch.set_num_threads(threads)
    common = {"model": model, "preset": preset, "options": _mapping("--option", options)}
    if server is None:
        settings = _settings(common, revision=revision, dtype=dtype, batch=batch, max_pixels=max_pixels)
    else:
        further = _mapping("--field", fields)
        served = {"api_key_env": api_key_env, "logprobs": logprobs, "top_logprobs": top_logprobs}
        served |= {"prefix": prefix, "fields": further}
        settings = _settings(common, server=server, concurrency=concurrency, timeout=timeout, **served)
    found = _benchmark(benchmark, path, images, dimension, settings, _mapping("--reader", reading), not partial)
    items = found.items[:limit]
    for note in found.notes:
        out.print(f"[yellow]note[/] {note}", highlight=False, soft_wrap=True)

    meta = _read_meta(to / META, found)
    meter = Meter(settings.model_name, lambda: settings.backend(device))
    scorer = Scorer(meter, settings.asked)
    remembered = meta.get("scorer_id") if meta.get("asked") == settings.content() else None
    try:
        with _progress() as progress:
            run = rate_items(
                scorer, items, to / RESULTS, chunk=settings.chunk, remembered=remembered, progress=progress
            )
    except KeyboardInterrupt:
        err.print("interrupted; the same command goes on")
        raise typer.Exit(130) from None
    if run.asked:
        meta |= _described(scorer, meter, settings, found)
        meta["runs"] = [*meta.get("runs", []), _accounted(run, meter, device, threads, prices)]
        write_json(to / META, meta)
    _write(to, items, run, settings.asked)
    _close(run, meter, prices, meta)


def _mapping(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE, with values as in YAML."""
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise LopsidedError(f"{option} {pair}: give KEY=VALUE")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise LopsidedError(f"{option} {pair}: the value is not YAML; put it in quotes") from None
    return found


def _settings(common: dict[str, Any], **given: Any) -> LocalModel | ServedModel:
    """Check what the options say of the scorer."""
    from pydantic import ValidationError

    from ..experiments.schema.mllm import LocalModel, ServedModel

    try:
        return (ServedModel if "server" in given else LocalModel)(**common, **given)
    except ValidationError as error:
        problem = error.errors()[0]
        cause = problem.get("ctx", {}).get("error")
        place = "--" + str(problem["loc"][0]).replace("_", "-") + ": " if problem["loc"] else ""
        raise LopsidedError(f"{place}{cause or problem['msg']}") from None


def _benchmark(
    name: str | None,
    path: Path | None,
    images: Path | None,
    dimension: str | None,
    settings: LocalModel | ServedModel,
    options: dict[str, Any],
    strict: bool,
) -> Benchmark:
    """Read the benchmark, or make one of a folder's images."""
    from ..mllm.benchmarks import open_benchmark

    if images is None:
        if name is None or path is None:
            raise LopsidedError("give BENCHMARK and PATH, or --images DIR")
        if dimension is not None:
            raise LopsidedError("--dimension is for --images; a benchmark's items say what they are rated for")
        return open_benchmark(name, path, strict=strict, **options)
    if name is not None:
        raise LopsidedError("give BENCHMARK and PATH, or --images DIR, not both")
    from ..common.sources import FolderSource
    from ..mllm.benchmarks import Benchmark
    from ..mllm.item import Item

    source = FolderSource(folder=images)
    rated = dimension or settings.rated
    _ = settings.asked.scale(rated or None)
    common: dict[str, Any] = {"benchmark": "images", "dimension": rated, "task": "rate"}
    listed = source.items()
    items = tuple(Item(**common, id=image.path.name, images=(image.path,)) for image in listed)
    return Benchmark("images", items, source.identity(listed))


def _read_meta(path: Path, benchmark: Benchmark) -> dict[str, Any]:
    """Return what is known of the folder's earlier runs; those must be of the same benchmark."""
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        name = meta["benchmark"]["name"]
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError):
        raise LopsidedError(f"'{path}' is damaged; delete it, the results themselves are beside it") from None
    if name != benchmark.name:
        raise LopsidedError(f"'{path.parent}' holds results of {name}, not of {benchmark.name}; give another folder")
    return meta


def _described(
    scorer: Scorer, meter: Meter, settings: LocalModel | ServedModel, benchmark: Benchmark
) -> dict[str, Any]:
    """Return what a reader of the results must know of scorer and benchmark."""
    return {
        "scorer": scorer.key,
        "scorer_id": scorer.identity,
        "definition": {**scorer.definition(), "model": meter.definition()},
        "asked": settings.content(),
        "reproduces": scorer.preset.reproduces,
        "unknown": scorer.preset.unknown,
        "benchmark": {
            "name": benchmark.name,
            "identity": benchmark.identity,
            "items": len(benchmark.items),
            "notes": list(benchmark.notes),
        },
    }


def _accounted(run: Run, meter: Meter, device: str, threads: int, prices: tuple[float, float] | None) -> dict[str, Any]:
    """Return what a run took, and by how much batching moves what it found."""
    from ..experiments.running.provenance import provenance

    return {
        **provenance(threads, device),
        "seconds": round(run.seconds, 3),
        "asked": run.asked,
        "known": run.known,
        "shared": run.shared,
        "statuses": dict(run.statuses),
        "prompts": meter.prompts,
        "prompt_tokens": meter.prompt_tokens,
        "new_tokens": meter.new_tokens,
        "prompts_of_untold_tokens": meter.untold,
        "cost": _cost(meter, prices),
        "batch_invariance": _batch_invariance(meter),
    }


def _batch_invariance(meter: Meter) -> dict[str, Any] | None:
    """Measure on a sample by how much batching moves log-probabilities; None where none were asked of a local model."""
    measure = getattr(meter.backend, "batch_invariance", None)
    if measure is None or meter.sample is None:
        return None
    prompts, candidates = meter.sample
    return {"prompts": len(prompts), "max_log_probability_difference": measure(prompts, candidates)}


def _cost(meter: Meter, prices: tuple[float, float] | None) -> float | None:
    if prices is None:
        return None
    return (meter.prompt_tokens * prices[0] + meter.new_tokens * prices[1]) / 1e6


def _write(to: Path, items: Sequence[Item], run: Run, preset: Preset) -> None:
    """Write the table and the metrics, and print the main ones."""
    from ..mllm.metrics.summary import summarise
    from ..mllm.table import scores_table, storable

    table = scores_table(items, run.rows)
    _store(storable(table), to / SCORES)
    for name, metrics in summarise(table, items, preset).items():
        _store(metrics, to / f"{name}.parquet")
        _store(metrics, to / f"{name}.csv")
        if name in SHOWN:
            _print(name, metrics, SHOWN[name])


def _store(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False) if path.suffix == ".parquet" else table.to_csv(temporary, index=False)


def _print(title: str, metrics: pd.DataFrame, values: Sequence[str]) -> None:
    if "reading" in metrics:  # without failures the readings of them are one
        metrics = metrics.loc[(metrics["n_valid"] < metrics["n"]) | (metrics["reading"] == metrics["reading"].iloc[0])]
    shown = [name for name in values if name in metrics]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(title, overflow="fold")
    for name in ("valid", *shown):
        table.add_column(name, justify="right", no_wrap=True)
    for row in metrics.to_dict("records"):
        of = ", ".join(str(row[name]) for name in WORDS if name in row)
        valid = f"{row['n_valid']}/{row['n']}" if "n_valid" in row else f"{row['n']}"
        table.add_row(of, valid, *(_cell(row, name) for name in shown))
    out.print(table)


def _cell(row: dict[Any, Any], name: str) -> str:
    value, low, high = (row.get(name + end, math.nan) for end in ("", "_low", "_high"))
    interval = "" if math.isnan(low) else f"\n[dim]{low:.2f} … {high:.2f}[/]"
    return "–" if math.isnan(value) else f"{value:.3f}{interval}"


def _close(run: Run, meter: Meter, prices: tuple[float, float] | None, meta: dict[str, Any]) -> None:
    """Say what the run did; exit with status 1 if items have no reply."""
    for row in run.failed[:FAILURES_SHOWN]:
        err.print("[red]failed[/] ", end="")
        err.print(f"{row['item']}: {row['raw']}", markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{count} {status}" for status, count in run.statuses.most_common())
    line = f"{len(run.rows)} items: {counts}; {run.asked} asked, {run.known} known before, {run.shared} equal to others"
    if run.asked:
        line += f"; {run.seconds:.1f} s, {run.asked / max(run.seconds, 1e-9):.1f} items/s"
        line += f", {meter.prompt_tokens} tokens read and {meter.new_tokens} written"
        line += f" (of {meter.untold} prompts unknown)" if meter.untold else ""
        cost = _cost(meter, prices)
        line += "" if cost is None else f", {cost:.4g} at the prices given"
        if moved := meta["runs"][-1]["batch_invariance"]:
            line += f"; batching moves log-probabilities by {moved['max_log_probability_difference']:.1g} at most"
    out.print(line, highlight=False, soft_wrap=True)
    if run.failed:
        err.print(f"{len(run.failed)} items have no reply; the same command asks them again", soft_wrap=True)
        raise typer.Exit(1)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar with rate and time left on a terminal, and a line every quarter of a minute in a log."""
    began = last_line = time.monotonic()
    columns = (TextColumn("rating"), BarColumn(24), TextColumn("{task.fields[note]}", markup=False))
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=None, note="loading the model")

        def show(done: int, total: int, name: str) -> None:
            nonlocal last_line
            speed = done / max(time.monotonic() - began, 1e-9)
            left = timedelta(seconds=round((total - done) / max(speed, 1e-9)))
            note = f"{done}/{total}  {speed:.1f} items/s  {left} left  {name}"
            bar.update(task, completed=done, total=total, note=note)
            if not out.is_terminal and time.monotonic() - last_line >= PLAIN_SECONDS:
                last_line = time.monotonic()
                out.print(f"rating {note}", highlight=False, markup=False, soft_wrap=True)

        yield show
