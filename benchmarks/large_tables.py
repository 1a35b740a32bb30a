"""What does the analysis of a large table cost?

    python benchmarks/large_tables.py [--table fr_scores] [--rows 1000000] [--profile]

One table of about so many rows is made up, the others stay empty, and ``analyse`` derives everything from it with 2,000
resamples. Printed are the seconds of CPU, and by how much the largest resident memory of the process grew.

- ``fr_scores``: shaped like KADID-10k, 81 references × 125 images, tied labels with their uncertainty; as many measures
  as it takes.
- ``fr_mixed``: the same columns, but shaped like LIVE, TID2013, KADID-10k and PIPAL together.
- ``sr_scores``: 12 measures × 7 settings × 3 seeds, 9 judges, as many images as it takes.
- ``nr_scores``: 5 initialisations × 3 seeds × 10 splits, as many images as it takes.
- ``mllm_scores``: 20 scorers, as many rated images as it takes, each its own reference.
- ``training``: 250 trainings with five terms, as many steps as it takes.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from lopsided.analysis import StudyTables, analyse

# References, kinds of distortion, levels.
KADID = {"kadid": (81, 25, 5)}
MIXED = KADID | {"live": (29, 5, 5), "tid": (25, 24, 5), "pipal": (200, 23, 5)}


def fr_scores(rows: int, sets: dict[str, tuple[int, int, int]]) -> StudyTables:
    """Return scores of equally noisy measures."""
    rng = np.random.default_rng(0)
    measures = round(rows / sum(np.prod(shape) for shape in sets.values()))
    parts = []
    for name, shape in sets.items():
        reference, distortion, level = (axis.ravel() for axis in np.indices(shape))
        quality = level + rng.normal(0, 0.5, shape[0])[reference] + rng.normal(0, 0.5, len(level))
        images = pd.DataFrame(
            {
                "dataset": name,
                "dataset_id": f"id-{name}",
                "reference": np.char.add("I", reference.astype(str)),
                "image": np.char.add("I", np.arange(len(level)).astype(str)),
                "distortion": np.char.add("d", distortion.astype(str)),
                "level": level,
                "label": np.round(5 - 4 * quality / quality.max(), 2),
                "label_std": 0.8,
                "votes": 30,
                "label_std_of": "votes",
                "label_kind": "dmos",
                "label_higher_is_better": True,
                "status": "ok",
            }
        )
        for k in range(measures):
            noise = rng.normal(0, 0.5, shape[0])[reference] + rng.normal(0, 1.0, len(level))
            of = {"measure": f"m{k:02d}", "measure_id": f"id-m{k}", "higher_is_better": bool(k % 2)}
            parts.append(images.assign(**of, score=(quality + noise) * (-1 if k % 2 else 1)))
    return StudyTables(fr_scores=pd.concat(parts, ignore_index=True))


def crossed(**factors: list) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Return one row for every combination, and by factor which of its values each row has."""
    at = np.indices([len(values) for values in factors.values()]).reshape(len(factors), -1)
    index = dict(zip(factors, at, strict=True))
    return pd.DataFrame({name: np.array(values)[index[name]] for name, values in factors.items()}), index


def sr_scores(rows: int) -> StudyTables:
    """Return judges' scores; noise of images, seeds and the rest."""
    rng = np.random.default_rng(0)
    fidelity = ["none", *(f"m{k}" for k in range(12))]
    settings = ["none", *(f"{kind}-vgg16 {weight}" for kind in ("vanilla", "patch") for weight in (0.01, 0.1, 1.0))]
    judges = [f"j{k}" for k in range(9)]
    images = round(rows / (len(fidelity) * len(settings) * 3 * len(judges)))
    table, at = crossed(fidelity=fidelity, setting=settings, seed=[0, 1, 2], judge=judges, image=list(range(images)))
    discriminator = table["setting"].str.split().str[0]
    weight = table["setting"].str.split().str[1].fillna("0").astype(float)
    value = rng.normal(0, 0.3, (len(fidelity), len(settings), 3))[at["fidelity"], at["setting"], at["seed"]]
    value = value + rng.normal(0, 1, images)[at["image"]] + rng.normal(0, 0.5, len(table))
    cell = table["fidelity"] + "/" + table["setting"] + "/" + table["seed"].astype(str)
    scores = table.drop(columns="setting").assign(
        cell=cell,
        generator="net",
        fidelity_id="id-" + table["fidelity"],
        fidelity_families="",
        discriminator=discriminator,
        discriminator_id="id-" + discriminator,
        gan_weight=weight,
        test_set="set",
        judge_id="id-" + table["judge"],
        judge_families="form:" + table["judge"],
        higher_is_better=True,
        value=value,
        status="ok",
    )
    return StudyTables(sr_scores=scores)


