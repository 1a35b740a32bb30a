"""``lopsided rate``: have a multimodal LLM, on this machine or behind a server, rate a benchmark or a folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.errors import LopsidedError
from . import console
from .options import Threads, flag, key_values, settings_from

if TYPE_CHECKING:
    import pandas as pd

    from ..experiments import BatchModel, LocalModel, ServedModel
    from ..mllm import BatchRequests, Benchmark, Item, Meter
    from ..mllm.rating_folder import Rated
    from ..mllm.scoring.preset import Preset

FAILURES_SHOWN = 5
LOW_MASS = 0.5  # of the candidates, below which most of the probability is for something else
EXTREMES_SHOWN = 5  # best and worst images of a folder
CHANGES_SHOWN, REPLY = 20, 60  # replies that are read otherwise, and characters of one
# The columns of the tables of metrics that are printed: first these words, then these values with their intervals.
WORDS = ("benchmark", "dimension", "reading", "of", "base")
SHOWN = {
    "ratings": ("srcc", "plcc", "krcc", "mae"),
    "choices": ("accuracy", "accuracy_valid", "chance"),
    "answers": ("accuracy", "accuracy_valid"),
    "entropy": ("entropy", "corrected", "normalised"),
    "retention": ("retention", "retention_valid"),
}
HERE, SERVED = "A model on this machine", "A model behind a server (--server)"

KeyValues = list[str]


def rate(
    benchmark: Annotated[
        str | None, typer.Argument(metavar="BENCHMARK", help="Its name, such as jsonl; see docs/mllm_benchmarks.md.")
    ] = None,
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="Folder of the benchmark; for jsonl, the file.")
    ] = None,
    *,
    to: Annotated[
        Path, typer.Option("--to", metavar="FOLDER", help="Folder of results, for one model, preset and benchmark.")
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="A folder, a name on the hub, or the server's name for it.")
    ],
    preset: Annotated[
        str,
        typer.Option("--preset", metavar="NAME", help="What is asked and how replies are read, such as q-align."),
    ],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="FOLDER", help="Rate the images of a folder and its sub-folders.")
    ] = None,
    dimension: Annotated[
        str | None,
        typer.Option("--dimension", metavar="NAME", help="What --images are rated for; default: the preset's first."),
    ] = None,
    options: Annotated[
        KeyValues, typer.Option("--option", metavar="KEY=VALUE", help="Option of the preset (repeatable).")
    ] = [],  # noqa: B006 - typer reads the default
    reading: Annotated[
        KeyValues,
        typer.Option("--reader", metavar="KEY=VALUE", help="Option of the benchmark's reader (repeatable)."),
    ] = [],  # noqa: B006
    partial: Annotated[bool, flag("--partial", help="Accept fewer items than were published.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Rate only the first N items.")
    ] = None,
    shuffle_seed: Annotated[
        int | None,
        typer.Option("--shuffle-seed", metavar="N", min=0, help="With --limit: a random sample, drawn with this seed."),
    ] = None,
    repeat: Annotated[
        int,
        typer.Option("--repeat", metavar="N", min=1, help="Ask each question N times, and show how replies differ."),
    ] = 1,
    sort: Annotated[
        str, typer.Option("--sort", metavar="WORD", help="Order of --images on the screen: value (best first) or name.")
    ] = "value",
    reparse: Annotated[
        Path | None,
        typer.Option(
            "--reparse", metavar="RUN", help="Read the replies kept in this folder of results again; no model is asked."
        ),
    ] = None,
    reply_judge: Annotated[
        str | None,
        typer.Option(
            "--reply-judge",
            metavar="MODEL",
            help="Another model that reads the replies which the preset cannot read; counted and named in all tables.",
        ),
    ] = None,
    judge_server: Annotated[
        str | None,
        typer.Option("--judge-server", metavar="URL", help="The server of --reply-judge; default: it runs here."),
    ] = None,
    export_batch: Annotated[
        Path | None,
        typer.Option(
            "--export-batch",
            metavar="FOLDER",
            help="Ask nothing: write the questions as OpenAI batch files (docs/exchange.md).",
            rich_help_panel=SERVED,
        ),
    ] = None,
    import_batch: Annotated[
        Path | None,
        typer.Option(
            "--import-batch",
            metavar="FOLDER",
            help="Take the replies from the results of these batch files, put into the same folder.",
            rich_help_panel=SERVED,
        ),
    ] = None,
    threads: Threads = 1,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:N, mps or auto.", rich_help_panel=HERE)
    ] = "cpu",
    dtype: Annotated[
        str,
        typer.Option("--dtype", metavar="NAME", help="auto, float32, bfloat16 or float16.", rich_help_panel=HERE),
    ] = "auto",
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, help="Prompts computed together.", rich_help_panel=HERE)
    ] = 16,
    engine: Annotated[
        str,
        typer.Option(
            "--engine", metavar="NAME", help="What runs it: transformers, or vllm on a GPU.", rich_help_panel=HERE
        ),
    ] = "transformers",
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="NAME", help="Revision on the hub.", rich_help_panel=HERE)
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option("--max-pixels", metavar="N", help="Reduce larger images to N pixels.", rich_help_panel=HERE),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            help="An OpenAI-compatible server, such as http://127.0.0.1:8000/v1.",
            rich_help_panel=SERVED,
        ),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency", metavar="N", min=1, help="Requests under way at one time, at most.", rich_help_panel=SERVED
        ),
    ] = 32,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", help="Longest time for one request.", rich_help_panel=SERVED),
    ] = 120.0,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            "--api-key-env",
            metavar="NAME",
            help="Environment variable that holds the server's key.",
            rich_help_panel=SERVED,
        ),
    ] = None,
    logprobs: Annotated[
        str,
        typer.Option(
            "--logprobs",
            metavar="WORD",
            help="How to get level probabilities: auto, chat, decision or none; see docs/servers.md.",
            rich_help_panel=SERVED,
        ),
    ] = "auto",
    top_logprobs: Annotated[
        int,
        typer.Option(
            "--top-logprobs",
            metavar="N",
            min=1,
            help="How many of the most probable tokens to ask for.",
            rich_help_panel=SERVED,
        ),
    ] = 20,
    prefix: Annotated[
        str,
        typer.Option(
            "--prefix",
            metavar="WORD",
            help="For presets that begin the answer: continue if the server can continue it, else refuse.",
            rich_help_panel=SERVED,
        ),
    ] = "refuse",
    fields: Annotated[
        KeyValues,
        typer.Option(
            "--field", metavar="KEY=VALUE", help="Further field of every request (repeatable).", rich_help_panel=SERVED
        ),
    ] = [],  # noqa: B006
    prices: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--prices",
            metavar="IN OUT",
            help="Price of a million tokens read, and of a million written; the cost is then shown.",
            rich_help_panel=SERVED,
        ),
    ] = None,
) -> None:
    """Rate the items of a benchmark or the images of a folder, and print how well the ratings agree with people.

    Of a folder's images the best and the worst are printed.

    Nothing is asked twice: after Ctrl-C, or if some items got no reply, the same command continues.

    Example: lopsided rate --images photos --model models/tiny --preset numeric --to out/photos
    """
    import torch

    from ..common.devices import check_device
    from ..experiments import BatchModel, LocalModel, ServedModel, provenance
    from ..mllm import BatchRequests, BatchResults, Meter, rate_into, reparse_into
    from ..mllm.rating import CHUNK
    from ..mllm.rating_folder import chosen

    torch.set_num_threads(threads)
    common = {"model": model, "preset": preset, "options": key_values("--option", options)}
    if reply_judge is not None:
        if reparse is not None:
            raise LopsidedError("--reparse asks no model, so that --reply-judge cannot be used; leave one out")
        common["reply_judge"] = {"model": reply_judge, "server": judge_server}
    elif judge_server is not None:
        raise LopsidedError("--judge-server is the server of a judge of replies: name its model by --reply-judge")
    batch_folder = export_batch or import_batch
    if batch_folder is not None:
        if server is not None or (export_batch and import_batch):
            raise LopsidedError("give one of --export-batch, --import-batch and --server")
        settings = settings_from(BatchModel, **common, top_logprobs=top_logprobs, fields=key_values("--field", fields))
    elif server is None:
        if device != "auto":
            check_device(device)
        local = {"revision": revision, "dtype": dtype, "batch": batch, "max_pixels": max_pixels, "engine": engine}
        settings = settings_from(LocalModel, **common, **local)
    else:
        served = {"server": server, "concurrency": concurrency, "timeout": timeout, "api_key_env": api_key_env}
        served |= {"logprobs": logprobs, "top_logprobs": top_logprobs, "prefix": prefix}
        settings = settings_from(ServedModel, **common, **served, fields=key_values("--field", fields))
    found = _benchmark(benchmark, path, images, dimension, settings, key_values("--reader", reading), not partial)
    for note in found.notes:
        console.tell("note", note)
    if sort not in ("value", "name"):
        raise LopsidedError(f"--sort {sort}: is value or name")
    if shuffle_seed is not None and limit is None:
        raise LopsidedError("--shuffle-seed draws a sample: give its size by --limit")
    if isinstance(settings, BatchModel):
        assert batch_folder is not None  # noqa: S101
        options_ = {"top_logprobs": settings.top_logprobs, "fields": settings.fields}
        if export_batch:
            _export(
                BatchRequests(settings.model, export_batch, **options_),
                settings.asked,
                chosen(found, limit, shuffle_seed, repeat),
            )
            return
        meter = Meter(settings.model_name, lambda: BatchResults(settings.model, batch_folder, **options_))
    else:
        meter = Meter(settings.model_name, lambda: settings.backend(device))
    if reparse is not None:
        rated, changes = reparse_into(to, reparse, found, settings.asked, asked=settings.content())
        _print_changes(changes, len(rated.run.rows))
        _print_results(rated, settings.asked, to, sort if images else "")
        _close(rated, meter, settings.asked)
        return
    with console.resumable(), console.progress("rating", "items", "loading the model") as progress:
        rated = rate_into(
            to,
            found,
            meter,
            settings.asked,
            asked=settings.content(),
            judge=settings.judge(device),
            limit=limit,
            shuffle_seed=shuffle_seed,
            repeat=repeat,
            chunk=CHUNK if isinstance(settings, BatchModel) else settings.chunk,
            prices=prices,
            provenance=provenance(threads, device),
            progress=progress,
        )
    _print_results(rated, settings.asked, to, sort if images else "")
    _close(rated, meter, settings.asked)


def _benchmark(
    name: str | None,
    path: Path | None,
    images: Path | None,
    dimension: str | None,
    settings: BatchModel | LocalModel | ServedModel,
    options: dict[str, Any],
    strict: bool,
) -> Benchmark:
    """Read the benchmark, or make one of a folder's images."""
    from ..mllm import folder_benchmark, open_benchmark

    if images is None:
        if name is None or path is None:
            raise LopsidedError("give BENCHMARK and PATH, or --images FOLDER")
        if dimension is not None:
            raise LopsidedError("--dimension is for --images; a benchmark's items say what they are rated for")
        return open_benchmark(name, path, strict=strict, **options)
    if name is not None:
        raise LopsidedError("give BENCHMARK and PATH, or --images FOLDER, not both")
    rated = dimension or settings.rated
    _ = settings.asked.scale(rated or None)  # raises if the preset does not rate that
    return folder_benchmark(images, rated)


