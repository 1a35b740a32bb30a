"""``lopsided align``: train a multimodal LLM to rate as people do; ``align probe``: is it cheated as a reward?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..common.errors import LopsidedError
from . import console
from .options import Device, Open, Threads, flag, key_values, settings_from

if TYPE_CHECKING:
    from PIL import Image

    from ..iqa import Judge
    from ..mllm.align import Probe


class _FileFirst(TyperGroup):
    """Takes ``lopsided align FILE`` as ``lopsided align train FILE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and "--help" not in args[:1]:
            args = ["train", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="align",
    cls=_FileFirst,
    help="Train a multimodal LLM to rate; find out whether a generator cheats a reward.",
    no_args_is_help=True,
)


@app.command()
def train(
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

    The word train can be left out.

    Example: lopsided align train cogip.yaml --to out/cogip
    """
    import torch

    from ..common.devices import check_device
    from ..mllm.align import align as carry_out
    from ..mllm.align import load_alignment, plan_alignment

    torch.set_num_threads(threads)
    check_device(device)
    plan = plan_alignment(load_alignment(config), device=device)
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
            values = (f"{row[name]:.3f}" if isinstance(row[name], float) else f"{row[name]}" for name in numbers)
            table.add_row(f"{row['set']}, {row['dimension']}, {row['ratings']}", *values)
        console.show(table)
    console.say(f"model: {done.model}")


@app.command()
def probe(
    images: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGES", help="Folder with one sub-folder per checkpoint, each with images and images.csv."
        ),
    ],
    *,
    judges: Annotated[
        list[str],
        typer.Option(
            "--judge",
            "-j",
            metavar="KEYS",
            help="Held-out no-reference judges with commas between them, of other families than the reward "
            "(repeatable); lopsided score --list shows them.",
        ),
    ],
    distance: Annotated[
        str,
        typer.Option(
            "--distance",
            metavar="KEY",
            help="Measure of how far two images are apart, for diversity and distance; "
            "rms is the root mean square of pixels.",
        ),
    ] = "rms",
    fidelity: Annotated[
        str,
        typer.Option("--fidelity", metavar="MODEL", help="Multimodal LLM that says whether images show their prompts."),
    ] = "",
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            metavar="NAME",
            help="Checkpoint drawn before training, to compare with; default: the one with the lowest number.",
        ),
    ] = "",
    limits: Annotated[
        list[str],
        typer.Option("--limit", metavar="KEY=VALUE", help="Where an alarm begins, such as diversity=0.9 (repeatable)."),
    ] = [],  # noqa: B006 - typer reads the default
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with curves and images.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the scores of all images.")] = None,
    open_: Open = False,
    threads: Threads = 1,
    device: Device = "cpu",
) -> None:
    """Find out whether a generator cheats its reward: held-out judges, fidelity, diversity, distance, blank images.

    Exit status 3 if there is an alarm, so that a script can stop the training; 1 is an error.

    Example: lopsided align probe out/drawn --judge niqe,musiq --distance dists --html out/probe.html
    """
    import torch

    from ..analysis.report import verdicts, write_probe
    from ..common.devices import check_device
    from ..iqa import build_judges
    from ..mllm.align import Limits, pixel_distance, read_checkpoints, shows_prompt
    from ..mllm.align import probe as carry_out
    from ..mllm.backends import TransformersBackend

    torch.set_num_threads(threads)
    check_device(device)
    if folders := [file for file in (html, csv) if file and file.is_dir()]:
        raise LopsidedError(f"{folders[0]} is a folder; name a file in it")
    settings = settings_from(Limits, Limits.model_fields, **key_values("--limit", limits))
    drawn = read_checkpoints(images)
    keys = [key.strip() for value in judges for key in value.split(",") if key.strip()]
    with console.progress("probing", "checkpoints", "loading the judges") as progress:
        held_out = {judge.spec.key: _scores(judge) for judge in build_judges(keys, references=False, device=device)}
        apart = pixel_distance
        if distance != "rms":
            apart = _distances(build_judges([distance], references=True, device=device)[0])
        shows = shows_prompt(TransformersBackend(fidelity, device=device)) if fidelity else None
        found = carry_out(
            drawn,
            held_out,
            distance=apart,
            fidelity=shows,
            reference=reference,
            limits=settings,
            progress=progress,
        )
    _print(found)
    if csv is not None:
        from ..common.files import atomic_path
        from ..common.spreadsheets import without_formulas

        with atomic_path(csv) as temporary:
            without_formulas(found.images.drop(columns="path")).to_csv(temporary, index=False)
        console.say(f"scores: {csv}")
    if html is not None:
        write_probe(found, html)
        console.page("page", html, open_)
    if not fidelity:
        console.tell("note", "fidelity to the prompts was not judged; --fidelity MODEL does it")
    for verdict, *reasons in verdicts(found):
        console.tell("alarm" if reasons else "ok", verdict, problem=bool(reasons))
        for reason in reasons:
            console.tell("alarm", reason, problem=True)
    if not found.alarms.empty:
        raise typer.Exit(console.ALARM)


def _tensor(image: Image.Image, device: str) -> Any:
    import numpy as np

    from ..common.images import to_tensor

    return to_tensor(np.asarray(image)).to(device)


def _scores(judge: Judge) -> Callable[[Sequence[Image.Image]], list[float]]:
    """Return a no-reference judge as a function of images, higher is better."""
    import torch

    sign = -1 if judge.lower_is_better else 1

    def score(image: Image.Image) -> float:
        tensor = _tensor(image, judge.device)
        try:
            return sign * judge.score(tensor, tensor).item()
        except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage]
            return float("nan")  # statistics of scenes are not defined for a blank image

    return lambda images: [score(image) for image in images]


def _distances(measure: Judge) -> Callable[[Sequence[Image.Image], Sequence[Image.Image]], list[float]]:
    """Return a measure as a function of pairs of images, 0 for equal ones."""
    if not measure.lower_is_better:
        raise LopsidedError(f"--distance {measure.spec.key}: it grows with likeness; take one that grows with distance")

    def apart(images: Sequence[Image.Image], others: Sequence[Image.Image]) -> list[float]:
        device = measure.device
        pairs = zip(images, others, strict=True)
        return [measure.score(_tensor(one, device), _tensor(other, device)).item() for one, other in pairs]

    return apart


def _print(found: Probe) -> None:
    scores = ["reward", *found.judges, *(["fidelity"] if found.fidelity else [])]
    numbers = [*scores, "diversity", "distance", "blank"]
    table = console.table("checkpoint", *numbers, numbers=numbers, whole=["checkpoint"])
    for row in found.table.to_dict("records"):
        means = (f"{row[name]:.3f} ({row[f'{name}_change']:+.1f})" for name in scores)
        rest = f"{row['diversity']:.3f} ({row['diversity_share']:.0%})", f"{row['distance']:.3f}", f"{row['blank']:.0%}"
        table.add_row(str(row["checkpoint"]), *means, *rest)
    console.show(table)
