"""How often does a whole study claim what is not there, and how often does it find what is?

    python benchmarks/null_studies.py [--quick] [--studies 300] [--only null unlike ...] [--seed 0] [--append FILE]

Every simulated study is an assessment and an array of scores with known truth, which go through the same functions as
real ones: contrasts, inversions, changes of ρ, spreads, self-preference. Without effects all measures are equally good
as metrics and as objectives; seeds and images are noise. A *whole-study rate* is the share of studies with one false
finding or more of a kind; the least number of seeds for a verdict is left aside, so that two seeds are tested too.
Scenarios:

- ``null``: 2, 3, 5 seeds × 6, 14, 100 images × three SDs of seeds; 5, 25, 81 references and panels that are or are not
  the same for all measures take turns. Nine of the 27: an orthogonal array, in which every two factors meet in every
  combination.
- ``full``: the other 18.
- ``unlike``: one cell or one setting with ten times the variance; variances that differ from cell to cell.
- ``many``: 14 measures.
- ``panels``: judges that like or dislike adversarial settings as a whole, each measure with a related judge of its own.
- ``order``: gains in the order of the metrics in all settings, with unlike noise: ρ is 1 with and without a
  discriminator (only T2 is untrue).
- ``draws``: two of eight measures have three draws of random weights each, whose true gains differ or not. Each draw
  as a measure of its own, as it was before, and the mean of draws. ``unrelated``: the measures differ in both
  abilities, which have nothing to do with each other (``ρ``: its p without a discriminator is below .05).
- ``power``: planted effects: ρ = −1, one inversion, an order turned round by discriminators, a dominant discriminator,
  judges that prefer their own kind, a better patch discriminator.
- ``curves``: the same effects at a quarter, half and all of their size, 3 seeds × 14 images, SD of seeds 0.3.

For comparison, ``old …`` are the rules this toolkit had before: bootstrap intervals at 95 % that leave out 0, without
a correction for how many there are.

The program exits with 1 if a whole-study rate is above .05 + 2 standard errors, or a coverage of gain intervals below
.93. ``--quick`` takes about a minute. ``--append`` adds each finished scenario to a file, and skips those in it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lopsided.analysis.asymmetry import WHERE, Joined, join, list_changes, mean_gain, with_verdicts
from lopsided.analysis.components import ADVERSARIAL, compare_spreads
from lopsided.analysis.contrasts import contrast, trend_weights, weighted_contrast
from lopsided.analysis.draws import average_assessment, average_trained, name_means
from lopsided.analysis.gain import Gains
from lopsided.analysis.inversions import PAIR_COLUMNS, correct, list_pairs
from lopsided.analysis.self_preference import self_preference
from lopsided.analysis.statistics import Assessment, leave_one_out, spearman, srcc, srcc_replicates
from lopsided.analysis.statistics.assessment import COLUMNS as ASSESSED
from lopsided.analysis.statistics.contrast import Estimate
from lopsided.analysis.statistics.multiplicity import ALPHA
from lopsided.analysis.statistics.noise_free_rho import N_DRAWS
from lopsided.analysis.statistics.rank_correlation import exact_p
from lopsided.analysis.trained import CellKey, Trained, judge_units, trained_cells
from lopsided.analysis.verdicts import FAMILIES, UNDECIDED

Floats = NDArray[np.float64]
SETTINGS = (("none", 0.0), ("vanilla-vgg16", 0.1), ("patch-vgg16", 0.1))
LEVEL, Z = 0.95, 1.96
KINDS = ("headline", "inversion", "trend", "T2", "T4", "T6", "T6 general", "self-preference", "ρ")
OLD_KINDS = ("old inversion", "old trend", "old T2", "old T6")
LEAST_COVERAGE = 0.93
PLANTED = {
    "reversed": ("inversion", "trend"),
    "one inversion": ("inversion",),
    "turned": ("T2",),
    "dominant": ("T4",),
    "own": ("self-preference",),
    "patch": ("T6",),
}
ORDER, UNRELATED = "same order", "unrelated"


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        seeds, images, references, measures: Sizes.
        seed_sd: SD that a seed adds to a cell; one image adds 0.5, and the rest 0.5.
        unlike: "" or which variances of seeds are unlike: "cell", "setting", "all", "t".
        own_judges: Whether each measure has a related judge beside the four that all share: panels are then unlike.
        tastes: SD of a judge's liking of a setting as a whole, equal for all cells of the setting.
        planted: "" or the effect that is there.
        size: Factor of that effect.
        draws: Draws of random weights that each of the last two measures has.
        draw_sd: SD of the true gains of these draws.
        averaged: Whether they enter as their mean.
    """

    seeds: int = 3
    images: int = 14
    references: int = 25
    measures: int = 5
    seed_sd: float = 0.3
    unlike: str = ""
    own_judges: bool = True
    tastes: float = 0.0
    planted: str = ""
    size: float = 1.0
    draws: int = 1
    draw_sd: float = 0.0
    averaged: bool = False

    @property
    def forms(self) -> list[int]:
        """The form of every measure: its own, or one that draws share."""
        n = self.measures
        return [*range(n - 2), *(form for form in (n - 2, n - 1) for _ in range(self.draws))]

    @property
    def keys(self) -> list[str]:
        """The key of every measure."""
        if self.draws == 1:
            return [f"m{k}" for k in self.forms]
        plain, forms = self.forms[: self.measures - 2], (self.measures - 2, self.measures - 1)
        names = ("-r", *(f"-r@seed{draw}" for draw in range(1, self.draws)))
        return [*(f"m{k}" for k in plain), *(f"m{k}{name}" for k in forms for name in names)]

    def __str__(self) -> str:
        extra = " ".join(
            part
            for part in (
                self.unlike,
                "" if self.own_judges else "one panel",
                f"tastes {self.tastes:g}" * bool(self.tastes),
                self.planted,
                f"× {self.size:g}" * (self.size != 1),
                f"SD of draws {self.draw_sd:g}" * (self.draws > 1),
                "averaged" * self.averaged,
            )
            if part
        )
        return (
            f"{self.measures:2d} measures {self.seeds} seeds × {self.images:3d} images {self.references:2d} refs"
            f" σs {self.seed_sd:<4g} {extra}"
        )


