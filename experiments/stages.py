"""What each stage does: from a cell and its inputs' folders to output files in its own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError

from ..common.files import atomic_path, write_json, write_text
from ..common.images import read_rgb, to_tensor, to_uint8, write_png
from ..discriminators import build_discriminator, objective
from ..iqa import Judge, JudgeSpec, evaluate_fr
from ..iqa.ladder import build_ladder
from ..iqa.learn import learn_from_dataset, split_references
from ..iqa.manifest import FRDataset
from ..losses import Measure, MeasureSpec
from ..sr import Adversarial, DivergedError, Fidelity, Trainer, build_generator, super_resolve
from ..sr.checkpoint import read_tensors, write_tensors
from ..sr.degradation import bicubic_resize
from ..sr.images import Pair, PairCache, pairs
from .cells import AssessFR, Cell, Finetune, JudgeImages, LearnWeights, Pretrain, Restore
from .spec import Execution, ExperimentError, LadderSet, LearntDists
from .store import Store

GENERATOR = "generator.safetensors"
DISCRIMINATOR = "discriminator.safetensors"
HISTORY = "training.jsonl"
SCORES = "scores.parquet"
WEIGHTS = "alpha_beta.safetensors"


T = TypeVar("T")


@dataclass
class Context:
    """What a stage may use besides its cell.

    Attributes:
        store: where inputs lie.
        execution: device, threads, checkpoint interval.
        progress: told (units done, units in all, note).
        stop: asked whether to stop at the next good moment.
    """

    store: Store
    execution: Execution
    progress: Callable[[int, int, str], None] = field(default=lambda _done, _total, _note: None)
    stop: Callable[[], bool] = field(default=lambda: False)
    _made: dict[str, Any] = field(default_factory=dict)

    def input(self, cell: Cell, role: str) -> Path:
        """Return the folder of an input's outputs."""
        source = cell.inputs[role]
        return self.store.folder(source.stage, source.id)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Return what ``make`` made the first time it was asked for under ``key``: networks and decoded images."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def run_stage(cell: Cell, folder: Path, context: Context) -> None:
    """Compute a cell's outputs into ``folder``.

    Raises:
        DivergedError: training became non-finite; the history is in the folder.
        StoppedError: ``context.stop`` said so; the state to resume from is in the folder.
        LopsidedError: an input or setting that cannot be used.
    """
    spec = cell.spec
    if isinstance(spec, Pretrain | Finetune):
        _train(cell, spec, folder, context)
    elif isinstance(spec, Restore):
        _restore(cell, spec, folder, context)
    elif isinstance(spec, JudgeImages):
        _judge(cell, spec, folder, context)
    elif isinstance(spec, AssessFR):
        _assess_fr(spec, folder, context)
    elif isinstance(spec, LearnWeights):
        _learn_weights(spec, folder, context)
    else:
        raise ExperimentError(f"no stage computes cells of kind {type(spec).__name__}")


