"""Keys say in words what sets a measure or discriminator apart, and never stand for two of them."""

import itertools

import pytest

from lopsided.discriminators import DiscriminatorSpec
from lopsided.losses import parse_measure

SEEDED = {"name": "squeezenet1_1-r", "seed": 2}
FILE = {"name": "squeezenet1_1", "weights": "squeezenet1_1.safetensors"}


@pytest.mark.parametrize(
    ("definition", "key"),
    [
        ({"measure": "dists", "backbone": SEEDED}, "dists-squeezenet1_1-r@seed2"),
        ({"measure": "lpips", "backbone": SEEDED}, "lpips-squeezenet1_1-r@seed2"),
        ({"measure": "style", "backbone": SEEDED}, "style-squeezenet1_1-r@seed2"),
        ({"measure": "dists", "backbone": FILE}, "dists-squeezenet1_1@squeezenet1_1"),
        ({"measure": "lpips", "backbone": FILE}, "lpips-squeeze@squeezenet1_1"),
        ({"measure": "dists", "backbone": {**SEEDED, "seed": 0}}, "dists-squeezenet1_1-r"),
    ],
)
def test_seeds_and_known_files_are_named(definition, key):
    assert parse_measure(definition).key == key


def test_of_discriminators_too():
    assert DiscriminatorSpec.model_validate({"form": "patch", "backbone": SEEDED}).key == "patch-squeezenet1_1-r@seed2"


def test_what_cannot_be_said_in_two_words_keeps_a_piece_of_the_identity():
    both = parse_measure({"measure": "dists", "backbone": SEEDED, "image_layer": False})
    assert both.key == f"dists-squeezenet1_1-r+{both.identity[:4]}"


def test_no_two_definitions_share_a_key():
    specs = [parse_measure({"measure": m, "backbone": b}) for m in ("dists", "lpips", "style") for b in (SEEDED, FILE)]
    specs += [parse_measure(f"{m}-squeezenet1_1-r") for m in ("dists", "lpips", "style")]
    assert all(a.key != b.key for a, b in itertools.combinations(specs, 2))