def assessment_of(scenario: Scenario, rng: np.random.Generator) -> Assessment:
    """Return SRCCs of measures that are equally good, or ever better if that is planted; five images per reference."""
    quality = np.full(scenario.measures, 1.0)
    if scenario.planted in ("reversed", "one inversion", "turned", ORDER):
        quality = np.linspace(0.5, 2.5, scenario.measures)
    elif scenario.planted == UNRELATED:
        quality = rng.normal(1.5, 0.5, scenario.measures)
    label = np.tile(np.arange(5.0), scenario.references)
    cluster = np.repeat(np.arange(scenario.references), 5)
    left_out = leave_one_out(cluster, scenario.references)
    rows, parts = [], {}
    of_form: dict[int, Floats] = {}
    for form, key in zip(scenario.forms, scenario.keys, strict=True):
        if form not in of_form:
            own = rng.normal(0, 0.5, scenario.references)[cluster]
            of_form[form] = quality[form] * label / 2 + own + rng.normal(0, 1.0, len(label))
        score = of_form[form]
        if scenario.draws > 1 and form >= scenario.measures - 2:
            score = score + rng.normal(0, 0.3, len(label))
        parts["set", key] = srcc_replicates(score, label, left_out)[1:]
        value = srcc(score, label)
        rows.append(
            {
                "dataset": "set",
                "dataset_id": "set",
                "label_kind": "mos",
                "measure": key,
                "measure_id": f"id-{key}",
                "n": len(label),
                "n_references": scenario.references,
                "srcc": value,
                "srcc_low": value,
                "srcc_high": value,
                "status": "ok",
            }
        )
    return Assessment(pd.DataFrame(rows, columns=ASSESSED), pd.DataFrame(), pd.DataFrame(), parts)


