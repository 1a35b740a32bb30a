"""UniPercept-Bench: visual rating and multiple-choice questions on aesthetics, quality, structure and texture.

Source: UniPercept, arXiv 2512.21675, and the layout that its repository documents. The rating files hold an image name
and a score. Only ``image``, ``question`` and ``answer`` are known of the question files; other fields are optional.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import MllmError
from ..item import Item
from .reading import Count, Found, inside, letter, number, optional, read_objects, text


@dataclass(frozen=True)
class RatingSet:
    """One of the nine rating sets.

    Attributes:
        domain: IAA, IQA or ISTA.
        items: number of items in the official file.
        targets: lowest and highest score in the official file, rounded outwards; a score outside is from another file.
        scale: its documented scale; None if there is none.
        reference: pattern of the part of an image's name that names its reference image; "" if images are independent.
    """

    domain: str
    items: int
    targets: tuple[float, float]
    scale: tuple[float, float] | None = None
    reference: str = ""


RATING_SETS = {
    "ArtiMuse-10K": RatingSet("IAA", 1_002, (1.0, 9.79)),
    "AVA": RatingSet("IAA", 19_930, (2.06, 8.31), (1, 10)),
    "TAD66K": RatingSet("IAA", 14_079, (1.38, 9.29)),
    "FLICKR-AES": RatingSet("IAA", 4_737, (0.19, 1.0)),
    "KonIQ-10K": RatingSet("IQA", 2_015, (4.16, 88.25), (0, 100)),
    "SPAQ": RatingSet("IQA", 2_224, (4.0, 93.68), (0, 100)),
    "KADID": RatingSet("IQA", 2_000, (1.02, 4.88), (1, 5), r"I\d\d(?=_\d\d_\d\d\.)"),
    "PIPAL": RatingSet("IQA", 4_640, (0.99, 4.68), None, r"A\d{4}(?=_\d\d_\d\d\.)"),
    "ISTA-10K": RatingSet("ISTA", 970, (1, 100), (0, 100)),
}
# The official list names 13 images twice, each time with the same score.
MAY_REPEAT = "ISTA-10K"

DOMAINS = ("IAA", "IQA", "ISTA")
QUESTIONS = {"IAA": 1_015, "IQA": 1_088, "ISTA": 970}

# Domain → category → criterion → questions (paper, tables 10 to 12; counts from the project page). Interpretive
# Openness is in the paper's table and has no questions. The README counts 17 categories and 43 criteria, the paper's
# table 13 counts 44, these tables 16 and 44: count from the files, not from here.
TAXONOMY: dict[str, dict[str, dict[str, int]]] = {
    "IAA": {
        "Composition & Design": {
            "Visual Balance": 28,
            "Hierarchical Emphasis": 33,
            "Structural Organization": 29,
            "Compositional Rhythm": 33,
            "Harmonic Unity": 27,
            "Composition & Design Level": 45,
        },
        "Visual Elements & Structure": {
            "Line Dynamics": 28,
            "Shape Clarity": 28,
            "Form Realization": 27,
            "Spatial Illusion": 30,
            "Light Modeling": 31,
            "Visual Elements & Structure Level": 43,
        },
        "Technical Execution": {
            "Material Proficiency": 31,
            "Rendering Precision": 31,
            "Focus Control": 31,
            "Tonal & Exposure Control": 27,
            "Technical Execution Level": 45,
        },
        "Originality & Creativity": {
            "Concept Innovation": 35,
            "Creative Problem-Solving": 29,
            "Originality & Creativity Level": 44,
        },
        "Theme & Communication": {
            "Subject Clarity": 34,
            "Narrative Depth": 33,
            "Cultural Insight": 25,
            "Theme & Communication Level": 43,
        },
        "Emotion & Viewer Response": {
            "Emotional Resonance": 32,
            "Viewer Engagement": 30,
            "Interpretive Openness": 0,
            "Emotion & Viewer Response Level": 43,
        },
        "Overall Gestalt": {"Holistic Cohesion": 33, "Overall Gestalt Level": 44},
        "Comprehensive Evaluation": {"Comprehensive Evaluation Level": 43},
    },
    "IQA": {
        "Distortion Location": {"Location Description": 268, "Object Association": 277},
        "Distortion Severity": {"Severity Level": 299},
        "Distortion Type": {"Distortion Types Present": 244},
    },
    "ISTA": {
        "Geometric Composition": {"2D Contour": 98, "3D Volume": 136},
        "Material Representation": {"Material Identification": 104, "Surface Behavior": 78},
        "Physical Structure": {"Base Morphology": 89, "Spatial Arrangement": 190},
        "Scene Decomposition": {"Scene Classification": 33},
        "Semantic Perception": {"Functional Suggestion": 88, "Stylistic Classification": 154},
    },
}

GROUPS = ("category", "criterion", "template")


def read_ratings(folder: Path, *, sets: Sequence[str] = ()) -> Found:
    """Read ``VR/<domain>/<set>/<set>.json`` and its folder ``image``.

    Args:
        folder: the one that holds ``VR``, or the repository's root, which holds it in ``benchmark``.
        sets: which of the nine; by default those whose label file is there.
    """
    if unknown := [name for name in sets if name not in RATING_SETS]:
        raise MllmError(f"unipercept-vr has no set {unknown[0]!r}; it has {', '.join(RATING_SETS)}.")
    folder = _benchmark(folder, "VR")
    places = {name: folder / "VR" / known.domain / name for name, known in RATING_SETS.items()}
    wanted = list(sets) or [name for name, place in places.items() if (place / f"{name}.json").exists()]
    if not wanted:
        raise MllmError(f"{folder}: no VR/<domain>/<set>/<set>.json is there; give the folder that holds VR.")
    found = Found([])
    if absent := [name for name in RATING_SETS if name not in wanted]:
        found.notes.append(f"read {len(wanted)} of the 9 sets; without {', '.join(absent)}")
    for name in wanted:
        items = _rating_set(name, places[name])
        found.items.extend(items)
        found.counts.append(Count(name, len(items), RATING_SETS[name].items))
        if repeats := sum("#" in item.id for item in items):
            found.notes.append(f"{name}: {repeats} of {len(items)} items repeat an image; intervals keep them together")
    return found


def read_questions(folder: Path, *, domains: Sequence[str] = ()) -> Found:
    """Read ``VQA/<domain>/UniPercept-Bench-<domain>.json``.

    It is not documented where the images are: they are searched in the label file's folder, in ``image`` or ``images``
    there, and in the folders above up to the repository's root; the first image decides for its file.

    Args:
        folder: the one that holds ``VQA``, or the repository's root, which holds it in ``benchmark``.
        domains: which of IAA, IQA and ISTA; by default those whose file is there.
    """
    if unknown := [name for name in domains if name not in DOMAINS]:
        raise MllmError(f"unipercept-vqa has no domain {unknown[0]!r}; it has {', '.join(DOMAINS)}.")
    root, folder = folder, _benchmark(folder, "VQA")
    files = {name: folder / "VQA" / name / f"UniPercept-Bench-{name}.json" for name in DOMAINS}
    wanted = list(domains) or [name for name in DOMAINS if files[name].exists()]
    if not wanted:
        raise MllmError(f"{folder}: no VQA/<domain>/UniPercept-Bench-<domain>.json is there.")
    found = Found([])
    for domain in wanted:
        items = _questions(domain, files[domain], root)
        found.items.extend(items)
        found.counts.append(Count(domain, len(items), QUESTIONS[domain], certain=False))
        if lacking := [name for name in GROUPS if not all(name in item.groups for item in items)]:
            found.notes.append(f"{domain}: no {', '.join(lacking)} for every question, so no accuracy by it")
        known = TAXONOMY[domain]
        if strange := sorted({item.groups["category"] for item in items if "category" in item.groups} - set(known)):
            found.notes.append(
                f"{domain}: {len(strange)} categories beyond the published taxonomy, e.g. {strange[0]!r}"
            )
    return found


def split_options(question: str) -> tuple[str, tuple[str, ...]]:
    """Split a question that lists its options A, B, … into the question and the options' texts.

    The markers are ``A.``, ``A)``, ``(A)`` or ``A:`` in alphabetic order; those at the start of a line come first, so
    that an abbreviation within a question is not read as one. Without options: ("…", ()).
    """
    for before in (r"(?m:^)[ \t]*", r"(?:(?<=\s)|^)"):
        marks = list(re.finditer(before + r"\(?([A-Z])[.):]\s*", question))
        for start, mark in enumerate(marks):
            if mark[1] != "A":
                continue
            run = [mark]
            for later in marks[start + 1 :]:
                if ord(later[1]) == ord(run[-1][1]) + 1:
                    run.append(later)
            if len(run) > 1:
                ends = [later.start() for later in run[1:]] + [len(question)]
                options = tuple(question[m.end() : end].strip() for m, end in zip(run, ends, strict=True))
                return question[: mark.start()].strip(), options
    return question.strip(), ()


def _benchmark(folder: Path, part: str) -> Path:
    return folder / "benchmark" if not (folder / part).exists() and (folder / "benchmark").exists() else folder


def _rating_set(name: str, place: Path) -> list[Item]:
    known, seen, first = RATING_SETS[name], Counter[str](), dict[str, float]()
    items = []
    for where, entry in read_objects(place / f"{name}.json", ("image", "gt_score")):
        image = text(where, entry, "image")
        target = number(where, entry["gt_score"], known.targets, "gt_score")
        seen[image] += 1
        if first.setdefault(image, target) != target:
            raise MllmError(f"{where}: {image} has gt_score {target:g} here and {first[image]:g} before.")
        repeated = seen[image] > 1 and name == MAY_REPEAT
        reference = image if name == MAY_REPEAT else ""
        if known.reference:
            if not (match := re.match(known.reference, image)):
                raise MllmError(f"{where}: the name {image} does not say its reference, as names in {name} do.")
            reference = match[0]
        items.append(
            Item(
                benchmark=f"unipercept-vr/{name}",
                dimension=known.domain,
                id=f"{image}#{seen[image]}" if repeated else image,
                task="rate",
                images=(inside(where, place / "image", image),),
                target=target,
                scale=known.scale,
                reference=reference,
                groups={"dataset": name, "domain": known.domain},
            )
        )
    return items


def _questions(domain: str, path: Path, root: Path) -> list[Item]:
    entries = read_objects(path, ("image", "question", "answer"))
    above = [path.parent, path.parent / "image", path.parent / "images"]
    above += [folder for folder in path.parents[1:] if folder == root or root in folder.parents]
    where, entry = entries[0]
    candidates = [folder for folder in above if inside(where, folder, text(where, entry, "image")).is_file()]
    base = (candidates or above)[0]
    items, seen = [], Counter[str]()
    for where, entry in entries:
        image = text(where, entry, "image")
        question, options = split_options(text(where, entry, "question"))
        if len(options) < 2:
            raise MllmError(f"{where}: question lists no options A, B, …: {question[:60]!r}.")
        seen[image] += 1
        items.append(
            Item(
                benchmark="unipercept-vqa",
                dimension=domain,
                id=f"{image}#{seen[image]}",
                task="answer",
                images=(inside(where, base, image),),
                question=question,
                options=options,
                target=letter(where, text(where, entry, "answer"), len(options)),
                reference=image,
                groups={"domain": domain, **optional(entry, *GROUPS)},
            )
        )
    return items
