"""Flow-GRPO: a flow-matching generator of images learns from a reward.

The generator's velocity ``v`` carries noise (time 1) to images (time 0) along an ordinary differential equation. While
training, each step adds noise, in a way that leaves what is drawn the same at every time; a step is then a draw from a
normal distribution, whose probability a policy gradient can raise or lower.

Source: Liu et al., "Flow-GRPO: Training Flow Matching Models via Online RL", arXiv:2505.05470. The penalty here is on
the difference of velocities from the start, of which their KL term is a multiple that depends on the time.
"""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ...common.errors import one_line
from ...common.fields import NUMBER, STEPS, Settings
from ...common.files import atomic_path, write_text
from ..errors import MllmError
from .reward_model import Images

Velocity = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
Reward = Callable[[Images, Sequence[str]], tuple[Sequence[float], Any]]
STATE, LOG = "state.pt", "log.jsonl"


class FlowGrpo(Settings):
    """How a generator learns.

    Examples:
        >>> FlowGrpo(updates=40).penalty
        0.04
    """

    updates: int = Field(default=100, ge=1, le=STEPS, description="Updates of the weights.")
    group: int = Field(default=8, ge=2, le=1024, description="Images per prompt and update.")
    steps: int = Field(default=8, ge=2, le=1000, description="Steps from noise to image.")
    trained: int = Field(default=4, ge=1, le=1000, description="Steps per update to train on, chosen by chance.")
    noise: float = Field(default=0.7, gt=0, le=10, description="How much noise a step of training adds.")
    rate: float = Field(default=1e-4, gt=0, le=1, description="Learning rate of AdamW.")
    penalty: float = Field(
        default=0.04, ge=0, le=NUMBER, description="Weight of the squared difference of velocities from the start."
    )
    save_every: int = Field(default=10, ge=1, le=STEPS, description="Updates between checkpoints.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of noise and of the choice of steps.")


def times(steps: int) -> Tensor:
    """Return the times of drawing: ``steps`` + 1 from 1, which is noise, to 0, which is an image."""
    return torch.linspace(1, 0, steps + 1)


def noisy_step(latents: Tensor, velocity: Tensor, time: float, to: float, noise: float) -> tuple[Tensor, float]:
    """Return mean and standard deviation of the next latents.

    With σ = ``noise`` √(t / (1 − t)) the mean is x + (v + σ² / 2t · (x + (1 − t) v)) Δt, and the standard deviation
    σ √|Δt|. Without noise it is a step of Euler's. At time 1, where σ has no limit, it is that of the next time.

    Args:
        latents: x, ``(N, …)``.
        velocity: v, of the same shape.
        time: t.
        to: t + Δt, less than t.
        noise: how much is added.

    Examples:
        >>> mean, deviation = noisy_step(torch.ones(1), torch.ones(1), 0.5, 0.25, 0.0)
        >>> mean.item(), deviation
        (0.75, 0.0)
    """
    span = to - time
    at = time if time < 1 else to
    sigma = noise * (at / (1 - at)) ** 0.5
    drift = velocity + sigma**2 / (2 * time) * (latents + (1 - time) * velocity)
    return latents + drift * span, sigma * (-span) ** 0.5


@torch.inference_mode()
def draw(model: nn.Module, velocity: Velocity, latents: Tensor, condition: Tensor, steps: int) -> Tensor:
    """Draw images without added noise, as a trained generator is used.

    Args:
        model: the generator.
        velocity: function of the model, latents ``(N, …)``, times ``(N,)`` and conditions ``(N, …)``.
        latents: standard normal noise, ``(N, …)``.
        condition: what each is of, ``(N, …)``.
        steps: from noise to image.

    Returns:
        Latents at time 0.
    """
    at = times(steps).tolist()
    for time, to in pairwise(at):
        latents = latents + velocity(model, latents, latents.new_full((len(latents),), time), condition) * (to - time)
    return latents


def flow_grpo(
    model: nn.Module,
    velocity: Velocity,
    prompts: Sequence[str],
    conditions: Tensor,
    reward: Reward,
    shape: Sequence[int],
    settings: FlowGrpo,
    folder: str | Path,
    *,
    decode: Callable[[Tensor], Tensor] = lambda latents: latents,
    stop: Callable[[int, nn.Module], bool] = lambda _updates, _model: False,
) -> int:
    """Train a generator in place; after an interruption or a kill the same call continues from its last checkpoint.

    Args:
        model: the generator as it is before training: the penalty compares with it.
        velocity: see :func:`draw`.
        prompts: what is drawn.
        conditions: of the prompts, ``(prompts, …)``.
        reward: function of images and prompts, such as :class:`~lopsided.mllm.align.RewardModel`.
        shape: of the latents of one image.
        settings: how it learns.
        folder: for ``state.pt``, the last checkpoint, and ``log.jsonl``: reward, its deviation within a prompt, and
            penalty per update.
        decode: latents → images in [0, 1], ``(N, 3, H, W)``; values outside are clamped.
        stop: asked at every checkpoint with (updates done, model) whether to end, such as a cheating probe.

    Returns:
        Updates done, fewer than wanted if ``stop`` ended it; the same call then does no more.

    Raises:
        MllmError: too few rewards or one that is not finite; a folder of other settings, prompts or another model, or
            a checkpoint that is damaged.
    """
    folder = Path(folder)
    if not prompts or len(prompts) != len(conditions) or settings.trained >= settings.steps:
        raise MllmError(
            f"give prompts, one condition for each and trained < steps, got {len(conditions)} for {len(prompts)}, "
            f"{settings.trained} of {settings.steps}"
        )
    start = copy.deepcopy(model).eval().requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=0.0)
    device = next(model.parameters()).device
    chance = torch.Generator(device).manual_seed(settings.seed)
    done, lines, stopped = _continue(folder, settings, prompts, model, optimiser, chance)
    folder.mkdir(parents=True, exist_ok=True)
    names = [prompt for prompt in prompts for _ in range(settings.group)]
    condition = conditions.to(device).repeat_interleave(settings.group, 0)
    while done < settings.updates and not stopped:
        path, images = _walk(model, velocity, condition, shape, settings, chance, decode)
        scores = torch.tensor(list(reward(images, names)[0]), dtype=torch.float64)
        if scores.shape != (len(names),):
            raise MllmError(f"update {done + 1}: {len(names)} images got {scores.numel()} rewards")
        if not scores.isfinite().all():
            raise MllmError(f"update {done + 1}: a reward is not a finite number")
        scores = scores.reshape(len(prompts), -1)
        spread = scores.std(1, keepdim=True)
        gain = ((scores - scores.mean(1, keepdim=True)) / (spread + 1e-4)).flatten().float().to(device)
        penalty = _update(model, start, velocity, optimiser, path, gain, condition, settings, chance)
        done += 1
        lines.append(
            {"update": done, "reward": scores.mean().item(), "spread": spread.mean().item(), "penalty": penalty}
        )
        if done % settings.save_every == 0 or done == settings.updates:
            state = {"done": done, "lines": lines, "prompts": list(prompts), "chance": chance.get_state()}
            _save(folder, settings, model, optimiser, state | {"stopped": False})
            if stopped := stop(done, model):
                _save(folder, settings, model, optimiser, state | {"stopped": True})
    return done


