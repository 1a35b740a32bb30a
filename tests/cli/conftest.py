"""The store of a whole run, which several commands look at."""

import shutil
from pathlib import Path

import pytest
from support.command_line import lopsided
from support.smoke import SMOKE


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """The store of the whole smoke test, and what the run printed. To be copied, not changed."""
    store = tmp_path_factory.mktemp("base") / "runs"
    return store, lopsided("run", SMOKE, "--store", store)


@pytest.fixture
def store(base, tmp_path):
    """A copy of that store."""
    return Path(shutil.copytree(base[0], tmp_path / "runs"))
