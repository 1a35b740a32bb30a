"""The words of the report: each is explained where it stands for the first time, and once more in one list."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup, escape

from ..verdicts import MIN_SEEDS, SUGGESTED_BELOW


@dataclass(frozen=True)
class Term:
    """A word that a newcomer does not know.

    Attributes:
        key: Part of its anchor.
        name: The word.
        pattern: What it looks like in a sentence.
        meaning: One or two sentences.
    """

    key: str
    name: str
    pattern: str
    meaning: str


TERMS = [
    Term(
        "measure",
        "fidelity measure",
        r"fidelity measures?",
        "A number that says how much an image differs from its reference, such as SSIM, DISTS or LPIPS. One and the"
        " same measure can serve as a metric, which rates images, and as an objective (a loss), which networks are"
        " trained with.",
    ),
    Term(
        "srcc",
        "SRCC",
        r"SRCC",
        "Spearman's rank correlation between the scores of a metric and the labels of images. At 1 the metric ranks the"
        " images as the labels do; at 0 it knows nothing of them.",
    ),
    Term(
        "gain",
        "gain",
        r"gains?",
        "How much better the images of a trained network are than those of the same network trained with the pixel loss"
        " alone, by the scores of judges, for the same seeds and images. Positive is better.",
    ),
    Term(
        "judge",
        "judge",
        r"judges?(?! SD)",
        "A measure of image quality that scores restored images. It counts only where it is independent of what the"
        " compared networks were trained with.",
    ),
    Term(
        "judge-sd",
        "judge SD",
        r"judge SDs?",
        "The unit of a gain, the same for all judges: the spread of a judge's scores of the pixel-only network, once"
        " differences between images and between seeds are taken out.",
    ),
    Term(
        "pixel-only",
        "pixel-only training",
        r"[Pp]ixel-only(?: training| cell)?",
        "Training with the pixel loss alone: the baseline of every gain.",
    ),
    Term(
        "discriminator",
        "discriminator",
        r"discriminators?",
        "A second network that learns to tell restored images from real ones; the first is trained to deceive it"
        " (adversarial training, GAN). Its weight says how much this counts in the loss; where a share"
        " is given instead, training holds this share of the gradient on the image.",
    ),
    Term(
        "adversarial-setting",
        "adversarial setting",
        r"adversarial settings?",
        "Which discriminator took part in the training, and with which weight or share.",
    ),
    Term(
        "seed",
        "seed",
        r"seeds?",
        "The number from which all chance of a training is drawn. Several seeds show how much a training differs from"
        " its repetition.",
    ),
    Term(
        "cell",
        "cell",
        r"(?:trained )?cells?",
        "One combination of the study's choices: for example, a network trained with one measure in one adversarial"
        " setting.",
    ),
    Term(
        "trend",
        "trend",
        r"trends?",
        "How the gain rises with the rank as a metric: the gain with the best metric minus that with the worst, on a"
        " straight line through all measures.",
    ),
    Term(
        "rho",
        "ρ (Spearman's rho)",
        r"ρ",
        "Agreement of two rankings. At 1 the better metric is always the better objective, at −1 always the worse one.",
    ),
    Term(
        "interval",
        "interval",
        r"intervals?",
        "The numbers in brackets: the range in which the true value lies in 95 of 100 studies like this one, unless"
        " another share is stated.",
    ),
    Term(
        "p",
        "p",
        r"p(?= [=<]| below|:)",
        "How often chance alone gives a difference at least as large as the one that was found. A small p speaks for a"
        " real difference.",
    ),
    Term(
        "holm",
        "Holm",
        r"Holm",
        "A correction of p for the number of tests: whoever looks at many differences finds some by luck.",
    ),
    Term(
        "established",
        "established, suggested, undecided",
        r"[Ee]stablished|[Ss]uggested|[Uu]ndecided",
        f"Words of a verdict. Established: corrected p below 0.05, from {MIN_SEEDS} seeds or more. Suggested: below"
        f" {SUGGESTED_BELOW:g}. Undecided: neither, which does not mean that there is no difference.",
    ),
    Term(
        "reference",
        "reference image",
        r"reference images?|references",
        "The undistorted original. Images made from one reference are alike, so uncertainty is counted by references.",
    ),
    Term(
        "severity",
        "severity grade",
        r"severity grades?",
        "How strongly an image was distorted, from a recipe. It is no opinion of people.",
    ),
    Term(
        "random",
        "-R",
        r"\b[\w-]+-R\b",
        "The same network with random weights: it has learnt nothing.",
    ),
    Term(
        "no-reference",
        "no-reference model",
        r"[Nn]o-reference models?",
        "A model that rates an image without seeing its reference.",
    ),
    Term(
        "bootstrap",
        "resample",
        r"(?:bootstrap )?resamples",
        "Data drawn again from the data at hand; repeated often, they show how much a number could vary.",
    ),
]


class Explained:
    """Marks the first use of every term of a page; texts have to come in the order in which they are read.

    Examples:
        >>> explained = Explained()
        >>> print(explained("The SRCC & more")[:32])
        The <a class="term" href="#term-
        >>> print(explained("again SRCC"))
        again SRCC
        >>> [term.key for term in explained.used]
        ['srcc']
    """

    def __init__(self) -> None:
        self.used: list[Term] = []

    def __call__(self, text: str) -> Markup:
        """Return a text as HTML."""
        found: list[tuple[int, int, Term]] = []
        for term in TERMS:
            if term in self.used:
                continue
            for use in re.finditer(rf"(?<![\w-])(?:{term.pattern})(?![\w])", text):
                if not any(start < use.end() and use.start() < end for start, end, _ in found):
                    found.append((use.start(), use.end(), term))
                    break
        out, at = Markup(), 0
        for start, end, term in sorted(found, key=lambda one: one[0]):
            self.used.append(term)
            link = Markup('<a class="term" href="#term-{}" title="{}">{}</a>')
            out += escape(text[at:start]) + link.format(term.key, term.meaning, text[start:end])
            at = end
        return out + escape(text[at:])
