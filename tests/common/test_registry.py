"""Registries refuse a name that is taken, and keep what was there."""

from dataclasses import replace

import pytest

from lopsided.backbones import WeightsFile, architecture, register_backbone, register_file
from lopsided.backbones.files import FILES
from lopsided.backbones.registry import ARCHITECTURES
from lopsided.common.errors import LopsidedError
from lopsided.common.registry import Registry
from lopsided.discriminators import NETWORKS
from lopsided.discriminators.objectives import OBJECTIVES
from lopsided.losses import SPECS, PixelSpec, register_measure


@pytest.mark.parametrize(
    ("register", "wanted"), [(register_measure, "a subclass of MeasureSpec"), (register_backbone, "an Architecture")]
)
@pytest.mark.parametrize("thing", [5, int])
def test_what_is_no_such_thing_is_refused_by_its_kind(register, wanted, thing):
    with pytest.raises(LopsidedError, match=f"{register.__name__} takes {wanted}, got "):
        register(thing)


def test_a_registry_is_a_mapping_in_the_order_of_registration():
    numbers = Registry[int]("number")
    assert [numbers.register(name, value) for name, value in (("two", 2), ("one", 1))] == [2, 1]
    assert dict(numbers) == {"two": 2, "one": 1}
    assert list(numbers) == ["two", "one"]
    assert "three" not in numbers
    with pytest.raises(KeyError):
        numbers["three"]


def test_a_taken_name_is_refused_and_the_first_thing_stays():
    numbers = Registry[int]("number")
    numbers.register("two", 2)
    with pytest.raises(LopsidedError, match="number 'two' exists already; register it under another name"):
        numbers.register("two", 3)
    assert numbers["two"] == 2


@pytest.mark.parametrize(
    ("again", "what", "registry"),
    [
        (lambda: register_backbone(replace(architecture("vgg16"), min_size=1)), "backbone 'vgg16'", ARCHITECTURES),
        (lambda: register_measure(PixelSpec), "measure 'l1'", SPECS),
        (lambda: NETWORKS.register("unet", NETWORKS["srgan"]), "discriminator 'unet'", NETWORKS),
        (lambda: OBJECTIVES.register("hinge", OBJECTIVES["bce"]), "adversarial objective 'hinge'", OBJECTIVES),
        (lambda: register_file(WeightsFile("dists_alpha_beta/weights.pt")), "file of weights 'dists_alpha", FILES),
    ],
    ids=["backbones", "measures", "discriminators", "objectives", "files of weights"],
)
def test_no_registry_of_the_library_replaces_anything(again, what, registry):
    before = dict(registry)
    with pytest.raises(LopsidedError, match=f"{what}.* exists already"):
        again()
    assert dict(registry) == before
