"""What the doors of the analysis export, and what they import."""

import subprocess
import sys

import pytest

import lopsided.analysis
import lopsided.analysis.statistics

DOORS = [lopsided.analysis, lopsided.analysis.statistics]


def loaded_after(code):
    """Return the modules that are loaded once ``code`` has run in a process of its own."""
    code = f"import sys\n{code}\nprint(*sys.modules, sep='\\n')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_every_exported_name_exists(door):
    for name in door.__all__:
        assert getattr(door, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = door.nothing


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_opening_a_door_is_light_and_nothing_needs_torch(door):
    heavy = {"pandas", "scipy", "matplotlib", "torch"}
    assert not heavy & set(loaded_after(f"import {door.__name__}"))
    assert "torch" not in loaded_after(f"from {door.__name__} import *")


def test_statistics_stand_alone():
    """Other parts import them, so they may import nothing else of the analysis but its error."""
    modules = [
        name for name in loaded_after("from lopsided.analysis.statistics import *") if "lopsided.analysis" in name
    ]
    others = [name for name in modules if not name.startswith("lopsided.analysis.statistics")]
    assert sorted(others) == ["lopsided.analysis", "lopsided.analysis.errors"]
