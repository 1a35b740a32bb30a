"""Do the statistics keep their promises? Coverage and level on simulated data, and speed of the bootstrap.

    python benchmarks/resampling.py [--only coverage seeds splits speed] [--simulations 1000] [--clusters 10 25 81]
        [--images 125] [--alike 0.5] [--noise 1]

``coverage``: a population of reference images, each with its own offset and slope in the scores and its own offset in
the labels, so that images of one reference are alike; its SRCC is known from 2.5 million images. Each simulation draws
some references, computes every kind of 95 % interval and checks whether it contains the true value. ``--alike`` is how
alike images of one reference are. At 0.5, the default, the clustered standard error of 81 references × 125 images is
1.7 times the iid one, at 1 it is 3.6 times; on KADID-10k, TID2013, LIVE and PIPAL it is 0.8 to 1.9 times. ``--noise``
multiplies the noise of single images: 0.2 makes a measure that is nearly perfect.

``seeds``: means over few seeds × images, as for gains, with seeds that differ not at all, somewhat and much. Checks
whether intervals of the crossed bootstrap contain the true mean, unchanged and widened for the number of seeds, and
compares them with t intervals of the two variances' sum with Satterthwaite's degrees of freedom.

``splits``: two equally good least-squares models on repeated splits of the same rated images, 80 : 20 by reference.
Counts how often the corrected resampled t test of ``analysis/no_reference.py`` and the naive t test over splits find
a difference at the level of 5 %.

``speed``: SRCC of 2,000 clustered resamples of a data set shaped like KADID-10k (81 references × 125 images, labels
with ties), against a loop over ``scipy.stats.spearmanr`` on the same resamples, in one process, in turns; both are
measured in CPU seconds of the process, so that other programs on the machine do not count.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

import numpy as np
from scipy import stats

from lopsided.analysis.no_reference import Design, estimate, t_estimate
from lopsided.analysis.statistics import (
    Floats,
    Resamples,
    correlation_interval,
    draw_counts,
    draw_resamples,
    leave_one_out,
    percentile_interval,
    srcc,
    srcc_replicates,
)

LEVEL = 0.95
ROUNDS = 10


def population(
    n_clusters: int, size: int, rng: np.random.Generator, alike: float = 0.5, noise: float = 1.0
) -> tuple[Floats, Floats]:
    """Return scores and labels, ``(n_clusters, size)``; labels are rounded, hence tied, and scores are skewed."""
    offset, slope, shift = alike * rng.normal(0, (0.6, 0.25, 0.4), (n_clusters, 3)).T[:, :, None]
    severity = rng.uniform(0, 4, (n_clusters, size))
    label = severity + shift + rng.normal(0, 0.5 * noise, (n_clusters, size))
    score = np.exp(0.3 * ((1 + slope) * severity + offset + rng.normal(0, 0.7 * noise, (n_clusters, size))))
    return score, np.round(label, 1)


def fisher_interval(value: float, replicates: Floats, n_clusters: int) -> tuple[float, float]:
    """Return tanh(z ± t·SE): the bootstrap's standard error of Fisher's z with Student's t of clusters − 1 degrees."""
    half = stats.t.ppf((1 + LEVEL) / 2, n_clusters - 1) * np.arctanh(replicates).std(ddof=1)
    return float(np.tanh(np.arctanh(value) - half)), float(np.tanh(np.arctanh(value) + half))


