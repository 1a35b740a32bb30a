"""Does the leaderboard find the order of five scorers that is known, and do its intervals cover?

    python benchmarks/leaderboard.py [--references 200] [--draws 60] [--seed 0] [--to FOLDER]

The tiny Qwen2.5-VL of the tests rates ``--references`` × 5 procedural images by five scorers: ``q-align``, ``numeric``,
and ``numeric`` at temperature 0.6, at temperature 1, and at temperature 1 with another seed. The last two tie by
construction: the same scorer, with other draws. The label of an image is its brightness with noise, part of which is
common to the five images of a reference. SRCC on all images is taken as the truth.

Then ``--draws`` benchmarks of 60 references (300 images) are drawn from them with replacement, and each is compared as
``lopsided leaderboard`` does, with 500 resamples instead of 2000: how often its 95 % intervals hold the truth, how
often it finds each of the known differences (Holm), how often it calls a worse scorer better, and how often it tells
the tie apart. With ``--to`` the ratings are kept in that folder, and a second run rates nothing.

The program exits with 1 if a coverage is below .95 − 2 standard errors, or a wrong order or the tie is established in
more than .05 + 2 standard errors.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support import tiny_vlm

from lopsided.mllm import Item, Scorer, TransformersBackend, create_preset, rate, scores_table
from lopsided.mllm.leaderboard import paired_tests
from lopsided.mllm.metrics.intervals import Bootstrap
from lopsided.mllm.metrics.ratings import AS_WORST, rating_metrics

IMAGES, REFERENCES = 5, 60  # of a reference, and references of a benchmark
SCORERS = {
    "q-align": ("q-align", {}),
    "numeric": ("numeric", {}),
    "warm": ("numeric", {"temperature": 0.6, "max_tokens": 8}),
    "hot": ("numeric", {"temperature": 1.0, "max_tokens": 8}),
    "hot again": ("numeric", {"temperature": 1.0, "max_tokens": 8}),  # asked as repetitions, which draw anew
}
TIE = {"hot", "hot again"}
ALPHA, LEVEL = 0.05, 0.95


def make_items(folder: Path, references: int, seed: int) -> list[Item]:
    """Write the images, and return them with their labels."""
    rng, items = np.random.default_rng(seed), []
    for reference in range(references):
        base, common = rng.uniform(0.05, 0.95), rng.normal(0, 0.15)
        for version in range(IMAGES):
            image = tiny_vlm.image(float(np.clip(base + rng.normal(0, 0.1), 0, 1)), int(rng.integers(2**31)))
            path = folder / f"{reference}-{version}.png"
            if not path.exists():
                image.save(path)
            target = float(np.clip(1 + 4 * tiny_vlm.brightness(image) + common + rng.normal(0, 0.2), 1, 5))
            of = {"benchmark": "own", "dimension": "quality", "id": path.stem, "task": "rate", "images": (path,)}
            items.append(Item(**of, target=target, scale=(1.0, 5.0), reference=str(reference)))
    return items


def rated(items: list[Item], folder: Path) -> pd.DataFrame:
    """Return the ratings of all five scorers."""
    backend, tables = TransformersBackend(tiny_vlm.trained()), []
    for name, (preset, options) in SCORERS.items():
        start = time.perf_counter()
        asked = [Item(**{**vars(item), "repeat": int(name == "hot again")}) for item in items]
        run = rate(Scorer(backend, create_preset(preset, **options)), asked, folder / f"{name}.jsonl")
        tables.append(scores_table(asked, run.rows).assign(scorer=name, scorer_id=name))
        print(f"{name}: {run.asked} asked in {time.perf_counter() - start:.0f} s", flush=True)
    return pd.concat(tables, ignore_index=True)


def drawn(pool: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return a benchmark of references that are drawn with replacement; one that is drawn twice counts as two."""
    chosen = rng.choice(sorted(set(pool["reference"])), REFERENCES)
    parts = pd.DataFrame({"reference": chosen, "again": [str(n) for n in range(REFERENCES)]}).merge(pool)
    return parts.assign(item=parts["item"] + "/" + parts["again"], reference=parts["again"])


def main() -> int:
    """Rate, draw, compare, print, and tell whether all is as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=200)
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.to or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        pool = rated(make_items(folder, options.references, options.seed), folder)
    metrics = rating_metrics(pool)
    truth = metrics.loc[metrics["reading"] == AS_WORST].set_index("scorer")["srcc"]
    order = [name for name in SCORERS if name != "hot again"]
    if list(truth[order].sort_values(ascending=False).index) != order:
        raise SystemExit(f"the scorers are not in the order in which they were made: {truth.to_dict()}")
    rng, covered, tests = np.random.default_rng([options.seed, 1]), [], []
    start = time.perf_counter()
    for _ in range(options.draws):
        benchmark = drawn(pool, rng)
        found = rating_metrics(benchmark, bootstrap=Bootstrap(n_boot=500))
        found = found.loc[found["reading"] == AS_WORST].set_index("scorer")
        covered.append((found["srcc_low"] <= truth) & (truth <= found["srcc_high"]))
        tests += [{**test, "sure": test["p_holm"] < ALPHA} for test in paired_tests(benchmark, LEVEL)]
    coverage = pd.concat(covered, axis=1).mean(axis=1)
    for name in SCORERS:
        print(f"{name}: SRCC {truth[name]:.3f} on all images, held by {coverage[name]:.3f} of the intervals")
    pairs = pd.DataFrame(tests)
    tie = pairs.apply(lambda row: {row["scorer_a"], row["scorer_b"]} == TIE, axis=1)
    wrong = ~tie & (truth[pairs["scorer_a"]].to_numpy() < truth[pairs["scorer_b"]].to_numpy())
    error = 2 * (ALPHA * LEVEL / options.draws) ** 0.5
    false_order = float((wrong & pairs["sure"]).sum() / options.draws)
    false_tie = float(pairs.loc[tie, "sure"].mean())
    for a, b in pairwise(order):
        of = pairs.loc[(pairs["scorer_a"] == a) & (pairs["scorer_b"] == b)]
        print(f"{a} before {b}: established in {of['sure'].sum() / options.draws:.3f}")
    print(f"a worse scorer called better: {false_order:.3f}; the tie told apart: {false_tie:.3f}")
    print(f"{options.draws} benchmarks in {time.perf_counter() - start:.0f} s")
    kept = (coverage >= LEVEL - error).all() and max(false_order, false_tie) <= ALPHA + error
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
