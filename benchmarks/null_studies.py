"""How often does a whole study claim what is not there, and how often does it find what is?

    python benchmarks/null_studies.py [--quick] [--studies 300] [--only null unlike ...] [--seed 0]

Every simulated study is a table of scores and an assessment with known truth, which go through ``gains``,
``compare_rankings``, ``compare_spreads``, the claims and ``self_preference`` as real ones do. Without effects all
measures are equally good as metrics and as objectives; seeds and images are noise. A *whole-study rate* is the share of
studies with one false finding or more of a kind. Scenarios:

- ``null``: seeds × images × references × noise of the seeds.
- ``unlike``: one cell or one setting with ten times the variance; variances that differ from cell to cell.
- ``panels``: judges that like or dislike adversarial settings as a whole, each measure with a related judge of its own.
- ``power``: planted effects: ρ = −1, one inversion, a dominant discriminator, judges that prefer their own kind.

The program exits with 1 if a whole-study rate is above .05 + 2 standard errors, or a coverage of gain intervals below
.93. ``--quick`` takes about a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lopsided.analysis import StudyTables, compare_rankings, gains
from lopsided.analysis.claims import adversarial
from lopsided.analysis.components import ADVERSARIAL, compare_spreads
from lopsided.analysis.headline import headline_verdict
from lopsided.analysis.self_preference import self_preference
from lopsided.analysis.statistics import Assessment, Resamples, srcc, srcc_replicates
from lopsided.analysis.statistics.multiplicity import ALPHA
from lopsided.analysis.verdicts import AGREE_LESS, AGREE_MORE, ESTABLISHED, MIN_SEEDS

SETTINGS = (("none", 0.0), ("vanilla-vgg16", 0.1), ("patch-vgg16", 0.1))
KINDS = ("headline", "inversion", "trend", "T2", "T4", "T6", "self-preference")
LEAST_COVERAGE = 0.93
PLANTED = {
    "reversed": ("inversion", "trend"),
    "one inversion": ("inversion",),
    "dominant": ("T4",),
    "own": ("self-preference",),
}
PLANTED |= {"patch": ("T6",)}


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        seeds, images, references, measures: Sizes.
        seed_sd: SD that a seed adds to a cell; one image adds 0.5, and the rest 0.5.
        unlike: "" or which variances of seeds are unlike: "cell", "setting", "all", "t".
        tastes: SD of a judge's liking of a setting as a whole, equal for all cells of the setting.
        planted: "" or the effect that is there.
    """

    seeds: int = 3
    images: int = 14
    references: int = 25
    measures: int = 5
    seed_sd: float = 0.3
    unlike: str = ""
    tastes: float = 0.0
    planted: str = ""

    def __str__(self) -> str:
        extra = " ".join(
            part for part in (self.unlike, f"tastes {self.tastes:g}" * bool(self.tastes), self.planted) if part
        )
        return (
            f"{self.measures:2d} measures {self.seeds} seeds × {self.images:3d} images {self.references:2d} refs"
            f" σs {self.seed_sd:<4g} {extra}"
        )


def assessment_of(scenario: Scenario, rng: np.random.Generator) -> Assessment:
    """Return SRCCs of measures that are equally good, or ever better if that is planted; five images per reference."""
    quality = np.full(scenario.measures, 1.0)
    if scenario.planted in ("reversed", "one inversion"):
        quality = np.linspace(0.5, 2.5, scenario.measures)
    label = np.tile(np.arange(5.0), scenario.references)
    cluster = np.repeat(np.arange(scenario.references), 5)
    resamples = Resamples(cluster, 1 - np.eye(scenario.references, dtype=np.int64))
    rows, parts = [], {}
    for k in range(scenario.measures):
        own = rng.normal(0, 0.5, scenario.references)[cluster]
        score = quality[k] * label / 2 + own + rng.normal(0, 1.0, len(label))
        parts["set", f"m{k}"] = srcc_replicates(score, label, resamples)
        value = srcc(score, label)
        rows.append(
            {
                "dataset": "set",
                "measure": f"m{k}",
                "measure_id": f"id-m{k}",
                "n_references": scenario.references,
                "srcc": value,
                "srcc_low": value,
                "srcc_high": value,
                "status": "ok",
            }
        )
    return Assessment(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), parts)


