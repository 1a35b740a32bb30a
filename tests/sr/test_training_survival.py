"""A training that is killed, damaged on disk or out of space loses work at most, and nothing of its result."""

import contextlib
import os
import random
import signal
import time

import torch
from torch import nn

from lopsided.common.sources import parse_source
from lopsided.discriminators import DiscriminatorSpec, build_discriminator, objective
from lopsided.losses import create_measure
from lopsided.sr import Adversarial, Fidelity, FinetuneSpec, Trainer, Validated, Validation
from lopsided.sr.history import read_history
from lopsided.sr.images import PairCache

KILLS = 20
STEPS = 80


def adversarial_training(cache):
    items = parse_source({"source": "skimage", "split": "train"}).items()
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.Dropout(0.1), nn.PixelShuffle(4))
    discriminator = build_discriminator(DiscriminatorSpec(form="unet", width=8), seed=0)
    return Trainer(
        FinetuneSpec(steps=STEPS, batch=2, patch=64, log_every=1, learning_rate=1e-3),
        generator,
        PairCache.build(items, 4, cache, verify=False),
        seed=0,
        stream="finetune",
        fidelity=Fidelity(create_measure("ssim"), 0.1),
        adversarial=Adversarial(discriminator, objective("bce"), 0.01, 1e-4),
        validation=Validation(
            every=10,
            judge="norm",
            lower_is_better=True,
            top=2,
            score=lambda network: Validated({"norm": sum(p.norm().item() for p in network.parameters())}),
        ),
    )


def killed_run(cache, folder, lines, delay):
    """Train in a process of its own, and kill it when the history has ``lines`` more lines, and a moment later."""
    begun = len(read_history(folder / "history.jsonl"))
    child = os.fork()
    if child == 0:
        # Nothing but a kill may bring it back into the test.
        with contextlib.suppress(BaseException):
            adversarial_training(cache).run(folder, checkpoint_every=1)
        os._exit(1)
    deadline = time.monotonic() + 60
    while len(read_history(folder / "history.jsonl")) - begun < lines and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"


def test_twenty_kills_at_random_moments_leave_no_trace(tmp_path):
    """kill -9 again and again, in steps, checkpoints and validations alike; then all is as if nothing had been."""
    whole = adversarial_training(tmp_path / "cache")
    whole.run(tmp_path / "whole", checkpoint_every=1)
    draw = random.Random(0)
    steps = []
    for _ in range(KILLS):
        killed_run(tmp_path / "cache", tmp_path / "killed", draw.randint(1, 3), draw.uniform(0, 0.05))
        steps.append(read_history(tmp_path / "killed" / "history.jsonl")[-1]["step"])
    assert steps[-1] < STEPS
    last = adversarial_training(tmp_path / "cache")
    last.run(tmp_path / "killed", checkpoint_every=1)

    expected, seen = whole.state(), last.state()
    assert [name for name, t in expected.tensors.items() if not torch.equal(t, seen.tensors[name])] == []
    assert seen.scalars == expected.scalars
    histories = [read_history(tmp_path / name / "history.jsonl") for name in ("whole", "killed")]
    for history in histories:
        for row in history:
            row.pop("seconds", None)
    assert histories[0] == histories[1]
    left = [path.name for path in (tmp_path / "killed").rglob("*") if path.name.startswith(".")]
    assert left == [], "temporary files of killed writes are cleared away"
