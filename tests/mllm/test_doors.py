"""The doors of lopsided.mllm: light to open, complete, and closed to a second thing of the same name."""

import importlib
import json
import subprocess
import sys

import pytest

from lopsided.common.errors import LopsidedError
from lopsided.common.registry import Registry
from lopsided.mllm import Preset, create_preset, list_benchmarks, list_presets
from lopsided.mllm.benchmarks import benchmark_info, register_benchmark
from lopsided.mllm.published import list_tables, published_table, register_table
from lopsided.mllm.scoring import register_preset

DOORS = ["", ".align", ".backends", ".benchmarks", ".metrics", ".published", ".scoring"]
HEAVY = ["torch", "transformers", "httpx", "pandas", "scipy", "numpy"]


def loaded_by(statement: str) -> list[str]:
    """Which heavy libraries a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import lopsided.mllm") == []
    assert loaded_by("from lopsided.mllm import Item, MllmError") == []


def test_presets_need_neither_torch_nor_pandas():
    assert loaded_by("from lopsided.mllm import Scorer, create_preset; create_preset('q-align')") == ["numpy"]


@pytest.mark.parametrize("door", DOORS)
def test_every_name_of_a_door_is_there_once_and_listed(door):
    package = importlib.import_module(f"lopsided.mllm{door}")
    assert len(set(package.__all__)) == len(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("register_again", "message"),
    [
        (lambda: register_preset("q-align", create_preset), "preset 'q-align' exists already"),
        (lambda: register_benchmark(benchmark_info("cogip")), "benchmark 'cogip' exists already"),
        (lambda: register_table(published_table("unipercept_vr")), "published table 'unipercept_vr' exists already"),
    ],
    ids=["preset", "benchmark", "table"],
)
def test_a_name_that_is_taken_is_refused(register_again, message):
    before = list_presets(), list_benchmarks(), list_tables()
    with pytest.raises(LopsidedError, match=message):
        register_again()
    assert (list_presets(), list_benchmarks(), list_tables()) == before


def test_a_new_preset_is_made_by_its_key(monkeypatch):
    monkeypatch.setattr("lopsided.mllm.scoring.presets._PRESETS", Registry("preset"))
    register_preset("own", lambda: Preset(key="own", reproduces="nothing"))
    assert list_presets() == ["own"]
    assert create_preset("own", max_tokens=8).key == "own[max_tokens=8]"


def test_every_benchmark_and_table_has_a_title():
    assert all(benchmark_info(name).title for name in list_benchmarks())
    assert all(published_table(name).title for name in list_tables())