@torch.no_grad()
def _walk(
    model: nn.Module,
    velocity: Velocity,
    condition: Tensor,
    shape: Sequence[int],
    settings: FlowGrpo,
    chance: torch.Generator,
    decode: Callable[[Tensor], Tensor],
) -> tuple[list[Tensor], Tensor]:
    """Draw with noise: the latents at every time, and the images."""
    model.eval()
    size = (len(condition), *shape)
    path = [torch.randn(size, generator=chance, device=condition.device)]
    at = times(settings.steps).tolist()
    for time, to in pairwise(at):
        moved = velocity(model, path[-1], path[-1].new_full((size[0],), time), condition)
        mean, deviation = noisy_step(path[-1], moved, time, to, settings.noise)
        path.append(mean + deviation * torch.randn(size, generator=chance, device=mean.device) if to else mean)
    return path, decode(path[-1]).clamp(0, 1)


def _update(
    model: nn.Module,
    start: nn.Module,
    velocity: Velocity,
    optimiser: torch.optim.Optimizer,
    path: list[Tensor],
    gain: Tensor,
    condition: Tensor,
    settings: FlowGrpo,
    chance: torch.Generator,
) -> float:
    """Make one step of the policy gradient; return the penalty before it is weighted.

    The last step adds no noise, so it has no probability and is not trained on.
    """
    at = times(settings.steps).tolist()
    order = torch.randperm(settings.steps - 1, generator=chance, device=condition.device)[: settings.trained].tolist()
    optimiser.zero_grad()
    total = 0.0
    for n in order:
        latents, time = path[n], path[n].new_full((len(condition),), at[n])
        moved = velocity(model, latents, time, condition)
        mean, deviation = noisy_step(latents, moved, at[n], at[n + 1], settings.noise)
        # The mean over the numbers of an image, not their sum: a rate then means the same at every size.
        likely = -((path[n + 1] - mean) ** 2).flatten(1).mean(1) / (2 * deviation**2)
        with torch.no_grad():
            before = velocity(start, latents, time, condition)
        far = ((moved - before) ** 2).flatten(1).mean(1)
        # Weights are those that drew, so the ratio of probabilities is 1, and its gradient is that of the logarithm.
        loss = (-gain * likely + settings.penalty * far).mean() / len(order)
        loss.backward()
        total += far.mean().item() / len(order)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return total


def _save(
    folder: Path,
    settings: FlowGrpo,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    learnt = {"settings": settings.model_dump(), "model": model.state_dict(), "optimiser": optimiser.state_dict()}
    with atomic_path(folder / STATE) as temporary:
        torch.save({**learnt, **state}, temporary)
    write_text(folder / LOG, "".join(json.dumps(line) + "\n" for line in state["lines"]))


def _continue(
    folder: Path,
    settings: FlowGrpo,
    prompts: Sequence[str],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    chance: torch.Generator,
) -> tuple[int, list[dict[str, Any]], bool]:
    """Load the last checkpoint, if there is one; only the number of updates may have changed.

    Returns:
        Updates done, their lines of the log, and whether ``stop`` ended it.
    """
    path = folder / STATE
    if not path.exists():
        return 0, [], False
    try:
        state = torch.load(path, map_location=next(model.parameters()).device, weights_only=True)
        theirs, found = {**state["settings"], "prompts": state["prompts"]}, (state["done"], state["lines"])
        weights, of_optimiser, drawn = state["model"], state["optimiser"], state["chance"].cpu()
        stopped = state["stopped"]
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise MllmError(f"{path} is damaged or of something else ({one_line(error)}); give another folder") from None
    mine = {**settings.model_dump(), "prompts": list(prompts)}
    if different := [key for key in mine if key not in ("updates", "save_every") and mine[key] != theirs.get(key)]:
        raise MllmError(f"{folder} was trained with other {different[0]}; give another folder")
    try:
        model.load_state_dict(weights)
        optimiser.load_state_dict(of_optimiser)
    except (RuntimeError, ValueError) as error:
        raise MllmError(f"{folder} was trained with another model ({one_line(error)}); give another folder") from None
    chance.set_state(drawn)
    return *found, stopped
