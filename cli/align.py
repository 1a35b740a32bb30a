"""``lopsided align``: train a multimodal LLM to rate as people do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..common.errors import LopsidedError
from . import console
from .options import Device, Threads, flag


def align(
    config: Annotated[
        Path, typer.Argument(metavar="ALIGNMENT.yaml", help="The alignment file; see docs/alignment.md.")
    ],
    *,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", file_okay=False, help="Folder for all results.")
    ] = None,
    dry_run: Annotated[bool, flag("--dry-run", help="Check everything, and say what would be done.")] = False,
    threads: Threads = 1,
    device: Device = "cpu",
) -> None:
    """Train a multimodal LLM to rate: by imitation (sft), by rewards (grpo) or by preferences (dpo).

    After Ctrl-C or a kill the same command continues from the last checkpoint.

    Example: lopsided align cogip.yaml --to out/cogip
    """
    import torch

    from ..common.devices import check_device
    from ..mllm.align import align as carry_out
    from ..mllm.align import load_alignment, plan_alignment

    torch.set_num_threads(threads)
    check_device(device)
    plan = plan_alignment(load_alignment(config))
    for note in plan.notes:
        console.tell("note", note)
    for line in plan.lines():
        console.say(line)
    if dry_run:
        return
    if to is None:
        raise LopsidedError("give --to FOLDER for the results, or --dry-run")
    with console.resumable(), console.progress(plan.alignment.method, "steps", "loading the model") as progress:
        done = carry_out(plan, to, device=device, progress=progress)
    if done.resumed:
        console.say(f"continued from step {done.resumed}")
    if not done.evaluation.empty:
        numbers = ["n", "of", "srcc", "plcc", "rmse"]
        table = console.table("ratings", *numbers, numbers=numbers)
        for row in done.evaluation.to_dict("records"):
            values = (f"{row[name]}" if name in ("n", "of") else f"{row[name]:.3f}" for name in numbers)
            table.add_row(f"{row['set']}, {row['dimension']}, {row['ratings']}", *values)
        console.show(table)
    console.say(f"model: {done.model}")
