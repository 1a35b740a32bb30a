"""Gives tests the generator of synthetic result tables, which importlib mode keeps from being imported by name."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

# Processes of pytest-xdist are told a width of 80, which consoles made at import would keep for good.
os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session")
def synthetic_tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthetic_tables", Path(__file__).with_name("synthetic_tables.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
