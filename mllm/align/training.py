"""Carrying out an alignment: data, split, training, evaluation, and a folder that any run can continue.

==========================  =========================================================================================
``alignment.json``          the settings, and what was planned; a folder belongs to one alignment
``split.json``              which items are trained on, held out and refused, and why
``log.jsonl``               loss, rewards, statuses and evaluations by step; equal for equal runs, killed or not
``checkpoint-<step>/``      the last two checkpoints, with the optimiser and the random generators
``runs/``                   the same curves for TensorBoard
``adapter/``                the adapters, if there are some
``model/``                  the trained model, adapters merged: a folder for ``lopsided rate --model``
``evaluation.csv``          held-out ratings against people, before and after training, without and with calibration
``calibration.json``        the calibration
==========================  =========================================================================================
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from ...common.files import atomic_path, temporary_name, write_json
from ...common.images import read_rgb
from ..errors import MllmError
from ..item import Item
from ..scoring.preset import Preset
from ..scoring.scale import ScoreScale
from ..scoring.scorer import Scorer
from .calibration import FEWEST, Calibration, at_temperature, fit_isotonic, fit_temperature, report
from .config import Alignment
from .examples import Example, make_example
from .splits import Split, split_items

if TYPE_CHECKING:
    from ..backends import TransformersBackend

SETTINGS, SPLIT, LOG, MODEL, ADAPTER = "alignment.json", "split.json", "log.jsonl", "model", "adapter"
EVALUATION, CALIBRATION = "evaluation.csv", "calibration.json"
LIBRARIES = ("trl", "peft", "datasets")
Progress = Callable[[float, int, str], None]


@dataclass(frozen=True)
class Plan:
    """What an alignment would do.

    Attributes:
        alignment: the settings.
        examples: what is trained on, in the order of the files, repeated by weight.
        held_out: what is kept, labelled.
        split: what was refused, and why.
        steps: number of optimiser steps.
        notes: what the benchmarks' readers say.
    """

    alignment: Alignment
    examples: tuple[Example, ...]
    held_out: tuple[Example, ...]
    split: Split
    steps: int
    notes: tuple[str, ...]

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
        evaluation: held-out ratings against people; see ``EVALUATION``.
        resumed: step that it continued from; 0 if it did not.
    """

    folder: Path
    model: Path
    evaluation: pd.DataFrame
    resumed: int


def require_libraries() -> None:
    """Raise MllmError unless the libraries of the extra ``align`` are installed."""
    if absent := [name for name in LIBRARIES if find_spec(name) is None]:
        raise MllmError(f"training needs {', '.join(absent)}: pip install 'lopsided[align]'")


def plan_alignment(alignment: Alignment) -> Plan:
    """Read and split the data, and check every prompt and answer; no model is loaded.

    Raises:
        MllmError: what is wrong.
        ImageError: an image that cannot be read.
    """
    from ..backends.model_folder import find_model

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
    evaluated = [*alignment.split.against, *alignment.evaluate.benchmarks.values()]
    against = [item for benchmark in evaluated for item in benchmark.open().items]
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
    return Plan(
        alignment,
        tuple(examples),
        tuple(map(example, split.held_out)),
        split,
        _steps(alignment, len(examples)),
        tuple(notes),
    )


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
) -> Aligned:
    """Carry out an alignment; after an interruption or a kill the same call continues from the last checkpoint.

    A continued run ends with exactly the weights and the log of one that was not interrupted, on the same machine and
    libraries.

    Args:
        plan: from :func:`plan_alignment`.
        folder: for all results.
        device: ``cpu``, ``cuda``, ….
        progress: told (steps done, all steps, note).

    Raises:
        MllmError: missing libraries, a folder of another alignment, a model that lacks what the alignment needs.
    """
    require_libraries()
    from ..backends import TransformersBackend
    from . import adapters, trainers

    alignment, folder = plan.alignment, Path(folder)
    _claim(folder, plan)
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
    model: Any = backend.model
    if alignment.lora is not None:
        model = adapters.add_adapters(model, alignment.lora)
    optimiser = adapters.make_optimiser(model, alignment.optim)
    rated = [each for each in plan.held_out if each.item.task == "rate"][: alignment.evaluate.limit]
    log = trainers.LogLines(folder / LOG, progress)
    callbacks: list[Any] = [log, trainers.Marks()]
    if alignment.evaluate.every:
        callbacks.append(
            trainers.Evaluates(alignment.evaluate.every, lambda: _numbers(backend, alignment.asked, rated), log)
        )
    resumed = latest_checkpoint(folder)
    before = folder / "before.csv"
    if rated and not before.exists():
        _write_table(before, _ratings(backend, alignment.asked, rated)[0])
    with _curves_in(folder / "runs"):
        trainer = trainers.make_trainer(alignment, plan.examples, backend, model, optimiser, folder, callbacks)
        done = trainers.train(trainer, resumed)
    if done < 1:
        raise MllmError("no step was made: there is less data than one step takes")
    model.eval()
    if alignment.lora is not None:
        _save(folder / ADAPTER, lambda place: model.save_pretrained(place))
        model = adapters.merged(model)
    _save(folder / MODEL, lambda place: _save_model(model, backend, place))
    evaluation = _evaluate(folder, backend, alignment.asked, rated) if rated else pd.DataFrame()
    return Aligned(folder, folder / MODEL, evaluation, int(resumed.name.split("-")[1]) if resumed else 0)


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint that is complete; delete those that are not."""
    from .trainers import COMPLETE

    found = sorted(folder.glob("checkpoint-*"), key=lambda place: int(place.name.split("-")[1]))
    for place in found:
        if not (place / COMPLETE).exists():
            shutil.rmtree(place)
    return next((place for place in reversed(found) if place.exists()), None)


def _claim(folder: Path, plan: Plan) -> None:
    """Write what the folder is for, or refuse one that is for something else."""
    mine = {"identity": plan.alignment.identity, "steps": plan.steps, "examples": len(plan.examples)}
    path = folder / SETTINGS
    if path.exists():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            theirs = {name: known[name] for name in mine}
        except (ValueError, KeyError, TypeError):
            raise MllmError(f"{path} is damaged; give another folder") from None
        if theirs != mine:
            raise MllmError(f"{folder} belongs to another alignment (its {SETTINGS} differs); give another folder")
    write_json(folder / SPLIT, plan.split.record())
    write_json(path, {**mine, "settings": plan.alignment.model_dump(mode="json"), "notes": list(plan.notes)})


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


# --- evaluation ------------------------------------------------------------------------------------------------------


def _ratings(
    backend: TransformersBackend, preset: Preset, examples: Sequence[Example]
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Rate examples greedily: one row each, and the log-probabilities of levels where the preset reads them."""
    scorer = Scorer(backend, preset)
    rows, logs = [], []
    by_dimension: dict[str, list[Example]] = {}
    for example in examples:
        by_dimension.setdefault(example.item.dimension, []).append(example)
    for dimension, group in by_dimension.items():
        images = [Image.fromarray(read_rgb(example.item.images[0])) for example in group]
        questions = [example.item.question for example in group]
        ratings = scorer.rate(images, dimension=dimension, questions=questions)
        for example, rating in zip(group, ratings, strict=True):
            name = {"benchmark": example.item.benchmark, "dimension": dimension, "item": example.item.id}
            rows.append({**name, "label": example.score, "value": rating.value, "status": rating.status})
            if rating.distribution:
                logs.append([math.log(max(p, 1e-300)) for p in rating.distribution.values()])
    return pd.DataFrame(rows), np.array(logs) if len(logs) == len(rows) else None


