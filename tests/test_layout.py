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

# Who may import whom; `common` and the root's own names are everybody's.
MAY_IMPORT = {
    "common": set(),
    "analysis": set(),
    "backbones": {"analysis"},
    "losses": {"analysis", "backbones"},
    "discriminators": {"analysis", "backbones"},
    "sr": {"analysis", "backbones", "losses", "discriminators"},
    "iqa": {"analysis", "backbones", "losses", "discriminators"},
    "mllm": {"analysis"},
    "experiments": {"analysis", "backbones", "losses", "discriminators", "sr", "iqa", "mllm"},
}
# Heavy or restrictive libraries, and the only places that may import them.
CONFINED = {
    "basicsr": {"common/basicsr_compat.py", "losses/basicsr_plugin.py", "sr/generators.py"},
    "pyiqa": {"losses/through_pyiqa.py"},
    "spandrel": {"sr/generators.py"},
    "lpips": set(),
    "transformers": {"mllm/transformers_backend.py"},
    "httpx": {"mllm/server_backend.py"},
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
            if name.startswith("lopsided."):
                other = name.split(".")[1]
                assert other in allowed or other.startswith("__"), f"{path.relative_to(ROOT)} imports {name}"


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
    assert importers <= CONFINED[library]


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
