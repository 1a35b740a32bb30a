"""The repository is the package: folders, layering and the weight of imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).parents[1]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Who may import whom. Everybody may import `common`, `analysis.statistics` and the root's own names.
PARTS = {"backbones", "losses", "discriminators"}
MAY_IMPORT = {
    "common": set(),
    "analysis": set(),
    "backbones": set(),
    "losses": {"backbones"},
    "discriminators": {"backbones"},
    "sr": PARTS,
    "iqa": PARTS,
    "mllm": set(),
    "experiments": PARTS | {"analysis", "sr", "iqa", "mllm"},
    "cli": PARTS | {"analysis", "sr", "iqa", "mllm", "experiments"},
}
# Within experiments: what is written further down may import what is written above it.
FLOORS = [
    "schema",
    "store",
    "stages",
    "planning",
    "explain",
    "adaptive",
    "watching",
    "selection",
    "running",
    "results",
    "upkeep",
    "api",
]
# Heavy or restrictive libraries, and the only places that may import them.
CONFINED = {
    "basicsr": {
        "common/basicsr_compat.py",
        "losses/basicsr_plugin.py",
        "discriminators/basicsr_plugin.py",
        "sr/generators.py",
    },
    "pyiqa": {"losses/through_pyiqa.py"},
    "spandrel": {"sr/generators.py"},
    "lpips": set(),
    "transformers": {"mllm/backends/rendering.py", "mllm/backends/transformers.py", "mllm/align/trainers.py"},
    "vllm": {"mllm/backends/vllm.py"},
    "trl": {"mllm/align/trainers.py"},
    "peft": {"mllm/align/adapters.py"},
    "datasets": {"mllm/align/trainers.py"},
    "flow_factory": {"mllm/align/flow_factory.py"},
    "httpx": {"mllm/backends/sending.py"},
    "wandb": {"sr/tracking_wandb.py"},
    "mlflow": {"sr/tracking_mlflow.py"},
    "typer": None,  # the whole of cli/
}


def modules():
    return [path for part in MAY_IMPORT for path in (ROOT / part).rglob("*.py")]


def imports(path):
    """(absolute dotted name) of everything a file imports, relative imports resolved."""
    package = ["lopsided", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_package_list_names_every_folder_with_code():
    found = {
        ".".join(["lopsided", *path.parent.relative_to(ROOT).parts])
        for part in MAY_IMPORT
        for path in (ROOT / part).rglob("__init__.py")
    }
    assert set(CONFIG["tool"]["setuptools"]["packages"]) == found | {"lopsided"}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_layering(part):
    allowed = MAY_IMPORT[part] | {"common", part}
    for path in (ROOT / part).rglob("*.py"):
        for name in imports(path):
            if name.startswith("lopsided.") and not name.startswith("lopsided.analysis.statistics"):
                other = name.split(".")[1]
                assert other in allowed or other.startswith("__"), f"{path.relative_to(ROOT)} imports {name}"


def test_floors_of_experiments():
    here = "lopsided.experiments."
    for path in (ROOT / "experiments").rglob("*.py"):
        floor = path.relative_to(ROOT / "experiments").parts[0].removesuffix(".py")
        if floor == "__init__":
            continue
        for name in imports(path):
            if name.startswith(here):
                other = name.removeprefix(here).split(".")[0]
                assert FLOORS.index(other) <= FLOORS.index(floor), f"{path.relative_to(ROOT)} imports {name}"


def test_no_name_of_a_door_is_a_file_beside_it():
    """Importing the file would put the module in the name's place."""
    doors = [path for path in modules() if path.name == "__init__.py" and "door(" in path.read_text(encoding="utf-8")]
    assert doors
    for path in doors:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        beside = {other.stem for other in path.parent.iterdir() if other.suffix == ".py" or other.is_dir()}
        assert not names & beside, f"{path.relative_to(ROOT)}: {sorted(names & beside)}"


def test_no_import_leads_back_to_where_it_started():
    """Neither at import time nor inside a function, doors (`__init__`) aside."""
    files = {
        ".".join(["lopsided", *path.relative_to(ROOT).with_suffix("").parts]): path
        for path in modules()
        if path.name != "__init__.py"
    }
    arrows = {
        name: {
            other
            for imported in imports(path)
            for other in (imported, imported.rpartition(".")[0])
            if other in files and other != name
        }
        for name, path in files.items()
    }
    seen, open_ = set(), []

    def walk(name):
        assert name not in open_, f"{' -> '.join([*open_[open_.index(name) :], name])}"
        if name not in seen:
            open_.append(name)
            for other in sorted(arrows[name]):
                walk(other)
            open_.pop()
            seen.add(name)

    for name in sorted(arrows):
        walk(name)


def test_nothing_asks_what_kind_of_cell_it_has():
    """Planner, executor, progress and tables go over the list of stages; kinds are told apart by methods."""
    classes = {
        node.name
        for path in (ROOT / "experiments" / "stages").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    assert {"Finetune", "AssessFR", "Rate"} <= classes
    for path in [*(ROOT / "experiments").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                asked = {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
                assert not asked & classes, f"{path.relative_to(ROOT)}:{node.lineno}"
            if isinstance(node, ast.Compare) and getattr(node.left, "attr", "") == "stage":
                asked = [word.value for word in ast.walk(node) if isinstance(word, ast.Constant)]
                assert not asked, f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"


def test_subpackages_import_each_other_relatively():
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert not (node.module or "").startswith("lopsided"), path
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("lopsided") for alias in node.names), path


@pytest.mark.parametrize("library", CONFINED)
def test_heavy_libraries_are_imported_in_their_places_only(library):
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if any(name == library or name.startswith(f"{library}.") for name in imports(path))
    }
    places = CONFINED[library]
    assert all(importer.startswith("cli/") for importer in importers) if places is None else importers <= places


def test_importing_losses_is_light_and_needs_no_network():
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('network touched')\n"
        "socket.socket.connect = refuse\n"
        "import lopsided.losses\n"
        "heavy = {'basicsr','pyiqa','lpips','transformers','timm','pandas','scipy','matplotlib','skimage','cv2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_python_range_refuses_what_basicsr_cannot_build_on():
    assert CONFIG["project"]["requires-python"] == ">=3.10,<3.13"