def scores_of(scenario: Scenario, rng: np.random.Generator) -> Floats:
    """Return ``(settings, cells, judges, seeds, images)``; the first cell of a setting has no fidelity measure."""
    n, g, s, i = len(scenario.keys), len(SETTINGS), scenario.seeds, scenario.images
    gain = np.zeros((g, n))
    if scenario.planted == "reversed":
        gain += np.linspace(1.0, -1.0, n)
    elif scenario.planted == ORDER:
        gain += np.linspace(-1.0, 1.0, n)
    elif scenario.planted == UNRELATED:
        gain += rng.normal(size=scenario.measures)[scenario.forms]
    elif scenario.planted == "turned":
        gain += np.array([1.0, -1.0, -1.0])[:, None] * np.linspace(-1.0, 1.0, n)
    elif scenario.planted == "one inversion":
        gain[:, 0] += 1.5
    elif scenario.planted == "dominant":
        gain += 1.2 * np.arange(g)[:, None]
    elif scenario.planted == "patch":
        gain[2] += 0.5
    if scenario.draw_sd:
        gain[:, scenario.measures - 2 :] += rng.normal(0, scenario.draw_sd, n - scenario.measures + 2)
    sd = np.full((g, n + 1), float(scenario.seed_sd))
    if scenario.unlike == "cell":
        sd[0, 1] *= 10**0.5
    elif scenario.unlike == "setting":
        sd[0] *= 10**0.5
    elif scenario.unlike == "all":
        sd *= np.exp(0.5 * rng.normal(size=sd.shape))
    draws = rng.standard_t(4, size=(g, n + 1, s)) / 2**0.5 if scenario.unlike == "t" else rng.normal(size=(g, n + 1, s))
    judges = judges_of(scenario)
    liking = scenario.tastes * rng.normal(size=(g, 1, len(judges), 1, 1))
    liking[0] = 0
    truth = scenario.size * np.concatenate([np.zeros((g, 1)), gain], axis=1)[:, :, None, None, None]
    own = 0.0
    if scenario.planted == "own":
        own = np.zeros((n + 1, len(judges)))
        own[np.arange(1, n + 1), 4 + np.arange(n)] = 0.8 * scenario.size
        own = own[None, :, :, None, None]
    return (
        truth
        + own
        + liking
        + (sd[..., None] * draws)[:, :, None, :, None]
        + scenario.seed_sd * rng.normal(size=s)[:, None]
        + 0.5 * rng.normal(size=(g, scenario.measures + 1, 1, 1, i))[:, [0, *(form + 1 for form in scenario.forms)]]
        + 0.35 * rng.normal(size=(g, n + 1, 1, s, i))
        + 0.35 * rng.normal(size=(g, n + 1, len(judges), s, i))
        + rng.normal(size=i)
    )


def judges_of(scenario: Scenario) -> list[str]:
    """Return the judges: four that are independent of all measures, and one per measure that is related to it."""
    return [*(f"j{j}" for j in range(4)), *(f"own{k}" for k in range(scenario.measures) if scenario.own_judges)]


def table_of(scenario: Scenario, value: Floats) -> pd.DataFrame:
    """Return scores as a table."""
    judges = judges_of(scenario)
    fidelity = np.array(["none", *scenario.keys])
    family = np.array(["", *(f"form:own{form}" for form in scenario.forms)])
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


@cache
def frame_of(scenario: Scenario) -> tuple[pd.DataFrame, Trained]:
    """Return what studies of a scenario have in common: one score per cell and judge, which carries their families."""
    one = replace(scenario, seeds=1, images=1)
    table = table_of(one, scores_of(one, np.random.default_rng(0)))
    return table, trained_cells(table)["net"]


def trained_of(scenario: Scenario, values: Floats) -> Trained:
    """Return what ``trained_cells`` makes of the table of these scores, without the table."""
    frame = frame_of(scenario)[1]
    fidelity = ["none", *scenario.keys]
    settings = [SETTINGS.index(key.setting) for key in frame.keys]
    by_cell = values[settings, [fidelity.index(key.fidelity) for key in frame.keys]]
    unit, unit_of, unit_status = judge_units(by_cell[frame.baseline], frame.judges)
    trained = replace(
        frame,
        seeds=list(range(scenario.seeds)),
        images=[("set", image) for image in range(scenario.images)],
        values=by_cell,
        lost=np.zeros((len(frame.keys), scenario.seeds), dtype=bool),
        unit=unit,
        unit_of=unit_of,
        unit_status=unit_status,
        _grids={},
    )
    return average_trained(trained, name_means(scenario.keys)) if scenario.averaged else trained


