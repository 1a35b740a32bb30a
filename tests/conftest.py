"""Gives tests the modules beside them, which importlib mode keeps from being imported by name."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

# Processes of pytest-xdist are told a width of 80, which consoles made at import would keep for good.
os.environ.pop("COLUMNS", None)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic_tables() -> ModuleType:
    return load("synthetic_tables")


@pytest.fixture(scope="session")
def tiny_vlm() -> ModuleType:
    pytest.importorskip("transformers", reason="multimodal LLMs need the extra [mllm]")
    return load("tiny_vlm")
