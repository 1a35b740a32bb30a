"""Fixtures that many tests share; the modules behind them are in tests/support."""

import importlib
import os
from types import ModuleType

import pytest

# Processes of pytest-xdist are told a width of 80, which consoles made at import would keep for good.
os.environ.pop("COLUMNS", None)
# No test opens a window.
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture(scope="session")
def synthetic_tables() -> ModuleType:
    return importlib.import_module("support.synthetic_tables")


@pytest.fixture(scope="session")
def tiny_vlm() -> ModuleType:
    pytest.importorskip("transformers", reason="multimodal LLMs need the extra [mllm]")
    return importlib.import_module("support.tiny_vlm")
