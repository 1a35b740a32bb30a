"""The structural score of ISTA-10K: worked examples, and the properties of a count."""

import copy
import random

import pytest

from lopsided.common.errors import LopsidedError
from lopsided.mllm.metrics.ista import PARTS, WEIGHTS, description_score, structural_score

SIMPLE = ["smooth", "plain", "uniform", "lined", "grid", "striped", "chequered", "dotted", "freckled"]
MIDDLE = ["braided", "woven", "crosshatched", "meshed", "cobwebbed", "lacelike", "knitted", "spiralled", "swirly"]
LISTS = [(part, name) for part, names in PARTS.items() for name in names]


def content(**lists):
    """A description with some lists, by their names."""
    found = {part: {name: list(lists.get(name, [])) for name in names} for part, names in PARTS.items()}
    assert sum(len(terms) for part in found.values() for terms in part.values()) == sum(map(len, lists.values()))
    return found


def image(*descriptions):
    return {
        "SceneType": "indoor",
        "SceneName": "kitchen",
        "Components": [{"ComponentName": f"c{n}", "DescriptionContent": d} for n, d in enumerate(descriptions)],
    }


def random_image(rng):
    words = [*WEIGHTS, "fibrous", "N/A", "wooden", "round"]
    describe = lambda: content(**{name: rng.choices(words, k=rng.randrange(4)) for _, name in LISTS})  # noqa: E731
    return image(*(describe() for _ in range(rng.randrange(1, 4))))


def test_a_worked_example_by_hand():
    wall = content(
        BaseMorphology=["Cracked", " striped "],  # 3 + 1
        Arrangement=["stacked", "N/A"],  # 1
        Dynamics=["falling"],  # not counted
        MaterialClass=["brick", "mortar"],  # 2
        SurfaceProperties=["n/a"],  # 0
        PlanarContour=["rectangle"],  # 1
        VolumetricForm=["block"],  # 1
        FunctionalInference=["barrier"],  # 1
        StyleType=[],
    )
    cloth = content(BaseMorphology=["woven"], MaterialClass=["cotton"])  # 2 + 1
    assert description_score(wall) == 10
    assert description_score(cloth) == 3
    assert structural_score(image(wall, cloth)) == 2 + 10 + 3


def test_weights_are_one_two_and_three():
    assert all(WEIGHTS[term] == 1 for term in SIMPLE)
    assert all(WEIGHTS[term] == 2 for term in MIDDLE)
    rest = set(WEIGHTS) - set(SIMPLE) - set(MIDDLE)
    assert len(rest) == 24
    assert all(WEIGHTS[term] == 3 for term in rest)


@pytest.mark.parametrize("term", ["fibrous", "interlaced", "shiny", ""])
def test_words_of_no_class_count_nothing_in_the_morphology(term):
    assert description_score(content(BaseMorphology=[term])) == 0


def test_without_components_the_image_is_one():
    described = content(BaseMorphology=["veined"], StyleType=["baroque"])
    assert structural_score({"SceneType": "texture", "DescriptionContent": described}) == 1 + 4
    assert structural_score({"Components": [], "DescriptionContent": described}) == 1 + 4
    assert structural_score({}) == 1


@pytest.mark.parametrize(("part", "name"), LISTS)
def test_no_list_lowers_the_score_as_it_grows(part, name):
    rng = random.Random(name)
    for _ in range(50):
        before = random_image(rng)
        after = copy.deepcopy(before)
        after["Components"][0]["DescriptionContent"][part][name].append(rng.choice([*WEIGHTS, "other"]))
        assert structural_score(before) <= structural_score(after)


def test_components_are_counted_and_order_does_not_matter():
    rng = random.Random(0)
    for _ in range(50):
        annotation = random_image(rng)
        score = structural_score(annotation)
        assert 1 <= score <= 100
        annotation["Components"].reverse()
        assert structural_score(annotation) == score
        annotation["Components"].append({"ComponentName": "one more", "DescriptionContent": {}})
        assert structural_score(annotation) == min(100, score + 1)


def test_capped_at_100():
    rich = content(BaseMorphology=["marbled"] * 32)
    assert structural_score(image(rich)) == 97
    assert structural_score(image(rich, content(MaterialClass=["oak"] * 2))) == 100
    assert structural_score(image(rich, rich, rich)) == 100


@pytest.mark.parametrize(
    ("annotation", "named"),
    [
        ({"Componets": []}, "Componets"),
        ({"Components": {"a": 1}}, "Components must be a list"),
        ({"Components": ["wall"]}, "a component must be an object"),
        ({"DescriptionContent": {"PhysicalStructure": {"BaseMorphology": "smooth"}}}, "BaseMorphology must be a list"),
        ({"DescriptionContent": {"PhysicalStructure": {"Morphology": []}}}, "unknown field 'Morphology'"),
        ({"DescriptionContent": {"StyleType": []}}, "unknown field 'StyleType'"),
        ({"DescriptionContent": {"SemanticPerception": {"StyleType": [3]}}}, "StyleType must be a list"),
    ],
)
def test_what_is_not_the_annotations_format_is_refused(annotation, named):
    with pytest.raises(LopsidedError, match=named):
        structural_score(annotation)
