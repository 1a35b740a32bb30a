"""Agreement with labels whose own uncertainty is known, and with pairwise human choices. Ties are counted exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import AnalysisError
from .correlation import Floats, Ranking, checked_pair, orientation

# Labels further apart than this many standard errors of their difference differ significantly: two-sided 5 %.
SIGNIFICANT_Z = 1.96
# An error larger than this many standard errors of the label makes an outlier.
OUTLIER_ERRORS = 2.0
BLOCK = 1 << 16


def label_errors(label_std: ArrayLike, votes: ArrayLike | None = None) -> Floats:
    """Return the standard error of each label.

    Args:
        label_std: ``(n,)``, the standard deviation of the single votes if ``votes`` is given (KADID-10k), of the label
            itself otherwise (LIVE, TID2013).
        votes: ``(n,)``, the number of votes behind each label.

    Raises:
        AnalysisError: A deviation that is negative or not finite, a number of votes below one.

    Examples:
        >>> label_errors([1.0, 0.5], votes=[25, 100])
        array([0.2 , 0.05])
    """
    std = np.asarray(label_std, dtype=np.float64)
    count = np.ones_like(std) if votes is None else np.asarray(votes, dtype=np.float64)
    for name, values, least in (("label_std", std, 0), ("votes", count, 1)):
        if (bad := ~(np.isfinite(values) & (values >= least))).any():
            raise AnalysisError(f"{int(bad.sum())} of {len(values)} {name} are below {least} or not finite.")
    return std / np.sqrt(count)


def outlier_ratio(predicted: ArrayLike, label: ArrayLike, label_error: ArrayLike) -> float:
    """Share of items that are mispredicted by more than twice the standard error of their label; lower is better.

    Source: VQEG, Final report on the validation of objective models of video quality assessment, 2000, section on
    metric 3 (consistency). ITU-T P.1401 (2020), 7.5.2.2, uses the half-width of the 95 % interval instead of twice the
    standard error, which differs only by Student's t.

    Args:
        predicted: ``(n,)``, scores mapped to the scale of the labels (``logistic.LogisticFit``).
        label: ``(n,)``.
        label_error: ``(n,)``, see ``label_errors``.

    Raises:
        AnalysisError: Lengths differ, a value is not finite or an error is negative.

    Examples:
        The third prediction is five standard errors off:

        >>> outlier_ratio([1, 2, 3, 4], [1.1, 2.0, 3.5, 4.1], [0.1, 0.1, 0.1, 0.1])
        0.25
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (predicted, label))
    error = label_errors(label_error)
    if x.ndim != 1 or x.shape != y.shape or x.shape != error.shape:
        raise AnalysisError(f"outlier ratio of lists of different length: {x.shape}, {y.shape} and {error.shape}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise AnalysisError("outlier ratio of predictions or labels that are not finite.")
    return float((np.abs(x - y) > OUTLIER_ERRORS * error).mean())


def concordance(
    score: ArrayLike,
    label: ArrayLike,
    label_error: ArrayLike,
    *,
    z: float = SIGNIFICANT_Z,
    score_higher_is_better: bool = True,
    label_higher_is_better: bool = True,
) -> tuple[float, int]:
    """Share of the pairs with significantly different labels that the scores order as the labels do; higher is better.

    A pair counts if its labels differ by more than ``z`` standard errors of their difference, √(e₁² + e₂²); equal
    labels never do. Equal scores count half: chance level is 0.5. A measure can only be asked for the better image
    where people know which one it is: Krasula, Fliegel, Le Callet, Klíma, On the accuracy of objective image and video
    quality models (QoMEX 2016).

    Args:
        score: ``(n,)``, finite.
        label: ``(n,)``, finite.
        label_error: ``(n,)``, see ``label_errors``.
        z: Threshold in standard errors.
        score_higher_is_better: Direction of the scores.
        label_higher_is_better: Direction of the labels.

    Returns:
        The share, NaN if no pair counts, and the number of pairs.

    Raises:
        AnalysisError: See ``correlation.checked_pair`` and ``label_errors``.

    Examples:
        >>> concordance([1, 2, 3], [10, 30, 31], [1, 1, 1])  # 30 and 31 do not differ significantly
        (1.0, 2)
    """
    x, y = checked_pair(score, label)
    sign = orientation(score_higher_is_better, label_higher_is_better)
    shares, pairs = ordered_pairs((sign * x)[None], y, label_error, z=z)
    return float(shares[0]), pairs


def ordered_pairs(
    scores: Floats, label: Floats, label_error: ArrayLike, *, z: float = SIGNIFICANT_Z
) -> tuple[Floats, int]:
    """Return the ``concordance`` of several measures, ``(measures,)``, and the number of pairs, which is one for all.

    Args:
        scores: ``(measures, n)``, finite; higher scores mean higher labels.
        label: ``(n,)``, finite.
        label_error: ``(n,)``.
        z: Threshold in standard errors.

    Raises:
        AnalysisError: See ``label_errors``; as many errors as labels are needed.
    """
    error = label_errors(label_error)
    if error.shape != label.shape:
        raise AnalysisError(f"{len(label)} labels but standard errors of shape {error.shape}.")
    order = np.argsort(-label, kind="stable")
    y, variance = label[order], (z * error[order]) ** 2
    rankings = [Ranking(values) for values in scores]
    ranks = [ranking.group[order].astype(np.int32) for ranking in rankings]
    right, equal, pairs = np.zeros(len(scores)), np.zeros(len(scores)), 0
    # In descending order the later of two has the lower label, so each pair is counted once.
    block = max(1, BLOCK // len(y))
    for start in range(0, len(y), block):
        rows, columns = slice(start, start + block), slice(start, None)
        apart = y[rows, None] - y[columns]
        counts = (apart > 0) & (apart * apart > variance[rows, None] + variance[columns])
        pairs += int(np.count_nonzero(counts))
        for k, rank in enumerate(ranks):
            right[k] += np.count_nonzero(counts & (rank[rows, None] > rank[columns]))
            if rankings[k].tied:
                equal[k] += np.count_nonzero(counts & (rank[rows, None] == rank[columns]))
    return (right + 0.5 * equal) / pairs if pairs else np.full(len(scores), np.nan), pairs


def two_afc(score_a: ArrayLike, score_b: ArrayLike, preference_b: ArrayLike, *, score_higher_is_better: bool) -> float:
    """Two-alternative forced-choice accuracy, in [0, 1]; higher is better.

    Each triplet counts as the share of people who agree with the measure, as in BAPPS (Zhang, Isola, Efros, Shechtman,
    Wang, The unreasonable effectiveness of deep features as a perceptual metric, CVPR 2018); equal scores count
    one half. Where people disagree, even a perfect measure stays below 1.

    Args:
        score_a: ``(n,)``, the measure between the reference and image a.
        score_b: ``(n,)``, the same for image b.
        preference_b: ``(n,)``, the share of people who find b closer to the reference, in [0, 1].
        score_higher_is_better: Direction of the scores.

    Raises:
        AnalysisError: No triplets, different lengths, a score that is not finite, a preference outside [0, 1].

    Examples:
        The measure agrees with everybody on the first triplet and with 80 % of people on the second:

        >>> two_afc([0.1, 0.4], [0.2, 0.3], [0.0, 0.8], score_higher_is_better=False)
        0.9
    """
    a, b, share = (np.asarray(values, dtype=np.float64) for values in (score_a, score_b, preference_b))
    if a.ndim != 1 or not len(a) or a.shape != b.shape or a.shape != share.shape:
        raise AnalysisError(f"2AFC needs three lists of one length, got shapes {a.shape}, {b.shape}, {share.shape}.")
    if bad := int((~(np.isfinite(a) & np.isfinite(b))).sum()):
        raise AnalysisError(f"{bad} of {len(a)} triplets have a score that is not finite.")
    if bad := int((~((share >= 0) & (share <= 1))).sum()):
        raise AnalysisError(f"{bad} of {len(a)} preferences are outside [0, 1].")
    chosen_b = np.heaviside((b - a) if score_higher_is_better else (a - b), 0.5)
    return float((chosen_b * share + (1 - chosen_b) * (1 - share)).mean())


def jnd_precision(score: ArrayLike, same: ArrayLike, *, score_higher_is_better: bool) -> float:
    """Average precision of finding the pairs that look the same to people, in [0, 1]; higher is better.

    The score of the just-noticeable differences of BAPPS (Zhang, Isola, Efros, Shechtman, Wang, The unreasonable
    effectiveness of deep features as a perceptual metric, CVPR 2018, section 4), whose mean over the parts of the set
    is the mAP: pairs are ranked by the measure, nearest first, and the area under precision over recall is computed as
    in PASCAL VOC since 2010: each precision is the best at that recall or a higher one. A pair counts by the share of
    people who found it the same. Pairs of equal scores enter together. Chance level is the mean share.

    Args:
        score: ``(n,)``, the measure between the two images of each pair.
        same: ``(n,)``, the share of people who find them the same, in [0, 1].
        score_higher_is_better: Direction of the scores; higher means more alike.

    Raises:
        AnalysisError: No pairs, different lengths, a score that is not finite, a share outside [0, 1], or nobody
            finds any pair the same.

    Examples:
        >>> jnd_precision([0.1, 0.2, 0.3], [1.0, 0.0, 0.0], score_higher_is_better=False)
        1.0
    """
    values, share = (np.asarray(given, dtype=np.float64) for given in (score, same))
    if values.ndim != 1 or not len(values) or values.shape != share.shape:
        raise AnalysisError(f"JND precision needs two lists of one length, got shapes {values.shape}, {share.shape}.")
    if bad := int((~np.isfinite(values)).sum()):
        raise AnalysisError(f"{bad} of {len(values)} pairs have a score that is not finite.")
    if bad := int((~((share >= 0) & (share <= 1))).sum()):
        raise AnalysisError(f"{bad} of {len(share)} shares are outside [0, 1].")
    if not share.any():
        raise AnalysisError(f"nobody finds any of {len(share)} pairs the same: recall is undefined.")
    _, rank, count = np.unique(-values if score_higher_is_better else values, return_inverse=True, return_counts=True)
    found = np.cumsum(np.bincount(rank, weights=share))
    precision, recall = found / np.cumsum(count), found / found[-1]
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best).sum())
