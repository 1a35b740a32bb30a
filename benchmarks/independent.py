"""What other programs say of the tables whose answers the tests keep.

    python benchmarks/independent.py

Needs autorank from PyPI, and R with lmerTest (Debian: r-cran-lmertest). Each number is printed beside ours:
variance components, the error of a difference and its Satterthwaite degrees of freedom by lmerTest's mixed models;
Friedman's test and Nemenyi's critical difference by autorank.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from lopsided.analysis.statistics import Floats, friedman
from lopsided.analysis.statistics.contrast import Grid
from lopsided.analysis.statistics.variance_components import component

MIXED_MODELS = """
suppressMessages(library(lmerTest))
t <- read.csv("table.csv"); for (name in c("g", "s", "i")) t[[name]] <- factor(t[[name]])
fit <- function(formula, data) lmer(formula, data, control = lmerControl(optimizer = "bobyqa",
  optCtrl = list(rhobeg = 1e-3, rhoend = 1e-10, maxfun = 1e6), check.conv.grad = .makeCC("warning", 1e-5)))
print(as.data.frame(VarCorr(fit(y ~ 1 + (1|g) + (1|s) + (1|i) + (1|g:s) + (1|g:i), t))), digits = 8)
print(summary(fit(y ~ g + (1|s) + (1|i) + (1|g:s) + (1|g:i), t))$coefficients, digits = 8)
means <- fit(y ~ g + (1|s), aggregate(y ~ g + s, t, mean))
print(sigma(means)^2, digits = 8)
print(summary(means)$coefficients, digits = 8)
"""


def groups() -> Floats:
    """Return ``(5 groups, 3 seeds, 6 images)`` with effects of all five kinds."""
    rng = np.random.default_rng(2)
    own = 0.5 * rng.normal(size=(5, 3, 1)) + 0.7 * rng.normal(size=(5, 1, 6))
    shared = rng.normal(size=(5, 3, 6)) + 3 * rng.normal(size=(3, 1)) + 3 * rng.normal(size=6)
    return (own + shared + np.array([0.0, 1, 2, 4, 5])[:, None, None]).round(2)


def blocks() -> Floats:
    """Return ``(12 blocks, 5 competitors)``."""
    return (np.random.default_rng(4).normal(size=(12, 5)) + np.linspace(1, 0, 5)).round(2)


def main() -> None:
    """Print both sides."""
    y = groups()
    found, noise = component(y), Grid(y, ["none"] * len(y)).noise
    print(
        f"ours: variance of groups {found.sd**2:.7f}; difference: SE {(2 * found.noise) ** 0.5:.7f}, df {found.df:.5f};"
    )
    print(f"      of means: residual variance {noise.setting_variance[0]:.7f} (df {noise.setting_df[0]:g})")
    table = pd.DataFrame({"y": y.ravel()}).assign(**dict(zip("gsi", np.indices(y.shape).reshape(3, -1), strict=True)))
    with tempfile.TemporaryDirectory() as folder:
        table.to_csv(Path(folder) / "table.csv", index=False)
        r = subprocess.run(["Rscript", "-e", MIXED_MODELS], cwd=folder, check=True, capture_output=True, text=True)
    print(f"lmerTest:\n{r.stdout}")

    from autorank import autorank  # pyright: ignore[reportMissingImports] - not a dependency

    ranked = friedman(blocks())
    print(f"ours: mean ranks {ranked.mean_ranks}, p {ranked.p:.8f}, difference {ranked.critical_difference:.5f}")
    other = autorank(pd.DataFrame(blocks()), alpha=0.05, order="descending", force_mode="nonparametric")
    means = other.rankdf["meanrank"].sort_index().to_numpy()
    print(f"autorank: mean ranks {means}, p {other.pvalue:.8f}, difference {other.cd:.5f}")


if __name__ == "__main__":
    main()
