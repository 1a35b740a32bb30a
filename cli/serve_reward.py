"""``lopsided serve-reward``: a multimodal LLM as a reward of images, behind HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from ..common.errors import LopsidedError
from . import console
from .options import Device, Threads, key_values, settings_from

KeyValues = list[str]


def serve_reward(
    *,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="A folder, or a name on the hub.")],
    preset: Annotated[
        str, typer.Option("--preset", metavar="NAME", help="What is asked and how replies are read, such as q-align.")
    ],
    options: Annotated[
        KeyValues, typer.Option("--option", metavar="KEY=VALUE", help="Option of the preset (repeatable).")
    ] = [],  # noqa: B006 - typer reads the default
    dimensions: Annotated[
        KeyValues,
        typer.Option(
            "--dimension",
            metavar="NAME=WEIGHT",
            help="What is rated, and its weight (repeatable); default: the preset's first.",
        ),
    ] = [],  # noqa: B006
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen at; there is no authentication.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port; 0: a free one.")] = 8600,
    queue: Annotated[
        int, typer.Option("--queue", metavar="N", min=1, max=10_000, help="Requests that wait, at most.")
    ] = 128,
    most_bytes: Annotated[
        int, typer.Option("--max-bytes", metavar="N", min=1, help="Bytes of a request, at most.")
    ] = 64 << 20,
    most_pixels: Annotated[
        int, typer.Option("--max-pixels", metavar="N", min=1, help="Pixels of an image, at most.")
    ] = 16 << 20,
    dtype: Annotated[str, typer.Option("--dtype", metavar="NAME", help="auto, float32, bfloat16 or float16.")] = "auto",
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Prompts computed together.")] = 16,
    threads: Threads = 1,
    device: Device = "cpu",
) -> None:
    """Serve rewards of images over HTTP until Ctrl-C; see docs/alignment.md for the format.

    Example: lopsided serve-reward --model out/cogip/model --preset cogip --dimension aesthetics=1
    """
    import torch

    from ..common.devices import check_device
    from ..experiments import LocalModel
    from ..mllm import Scorer
    from ..mllm.align import RewardModel, RewardService

    torch.set_num_threads(threads)
    check_device(device)
    values = {"model": model, "preset": preset, "options": key_values("--option", options)}
    settings = settings_from(LocalModel, **values, dtype=dtype, batch=batch)
    weights = key_values("--dimension", dimensions)
    if wrong := [name for name, weight in weights.items() if not isinstance(weight, int | float)]:
        raise LopsidedError(f"--dimension {wrong[0]}: the weight must be a number, got {weights[wrong[0]]!r}")
    reward = RewardModel(Scorer(settings.backend(device), settings.asked), weights or None)
    try:
        service = RewardService(
            reward, host=host, port=port, queue=queue, most_bytes=most_bytes, most_pixels=most_pixels
        )
    except OSError as error:
        raise LopsidedError(f"cannot listen at {host}:{port}: {error.strerror or error}") from None
    if not service.loopback:
        console.tell("warning", f"anybody who reaches {service.url} can use this model: there is no authentication")
    console.say(f"{reward.scorer.key} at {service.url}/reward")
    service.serve()
