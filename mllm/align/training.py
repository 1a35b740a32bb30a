"""Carrying out an alignment: data, split, training, evaluation, and a folder that any run can continue.

==========================  =========================================================================================
``alignment.json``          the settings, and what was planned; a folder belongs to one alignment
``split.json``              which items are trained on, held out and refused, and why
``log.jsonl``               loss, rewards, statuses, evaluations with some replies, by step; equal for equal runs
``checkpoint-<step>/``      the last two checkpoints, with the optimiser and the random generators
``runs/``                   the same curves for TensorBoard
``adapter/``                the adapters, if there are some
``model/``                  the trained model, adapters merged: a folder for ``lopsided rate --model``
``before.csv``              ratings of held-out items and benchmarks before training; ``after.csv`` after it
``evaluation.csv``          both against people, with intervals, without and with calibration
``calibration.json``        the calibration
==========================  =========================================================================================
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...common.errors import one_line
from ...common.files import temporary_name, write_json
from ...common.images import read_header
from ...common.sources import hash_file
from ..backends.backend import Reply
from ..errors import MllmError
from ..item import Item
from ..scoring.scale import ScoreScale
from .config import HELD_OUT, Alignment
from .evaluation import BEFORE, evaluate_into, numbers_of, rate_sets, replies_of, write_table
from .examples import Example, make_example, read_replies, shown
from .logs import LOG
from .splits import Split, split_items

if TYPE_CHECKING:
    from ..backends import TransformersBackend

SETTINGS, SPLIT, MODEL, ADAPTER = "alignment.json", "split.json", "model", "adapter"
LIBRARIES = ("trl", "peft", "datasets")
TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",)}
Progress = Callable[[float, int, str], None]


@dataclass(frozen=True)
class Plan:
    """What an alignment would do.

    Attributes:
        alignment: the settings.
        examples: what is trained on, in the order of the files, repeated by weight.
        held_out: what is kept, labelled.
        benchmarks: what is rated besides, by the name of the benchmark.
        split: what was refused, and why.
        steps: number of optimiser steps.
        notes: what the benchmarks' readers say.
    """

    alignment: Alignment
    examples: tuple[Example, ...]
    held_out: tuple[Example, ...]
    benchmarks: Mapping[str, tuple[Example, ...]]
    split: Split
    steps: int
    notes: tuple[str, ...]

    def sets(self) -> dict[str, list[Example]]:
        """Return the ratings to evaluate, as many of each set as ``evaluate.limit`` says."""
        sets = {HELD_OUT: self.held_out, **self.benchmarks}
        limited = {
            name: [each for each in examples if each.item.task == "rate"][: self.alignment.evaluate.limit]
            for name, examples in sets.items()
        }
        return {name: examples for name, examples in limited.items() if examples}

    def lines(self) -> Iterator[str]:
        """Say it in words."""
        alignment, optim = self.alignment, self.alignment.optim
        trained = "all weights" if alignment.lora is None else f"adapters of rank {alignment.lora.rank}"
        yield f"{alignment.method} of {alignment.model.path}, preset {alignment.asked.key}, {trained}"
        counts = len(self.examples), len(self.held_out), len(self.split.refused)
        yield "{} examples per epoch, {} held out, {} refused".format(*counts)
        yield from (f"refused: {count} {finding}" for finding, count in self.split.record()["counts"].items())
        yield f"{self.steps} steps of {optim.batch} × {optim.accumulation}"
        first = self.examples[0]
        yield f"first prompt: {first.text!r}"
        if alignment.method != "grpo":
            yield f"first answer: {first.answer!r}"
        for reward in alignment.rewards:
            failed = reward.lowest if reward.on_failure is None else reward.on_failure
            yield f"reward {reward.name}, weight {reward.weight:g}; an unreadable reply gets {failed}"


@dataclass(frozen=True)
class Aligned:
    """What an alignment left.

    Attributes:
        folder: with everything in it.
        model: folder of the trained model.
        evaluation: see :func:`lopsided.mllm.align.evaluation.evaluate_into`.
        resumed: step that it continued from; 0 if it did not.
        stopped: it was asked to stop and has saved a checkpoint; there is no model and no evaluation yet.
    """

    folder: Path
    model: Path
    evaluation: pd.DataFrame
    resumed: int
    stopped: bool = False


def require_libraries() -> None:
    """Raise MllmError unless the libraries of the extra ``align`` are installed."""
    if absent := [name for name in LIBRARIES if find_spec(name) is None]:
        raise MllmError(f"training needs {', '.join(absent)}: pip install 'lopsided[align]'")


def plan_alignment(alignment: Alignment, *, device: str | None = None) -> Plan:
    """Read and split the data, and check every prompt and answer; no model is loaded.

    Args:
        alignment: the settings.
        device: where the alignment is to be carried out, to check that too.

    Raises:
        MllmError: what is wrong.
        ImageError: a file that is no image. Without ``split.near`` pixels are decoded in training only.
    """
    from ..backends.model_folder import find_model

    if device is not None:
        _check_precision(alignment, device)
    find_model(alignment.model.path, alignment.model.revision)
    items: list[Item] = []
    notes: list[str] = []
    scales: dict[tuple[str, str, str], tuple[float, tuple[float, float] | None]] = {}
    for data in alignment.data:
        found = data.open()
        notes += found.notes
        items += found.items
        scales |= {_name(item): (data.weight, data.scale) for item in found.items}
    if len(scales) != len(items):
        twice = next(name for name, count in Counter(map(_name, items)).items() if count > 1)
        raise MllmError(f"item {' / '.join(twice)} is in data twice: use weight to show it more often")
    benchmarks = {name: benchmark.open().items for name, benchmark in alignment.evaluate.benchmarks.items()}
    against = [item for benchmark in alignment.split.against for item in benchmark.open().items]
    against += [item for found in benchmarks.values() for item in found]
    split = split_items(
        items, held_out=alignment.split.held_out, against=against, near=alignment.split.near, seed=alignment.seed
    )

    def example(item: Item) -> Example:
        return make_example(item, alignment.asked, alignment.target, scales[_name(item)][1])

    draw = random.Random(alignment.seed)  # noqa: S311
    examples = [made for item in split.train for made in [example(item)] * _times(scales[_name(item)][0], draw)]
    if alignment.method != "sft" and any(each.item.task == "open" for each in examples):
        raise MllmError(f"an open question has no wrong answers to compare with: {alignment.method} cannot train on it")
    if not examples:
        raise MllmError("the weights of the data leave nothing to train on")
    _check_rewards(alignment, examples)
    if alignment.method != "grpo":
        notes += _check_answers(alignment, examples)
    for path in {path for item in (*split.train, *split.held_out) for path in item.images}:
        read_header(path)
    steps = _steps(alignment, len(examples))
    if steps < 1:
        optim = alignment.optim
        what = (
            f"{len(examples)} examples, batch {optim.batch}, accumulation {optim.accumulation}, epochs {optim.epochs:g}"
        )
        raise MllmError(f"there is less data than one step takes ({what}): lower optim.batch or set optim.steps")
    if alignment.evaluate.every and not (split.held_out or benchmarks):
        raise MllmError("evaluate.every: nothing is held out and there is no benchmark: nothing could be rated")
    if absent := [name for name in alignment.trackers if not any(map(find_spec, TRACKERS[name]))]:
        raise MllmError(f"trackers: {', '.join(absent)} is not installed: pip install it, or leave it out")
    rated = {
        name: tuple(
            make_example(item, alignment.asked, alignment.target)
            for item in found
            if item.task == "rate" and item.target is not None
        )
        for name, found in benchmarks.items()
    }
    return Plan(
        alignment,
        tuple(examples),
        tuple(map(example, split.held_out)),
        rated,
        split,
        steps,
        tuple(notes),
    )


def _check_rewards(alignment: Alignment, examples: Sequence[Example]) -> None:
    """Refuse a reward for which there are no examples, and examples for which there is no reward."""
    if alignment.method != "grpo":
        return
    counts = Counter(each.item.task for each in examples)
    for index, reward in enumerate(alignment.rewards):
        if not set(reward.tasks) & set(counts):
            has = " and ".join(f"{count} of {task!r}" for task, count in counts.items())
            tasks = " and ".join(map(repr, reward.tasks))
            raise MllmError(
                f"rewards[{index}]: {reward.name} is for the task {tasks}, and the data has {has}: take another one, "
                "or other data"
            )
    rewarded = {task for reward in alignment.rewards if reward.weight for task in reward.tasks}
    if left := [task for task in counts if task not in rewarded]:
        raise MllmError(
            f"no reward with a weight is for the task {left[0]!r}, and the data has {counts[left[0]]} of it"
        )


def _check_answers(alignment: Alignment, examples: Sequence[Example]) -> list[str]:
    """Make sure that the preset reads the written ratings that are taught as what they mean.

    Returns:
        A note if many labels become few answers.

    Raises:
        MllmError: the preset reads another number, or none.
    """
    asked = alignment.asked
    written = [
        each
        for each in examples
        if each.item.task == "rate" and not isinstance(asked.scale(each.item.dimension), ScoreScale)
    ]
    rated = {each.answer: each for each in written}
    for answer, example in rated.items():
        (reply,) = read_replies([Reply(answer.removeprefix(example.prefix))], [example.item], asked)
        low, high = asked.scale(example.item.dimension).range
        scale = example.item.scale or (low, high)
        rounding = 0.51 * 10**-alignment.target.decimals * (scale[1] - scale[0]) / (high - low)
        if reply.status != "ok" or not abs(reply.number - reply.target) <= rounding:
            seen = f"{reply.number:g}" if reply.status == "ok" else f"nothing ({reply.status})"
            raise MllmError(
                f"target.template: the answer {answer!r} to a label of {reply.target:g} is read as {seen} by "
                f"{alignment.preset}: change the template"
            )
    labels = {each.score for each in written}
    if 0 < len(rated) < 5 and len(labels) >= 2 * len(rated):
        return [f"{len(labels)} different labels become {len(rated)} answers: target.decimals would tell them apart"]
    return []


def _check_precision(alignment: Alignment, device: str) -> None:
    if alignment.model.autocast and device == "cpu":
        raise MllmError("model.autocast is for a GPU, and the device is cpu: give --device cuda, or leave it out")


def _name(item: Item) -> tuple[str, str, str]:
    return item.benchmark, item.dimension, item.id


def _times(weight: float, draw: random.Random) -> int:
    """Return how often an item is shown: the whole part of its weight, and once more by chance."""
    return int(weight) + (draw.random() < weight % 1)


def _steps(alignment: Alignment, examples: int) -> int:
    optim = alignment.optim
    if optim.steps:
        return optim.steps
    if alignment.method == "grpo":
        prompts = optim.batch * optim.accumulation // alignment.generation.replies
        return math.ceil(optim.epochs * (examples // prompts) * alignment.grpo.iterations)
    return math.ceil(optim.epochs * math.ceil(math.ceil(examples / optim.batch) / optim.accumulation))


def align(
    plan: Plan,
    folder: str | Path,
    *,
    device: str = "cpu",
    progress: Progress = lambda _done, _total, _note: None,
    stop: Callable[[], bool] = lambda: False,
    identity: str | None = None,
    curves: Path | None = None,
) -> Aligned:
    """Carry out an alignment; after an interruption or a kill the same call continues from the last checkpoint.

    A continued run ends with exactly the weights and the log of one that was not interrupted, on the same machine and
    libraries.

    Args:
        plan: from :func:`plan_alignment`.
        folder: for all results.
        device: ``cpu``, ``cuda``, ….
        progress: told (steps done, all steps, note).
        stop: asked after every step; True saves a checkpoint and returns.
        identity: what the folder belongs to; default: the settings, places of files included.
        curves: folder for TensorBoard; default: ``runs`` in the folder.

    Raises:
        MllmError: missing libraries, a folder of another alignment, of other data or of something else, a model that
            lacks what the alignment needs.
    """
    require_libraries()
    _check_precision(plan.alignment, device)
    from . import trainers

    with trainers.quiet():
        return _carry_out(plan, Path(folder), device, progress, stop, identity, curves)


def _carry_out(
    plan: Plan,
    folder: Path,
    device: str,
    progress: Progress,
    stop: Callable[[], bool],
    identity: str | None,
    curves: Path | None,
) -> Aligned:
    from ..backends import TransformersBackend
    from . import adapters, trainers

    alignment = plan.alignment
    _claim(folder, plan, identity)
    settings = alignment.model
    _seed(alignment.seed)
    backend = TransformersBackend(
        settings.path,
        revision=settings.revision,
        device=device,
        dtype=settings.dtype,
        batch_size=alignment.optim.batch,
        max_pixels=settings.max_pixels,
    )
    _try_images(backend, plan)
    model: Any = backend.model
    if alignment.lora is not None:
        model = adapters.add_adapters(model, alignment.lora)
    optimiser = adapters.make_optimiser(model, alignment.optim)
    sets = plan.sets()

    def ratings() -> pd.DataFrame:
        return rate_sets(backend, alignment.asked, sets)

    def seen() -> dict[str, Any]:
        found = ratings()
        return {**numbers_of(found), **replies_of(found)}

    log = trainers.LogLines(folder / LOG, progress)
    callbacks: list[Any] = [log, trainers.Marks(), trainers.Stops(stop, alignment.grpo.iterations)]
    if alignment.evaluate.every and sets:
        callbacks.append(trainers.Evaluates(alignment.evaluate.every, seen, log))
    resumed = latest_checkpoint(folder)
    resumed_at = int(resumed.name.split("-")[1]) if resumed else 0
    if sets and not (folder / BEFORE).exists():
        write_table(folder / BEFORE, ratings())
    with _curves_in(curves or folder / "runs"):
        trainer = trainers.make_trainer(alignment, plan.examples, backend, model, optimiser, folder, callbacks)
        done = trainers.train(trainer, resumed, plan.steps)
    if done < 1:
        raise MllmError("no step was made: there is less data than one step takes")
    if done < trainer.state.max_steps:
        return Aligned(folder, folder / MODEL, pd.DataFrame(), resumed_at, stopped=True)
    model.eval()
    if alignment.lora is not None:
        _save(folder / ADAPTER, lambda place: model.save_pretrained(place))
        model = adapters.merged(model)
    _save(folder / MODEL, lambda place: _save_model(model, backend, place))
    evaluation = evaluate_into(folder, ratings(), alignment.asked)
    return Aligned(folder, folder / MODEL, evaluation, resumed_at)


def _try_images(backend: TransformersBackend, plan: Plan) -> None:
    """Find out before training whether the model's processor takes the images: try those of the oddest shapes.

    Raises:
        MllmError: it refuses one.
    """
    shown_in = {path: each for each in plan.examples for path in each.item.images}
    sizes = {path: read_header(path).size for path in shown_in}
    if not sizes:
        return
    odd = {max(sizes, key=lambda path: max(sizes[path]) / min(sizes[path])), min(sizes, key=lambda p: min(sizes[p]))}
    for path in odd:
        images = shown(shown_in[path], plan.alignment.asked)
        try:
            backend.processor.image_processor(images=images)
        except Exception as error:  # processors raise whatever they like
            size = " × ".join(map(str, sizes[path]))
            raise MllmError(
                f"{path}: the processor of {backend.name} refuses {size} pixels: {one_line(error)}"
            ) from error


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint that is complete; delete those that are not.

    Raises:
        MllmError: a file of it is not as it was written.
    """
    from .trainers import COMPLETE, digests

    numbered = {place: place.name.removeprefix("checkpoint-") for place in folder.glob("checkpoint-*")}
    found = sorted((place for place, step in numbered.items() if step.isdecimal()), key=lambda one: int(numbered[one]))
    for place in found:
        if not (place / COMPLETE).exists():
            shutil.rmtree(place)
    last = next((place for place in reversed(found) if place.exists()), None)
    if last and json.dumps(digests(last)).encode() != (last / COMPLETE).read_bytes():
        raise MllmError(
            f"{last} is damaged: its files are not as they were written; delete it to go on from the one before"
        )
    return last


