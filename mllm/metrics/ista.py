"""ISTA-10K's structural score: the richness of an image's structure and texture, counted from its annotation.

Source: UniPercept, arXiv 2512.21675, equations 4 to 12. The ground truth is a formula, not an opinion: one point
per component, one per attribute of it, and 1 to 3 per term of its base morphology by how complex the term is.
Two oddities of the source are kept: ``fibrous`` and ``interlaced`` are in its vocabulary but in no class, so they count
nothing, and ``plain`` and ``uniform`` have a weight but are not in its vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import MllmError

HIGHEST = 100
_CLASSES = {
    1: "smooth plain uniform lined grid striped chequered dotted freckled",
    2: "braided woven crosshatched meshed cobwebbed lacelike knitted spiralled swirly",
    3: "bumpy blotchy bubbly cracked crystalline flecked frilly grooved honeycombed marbled matted paisley perforated"
    " pitted pleated porous scaly smeared sprinkled stratified studded veined wrinkled zigzagged",
}
WEIGHTS = {term: weight for weight, terms in _CLASSES.items() for term in terms.split()}
# Part of a description → its lists, and whether they count. Dynamics is annotated and not counted.
PARTS: dict[str, dict[str, bool]] = {
    "PhysicalStructure": {"BaseMorphology": True, "Arrangement": True, "Dynamics": False},
    "MaterialRepresentation": {"MaterialClass": True, "SurfaceProperties": True},
    "GeometricComposition": {"PlanarContour": True, "VolumetricForm": True},
    "SemanticPerception": {"FunctionalInference": True, "StyleType": True},
}
ABSENT = "n/a"
IMAGE_FIELDS = {"SceneType", "SceneName", "Components", "DescriptionContent"}


def structural_score(annotation: Mapping[str, Any]) -> int:
    """Return the structural score of an image.

    S = |C| + Σ_c (Σ_t w(t) + |Arrangement| + |MaterialClass| + |SurfaceProperties| + |PlanarContour| + |VolumetricForm|
    + |FunctionalInference| + |StyleType|), where t runs through the base morphology of component c; an image without
    components counts as one component with its own ``DescriptionContent``. At most 100.

    Args:
        annotation: ``Components``, each with ``DescriptionContent``; or ``DescriptionContent`` of the whole image.
            Missing lists are empty; entries "N/A" count nothing.

    Returns:
        A whole number from 1 to 100; higher is richer.

    Raises:
        MllmError: a field that is not of the annotation's format, or of the wrong kind.

    Examples:
        >>> cloth = {"PhysicalStructure": {"BaseMorphology": ["woven", "smooth"], "Arrangement": ["folded"]}}
        >>> structural_score({"Components": [{"ComponentName": "cloth", "DescriptionContent": cloth}]})
        5
    """
    _check_fields("the annotation", annotation, IMAGE_FIELDS)
    components = annotation.get("Components") or []
    if not isinstance(components, list):
        raise MllmError(f"ISTA annotation: Components must be a list, got {components!r}.")
    if not components:
        return min(HIGHEST, 1 + description_score(annotation.get("DescriptionContent") or {}))
    total = len(components)
    for component in components:
        _check_fields("a component", component, {"ComponentName", "DescriptionContent"})
        total += description_score(component.get("DescriptionContent") or {})
    return min(HIGHEST, total)


def description_score(content: Mapping[str, Any]) -> int:
    """Return the points of one ``DescriptionContent``: those of its morphology, and one for each other term.

    Raises:
        MllmError: as ``structural_score``.
    """
    _check_fields("DescriptionContent", content, set(PARTS))
    total = 0
    for part, lists in PARTS.items():
        of_part = content.get(part) or {}
        _check_fields(part, of_part, set(lists))
        for name, counts in lists.items():
            terms = _terms(name, of_part.get(name))
            if counts:
                total += sum(WEIGHTS.get(term, 0) for term in terms) if name == "BaseMorphology" else len(terms)
    return total


def _terms(name: str, values: Any) -> list[str]:
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise MllmError(f"ISTA annotation: {name} must be a list of terms, got {values!r}.")
    terms = [value.strip().casefold() for value in values]
    return [term for term in terms if term not in ("", ABSENT)]


def _check_fields(of: str, value: Any, known: set[str]) -> None:
    if not isinstance(value, Mapping):
        raise MllmError(f"ISTA annotation: {of} must be an object, got {value!r}.")
    # A misspelt list would count as an empty one.
    if unknown := sorted(set(value) - known):
        raise MllmError(
            f"ISTA annotation: {of} has the unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}."
        )