def findings(scenario: Scenario, rng: np.random.Generator) -> dict[str, float]:
    """Simulate one study and return which kinds of findings it makes, and the coverage of its gain intervals."""
    assessment = assessment_of(scenario, rng)
    if scenario.averaged:
        assessment = average_assessment(assessment, name_means(scenario.keys))
    trained = trained_of(scenario, scores_of(scenario, rng))
    cells = pd.DataFrame([key._asdict() for key in trained.keys if key.fidelity != "none"]).assign(n_lost=0, lost="")
    none = pd.DataFrame()
    gained = Gains(none, none, none, none, {"net": trained})
    sides, pairs, trends = [], [], []
    for setting in SETTINGS:
        rows = cells.loc[(cells["discriminator"] == setting[0])]
        here = dict(zip(WHERE, ("net", "set", *setting), strict=True))
        sides.append(join(assessment, "set", rows, trained))
        if scenario.planted != UNRELATED:
            pairs += [here | pair for pair in list_pairs(assessment, "set", rows, trained, LEVEL)]
        weights = np.zeros(len(trained.keys))
        weights[sides[-1].cells] = trend_weights(sides[-1].a)
        trends.append(weights)
    rho_p = exact_p(sides[0].a, mean_gain(trained, sides[0].cells, trained.panel(sides[0].cells).judges))[0]
    if scenario.planted == UNRELATED:
        return {"ρ": float(rho_p < ALPHA)}
    pair_table = correct(pd.DataFrame(pairs, columns=[*WHERE, *PAIR_COLUMNS]), assessment)
    inversion = pair_table["p_corrected"].to_numpy(dtype=float)
    p = [weighted_contrast(trained, weights).estimate.p for weights in trends]
    trend = with_verdicts(pd.DataFrame({"trend_p": p, "n_seeds": scenario.seeds}))["trend_p_holm"].to_numpy(dtype=float)
    changed = may_change(trained, sides) and any(
        row["verdict"] != UNDECIDED
        for row in list_changes([({}, sides[0], side, trained) for side in sides[1:]], LEVEL, 0)
    )
    spreads = compare_spreads(gained)
    patch, vanilla = (sides[number].cells for number in (2, 1))
    better = contrast(trained, patch, vanilla)
    # Found by the rule, whether or not there are seeds enough for the verdict.
    found = {
        "headline": min(np.nanmin(inversion), np.nanmin(trend)) < ALPHA / FAMILIES,
        "inversion": np.nanmin(inversion) < ALPHA,
        "trend": np.nanmin(trend) < ALPHA,
        "T2": changed,
        "T4": spreads.loc[spreads["scope"] == ADVERSARIAL, "verdict"].str.startswith("setting dominates").any(),
        "T6": better.estimate.p < ALPHA,
        "T6 general": better.general.p < ALPHA,
        "ρ": rho_p < ALPHA,
    }
    if scenario.own_judges:
        found["self-preference"] = (self_preference(gained, frame_of(scenario)[0])["p_holm"] < ALPHA).any()
    found |= old_rules(assessment, trained, sides, trends, rng)
    if not (scenario.planted or scenario.tastes):
        cells = [k for k, key in enumerate(trained.keys) if not key.is_baseline]
        ends = [gain_of(trained, k, trained.index(CellKey("net", "none", "none", 0.0))).interval(LEVEL) for k in cells]
        found["coverage"] = np.mean([low <= 0 <= high for low, high in ends])
    return {name: float(value) for name, value in found.items()}


