"""What each stage does: from a cell and its inputs' folders to output files in its own folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ...common.files import atomic_path, write_json
from ...common.images import read_rgb, to_tensor, to_uint8, write_png
from ...discriminators import build_discriminator
from ...iqa import JudgeSpec, evaluate_fr_group
from ...iqa.fr import batch_pixels
from ...iqa.ladder import build_ladder
from ...iqa.learn import learn_from_dataset, split_references
from ...iqa.manifest import FRDataset
from ...losses import MeasureGroup, MeasureSpec, Reference
from ...sr import build_generator, super_resolve
from ...sr.degradation import bicubic_resize
from ...sr.distributed import current_ranks
from ...sr.images import Pair, PairCache, pairs
from ...sr.trainer import StoppedError
from ..schema.datasets import FRManifest, FRPublished, LadderSet
from ..schema.errors import ExperimentError
from ..schema.measures import LearntDists
from ..store import Store
from .assess_fr import AssessFR
from .assess_nr import AssessNR, assess_nr, preflight_nr
from .cell import Cell
from .context import ALPHA_BETA, Context
from .judge import JudgeImages
from .learn_weights import LearnWeights
from .rate import Rate, check_scorers, rate_images
from .restore import Restore
from .train import GENERATOR, Finetune, Pretrain, train

SCORES = "scores.parquet"
PARTIAL = "work/scores.jsonl"


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
        _assess_fr({cell: folder}, context)
    elif isinstance(spec, AssessNR):
        _write_table(folder / SCORES, assess_nr(cell, spec, context))
    elif isinstance(spec, LearnWeights):
        _learn_weights(spec, folder, context)
    elif isinstance(spec, Rate):
        rate_images(cell, spec, folder, context)
    else:
        raise ExperimentError(f"no stage computes cells of kind {type(spec).__name__}")


def run_together(folders: Mapping[Cell, Path], context: Context) -> None:
    """Compute several cells that agree in ``Cell.together``, each into its folder; errors as for :func:`run_stage`."""
    _assess_fr(folders, context)


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
            current_ranks().share(spec.training.micro_batches)
            _train_pairs(spec, context).validate(spec.training.patch // spec.scale)
            for judge in spec.validation.judges if spec.validation else ():
                context.judge(judge)
                _check_judged_sizes(judge, _validation_pairs(spec, context), "super_resolution.validation.crop")
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
        context.measure(measure.base if isinstance(measure, LearntDists) else measure)
    discriminators = {
        c.spec.discriminator.identity: c.spec.discriminator for c in pending if isinstance(c.spec, Finetune)
    }
    for discriminator in discriminators.values():
        if discriminator.form != "none":
            build_discriminator(discriminator)
    for cell in pending:
        if isinstance(cell.spec, JudgeImages):
            context.judge(cell.spec.judge)
            _check_judged_sizes(cell.spec.judge, _test_pairs(cell.spec, context), "data.test.*.crop")
    preflight_nr(pending, context)
    check_scorers(pending, context)


# --- training -------------------------------------------------------------------------------------------------------


def _train(cell: Cell, spec: Pretrain | Finetune, folder: Path, context: Context) -> None:
    train(cell, spec, folder, context, _train_pairs(spec, context), _validation_pairs(spec, context))


def _validation_pairs(spec: Pretrain | Finetune, context: Context) -> list[Pair]:
    validation = spec.validation
    if validation is None:
        return []
    key = f"validation {spec.validation_identity} crop {validation.crop} ×{spec.scale}"
    return context.once(key, lambda: list(pairs(validation.images.items(), spec.scale, crop=validation.crop)))


def _train_pairs(spec: Pretrain | Finetune, context: Context) -> PairCache:
    key = f"pairs {spec.train_identity} ×{spec.scale} {spec.task.identity}"
    return context.once(
        key, lambda: PairCache.build(spec.train.items(), spec.scale, context.store.cache, task=spec.task)
    )


# --- restoring and judging ------------------------------------------------------------------------------------------


def _test_key(spec: Restore | JudgeImages) -> str:
    return f"test {spec.test_identity} crop {spec.test.crop} ×{spec.scale} {spec.task.identity}"


def _test_pairs(spec: Restore | JudgeImages, context: Context) -> list[Pair]:
    return context.once(
        _test_key(spec), lambda: list(pairs(spec.test.images.items(), spec.scale, crop=spec.test.crop, task=spec.task))
    )


def _restore(cell: Cell, spec: Restore, folder: Path, context: Context) -> None:
    images = _test_pairs(spec, context)
    generator, multiple = None, 1
    if spec.generator:
        generator, multiple = build_generator(spec.generator, spec.scale), spec.generator.side_multiple
        generator.load_state_dict(context.weights(cell, "finetune", GENERATOR))
        generator.to(context.execution.device)
    for index, pair in enumerate(images):
        if generator is None:
            restored = bicubic_resize(pair.lr, spec.scale)  # at ×1 the input itself
        else:
            low = to_tensor(pair.lr).to(context.execution.device)
            restored = to_uint8(super_resolve(generator, low, spec.scale, multiple=multiple).cpu())
        write_png(folder / "images" / f"{pair.name}.png", restored)
        context.progress(index + 1, len(images), pair.name)


def _judge(cell: Cell, spec: JudgeImages, folder: Path, context: Context) -> None:
    originals = _test_pairs(spec, context)
    images = context.input(cell, "restore") / "images"
    judge = context.judge(spec.judge)
    rows: list[dict[str, Any]] = []
    # Images of one size go through the judge together, as many as fit.
    device = context.execution.device
    for size in sorted({pair.hr.shape for pair in originals}):
        group = [pair for pair in originals if pair.hr.shape == size]
        count = max(1, batch_pixels(device) // (size[0] * size[1]))
        for batch in (group[start : start + count] for start in range(0, len(group), count)):
            restored = torch.cat([to_tensor(read_rgb(images / f"{pair.name}.png")) for pair in batch])
            values = judge.score(restored.to(device), _judged_references(spec, batch, context)).tolist()
            rows += [_scored(pair.name, value) for pair, value in zip(batch, values, strict=True)]
            context.progress(len(rows), len(originals), spec.judge.key)
    order = {pair.name: index for index, pair in enumerate(originals)}
    rows.sort(key=lambda row: order[row["image"]])
    table = pd.DataFrame(rows)
    table["higher_is_better"] = not judge.lower_is_better
    _write_table(folder / SCORES, table)


def _judged_references(spec: JudgeImages, batch: list[Pair], context: Context) -> Reference:
    """Return what the judge computes of references, which are the same for every restored cell."""

    def prepare() -> Reference:
        references = torch.cat([to_tensor(pair.hr) for pair in batch])
        return context.judge(spec.judge).prepare(references.to(context.execution.device))

    names = " ".join(pair.name for pair in batch)
    return context.references.get(f"{spec.judge.identity} {_test_key(spec)} {names}", prepare)


def _check_judged_sizes(judge: JudgeSpec, images: Iterable[Pair], setting: str) -> None:
    need = judge.min_size + 2 * (judge.crop or 0)
    for pair in images:
        height, width = pair.hr.shape[:2]
        if min(height, width) < need:
            raise ExperimentError(
                f"judge '{judge.key}' needs images of at least {need} px a side (its border crop included), "
                f"'{pair.name}' is {width}×{height}; raise {setting} or leave the judge out"
            )


def _scored(image: str, value: float) -> dict[str, Any]:
    finite = bool(np.isfinite(value))
    return {"image": image, "value": value if finite else float("nan"), "status": "ok" if finite else "non-finite"}


# --- assessment -----------------------------------------------------------------------------------------------------


def _assess_fr(folders: Mapping[Cell, Path], context: Context) -> None:
    """Score an FR set by the measures of several cells, going on from what an interrupted run has left."""
    specs = {cell: spec for cell in folders if isinstance(spec := cell.spec, AssessFR)}
    dataset = fr_dataset(next(iter(specs.values())).dataset, context.store)
    device = context.execution.device
    measures = {cell: context.measure(spec.measure).to(device) for cell, spec in specs.items()}

    def progress(done: int, total: int, note: str) -> None:
        context.progress(done, total, note)
        if done < total and context.stop():
            raise StoppedError(f"stopped after {done} of {total} images")

    tables = evaluate_fr_group(
        MeasureGroup(list(measures.values())),
        dataset,
        device=device,
        progress=progress,
        partial={measure.spec.key: folders[cell] / PARTIAL for cell, measure in measures.items()},
    )
    for cell, measure in measures.items():
        _write_table(folders[cell] / SCORES, tables[measure.spec.key])


def _learn_weights(spec: LearnWeights, folder: Path, context: Context) -> None:
    learnt = learn_from_dataset(
        spec.measure,
        fr_dataset(spec.dataset, context.store),
        spec.learning,
        textures=spec.textures,
        device=context.execution.device,
        progress=context.progress,
    )
    learnt.save(folder / ALPHA_BETA)
    write_json(folder / "result.json", learnt.record())


def fr_dataset(dataset: LadderSet | FRManifest | FRPublished, store: Store) -> FRDataset:
    """Return an FR set, making the ladder in the store's cache if it is not there yet."""
    if isinstance(dataset, LadderSet):
        return FRDataset(build_ladder(dataset.ladder, store.cache))
    return dataset.open()


def _write_table(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)
