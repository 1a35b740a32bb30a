"""Results that are kept within a bound."""

import torch

from lopsided.common.kept import Kept, tensor_bytes


def test_what_is_kept_stays_within_its_bound_and_the_oldest_goes():
    kept, made = Kept(100), []

    def make(name, size):
        return lambda: made.append(name) or {"x": [torch.zeros(size, dtype=torch.uint8)]}

    for name, size in (("a", 40), ("b", 60), ("a", 40), ("c", 50), ("a", 40), ("b", 60), ("huge", 101), ("b", 60)):
        assert tensor_bytes(kept.get(name, make(name, size))) == size
        assert kept.size <= 100
    assert made == ["a", "b", "c", "b", "huge"]


def test_a_view_counts_as_what_it_keeps_alive_and_only_once():
    whole = torch.zeros(1000)
    assert tensor_bytes((whole[:2], {"again": whole[3:]})) == 4000