def preflight(cells: Iterable[Cell], context: Context) -> None:
    """Prepare everything that can fail for want of a file before hours of training are spent.

    Decodes the images, and builds every generator, measure, judge and discriminator that ``cells`` will need.

    Raises:
        LopsidedError: the first thing that is missing or does not fit.
    """
    pending = list(cells)
    measures: dict[str, MeasureSpec] = {}
    for cell in pending:
        spec = cell.spec
        if isinstance(spec, Pretrain | Finetune):
            _train_pairs(spec, context).validate(spec.training.patch // spec.scale)
        if isinstance(spec, Finetune) and spec.fidelity:
            measures[spec.fidelity.identity] = spec.fidelity
        if isinstance(spec, AssessFR):
            measures[spec.measure.identity] = spec.measure
        if isinstance(spec, LearnWeights):
            measures[spec.measure.identity] = spec.measure
            split_references(fr_dataset(spec.dataset, context.store), spec.learning.held_out, spec.learning.split_seed)
    for generator, scale in {(c.spec.generator, c.spec.scale) for c in pending if isinstance(c.spec, Pretrain)}:
        build_generator(generator, scale)
    for measure in measures.values():
        # The weights of a learnt one may not be there yet, but its backbone must be.
        _measure(measure.base if isinstance(measure, LearntDists) else measure, context)
    discriminators = {
        c.spec.discriminator.identity: c.spec.discriminator for c in pending if isinstance(c.spec, Finetune)
    }
    for discriminator in discriminators.values():
        if discriminator.form != "none":
            build_discriminator(discriminator)
    for cell in pending:
        if isinstance(cell.spec, JudgeImages):
            _built_judge(cell.spec.judge, context)
            _check_judged_sizes(cell.spec, context)


# --- training -------------------------------------------------------------------------------------------------------


def _train(cell: Cell, spec: Pretrain | Finetune, folder: Path, context: Context) -> None:
    generator = build_generator(spec.generator, spec.scale, seed=spec.seed)
    fidelity: Fidelity | None = None
    adversarial: Adversarial | None = None
    if isinstance(spec, Finetune):
        generator.load_state_dict(_weights(context.input(cell, "pretrain") / GENERATOR))
        if spec.fidelity:
            weight = None if spec.training.gradient_matching else spec.training.fidelity_weight
            fidelity = Fidelity(_measure(spec.fidelity, context), weight)
        if spec.discriminator.form != "none":
            adversarial = Adversarial(
                build_discriminator(spec.discriminator, seed=spec.seed),
                objective(spec.training.objective),
                spec.gan_weight,
                spec.training.discriminator_learning_rate,
                spec.training.gradient_penalty if spec.training.objective == "wasserstein" else 0.0,
            )
    trainer = Trainer(
        spec.training,
        generator,
        _train_pairs(spec, context),
        seed=spec.seed,
        stream=spec.stage,
        fidelity=fidelity,
        adversarial=adversarial,
        device=context.execution.device,
    )
    work = folder / "work"
    try:
        trainer.run(
            work,
            checkpoint_every=context.execution.checkpoint_every,
            progress=lambda step, loss: context.progress(step, spec.training.steps, f"loss {loss:.4f}"),
            stop=context.stop,
        )
        average = trainer.averaged_generator().state_dict()
        for name, tensor in average.items():
            if not torch.isfinite(tensor).all():
                raise DivergedError(trainer.step, f"weight {name}", float("nan"))
    finally:
        # A diverged run's history is its result, and empty if it diverged within its first window.
        history = work / "history.jsonl"
        write_text(folder / HISTORY, history.read_text(encoding="utf-8") if history.exists() else "")
    write_tensors(folder / GENERATOR, average, {"generator": spec.generator.name, "scale": spec.scale})
    if adversarial:
        network = adversarial.discriminator
        write_tensors(folder / DISCRIMINATOR, network.state_dict(), {"discriminator": network.spec.key})
    write_json(
        folder / "result.json", {"steps": trainer.step, "fidelity_weight": fidelity.weight if fidelity else None}
    )


def _train_pairs(spec: Pretrain | Finetune, context: Context) -> PairCache:
    key = f"pairs {spec.train_identity} ×{spec.scale}"
    return context.once(key, lambda: PairCache.build(spec.train.items(), spec.scale, context.store.cache))


# --- restoring and judging ------------------------------------------------------------------------------------------


def _test_pairs(spec: Restore | JudgeImages, context: Context) -> list[Pair]:
    key = f"test {spec.test_identity} crop {spec.test.crop} ×{spec.scale}"
    return context.once(key, lambda: list(pairs(spec.test.images.items(), spec.scale, crop=spec.test.crop)))


def _restore(cell: Cell, spec: Restore, folder: Path, context: Context) -> None:
    images = _test_pairs(spec, context)
    generator = None
    if spec.generator:
        generator = build_generator(spec.generator, spec.scale)
        generator.load_state_dict(_weights(context.input(cell, "finetune") / GENERATOR))
        generator.to(context.execution.device)
    for index, pair in enumerate(images):
        if generator is None:
            restored = bicubic_resize(pair.lr, spec.scale)
        else:
            low = to_tensor(pair.lr).to(context.execution.device)
            restored = to_uint8(super_resolve(generator, low, spec.scale).cpu())
        write_png(folder / "images" / f"{pair.name}.png", restored)
        context.progress(index + 1, len(images), pair.name)


def _judge(cell: Cell, spec: JudgeImages, folder: Path, context: Context) -> None:
    originals = _test_pairs(spec, context)
    images = context.input(cell, "restore") / "images"
    judge = _built_judge(spec.judge, context)
    rows: list[dict[str, Any]] = []
    # Images of one size go through the judge together.
    device = context.execution.device
    for size in sorted({pair.hr.shape for pair in originals}):
        group = [pair for pair in originals if pair.hr.shape == size]
        restored = torch.cat([to_tensor(read_rgb(images / f"{pair.name}.png")) for pair in group])
        references = torch.cat([to_tensor(pair.hr) for pair in group])
        values = judge.score(restored.to(device), references.to(device)).tolist()
        rows += [_scored(pair.name, value) for pair, value in zip(group, values, strict=True)]
        context.progress(len(rows), len(originals), spec.judge.key)
    order = {pair.name: index for index, pair in enumerate(originals)}
    rows.sort(key=lambda row: order[row["image"]])
    table = pd.DataFrame(rows)
    table["higher_is_better"] = not judge.lower_is_better
    _write_table(folder / SCORES, table)


def _check_judged_sizes(spec: JudgeImages, context: Context) -> None:
    need = spec.judge.min_size + 2 * (spec.judge.crop or 0)
    for pair in _test_pairs(spec, context):
        height, width = pair.hr.shape[:2]
        if min(height, width) < need:
            raise ExperimentError(
                f"judge '{spec.judge.key}' needs test images of at least {need} px a side (its border crop included), "
                f"'{pair.name}' is {width}×{height}; raise data.test.*.crop or leave the judge out"
            )


def _scored(image: str, value: float) -> dict[str, Any]:
    finite = bool(np.isfinite(value))
    return {"image": image, "value": value if finite else float("nan"), "status": "ok" if finite else "non-finite"}


# --- assessment -----------------------------------------------------------------------------------------------------


def _assess_fr(spec: AssessFR, folder: Path, context: Context) -> None:
    dataset = fr_dataset(spec.dataset, context.store)
    measure = _measure(spec.measure, context).to(context.execution.device)
    table = evaluate_fr(measure, dataset, device=context.execution.device, progress=context.progress)
    _write_table(folder / SCORES, table)


def _learn_weights(spec: LearnWeights, folder: Path, context: Context) -> None:
    learnt = learn_from_dataset(
        spec.measure,
        fr_dataset(spec.dataset, context.store),
        spec.learning,
        textures=spec.textures,
        device=context.execution.device,
        progress=context.progress,
    )
    learnt.save(folder / WEIGHTS)
    write_json(folder / "result.json", learnt.record())


def fr_dataset(dataset: Any, store: Store) -> FRDataset:
    """Return an FR set, making the ladder in the store's cache if it is not there yet."""
    if isinstance(dataset, LadderSet):
        return FRDataset(build_ladder(dataset.ladder, store.cache))
    return FRDataset(dataset.manifest)


# --- shared ---------------------------------------------------------------------------------------------------------


def _measure(spec: MeasureSpec, context: Context) -> Measure[Any]:
    if isinstance(spec, LearntDists):
        spec = spec.with_weights(context.store.folder(LearnWeights.stage, str(spec.cell)) / WEIGHTS)
    return context.once(f"measure {spec.identity}", spec.build)


def _built_judge(spec: JudgeSpec, context: Context) -> Judge:
    return context.once(f"judge {spec.identity}", lambda: Judge(spec, context.execution.device))


def _weights(path: Path) -> dict[str, torch.Tensor]:
    """Read an input's weights.

    Raises:
        ExperimentError: the file is missing or damaged.
    """
    try:
        return read_tensors(path)[0]
    except (OSError, ValueError, SafetensorError) as error:
        raise ExperimentError(f"'{path}' is missing or damaged ({error}); delete its folder and run again") from None


def _write_table(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)
