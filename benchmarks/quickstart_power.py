"""Does a study of the quickstart's size establish something, and nothing where there is nothing?

    python benchmarks/quickstart_power.py [--tables notebooks/tables/quickstart] [--studies 200] [--seed 0]

The committed scores give the truth (each cell's mean difference to the pixel-only cell, by each judge) and the noise.
A simulated study has new seeds and new images: normal ones with the covariance, over all cells and judges at once, of
the committed deviations of seeds, of images and of what is left. It goes through the same functions as a real one;
the assessment side is as committed. Printed is the share of studies with a finding of each kind that counts as
established, with these effects and without any (rates of false findings).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lopsided.analysis import Assessment, StudyTables, analyse, assess, compare_rankings, gains
from lopsided.analysis.claims import CONTRADICTED, SUPPORTED, evaluate_claims
from lopsided.analysis.components import compare_spreads
from lopsided.analysis.study import Study
from lopsided.analysis.verdicts import ESTABLISHED

Floats = NDArray[np.float64]
CELL = ["generator", "fidelity", "discriminator", "gan_weight"]


class Simulated:
    """Studies like a real one.

    Args:
        scores: Its ``sr_scores``, whole.
        effects: Whether cells differ from the pixel-only one as they did.
    """

    def __init__(self, scores: pd.DataFrame, *, effects: bool):
        self.scores = scores
        axes = [pd.MultiIndex.from_frame(scores.loc[:, CELL]), scores["judge"], scores["seed"]]
        axes.append(pd.MultiIndex.from_frame(scores.loc[:, ["test_set", "image"]]))
        self.at, labels = zip(*(pd.Index(axis).factorize(sort=True) for axis in axes), strict=True)
        values = np.full([len(found) for found in labels], np.nan)
        values[self.at] = scores["value"]
        if np.isnan(values).any():
            raise SystemExit("the table of scores is not whole")
        of_seed, of_image = values.mean(axis=3, keepdims=True), values.mean(axis=2, keepdims=True)
        mean = of_seed.mean(axis=2, keepdims=True)
        self.seeds, self.images, self.rest = of_seed - mean, of_image - mean, values - of_seed - of_image + mean
        baseline = [key[1:3] == ("none", "none") for key in labels[0]].index(True)
        self.mean = mean if effects else np.broadcast_to(mean[baseline], mean.shape)

    def draw(self, rng: np.random.Generator) -> pd.DataFrame:
        """Return the scores of a new study."""
        s, i = self.rest.shape[2:]
        seeds = np.einsum("cjso,st->cjto", self.seeds, rng.standard_normal((s, s))) / (s - 1) ** 0.5
        images = np.einsum("cjoi,ik->cjok", self.images, rng.standard_normal((i, i))) / (i - 1) ** 0.5
        mixed = np.einsum("cjsi,sitk->cjtk", self.rest, rng.standard_normal((s, i, s, i)))
        values = self.mean + seeds + images + mixed / ((s - 1) * (i - 1)) ** 0.5
        return self.scores.assign(value=values[self.at])


def findings(study: Study, assessment: Assessment, scores: pd.DataFrame) -> dict[str, bool]:
    """Return which kinds of findings a study establishes."""
    gained = gains(scores, study.tables.cells)
    compared = compare_rankings(assessment, gained, each_judge=False)
    tables = replace(study.tables, sr_scores=scores)
    again = replace(study, tables=tables, gains=gained, asymmetry=compared, spreads=compare_spreads(gained))
    claims = evaluate_claims(again)
    decided = set(claims.loc[claims["verdict"].isin([SUPPORTED, CONTRADICTED]), "claim"])
    return {
        "a gain": bool((gained.table["p_holm"] < 0.05).any()),
        "a trend": bool((compared.settings["trend_verdict"] == ESTABLISHED).any()),
        "an inversion": bool((compared.pairs["verdict"] == ESTABLISHED).any()),
        **{key: key in decided for key in ("T1s", "T2", "T4", "T5", "T6")},
    }


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description="Power of a study of the quickstart's size.")
    parser.add_argument("--tables", type=Path, default=Path("notebooks/tables/quickstart"))
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tables = StudyTables.load(options.tables)
    trained = tables.sr_scores.loc[~tables.sr_scores["fidelity"].isin(["bicubic", "input"])]
    study = analyse(replace(tables, sr_scores=trained), n_boot=200)
    assessment = assess(tables.fr_scores, n_boot=200)
    for effects in (True, False):
        simulated = Simulated(trained, effects=effects)
        found = pd.DataFrame(
            findings(study, assessment, simulated.draw(np.random.default_rng([options.seed, n])))
            for n in range(options.studies)
        )
        rates = found.mean().map("{:.2f}".format)
        print(f"{'effects as committed' if effects else 'no effects'}, {options.studies} studies:", end=" ")
        print(", ".join(f"{name} {rate}" for name, rate in rates.items()), f"any {found.any(axis=1).mean():.2f}")


if __name__ == "__main__":
    main()