def _claim(folder: Path, plan: Plan, identity: str | None) -> None:
    """Write what the folder is for, or refuse one that is for something else.

    Args:
        folder: for the results.
        plan: what is done.
        identity: compared in place of the settings, which say where files are.
    """
    settings, data = plan.alignment.model_dump(mode="json"), _data(plan)
    path = folder / SETTINGS
    if path.exists():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            theirs, owner, before = Alignment.model_validate(known["settings"]), known["identity"], known["data"]
        except (OSError, ValueError, KeyError, TypeError):
            raise MllmError(f"{path} is damaged, or of another version; give another folder") from None
        if identity is None:  # keys that the file does not have yet are at their defaults
            differ = _difference(theirs.model_dump(mode="json"), {**settings, **_free(theirs)})
        else:
            differ = "" if owner == identity else "its identity differs"
        if differ or before != data:
            differ = differ or "the same settings, but labels, items or images have changed"
            raise MllmError(f"{folder} belongs to another alignment ({differ}); give another folder")
    elif identity is None and folder.exists() and any(folder.iterdir()):
        raise MllmError(f"{folder} is not empty and not of an alignment; give a folder that is new or empty")
    write_json(folder / SPLIT, plan.split.record())
    mine = {"identity": identity, "data": data, "steps": plan.steps, "examples": len(plan.examples)}
    write_json(path, {**mine, "settings": settings, "notes": list(plan.notes)})


