"""What a claim is, what a test of it finds, and how names of measures and discriminators are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..contrasts import Contrast, contrast
from ..figures.style import count
from ..power import MOST_REFERENCES, needed_references, needed_seeds
from ..statistics.bootstrap import LEVEL
from ..statistics.contrast import Estimate
from ..statistics.multiplicity import ALPHA, holm
from ..study import Study
from ..trained import Trained
from ..verdicts import CONTRADICTED, MIN_SEEDS, SUPPORTED, UNDECIDED, UNTESTABLE

TRANSFORMERS = ("clip_vit", "dinov2", "swin")
# The sample that power is computed for, where it is not the study's own.
IMAGES = 100


@dataclass(frozen=True)
class Finding:
    """The result of one test of a claim.

    Attributes:
        where: What was tested: generator, data set, backbone … in keys, joined by " · ".
        estimate: + speaks for the claim.
        low: Lower bound of the interval of the estimate.
        high: Upper bound.
        unit: Unit of the estimate.
        p: Two-sided p, or that of the claim's own test.
        n: What it rests on, in words.
        n_seeds: Seeds it rests on; None where seeds play no part.
        missing: Why it was not tested, or "".
        needed: What sample would find a true effect of the size seen, in words, or "".
        decided: For claims with a test of their own: "supported" or "contradicted" by it; "" otherwise.
        p_corrected: Holm's p over the tests of the claim.
        verdict: "supported", "contradicted", "undecided" or "not testable".
    """

    where: str
    estimate: float = np.nan
    low: float = np.nan
    high: float = np.nan
    unit: str = "judge SDs"
    p: float = np.nan
    n: str = ""
    n_seeds: int | None = None
    missing: str = ""
    needed: str = ""
    decided: str | None = None
    p_corrected: float = np.nan
    verdict: str = ""


@dataclass(frozen=True)
class Claim:
    """A statement that tables can support or contradict.

    Attributes:
        key: "T1" …
        statement: What is claimed.
        test: How it is tested, in words.
        find: Returns the tests that these tables allow; one with ``missing`` if there is none.
    """

    key: str
    statement: str
    test: str
    find: Callable[[Study], Iterable[Finding]] = field(repr=False)

    def judged(self, study: Study) -> list[Finding]:
        """Return all findings, corrected for their number, with verdicts."""
        found = list(self.find(study))
        corrected = holm([finding.p for finding in found])
        return [
            replace(finding, p_corrected=float(p), verdict=_verdict(finding, float(p)))
            for finding, p in zip(found, corrected, strict=True)
        ]


def _verdict(finding: Finding, p: float) -> str:
    if finding.missing:
        return UNTESTABLE
    if finding.decided is not None:
        return finding.decided or UNDECIDED
    if not p < ALPHA or (finding.n_seeds is not None and finding.n_seeds < MIN_SEEDS):
        return UNDECIDED
    return SUPPORTED if finding.estimate > 0 else CONTRADICTED


def of_contrast(found: Contrast, where: str, trained: Trained, n_tests: int = 1) -> Finding:
    """Return the finding of a contrast whose positive sign speaks for the claim."""
    if found.status != "ok":
        return Finding(where, missing=found.status)
    estimate = found.estimate
    low, high = estimate.interval(LEVEL)
    n = f"{estimate.n_seeds} seeds × {estimate.n_images} images, {by_judges(found)}"
    needed = enough_seeds(estimate, n_tests, len(trained.keys))
    return Finding(where, estimate.value, low, high, p=estimate.p, n=n, n_seeds=estimate.n_seeds, needed=needed)


def by_judges(found: Contrast) -> str:
    """Say which judges a finding speaks of: the panel, or judges like these as well (``Contrast.general``)."""
    n = len(found.panel.judges)
    if not found.estimate.p < ALPHA:
        return count(n, "judge")
    these = "this judge" if n == 1 else f"these {n} judges"
    return f"{these} and judges like them" if found.general.p < ALPHA else f"{these} only"


def enough_seeds(found: Estimate, n_tests: int, n_cells: int, effect: float | None = None) -> str:
    """Return the seeds and images that find a difference of this size, by default the one seen, in words."""
    images = max(found.n_images, IMAGES)
    seeds = needed_seeds(found, found.value if effect is None else effect, images, n_tests, n_cells)
    return f"{seeds} seeds × {images} images" if seeds else f"more than 50 seeds × {images} images"


def enough_references(found: Estimate, n_tests: int) -> str:
    """Return the references that find a difference in SRCC of the size seen, in words."""
    references = needed_references(found, found.value, n_tests)
    return f"{references} references" if references else f"more than {MOST_REFERENCES} references"


def of_metrics(found: Estimate, where: str, unit: str, compared: str) -> Finding:
    """Return the finding of a difference in SRCC whose positive sign speaks for the claim; seeds play no part."""
    if not np.isfinite(found.se):
        return Finding(where, missing="fewer than three references")
    low, high = found.interval(LEVEL)
    n = f"{compared}, {found.n_images} references"
    return Finding(where, found.value, low, high, unit=unit, p=found.p, n=n, needed=enough_references(found, 1))


def against(trained: Trained, a: Sequence[int], b: Sequence[int], where: str, n_tests: int = 1) -> Finding:
    """Compare cells ``a`` with cells ``b``; + if ``a`` is better."""
    return of_contrast(contrast(trained, a, b), where, trained, n_tests)


def backbone_of(key: str) -> str:
    """Return the backbone in the key of a measure or discriminator, without what follows it; "" if it names none.

    Examples:
        >>> backbone_of("patch-vgg16-r@share"), backbone_of("dists-clip_vit_b32"), backbone_of("ssim")
        ('vgg16-r', 'clip_vit_b32', '')
    """
    return key.partition("-")[2].partition("@")[0].split(":")[0].split("[")[0].strip()


def form_of(key: str) -> str:
    """Return the part of a key before its backbone, such as "patch" or "dists"."""
    return key.partition("-")[0].partition("@")[0].split(":")[0].split("[")[0].strip()


def is_transformer(backbone: str) -> bool:
    """Return whether a backbone is a transformer.

    Examples:
        >>> is_transformer("swin_t-r"), is_transformer("convnext_tiny")
        (True, False)
    """
    return backbone.startswith(TRANSFORMERS)
