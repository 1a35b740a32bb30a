"""What measures say they are made of: a judge that shares it with a loss is not independent of it."""

from typing import Literal

import pytest

from lopsided.common.families import KINDS
from lopsided.losses import MeasureError, MeasureSpec, PreciseMeasure, create_measure, list_measures, parse_measure
from lopsided.losses.measure import Reduction
from lopsided.losses.through_pyiqa import _configuration


def families(value):
    return parse_measure(value).families


@pytest.mark.parametrize(
    ("form", "keys"),
    {
        "pixel": ("l1", "l2", "charbonnier", "psnr", "psnr_y", "pyiqa-psnr"),
        "ssim": ("ssim", "ms_ssim", "cw_ssim", "pyiqa-ms_ssim"),
        "gradient-similarity": ("gmsd", "fsim", "vsi", "pyiqa-gmsd"),
        "laplacian-pyramid": ("nlpd", "pyiqa-nlpd"),
        "information-fidelity": ("vif",),
        "dists": ("dists", "dists-vgg16-r", "dists-resnet50", "pyiqa-dists"),
        "lpips": ("lpips", "lpips-vgg", "lpips-swin_t-r", "pyiqa-lpips", "pyiqa-stlpips-vgg"),
        "feature-distance": ("lpips", "perceptual-vgg16"),
        "style": ("style-vgg16-r",),
    }.items(),
)
def test_measures_of_one_form_share_it(form, keys):
    for key in keys:
        assert f"form:{form}" in families(key)


def test_depth_checkpoint_and_draw_are_one_backbone():
    same = ("dists", "dists-vgg16-r", "lpips-vgg", "perceptual-vgg19_blocks3", "pyiqa-dists", "pyiqa-lpips-vgg")
    assert all("backbone:vgg" in families(key) for key in same)
    assert families({"measure": "dists", "backbone": {"name": "vgg16-r", "seed": 3}}) == {"backbone:vgg", "form:dists"}


def test_what_was_learnt_counts_and_random_or_made_by_hand_is_nothing(tmp_path):
    assert {"data:imagenet", "data:kadid-10k"} < families("dists")
    assert families("dists-vgg16") == {"backbone:vgg", "form:dists", "data:imagenet"}
    assert {"data:imagenet", "data:bapps"} < families("lpips")
    assert {"data:imagenet", "data:kadid-10k"} < families("topiq_fr")
    assert "data:pipal" in families("pyiqa-topiq_fr-pipal")
    for key in ("ssim", "gmsd", "vif", "lpips-squeezenet1_1-r", "dists-resnet50-r"):
        assert not any(family.startswith("data:") for family in families(key))
    own = {"measure": "dists", "backbone": "vgg16-r", "alpha_beta": str(tmp_path / "mine.pt")}
    assert families(own) == {"backbone:vgg", "form:dists", "data:unknown"}


def test_every_measure_has_a_form_and_only_known_prefixes():
    for key in list_measures():
        found = families(key)
        assert {family.partition(":")[0] for family in found} <= set(KINDS)
        assert any(family.startswith("form:") for family in found)


def test_families_change_no_identity():
    """Stored results are found by them."""
    known = {"ssim": "9f17e1f4f68d", "dists-vgg16-r": "61a215027140", "lpips-squeezenet1_1-r": "975687a0511f"}
    assert {key: parse_measure(key).identity for key in known} == known


def test_a_metric_of_pyiqa_that_is_not_known_here_must_be_declared(monkeypatch):
    configurations = {"new": {"metric_mode": "FR", "metric_opts": {"type": "New"}}}
    monkeypatch.setattr(
        "lopsided.losses.through_pyiqa._configuration", lambda name: configurations.get(name) or _configuration(name)
    )
    with pytest.raises(MeasureError, match=r"not known here what pyiqa's 'new' is made of.*families: \[backbone:…"):
        parse_measure("pyiqa-new")
    declared = parse_measure({"measure": "pyiqa", "metric": "new", "families": ["form:new", "backbone:vgg"]})
    assert declared.families == {"form:new", "backbone:vgg", "data:unknown"}
    declared = parse_measure({"measure": "pyiqa", "metric": "new", "families": ["form:new", "data:live"]})
    assert declared.families == {"form:new", "data:live"}


class BareSpec(MeasureSpec):
    """A measure whose families have no prefix, as they once had none."""

    measure: Literal["bare"] = "bare"

    @property
    def families(self):
        return frozenset({"pixel"})

    @property
    def min_size(self):
        return 1

    def build(self, *, reduction: Reduction = "mean"):
        return Bare(self, reduction)


class Bare(PreciseMeasure[BareSpec]):
    """Never computed."""

    def _compute(self, images, references):
        raise NotImplementedError


def test_a_measure_that_declares_bare_words_is_refused_when_it_is_built():
    with pytest.raises(MeasureError, match="bare: 'pixel' is not a family; write backbone:…, form:… or data:…"):
        create_measure(BareSpec())