def may_change(trained: Trained, sides: list[Joined]) -> bool:
    """Return whether a change of ρ is not ruled out already by the first part of each interval's union."""
    tail = ALPHA / len(sides[1:]) / 2
    for side in sides[1:]:
        panel = trained.panel([*sides[0].cells, *side.cells]).judges
        ends = []
        for of in (sides[0], side):
            rng = np.random.default_rng(0)
            variances = sides[0].a_variance, of.gain_variance(trained, panel)
            noise = [v**0.5 * rng.standard_normal((N_DRAWS, len(of.a))) for v in variances]
            drawn = spearman(of.a + noise[0], mean_gain(trained, of.cells, panel) + noise[1])
            ends.append(np.quantile(drawn, [tail, 1 - tail]))
        if ends[0][0] > ends[1][1] or ends[1][0] > ends[0][1]:
            return True
    return False


def gain_of(trained: Trained, cell: int, baseline: int) -> Estimate:
    """Return the gain of a cell by its own panel."""
    weights = np.zeros(len(trained.keys))
    weights[[cell, baseline]] = 1, -1
    return trained.grid(trained.panel([cell, baseline]).judges).contrast(weights)


def old_rules(
    assessment: Assessment, trained: Trained, sides: list[Joined], trends: list[Floats], rng: np.random.Generator
) -> dict[str, bool]:
    """Return what the rules of before find: 95 % bootstrap intervals that leave out 0, uncorrected."""

    def interval(weights: Floats) -> tuple[float, float]:
        """Of a contrast, by a bootstrap of seeds and images."""
        values = trained.grid(trained.panel(np.flatnonzero(weights).tolist()).judges).values
        d = np.einsum("c,csi->si", weights, values)
        of_seed, of_image = d.mean(axis=1), d.mean(axis=0)
        rest = d - of_seed[:, None] - of_image + d.mean()
        variance = of_seed.var() / len(of_seed) + of_image.var() / len(of_image) + rest.var() / d.size
        return d.mean(), Z * variance**0.5

    def surely(weights: Floats) -> bool:
        value, half = interval(weights)
        return abs(value) > half

    inversion = False
    for side in sides:
        for (first, a), (second, b) in combinations(zip(side.measures, side.cells, strict=True), 2):
            metric = assessment.difference("set", first, second)
            weights = np.zeros(len(trained.keys))
            weights[[a, b]] = 1, -1
            value, half = interval(weights)
            inversion |= abs(metric.value) > Z * metric.se and abs(value) > half and metric.value * value < 0
    patch = np.zeros(len(trained.keys))
    patch[sides[2].cells], patch[sides[1].cells] = 1 / len(sides[2].cells), -1 / len(sides[1].cells)
    panel = trained.panel([cell for side in sides for cell in side.cells]).judges
    a = sides[0].a + sides[0].a_variance ** 0.5 * rng.standard_normal((400, len(sides[0].a)))
    rho = []
    for side in sides:
        gain = mean_gain(trained, side.cells, panel)
        sd = side.gain_variance(trained, panel) ** 0.5
        rho.append(spearman(a, gain + sd * rng.standard_normal(a.shape)))
    falls = [np.quantile(rho[0] - after, [0.025, 0.975]) for after in rho[1:]]
    return {
        "old inversion": inversion,
        "old trend": any(surely(weights) for weights in trends),
        "old T2": any(low > 0 or high < 0 for low, high in falls),
        "old T6": surely(patch),
    }


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
    sizes = ((2, 6), (3, 14), (5, 14))
    for a, b, c in product(range(3), repeat=3):
        group = "null" if c == (a + b) % 3 else "full"
        if group in names:
            sizes_of = (2, 3, 5)[b], (6, 14, 100)[c], (5, 25, 81)[(b + c) % 3]
            own = (a + 2 * b + c) % 3 != 1
            yield group, Scenario(*sizes_of, seed_sd=(0.3, 1.0, 0.05)[a], own_judges=own)
    if "many" in names:
        yield "many", Scenario(3, 14, 25, measures=14)
    if "unlike" in names:
        for unlike in ("cell", "setting", "all", "t"):
            for number, (seeds, images) in enumerate(sizes):
                yield "unlike", Scenario(seeds, images, (5, 25, 81)[number], unlike=unlike, seed_sd=1.0)
    if "panels" in names:
        for tastes in (0.5, 2.0):
            for seeds, images in ((2, 6), (5, 14)):
                yield "panels", Scenario(seeds, images, tastes=tastes)
    if "order" in names:
        for unlike in ("", "setting", "all"):
            for number, (seeds, images) in enumerate(sizes):
                yield "order", Scenario(seeds, images, (5, 25, 81)[number], unlike=unlike, planted=ORDER)
    if "draws" in names:
        for planted, draw_sd, mean in product((UNRELATED, ""), (0.0, 0.3, 1.0), (False, True)):
            of_draws = {"draws": 3, "draw_sd": draw_sd, "averaged": mean}
            yield "draws", replace(base, measures=8, planted=planted, own_judges=False, **of_draws)
    if "power" in names:
        for planted in PLANTED:
            for seeds, images in ((2, 6), (3, 14), (5, 14), (5, 100)):
                yield "power", Scenario(seeds, images, planted=planted, seed_sd=0.1)
    if "curves" in names:
        for planted, size in product(PLANTED, (0.25, 0.5, 1.0)):
            yield "curves", replace(base, planted=planted, size=size)