def sr_scores_of(scenario: Scenario, rng: np.random.Generator) -> pd.DataFrame:
    """Return the table of SR scores."""
    n, g, s, i = scenario.measures, len(SETTINGS), scenario.seeds, scenario.images
    gain = np.zeros((g, n))
    if scenario.planted == "reversed":
        gain += np.linspace(1.0, -1.0, n)
    elif scenario.planted == "one inversion":
        gain[:, 0] += 1.5
    elif scenario.planted == "dominant":
        gain += 1.2 * np.arange(g)[:, None]
    elif scenario.planted == "patch":
        gain[2] += 0.5
    sd = np.full((g, n + 1), float(scenario.seed_sd))
    if scenario.unlike == "cell":
        sd[0, 1] *= 10**0.5
    elif scenario.unlike == "setting":
        sd[0] *= 10**0.5
    elif scenario.unlike == "all":
        sd *= np.exp(0.5 * rng.normal(size=sd.shape))
    draws = rng.standard_t(4, size=(g, n + 1, s)) / 2**0.5 if scenario.unlike == "t" else rng.normal(size=(g, n + 1, s))
    judges = [*(f"j{j}" for j in range(4)), *(f"own{k}" for k in range(n))]
    related = np.zeros((n + 1, len(judges)))
    related[np.arange(1, n + 1), 4 + np.arange(n)] = 1.0
    liking = scenario.tastes * rng.normal(size=(g, 1, len(judges), 1, 1))
    liking[0] = 0
    truth = np.concatenate([np.zeros((g, 1)), gain], axis=1)[:, :, None, None, None]
    own = 0.8 * related[None, :, :, None, None] if scenario.planted == "own" else 0.0
    value = (
        truth
        + own
        + liking
        + (sd[..., None] * draws)[:, :, None, :, None]
        + scenario.seed_sd * rng.normal(size=s)[:, None]
        + 0.5 * rng.normal(size=(g, n + 1, 1, 1, i))
        + 0.35 * rng.normal(size=(g, n + 1, 1, s, i))
        + 0.35 * rng.normal(size=(g, n + 1, len(judges), s, i))
        + rng.normal(size=i)
    )
    fidelity = np.array(["none", *(f"m{k}" for k in range(n))])
    family = np.array(["", *(f"form:own{k}" for k in range(n))])
    at = [axis.ravel() for axis in np.indices(value.shape)]
    return pd.DataFrame(
        {
            "cell": "",
            "generator": "net",
            "fidelity": fidelity[at[1]],
            "fidelity_id": np.char.add("id-", fidelity)[at[1]],
            "fidelity_families": family[at[1]],
            "discriminator": np.array([name for name, _ in SETTINGS])[at[0]],
            "discriminator_id": np.array([f"id-{name}" for name, _ in SETTINGS])[at[0]],
            "gan_weight": np.array([weight for _, weight in SETTINGS])[at[0]],
            "seed": at[3],
            "test_set": "set",
            "image": at[4],
            "judge": np.array(judges)[at[2]],
            "judge_id": np.array([f"id-{judge}" for judge in judges])[at[2]],
            "judge_families": np.array([f"form:{judge}" for judge in judges])[at[2]],
            "higher_is_better": True,
            "value": value.ravel(),
            "status": "ok",
        }
    )


@dataclass(frozen=True)
class _Study:
    """What the claims read of a study."""

    gains: object
    spreads: pd.DataFrame
    tables: StudyTables
    level: float = 0.95


def findings(scenario: Scenario, rng: np.random.Generator) -> dict[str, float]:
    """Simulate one study and return which kinds of findings it makes, and the coverage of its gain intervals."""
    assessment = assessment_of(scenario, rng)
    scores = sr_scores_of(scenario, rng)
    gained = gains(scores)
    compared = compare_rankings(assessment, gained, each_judge=False)
    spreads = compare_spreads(gained)
    study = _Study(gained, spreads, StudyTables(sr_scores=scores))
    found = {
        "headline": any(
            headline_verdict({**row, "n_seeds": MIN_SEEDS}, p) == ESTABLISHED
            for table, p in ((compared.settings, "trend_p_holm"), (compared.pairs, "p_corrected"))
            for row in table.to_dict("records")
        ),
        "inversion": (compared.pairs["p_corrected"] < ALPHA).any(),
        "trend": (compared.settings["trend_p_holm"] < ALPHA).any(),
        "T2": compared.changes["verdict"].isin([AGREE_LESS, AGREE_MORE]).any(),
        "T4": (spreads.loc[spreads["scope"] == ADVERSARIAL, "verdict"] == "setting dominates").any(),
        "T6": any(
            finding.p < ALPHA
            for finding in adversarial.patch_is_better(study)  # pyright: ignore[reportArgumentType]
        ),
        "self-preference": (self_preference(gained, scores)["p_holm"] < ALPHA).any(),
    }
    if not (scenario.planted or scenario.tastes):
        rows = gained.table
        found["coverage"] = ((rows["gain_low"] <= 0) & (rows["gain_high"] >= 0)).mean()
    return {name: float(value) for name, value in found.items()}