def bca_interval(value: float, replicates: Floats, jackknife: Floats) -> tuple[float, float]:
    """Return the bias-corrected and accelerated interval, acceleration by leaving clusters out (Efron, 1987)."""
    bias = stats.norm.ppf(((replicates < value) + 0.5 * (replicates == value)).mean())
    away = jackknife.mean() - jackknife
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    z = bias + stats.norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = np.quantile(replicates, stats.norm.cdf(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def coverage(simulations: int, sizes: list[int], images: int, n_boot: int, alike: float, noise: float) -> None:
    whole = population(2_500_000 // images, images, np.random.default_rng(0), alike, noise)
    truth = srcc(*(values.ravel() for values in whole))
    print(f"alike {alike:g}, noise {noise:g}: true SRCC {truth:.4f}")
    print(f"{images} images each, {n_boot} resamples, {simulations} times")
    for n_clusters in sizes:
        intervals: dict[str, list[tuple[float, float]]] = {}
        cluster = np.repeat(np.arange(n_clusters), images)
        # Slow to draw and independent of the data: the same for all simulations.
        singly = draw_resamples(np.arange(len(cluster)), n_boot, np.random.default_rng(2))
        for simulation in range(simulations):
            rng = np.random.default_rng([1, n_clusters, simulation])
            x, y = (values.ravel() for values in population(n_clusters, images, rng, alike, noise))
            clustered = srcc_replicates(x, y, draw_resamples(cluster, n_boot, rng))
            iid = srcc_replicates(x, y, singly)
            value, *parts = srcc_replicates(x, y, leave_one_out(cluster, n_clusters))
            parts = np.array(parts)
            for kind, interval in (
                ("iid percentile", percentile_interval(iid)),
                ("clustered percentile", percentile_interval(clustered)),
                ("clustered percentile, widened", percentile_interval(clustered, n_clusters=n_clusters)),
                ("clustered Fisher z, t", fisher_interval(value, clustered, n_clusters)),
                ("clustered BCa", bca_interval(value, clustered, parts)),
                ("jackknife, Fisher z (ours)", correlation_interval(value, parts)),
            ):
                intervals.setdefault(kind, []).append(interval)
        for kind, found in intervals.items():
            low, high = np.array(found).T
            print(
                f"{n_clusters:4} references  {kind:30} covers {np.mean((low <= truth) & (truth <= high)):6.1%}"
                f"  below {np.mean(high < truth):5.1%}  above {np.mean(low > truth):5.1%}"
                f"  mean width {np.mean(high - low):.4f}"
            )


def seeds(simulations: int, n_boot: int) -> None:
    for images, spread, n in itertools.product((6, 30, 100), (0.0, 0.1, 0.3, 1.0), (2, 3, 4, 5, 10)):
        rng = np.random.default_rng([3, images, n])
        intervals: dict[str, list[tuple[float, float]]] = {}
        for _ in range(simulations):
            # In judge SDs: of seeds, of images, of both together.
            values = rng.normal(0, spread, (n, 1)) + rng.normal(0, 0.5, images) + rng.normal(0, 0.5, (n, images))
            drawn = ((draw_counts(n, n_boot, rng) @ values) * draw_counts(images, n_boot, rng)).sum(
                axis=1
            ) / values.size
            parts = [
                (float(values.mean(axis=axis).var(ddof=1)) / size, size - 1) for axis, size in ((0, images), (1, n))
            ]
            found = t_estimate(float(values.mean()), parts, LEVEL)
            for kind, interval in (
                ("percentile", percentile_interval(drawn)),
                ("percentile, widened for seeds", percentile_interval(drawn, n_clusters=n)),
                ("t of both variances", (found.low, found.high)),
            ):
                intervals.setdefault(kind, []).append(interval)
        for kind, pairs in intervals.items():
            low, high = np.array(pairs).T
            print(
                f"{n:2} seeds that spread by {spread:g}, {images:3} images  {kind:30} covers"
                f" {np.mean((low <= 0) & (high >= 0)):6.1%}  mean width {np.mean(high - low):.3f}"
            )


def splits(simulations: int) -> None:
    for references, n in itertools.product((15, 40, 100), (5, 10, 30)):
        rng, ratio, p = np.random.default_rng([4, references, n]), 0.25, []
        for _ in range(simulations):
            values = equal_models(rng, n, references)
            corrected = estimate(values[None], np.empty((1, 0)), Design({}, ratio, None, 0, 0, True), LEVEL).p
            p.append((corrected, stats.ttest_1samp(values, 0)[1]))
        corrected, naive = (np.array(p) < 1 - LEVEL).mean(axis=0)
        print(f"{references:3} references, {n:2} splits: false positives {corrected:.1%}, naive test {naive:.1%}")


def equal_models(
    rng: np.random.Generator, n_splits: int, references: int, images: int = 4, features: int = 6
) -> Floats:
    """Return the differences in SRCC, ``(n_splits,)``, of two models whose features are equally good."""
    label = (rng.normal(size=(references, images)) + rng.normal(0, 0.7, (references, 1))).ravel()
    seen = [label[:, None] + rng.normal(0, 2, (len(label), features)) for _ in range(2)]
    reference, differences = np.repeat(np.arange(references), images), []
    for _ in range(n_splits):
        test = np.isin(reference, rng.permutation(references)[: references // 5])
        weights = [np.linalg.lstsq(x[~test], label[~test], rcond=None)[0] for x in seen]
        one, other = (srcc(x[test] @ w, label[test]) for x, w in zip(seen, weights, strict=True))
        differences.append(one - other)
    return np.array(differences)


def speed(n_boot: int) -> None:
    rng = np.random.default_rng(0)
    x, y = (values.ravel() for values in population(81, 125, rng))
    cluster, counts = np.repeat(np.arange(81), 125), draw_counts(81, n_boot, rng)
    seconds: dict[str, list[float]] = {"ours": [], "scipy": []}
    apart = 0.0
    for part in np.array_split(counts, ROUNDS):
        start = time.process_time()
        ours = srcc_replicates(x, y, Resamples(cluster, part))
        middle = time.process_time()
        theirs = []
        for row in part:
            drawn = np.repeat(np.arange(len(x)), row[cluster])
            theirs.append(stats.spearmanr(x[drawn], y[drawn])[0])
        end = time.process_time()
        seconds["ours"].append(middle - start)
        seconds["scipy"].append(end - middle)
        apart = max(apart, float(np.abs(ours - theirs).max()))
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["scipy"], strict=True)]
    print(
        f"{len(x):,} pairs × {n_boot:,} resamples: ours {sum(seconds['ours']):.2f} s, loop over scipy"
        f" {sum(seconds['scipy']):.2f} s; ratio of a round {statistics.median(ratios):.1f}"
        f" ({min(ratios):.1f} to {max(ratios):.1f}); largest difference {apart:.1e}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = ["coverage", "seeds", "splits", "speed"]
    parser.add_argument("--only", nargs="+", choices=every, default=every)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 25, 81])
    parser.add_argument("--images", type=int, default=125, help="images per reference in the simulations")
    parser.add_argument("--alike", type=float, default=0.5)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--resamples", type=int, default=2000)
    chosen = parser.parse_args()
    if "coverage" in chosen.only:
        coverage(chosen.simulations, chosen.clusters, chosen.images, chosen.resamples, chosen.alike, chosen.noise)
    if "seeds" in chosen.only:
        seeds(chosen.simulations, chosen.resamples)
    if "splits" in chosen.only:
        splits(chosen.simulations)
    if "speed" in chosen.only:
        speed(chosen.resamples)
