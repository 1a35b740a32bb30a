"""Is a discriminator a good start for a no-reference model? Random, discriminator, self-supervised and pretrained.

Trains a small generator with the pixel loss, then discriminators against it (one per seed, each from the random weights
of its seed), and trains no-reference models from every initialisation of the same backbone, on the same splits by
reference. Data are the embedded ladder (scikit-image's six test photographs, ten distortions; labels are *severity
grades*, not opinions) and every manifest given. Further backbones are compared without discriminators.

    python benchmarks/no_reference.py --output FOLDER [--manifests FILE ...] [--images FOLDER] [--pretrained FILE ...]
        [--discriminator vanilla] [--backbone squeezenet1_1] [--others googlenet_bvlc] [--seeds 0 1 2] [--steps 300]
        [--self-steps 100] [--tune-steps 0] [--penalties 0.01 0.1 1 10] [--splits 5] [--threads 1]

Writes ``nr_scores.parquet``, ``table.csv``, ``differences.csv`` and ``discriminators/``, whose files a second run
reuses. ``--pretrained`` names weights as ``backbone=file``; others are the official ones. A value is the median of SRCC
over splits, with the interval of :mod:`lopsided.analysis.no_reference`. Probes with fixed penalties show how much
depends on the choice of the penalty, which is uncertain with few references.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lopsided.analysis import assess_nr
from lopsided.common.sources import FolderSource, SkimageSource
from lopsided.discriminators import DiscriminatorSpec, build_discriminator, objective
from lopsided.iqa import FRDataset, LadderSpec, build_ladder
from lopsided.iqa.nr import FeatureCache, LinearProbe, NRSpec, Splits, ZeroLabelSpec, evaluate_nr
from lopsided.sr import (
    Adversarial,
    FinetuneSpec,
    GeneratorSpec,
    PairCache,
    Trainer,
    TrainingSpec,
    build_generator,
    write_tensors,
)

SCALE, PATCH, BATCH = 4, 64, 8


def train_discriminators(key: str, seeds: list[int], images: Path | None, steps: int, folder: Path) -> None:
    """Train the discriminators that ``folder`` lacks, one per seed, all against one pretrained generator."""
    missing = [seed for seed in seeds if not (folder / f"{key}-{seed}.safetensors").exists()]
    if not missing:
        return
    source = FolderSource(folder=images, pattern="**/*.[jp][pn]g") if images else SkimageSource(split="train")
    with tempfile.TemporaryDirectory() as name:
        cache = PairCache.build(source.items(), SCALE, Path(name), lr_patch=PATCH // SCALE)
        generator = build_generator(GeneratorSpec(name="edsr-tiny"), SCALE)
        pixel = TrainingSpec(steps=steps, batch=BATCH, patch=PATCH, ema=0.99)
        trainer = Trainer(pixel, generator, cache, seed=0, stream="pixel")
        trainer.run(Path(name) / "pixel", checkpoint_every=10**9)
        start = trainer.averaged_generator().state_dict()
        for seed in missing:
            generator = build_generator(GeneratorSpec(name="edsr-tiny"), SCALE)
            generator.load_state_dict(start)
            discriminator = build_discriminator(key, seed=seed)
            trainer = Trainer(
                FinetuneSpec(steps=steps, batch=BATCH, patch=PATCH, learning_rate=1e-4, ema=0.99),
                generator,
                cache,
                seed=seed,
                stream="finetune",
                adversarial=Adversarial(discriminator, objective("bce"), 0.005, 1e-4),
            )
            accuracy = []
            for _ in range(steps):
                accuracy.append(trainer.train_step()["d_accuracy"])
            late = accuracy[-max(1, steps // 5) :]
            print(
                f"{key}, seed {seed}: accuracy {sum(late) / len(late):.3f} over the last {len(late)} steps", flush=True
            )
            state = discriminator.state_dict()
            write_tensors(folder / f"{key}-{seed}.safetensors", state, {"discriminator": discriminator.spec.key})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--manifests", type=Path, nargs="*", default=[])
    parser.add_argument("--images", type=Path, help="photographs for the adversarial training")
    parser.add_argument("--pretrained", nargs="*", default=[], help="backbone=file")
    parser.add_argument("--discriminator", default="vanilla", help="form: vanilla or patch")
    parser.add_argument("--backbone", default="squeezenet1_1")
    parser.add_argument("--others", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--self-steps", type=int, default=100, help="0: no self-supervised initialisation")
    parser.add_argument("--tune-steps", type=int, default=0, help="0: no fine-tuned models")
    default = [0.01, 0.1, 1.0, 10.0]
    parser.add_argument("--penalties", type=float, nargs="*", default=default, help="penalties of additional probes")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--test", type=float, default=0.2, help="share of the references that are tested")
    parser.add_argument("--test-crop", type=int, default=160)
    parser.add_argument("--test-grid", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    began = time.perf_counter()

    key = f"{options.discriminator}-{options.backbone}-r"
    files = options.output / "discriminators"
    train_discriminators(key, options.seeds, options.images, options.steps, files)
    print(f"{time.perf_counter() - began:.0f} s: discriminators", flush=True)

    weights = dict(pair.split("=", 1) for pair in options.pretrained)
    ladder = build_ladder(LadderSpec(source=SkimageSource(split="test"), size=128), options.output)
    datasets = [*(FRDataset(path) for path in options.manifests), FRDataset(ladder, name="ladder")]
    splits = Splits(count=options.splits, test=options.test)
    depth = DiscriminatorSpec.model_validate(key).head_stage + 1
    tables: list[pd.DataFrame] = []

    def add(spec: NRSpec | ZeroLabelSpec, dataset: FRDataset, cache: FeatureCache, **columns: Any) -> None:
        found = evaluate_nr(spec, dataset, splits, features=cache)
        if isinstance(spec, NRSpec) and isinstance(spec.protocol, LinearProbe):
            columns["penalty"] = str(spec.protocol.penalty)
        names = {"dataset": dataset.name, "dataset_id": dataset.identity, "backbone": spec.backbone}
        defaults = {"source_cell": "", "discriminator": "", "stage": pd.NA, "seed": pd.NA}
        model = {"model": spec.key, "model_id": spec.identity}
        tables.append(found.assign(**names, **model, **(defaults | columns)))
        shown = ", ".join(map(str, columns.values()))
        print(f"{time.perf_counter() - began:.0f} s: {dataset.name}, {spec.key}, {shown}", flush=True)

    def source(seed: int) -> dict[str, str]:
        return {"source_cell": f"{key}-{seed}", "discriminator": key}

    for dataset in datasets:
        cache = FeatureCache()
        # The ladder's images are small, so models see them whole.
        views = {} if dataset is datasets[-1] else {"test_crop": options.test_crop, "test_grid": options.test_grid}
        for backbone in (options.backbone, *options.others):
            starts: list[tuple[Any, dict[str, Any]]] = [
                (
                    {"name": "pretrained", "weights": weights.get(backbone, "official")},
                    {"initialisation": "pretrained"},
                )
            ]
            for seed in options.seeds:
                starts.append(({"name": "random", "seed": seed}, {"initialisation": "random", "seed": seed}))
                if backbone == options.backbone:
                    file = str(files / f"{key}-{seed}.safetensors")
                    start = {"name": "discriminator", "discriminator": key, "weights": file}
                    starts.append((start, {"initialisation": "discriminator", "seed": seed, **source(seed)}))
                    for trained in (file, None):
                        spec = ZeroLabelSpec.model_validate(
                            {"discriminator": key, "weights": trained, "seed": seed, **views}
                        )
                        name = "zero-label" if trained else "random"
                        of = source(seed) if trained else {}
                        add(spec, dataset, cache, initialisation=name, seed=seed, **of)
            if options.self_steps and backbone == options.backbone:
                start = {"name": "self", "steps": options.self_steps}
                starts.append((start, {"initialisation": "self", "seed": options.seeds[0]}))
            fixed = [{"name": "linear_probe", "penalty": penalty} for penalty in options.penalties]
            protocols: list[Any] = ["linear_probe", *fixed]
            if options.tune_steps and backbone == options.backbone:
                protocols.append({"name": "fine_tuned", "steps": options.tune_steps, "batch": 8, "loss": "plcc"})
            own_depth = depth if backbone == options.backbone else None
            for start, columns in starts:
                common = {"backbone": backbone, "initialisation": start, "depth": own_depth, **views}
                for protocol in protocols:
                    add(NRSpec.model_validate({**common, "protocol": protocol}), dataset, cache, **columns)
                if backbone == options.backbone and columns["initialisation"] != "self":
                    for stage in range(depth):
                        spec = NRSpec.model_validate({**common, "stages": stage})
                        add(spec, dataset, cache, **columns, stage=stage)
        scores = pd.concat(tables, ignore_index=True)
        options.output.mkdir(parents=True, exist_ok=True)
        scores.to_parquet(options.output / "nr_scores.parquet")

    found = assess_nr(pd.read_parquet(options.output / "nr_scores.parquet"))
    found.table.to_csv(options.output / "table.csv", index=False)
    found.differences.to_csv(options.output / "differences.csv", index=False)
    columns = ["dataset", "model", "stage", "initialisation", "n_splits", "n_seeds", "srcc", "srcc_low", "srcc_high"]
    with pd.option_context("display.width", 200, "display.max_rows", 500, "display.max_columns", 30):
        print(found.table[columns].round(3).to_string(index=False))
        shown = ["dataset", "model", "stage", "a", "b", "difference", "difference_low", "difference_high", "p_holm"]
        print(found.differences[shown].round(3).to_string(index=False))
    print(f"{time.perf_counter() - began:.0f} s in all, {time.process_time():.0f} s of CPU")


if __name__ == "__main__":
    main()