def _export(batch: BatchRequests, preset: Preset, items: Sequence[Item]) -> None:
    """Write the questions as batch files, and say which could not be written."""
    from ..mllm import write_questions

    unwritten = write_questions(batch, preset, items)
    failures = [f"{row['item']}: {row['raw']}" for row in unwritten]
    console.some("not written", failures, FAILURES_SHOWN, "the rest are written", problem=True)
    files = len(set(batch.ids.values()))
    console.say(f"{len(batch.ids)} requests about {len(items)} items in {files} batch file(s): ", str(batch.folder))
    if unwritten:
        raise typer.Exit(console.FAILED)


def _print_results(rated: Rated, preset: Preset, folder: Path, sort: str) -> None:
    """Print the images of a folder in an order ("" for a benchmark), and the metrics under the scorer's name."""
    if sort:
        _print_images(rated, preset, folder, sort)
    shown = [(name, metrics) for name, metrics in rated.metrics.items() if name in SHOWN]
    if shown:
        console.say("scorer: ", rated.scores["scorer"].iloc[0])
    if "repeats" in rated.metrics:
        _print_repeats(rated.metrics["repeats"])
    for name, metrics in shown:
        _print(name, metrics, SHOWN[name])


def _print_repeats(spread: pd.DataFrame) -> None:
    """Say how much the replies to the same question differ."""
    same = int(spread["same"].sum())
    line = f"asked {spread['n'].max()} times: {same} of {len(spread)} questions got the same answer each time"
    sd = spread["sd"].dropna()
    if len(sd) and same < len(spread):
        line += (
            f"; standard deviation of one image's ratings {float((sd**2).mean() ** 0.5):.3g}, at most {sd.max():.3g}"
        )
    console.say(line)


