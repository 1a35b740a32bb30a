"""How often do equal raters look unlike, and does a noisy rater as a judge claim what is not there?

    python benchmarks/null_raters.py [--pairs 400] [--studies 400] [--seed 0]

- ``pairs``: two equally good scorers of one benchmark, through the paired test of the leaderboard: the share of pairs
  with p < .05, and how often the 95 % interval of the difference holds 0.
- ``judges``: studies of a pixel-only cell and four measures that are all equally good, 3 seeds × 14 images, judged by
  classical judges and by one multimodal LLM whose replies are noisy, rounded to five levels, averaged
  over repetitions, or missing: the share of studies in which any gain has a corrected p < .05.

The program exits with 1 if a rate is above .05 + 2 standard errors, or a coverage below .95 − 2 standard errors.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lopsided.analysis import gains
from lopsided.mllm.leaderboard import paired_tests

LEVEL, ALPHA = 0.95, 0.05
SAMPLES = ((60, 5), (12, 10))  # references × images of each
MEASURES, SEEDS, IMAGES = 4, 3, 14


@dataclass(frozen=True)
class Rater:
    """A multimodal LLM as a judge.

    Attributes:
        noise: SD of one reply; cells, seeds and images have SDs of 0, 0.3 and 0.5 levels.
        repeats: Replies that are averaged.
        lost: Share of replies without a value.
        classical: Number of classical judges beside it.
    """

    noise: float
    repeats: int = 1
    lost: float = 0.0
    classical: int = 3

    def __str__(self) -> str:
        return f"noise {self.noise:g}, {self.repeats} replies, {self.lost:.0%} lost, {self.classical} classical judges"


RATERS = (
    Rater(0.5),
    Rater(2.0),
    Rater(2.0, repeats=5),
    Rater(2.0, lost=0.01),
    Rater(2.0, classical=0),
    Rater(0.5, classical=0),
)


def pair(references: int, images: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return the ratings of two equally good scorers."""
    of = np.repeat(np.arange(references), images)
    people = rng.normal(0, 1, len(of)) + rng.normal(0, 1, references)[of]
    tables = []
    for scorer in "ab":
        value = people + rng.normal(0, 0.6, references)[of] + rng.normal(0, 0.6, len(of))
        tables.append(pd.DataFrame({"scorer": scorer, "value": value, "target": people, "reference": of}))
    facts = {"benchmark": "own", "dimension": "quality", "task": "rate", "status": "ok"}
    directions = {"higher_is_better": True, "target_higher_is_better": True}
    return pd.concat(tables).assign(item=lambda table: table.index.astype(str), **facts, **directions)


def study(rater: Rater, rng: np.random.Generator) -> pd.DataFrame:
    """Return the scores of a study in which nothing is better than anything else."""
    shape = (MEASURES + 1, SEEDS, IMAGES)
    cell, seed, image = (axis.ravel() for axis in np.indices(shape))
    true = rng.normal(0, 0.3, shape[:2])[cell, seed] + rng.normal(0, 0.5, IMAGES)[image]
    tables = []
    for judge in range(rater.classical + 1):
        value, status = true + rng.normal(0, 0.3, len(true)), np.full(len(true), "ok")
        if judge == rater.classical:
            replies = true[:, None] + rng.normal(0, rater.noise, (len(true), rater.repeats))
            value = np.clip(np.rint(3 + replies), 1, 5).mean(axis=1)
            status = np.where(rng.random(len(true)) < rater.lost, "refused", "ok")
        table = pd.DataFrame({"seed": seed, "image": image, "value": value, "status": status})
        tables.append(table.assign(fidelity=np.array(["none", *"abcd"])[cell], judge=f"judge{judge}"))
    names = {"generator": "g", "discriminator": "none", "discriminator_id": "none", "gan_weight": 0.0, "test_set": "t"}
    scores = pd.concat(tables, ignore_index=True).assign(**names, higher_is_better=True, fidelity_families="")
    families = "form:" + scores["judge"]
    scores["value"] = scores["value"].where(scores["status"] == "ok")
    return scores.assign(fidelity_id=scores["fidelity"], judge_id=scores["judge"], judge_families=families)


def main() -> int:
    """Simulate, print one line per scenario, and tell whether all rates are as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kept = True
    for references, images in SAMPLES:
        rng, start = np.random.default_rng([options.seed, references]), time.perf_counter()
        tests = pd.DataFrame(
            [paired_tests(pair(references, images, rng), LEVEL)[0] for _ in range(options.pairs)],
        )
        rate = (tests["p"] < ALPHA).mean()
        covers = ((tests["difference_low"] <= 0) & (tests["difference_high"] >= 0)).mean()
        error = 2 * (ALPHA * LEVEL / options.pairs) ** 0.5
        kept &= rate <= ALPHA + error and covers >= LEVEL - error
        took = time.perf_counter() - start
        held = f"p < .05 in {rate:.3f}, 0 held in {covers:.3f}"
        print(f"pairs: {references} references of {images} images: {held} ({took:.0f} s)", flush=True)
    for number, rater in enumerate(RATERS):
        rng, start = np.random.default_rng([options.seed, 1000 + number]), time.perf_counter()
        false = []
        for _ in range(options.studies):
            table = gains(study(rater, rng)).table
            false.append(bool((table["p_holm"] < ALPHA).any()))
        rate = float(np.mean(false))
        kept &= rate <= ALPHA + 2 * (ALPHA * LEVEL / options.studies) ** 0.5
        print(
            f"judges: {rater}: a false gain in {rate:.3f} of studies ({time.perf_counter() - start:.0f} s)", flush=True
        )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