def run(scenario: Scenario, studies: int, seed: int) -> dict[str, float]:
    """Return the rates over studies."""
    results = [findings(scenario, np.random.default_rng([seed, n])) for n in range(studies)]
    return {name: float(np.mean([result[name] for result in results])) for name in results[0]}


def scenarios(names: list[str], quick: bool) -> Iterator[tuple[str, Scenario]]:
    """Yield the scenarios of each group."""
    base = Scenario()
    if quick:
        yield "null", replace(base, seeds=2, images=6, references=5)
        yield "unlike", replace(base, unlike="cell", seed_sd=1.0)
        yield "panels", replace(base, tastes=1.0)
        yield "power", replace(base, planted="reversed", seeds=5, seed_sd=0.1)
        return
    if "null" in names:
        for seed_sd in (0.05, 0.3, 1.0):
            for seeds, images in ((2, 6), (3, 14), (5, 14), (5, 100)):
                for references in (5, 25, 81):
                    yield "null", Scenario(seeds, images, references, seed_sd=seed_sd)
        yield "null", Scenario(3, 14, 25, measures=14)
    if "unlike" in names:
        for unlike in ("cell", "setting", "all", "t"):
            for seeds, images in ((2, 6), (3, 14), (5, 14)):
                yield "unlike", Scenario(seeds, images, unlike=unlike, seed_sd=1.0)
    if "panels" in names:
        for tastes in (0.5, 2.0):
            for seeds, images in ((2, 6), (5, 14)):
                yield "panels", Scenario(seeds, images, tastes=tastes)
    if "power" in names:
        for planted in PLANTED:
            for seeds, images in ((2, 6), (3, 14), (5, 14), (5, 100)):
                yield "power", Scenario(seeds, images, planted=planted, seed_sd=0.1)


def main() -> int:
    """Run the scenarios and print a line for each."""
    parser = argparse.ArgumentParser(description="Whole-study error rates and power on simulated studies.")
    parser.add_argument("--quick", action="store_true", help="four scenarios in about a minute")
    parser.add_argument("--studies", type=int, help="studies per scenario, 300 by default")
    parser.add_argument("--only", nargs="+", default=["null", "unlike", "panels", "power"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    studies = options.studies or (30 if options.quick else 300)
    allowed = ALPHA + 2 * (ALPHA * (1 - ALPHA) / studies) ** 0.5
    failed = []
    print(f"{studies} studies per scenario; whole-study rates above {allowed:.3f} fail")
    print(f"{'':62s}" + "".join(f"{kind:>16s}" for kind in (*KINDS, "coverage")))
    for group, scenario in scenarios(options.only, options.quick):
        started = time.perf_counter()
        rates = run(scenario, studies, options.seed)
        shown = "".join(f"{rates[kind]:16.3f}" if kind in rates else f"{'':16s}" for kind in (*KINDS, "coverage"))
        print(f"{group:7s}{scenario!s:55s}{shown}   {time.perf_counter() - started:.0f} s", flush=True)
        planted = PLANTED.get(scenario.planted, ())
        if not planted:
            # A setting that the judges like is better by these judges: no false finding.
            kinds = [kind for kind in KINDS if not (scenario.tastes and kind in ("T4", "T6"))]
            failed += [f"{scenario}: {kind} {rates[kind]:.3f}" for kind in kinds if rates[kind] > allowed]
        if rates.get("coverage", 1.0) < LEAST_COVERAGE:
            failed.append(f"{scenario}: coverage {rates['coverage']:.3f}")
        if options.quick and planted:
            failed += [f"{scenario}: {kind} found in only {rates[kind]:.2f}" for kind in planted if rates[kind] < 0.5]
    for line in failed:
        print("FAILED", line)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