def _print_changes(changes: pd.DataFrame, n: int) -> None:
    """Print which replies are read otherwise than before."""
    from ..mllm.reparsing import CHANGES

    console.say(f"{len(changes)} of {n} replies are read otherwise than before")
    if changes.empty:
        return
    table = console.table("item", "before", "after", "reply", whole=["before", "after"])
    for row in changes.head(CHANGES_SHOWN).to_dict("records"):
        table.add_row(row["item"], row["before"], row["after"], _short(row["raw"]))
    console.show(table)
    if len(changes) > CHANGES_SHOWN:
        console.say(f"… and {len(changes) - CHANGES_SHOWN} more; {CHANGES} has them")


def _short(reply: str) -> str:
    """Return the beginning of a reply on one line."""
    reply = " ".join(reply.split())
    return reply if len(reply) <= REPLY else f"{reply[:REPLY]}…"


def _print(title: str, metrics: pd.DataFrame, values: Sequence[str]) -> None:
    if "reading" in metrics:  # where nothing failed, all readings of failures are the same
        metrics = metrics.loc[(metrics["n_valid"] < metrics["n"]) | (metrics["reading"] == metrics["reading"].iloc[0])]
    shown = [name for name in values if name in metrics]
    table = console.table(title, "valid", *shown, numbers=["valid", *shown])
    for row in metrics.to_dict("records"):
        of = ", ".join(str(row[name]) for name in WORDS if name in row)
        valid = f"{row['n_valid']}/{row['n']}" if "n_valid" in row else f"{row['n']}"
        table.add_row(of, valid, *(_cell(row, name) for name in shown))
    console.show(table)


