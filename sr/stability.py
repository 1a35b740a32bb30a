"""How stable an adversarial training was, as numbers computed from its history alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import SuperResolutionError

SATURATED_ACCURACY, SATURATED_MARGIN = 0.99, 0.9
BLIND = 0.02  # distance of the accuracy from one half
FEW, MANY = 4, 16  # windows from which levels can be compared, and from which a period can be seen
REPEATS = 0.5  # autocorrelation from which a lag counts as a period


def summarise_stability(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Summarise the windows of a training's history.

    A window is a row with the training's terms. Other rows (validation, and windows in which every step was skipped)
    are ignored, and the order of the rows does not matter. A key is absent where the history cannot tell its value: the
    discriminator's keys without an adversarial term, ratios with fewer than 4 windows or to zero, oscillations with
    fewer than 16 windows.

    - ``windows``: how many there are.
    - ``skipped_steps``: steps skipped because a loss or gradient was not finite. 0 is best.
    - ``discriminator_saturation``: share of windows in which the discriminator's accuracy is at least 0.99 or
      D(real) - D(fake) at least 0.9. The better it separates the two, the less its gradient tells the generator
      (Arjovsky and Bottou, 2017, section 2). In [0, 1]; 0 is best.
    - ``discriminator_blindness``: share of windows in which its accuracy is 0.5 ± 0.02. In [0, 1]. A perfect generator
      would give 1 (Goodfellow et al., 2014, proposition 2); so does a discriminator that has learnt nothing.
    - ``discriminator_oscillation``, ``pixel_oscillation``: how strongly D(real) - D(fake), and the pixel loss, repeat
      themselves, as with players that circle each other (Mescheder et al., 2018): the largest autocorrelation of the
      linearly detrended values, over the lags from the first negative one to half the history. In [0, 1]; 0 is best,
      noise gives about 0.3. ``…_period``: that lag in steps, where the oscillation is at least 0.5.
    - ``pixel_final_over_best``: mean pixel loss of the last tenth of the windows, over the lowest such mean at any
      time. At least 1; far above 1 the generator has lost what it had reached (collapse).
    - ``pixel_drift``: mean pixel loss of the last tenth over that of the first. Above 1 the adversarial and fidelity
      terms moved the generator away from the reference.
    - ``generator_gradient_spike``, ``discriminator_gradient_spike``: largest gradient norm of the weights over its
      median. At least 1; 1 is best.
    - ``adversarial_gradient_share``: norm of the adversarial term's gradient on the image, over the sum of the norms of
      all terms, mean over windows. In [0, 1].

    Saturation, blindness and the discriminator's oscillation assume that its logits are those of a probability; the
    logits of ``wasserstein`` and ``relativistic`` have no meaningful zero.

    Args:
        rows: rows of ``history.jsonl``, with ``step`` and the means over a window.

    Raises:
        SuperResolutionError: a value is not a finite number.

    Examples:
        >>> summarise_stability([{"step": step, "pixel": 1 / step, "skipped": 0} for step in (10, 20, 30, 40)])
        {'windows': 4.0, 'skipped_steps': 0.0, 'pixel_final_over_best': 1.0, 'pixel_drift': 0.25}
    """
    windows = sorted((row for row in rows if "pixel" in row), key=lambda row: row["step"])
    summary = {"windows": float(len(windows))}
    if counts := [row["skipped"] for row in rows if "skipped" in row]:
        summary["skipped_steps"] = float(sum(counts))
    if not windows:
        return summary

    pixel = _column(windows, "pixel")
    accuracy, real, fake = (_column(windows, name) for name in ("d_accuracy", "d_real", "d_fake"))
    margin = real - fake if real is not None and fake is not None else None
    if accuracy is not None and margin is not None:
        saturated = (accuracy >= SATURATED_ACCURACY) | (margin >= SATURATED_MARGIN)
        summary["discriminator_saturation"] = float(saturated.mean())
        summary["discriminator_blindness"] = float((np.abs(accuracy - 0.5) <= BLIND).mean())

    pulls = [_column(windows, f"gradient_{term}") for term in ("adversarial", "pixel", "fidelity")]
    if pulls[0] is not None:
        total = np.sum([pull for pull in pulls if pull is not None], axis=0)
        if (total > 0).any():
            summary["adversarial_gradient_share"] = float((pulls[0][total > 0] / total[total > 0]).mean())

    if len(windows) >= FEW:
        for player in ("generator", "discriminator"):
            norms = _column(windows, f"gradient_{player}")
            if norms is not None and np.median(norms) > 0:
                summary[f"{player}_gradient_spike"] = float(norms.max() / np.median(norms))
        if pixel is not None:
            tenth = max(1, len(pixel) // 10)
            levels = np.lib.stride_tricks.sliding_window_view(pixel, tenth).mean(1)
            for name, level in (("pixel_final_over_best", levels.min()), ("pixel_drift", levels[0])):
                if level > 0:
                    summary[name] = float(levels[-1] / level)

    if len(windows) >= MANY:
        steps = float(np.median(np.diff([row["step"] for row in windows])))
        for name, values in (("discriminator", margin), ("pixel", pixel)):
            if values is not None:
                strength, lag = _oscillation(values)
                summary[f"{name}_oscillation"] = strength
                if strength >= REPEATS:
                    summary[f"{name}_period"] = lag * steps
    return summary


def _column(windows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray | None:
    """Return a column that every window has, else None."""
    if not all(name in row for row in windows):
        return None
    values = np.array([row[name] for row in windows], dtype=float)
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise SuperResolutionError(
            f"{name} is {values[bad]} at step {windows[bad]['step']}; pass only the rows before it"
        )
    return values


def _oscillation(values: np.ndarray) -> tuple[float, int]:
    """Return the largest autocorrelation beyond the first negative one, and its lag; zero where there is none."""
    time = np.arange(len(values), dtype=float)
    rest = values - np.polyval(np.polyfit(time, values, 1), time)
    if rest.std() <= 1e-9 * np.abs(values).max():  # a straight line up to rounding
        return 0.0, 0
    lags = range(1, len(values) // 2 + 1)
    correlation = np.array([_correlation(rest[:-lag], rest[lag:]) for lag in lags])
    negative = np.flatnonzero(correlation < 0)
    if not len(negative):
        return 0.0, 0
    best = int(negative[0]) + int(correlation[negative[0] :].argmax())
    return max(0.0, float(correlation[best])), lags[best]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first - first.mean(), second - second.mean()
    size = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / size) if size > 0 else 0.0