def main() -> int:
    """Run the scenarios and print a line for each."""
    parser = argparse.ArgumentParser(description="Whole-study error rates and power on simulated studies.")
    parser.add_argument("--quick", action="store_true", help="four scenarios in about a minute")
    parser.add_argument("--studies", type=int, help="studies per scenario, 300 by default")
    groups = ["null", "full", "many", "unlike", "panels", "order", "draws", "power", "curves"]
    parser.add_argument("--only", nargs="+", default=groups, choices=groups)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--append", type=Path, help="file of finished scenarios, one JSON object per line")
    options = parser.parse_args()
    studies = options.studies or (30 if options.quick else 300)
    allowed = ALPHA + 2 * (ALPHA * (1 - ALPHA) / studies) ** 0.5
    failed = []
    columns = (*KINDS, *OLD_KINDS, "coverage")
    print(f"{studies} studies per scenario; whole-study rates above {allowed:.3f} fail")
    print(f"{'':69s}" + "".join(f"{kind:>16s}" for kind in columns))
    done = read(options.append)
    for group, scenario in scenarios(options.only, options.quick):
        started = time.perf_counter()
        key = f"{group} {scenario!s} × {studies}, seed {options.seed}"
        rates = done.get(key) or run(scenario, studies, options.seed)
        if options.append and key not in done:
            with options.append.open("a") as file:
                file.write(json.dumps({"scenario": key, **rates}) + "\n")
        shown = "".join(f"{rates[kind]:16.3f}" if kind in rates else f"{'':16s}" for kind in columns)
        print(f"{group:7s}{scenario!s:62s}{shown}   {time.perf_counter() - started:.0f} s", flush=True)
        planted = PLANTED.get(scenario.planted, ())
        if scenario.draws > 1 and not scenario.averaged:
            kinds = []
        elif scenario.planted in (ORDER, UNRELATED):
            kinds = ["T2" if scenario.planted == ORDER else "ρ"]
        else:
            # A setting that the judges like is better by these judges: no false finding.
            kinds = [kind for kind in KINDS if not planted and not (scenario.tastes and kind in ("T4", "T6"))]
        failed += [f"{scenario}: {kind} {rates[kind]:.3f}" for kind in kinds if rates.get(kind, 0) > allowed]
        if rates.get("coverage", 1.0) < LEAST_COVERAGE:
            failed.append(f"{scenario}: coverage {rates['coverage']:.3f}")
        if options.quick and planted:
            failed += [f"{scenario}: {kind} found in only {rates[kind]:.2f}" for kind in planted if rates[kind] < 0.5]
    for line in failed:
        print("FAILED", line)
    return 1 if failed else 0


def read(path: Path | None) -> dict[str, dict[str, float]]:
    """Return the finished scenarios of a file."""
    if path is None or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row.pop("scenario"): row for row in rows}


if __name__ == "__main__":
    sys.exit(main())