def _data(plan: Plan) -> str:
    """Return a hash of everything that is trained on or rated: items, labels and the bytes of images."""
    found = hashlib.sha256()
    for examples in (plan.examples, plan.held_out, *plan.benchmarks.values()):
        for each in examples:
            item = each.item
            said = (item.benchmark, item.dimension, item.id, each.text, each.answer, f"{each.score} {each.std}")
            found.update(repr((said, [hash_file(path) for path in item.images])).encode())
    return found.hexdigest()


def _free(alignment: Alignment) -> dict[str, Any]:
    """Return the settings that can change between a run and its continuation, as they were."""
    return alignment.model_dump(mode="json", include={"save_every", "trackers"})


def _difference(one: Any, other: Any, place: str = "") -> str:
    """Say where two trees of settings differ first, "" if nowhere."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = (_difference(one.get(key), other.get(key), f"{place}.{key}".lstrip(".")) for key in {**one, **other})
        return next(filter(None, found), "")
    return "" if one == other else f"{place} was {_short(one)} and is {_short(other)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _seed(seed: int) -> None:
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what trl draws from
    torch.manual_seed(seed)


@contextmanager
def _curves_in(folder: Path) -> Iterator[None]:
    """Tell TensorBoard's callback where to write, which takes it from the environment only."""
    name = "TENSORBOARD_LOGGING_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _save(folder: Path, write: Callable[[Path], Any]) -> None:
    """Write a folder that is whole or absent."""
    temporary = temporary_name(folder)
    write(temporary)
    if folder.exists():
        shutil.rmtree(folder)
    temporary.rename(folder)


def _save_model(model: Any, backend: TransformersBackend, place: Path) -> None:
    model.save_pretrained(place)
    backend.processor.save_pretrained(place)
    if (original := backend.folder / "generation_config.json").exists():  # the one of training is plain
        shutil.copyfile(original, place / original.name)