def nr_scores(rows: int) -> StudyTables:
    """Return scores of models on ten splits, a fifth of the references in each."""
    rng = np.random.default_rng(0)
    arms, splits, seeds, references = ["random", "pretrained", "discriminator", "self", "zero-label"], 10, 3, 100
    images = round(rows / (len(arms) * splits * seeds * references / 5))
    label = rng.normal(size=(references, images))
    parts = []
    for kind in arms:
        for seed in range(seeds):
            for split in range(splits):
                tested = np.sort(np.random.default_rng([1, split]).permutation(references)[: references // 5])
                reference, image = (axis.ravel() for axis in np.meshgrid(tested, np.arange(images), indexing="ij"))
                names = np.char.add("r", reference.astype(str))
                parts.append(
                    pd.DataFrame(
                        {
                            "backbone": "vgg16",
                            "initialisation": kind,
                            "source_cell": f"cell{seed}",
                            "model": "vgg16/linear",
                            "model_id": f"{kind}{seed}",
                            "dataset": "rated",
                            "dataset_id": "id-rated",
                            "split": str(split),
                            "reference": names,
                            "image": np.char.add(np.char.add(names, "_"), image.astype(str)),
                            "label": label[reference, image],
                            "label_kind": "mos",
                            "label_higher_is_better": True,
                            "higher_is_better": True,
                            "score": label[reference, image] + rng.normal(size=len(image)),
                            "status": "ok",
                            "seed": seed,
                            "train_references": references - references // 5,
                            "discriminator": "patch-vgg16" if kind in ("discriminator", "zero-label") else None,
                        }
                    )
                )
    return StudyTables(nr_scores=pd.concat(parts, ignore_index=True))


def mllm_scores(rows: int) -> StudyTables:
    """Return ratings of twenty scorers, with ties."""
    rng = np.random.default_rng(0)
    table, at = crossed(scorer=[f"s{k}" for k in range(20)], item=[f"i{k}" for k in range(rows // 20)])
    target = np.round(rng.uniform(1, 5, rows // 20), 2)[at["item"]]
    ratings = table.assign(
        scorer_id="id-" + table["scorer"],
        benchmark="rated",
        dimension="quality",
        reference=table["item"],
        target=target,
        higher_is_better=True,
        value=np.round(target + rng.normal(0, 1, len(table)), 1),
        status="ok",
        raw="",
    )
    return StudyTables(mllm_scores=ratings)


def training(rows: int) -> StudyTables:
    """Return curves of loss terms."""
    terms = ["pixel", "fidelity", "adversarial", "total", "d_accuracy"]
    steps = list(range(50, 50 * (rows // (250 * len(terms)) + 1), 50))
    table, _ = crossed(seed=list(range(250)), step=steps, term=terms)
    curves = table.assign(
        cell="cell" + table["seed"].astype(str),
        stage="finetune",
        generator="net",
        fidelity="m0",
        discriminator="patch-vgg16",
        gan_weight=0.1,
        value=np.random.default_rng(0).normal(1, 0.1, len(table)),
    )
    cells = (
        curves.drop_duplicates("cell")
        .drop(columns=["step", "term", "value"])
        .assign(
            status="done",
            reason="",
            experiment="x",
            judge=None,
            measure=None,
            dataset=None,
            seconds=1.0,
            peak_memory_mb=1.0,
        )
    )
    return StudyTables(training=curves, cells=cells)


TABLES: dict[str, Callable[[int], StudyTables]] = {
    "fr_scores": lambda rows: fr_scores(rows, KADID),
    "fr_mixed": lambda rows: fr_scores(rows, MIXED),
    "sr_scores": sr_scores,
    "nr_scores": nr_scores,
    "mllm_scores": mllm_scores,
    "training": training,
}


def main() -> None:
    """Analyse one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES, default="fr_scores")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    options = parser.parse_args()
    tables = TABLES[options.table](options.rows)
    rows = sum(map(len, tables.by_name().values()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    profile, started = cProfile.Profile(), time.process_time()
    if options.profile:
        profile.enable()
    analyse(tables)
    profile.disable()
    seconds = time.process_time() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"{options.table}: {rows:,} rows, {seconds:.1f} s of CPU, memory {before / 2**20:.2f} + {grown / 2**20:.2f} GB"
    )
    if options.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    main()