def _numbers(backend: TransformersBackend, preset: Preset, examples: Sequence[Example]) -> Mapping[str, Any]:
    """Return an evaluation during training as numbers for the log."""
    table, _ = _ratings(backend, preset, examples)
    numbers: dict[str, Any] = {}
    for dimension, rows in table.groupby("dimension"):
        read = rows.dropna(subset="value")
        name = f"eval/{dimension}"
        numbers[f"{name}/read"] = len(read) / len(rows)
        if len(read) >= 3:
            line = report([("none", read["value"])], read["label"]).iloc[0]
            numbers |= {f"{name}/{metric}": float(line[metric]) for metric in ("srcc", "plcc", "rmse")}
    return numbers


def _write_table(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def _evaluate(folder: Path, backend: TransformersBackend, preset: Preset, examples: Sequence[Example]) -> pd.DataFrame:
    """Compare held-out ratings with people: before, after, and after calibration on the other half."""
    table, logs = _ratings(backend, preset, examples)
    _write_table(folder / "after.csv", table)
    before = pd.read_csv(folder / "before.csv")
    lines, fitted = [], {}
    for dimension, rows in table.groupby("dimension"):
        earlier = before.loc[before["dimension"] == dimension].dropna(subset=["value"])
        read = rows.dropna(subset="value")
        parts = [("before", earlier["value"], earlier["label"], len(rows))]
        parts.append(("after", read["value"], read["label"], len(rows)))
        half = len(read) // 2  # the order is that of hashed references, so halves are alike
        fit, rest = read.iloc[:half], read.iloc[half:]
        if half >= FEWEST:
            isotonic = fit_isotonic(fit["value"], fit["label"])
            fitted[str(dimension)] = [isotonic]
            parts.append(("after, second half", rest["value"], rest["label"], len(rest)))
            parts.append(("after, second half, isotonic", isotonic(rest["value"]), rest["label"], len(rest)))
            scale = preset.scale(str(dimension))
            if isinstance(scale, ScoreScale) and logs is not None:
                temperature = fit_temperature(logs[fit.index], fit["label"], scale)
                values = at_temperature(logs[rest.index], scale, temperature.temperature)
                fitted[str(dimension)].append(temperature)
                parts.append(("after, second half, temperature", values, rest["label"], len(rest)))
        for name, values, labels, of in parts:
            if len(values) >= 3:
                line = report([(name, values)], labels).assign(dimension=dimension, of=of)
                lines.append(line.rename(columns={"calibration": "ratings"}))
    evaluation = pd.concat(lines, ignore_index=True) if lines else pd.DataFrame()
    _write_table(folder / EVALUATION, evaluation)
    write_json(folder / CALIBRATION, {name: [asdict(one) for one in all_] for name, all_ in fitted.items()})
    return evaluation


def load_calibration(folder: str | Path, dimension: str) -> list[Calibration]:
    """Return the calibrations of a dimension that an alignment left.

    Raises:
        MllmError: there are none.
    """
    path = Path(folder) / CALIBRATION
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return [Calibration(**one) for one in known[dimension]]
    except (OSError, ValueError, KeyError, TypeError):
        raise MllmError(f"{path} has no calibration of {dimension!r}: were 20 or more items of it held out?") from None