def _print_images(rated: Rated, preset: Preset, folder: Path, sort: str) -> None:
    """Print the best and the worst images of a folder, or the first and the last by name."""
    from ..mllm.rating_folder import IMAGE_SCORES, image_scores

    scores = image_scores(rated).dropna(subset="value")
    if scores.empty:
        return
    if sort == "value":
        worst_first = not preset.scale(rated.scores["dimension"].iloc[0] or None).higher_is_better
        scores = scores.sort_values("value", ascending=worst_first, kind="stable")
    table = console.table("image", "value", numbers=["value"], whole=["image"])
    shown = list(zip(scores["image"], scores["value"], strict=True))
    half = EXTREMES_SHOWN if len(shown) > 2 * EXTREMES_SHOWN else len(shown)
    for name, value in shown[:half]:
        table.add_row(str(name), f"{value:.3f}")
    if half < len(shown):
        table.add_row(f"… {len(shown) - 2 * half} between …", "")
        for name, value in shown[-half:]:
            table.add_row(str(name), f"{value:.3f}")
    console.show(table)
    first = "best first" if sort == "value" else "by name"
    console.say(f"{rated.scores['scorer'].iloc[0]}, {first}; all are in ", str(folder / IMAGE_SCORES))


def _cell(row: dict[Any, Any], name: str) -> Any:
    value, low, high = (row.get(name + end, math.nan) for end in ("", "_low", "_high"))
    interval = "" if math.isnan(low) else f"\n{low:.2f} … {high:.2f}"
    return "–" if math.isnan(value) else console.text(f"{value:.3f}", (interval, "dim"))


def _close(rated: Rated, meter: Meter, preset: Preset) -> None:
    """Say what the run did; exit with status 1 if items have no reply."""
    from ..mllm.rating_folder import RESULTS

    run = rated.run
    failures = [f"{row['item']}: {row['raw']}" for row in run.failed]
    console.some("failed", failures, FAILURES_SHOWN, f"{RESULTS} has them", problem=True)
    counts = ", ".join(f"{count} {status}" for status, count in run.statuses.most_common())
    line = f"{len(run.rows)} items: {counts}; {run.asked} asked, {run.known} known before, {run.shared} equal to others"
    if run.asked:
        line += f"; {run.seconds:.1f} s, {run.asked / max(run.seconds, 1e-9):.1f} items/s"
        line += f", {meter.prompt_tokens} tokens read and {meter.new_tokens} written"
        line += f" (unknown for {meter.untold} prompts)" if meter.untold else ""
        line += "" if rated.cost is None else f", {rated.cost:.4g} at the prices given"
        line += "" if rated.batching is None else f"; batching moves log-probabilities by {rated.batching:.1g} at most"
    mass = rated.scores["mass"].median()
    line += "" if math.isnan(mass) else f"; median candidate mass {mass:.2f}"
    line += "; replies kept to a JSON schema" if preset.constrained else ""
    if judged := [row for row in run.rows if row["parsed_by"] == "judge"]:
        line += (
            f"; {sum(row['status'] == 'ok' for row in judged)} of {len(judged)} unparsable replies read by the judge"
        )
    console.say(line)
    if run.rows and not run.statuses["ok"] and (first := next((r for r in run.rows if r["status"] != "failed"), None)):
        console.tell(
            "warning",
            f"no reply has a value; the first, {first['status']}: {_short(first['raw'])}; take another preset or "
            "option (docs/scorers.md), or a model that follows instructions",
        )
    if mass < LOW_MASS:
        console.tell(
            "warning",
            f"the candidates have {mass:.2f} of the probability: this model would rather write something else, so that "
            "the values say little; take another preset, such as numeric",
        )
    if run.failed:
        some = "1 item has" if len(run.failed) == 1 else f"{len(run.failed)} items have"
        console.err.print(f"{some} no reply; the same command asks again", soft_wrap=True)
        raise typer.Exit(console.FAILED)
