"""Every key that a list of the project gives has a name for figures and tables."""

import re

import pytest

from lopsided.analysis.figures import style
from lopsided.discriminators import list_discriminators
from lopsided.iqa import list_judges
from lopsided.losses import list_measures
from lopsided.sr.generators import list_generators

# English words, which are written as they stand in a key.
WORDS = {
    *("perceptual", "style", "contextual", "vanilla", "patch"),
    *("tiny", "small", "large", "lightweight", "classical", "baseline", "denoise"),
}
LISTS = [list_measures, list_judges, list_discriminators, list_generators]


@pytest.mark.parametrize("keys", LISTS, ids=lambda keys: keys.__name__)
def test_every_listed_key_has_a_display_name(keys, monkeypatch):
    monkeypatch.setattr(style, "NAMES", {key: f"<{name}>" for key, name in style.NAMES.items()})
    for key in keys():
        if key != "none":  # which has a name of its own in every figure
            unnamed = re.sub(r"<[^>]+>|-R$", "", style.pretty(key)).split()
            assert set(unnamed) <= WORDS, f"'{key}' has no display name: add {unnamed} to NAMES or to WORDS"


@pytest.mark.parametrize("keys", LISTS, ids=lambda keys: keys.__name__)
def test_no_two_keys_of_a_list_share_a_display_name(keys):
    names = [style.pretty(key) for key in keys()]
    assert len(set(names)) == len(names)
