"""Doors: packages whose names are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def door(package: str, names: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package that imports its modules late.

    Importing the package itself loads nothing; the first use of a name imports its module. The package also lists names
    in ``__all__`` and imports them under ``TYPE_CHECKING``, for readers and type checkers.

    Args:
        package: ``__name__`` of the package.
        names: relative module, e.g. ``.scorer``, → the names that come from it.
    """
    modules = {name: module for module, of in names.items() for name in of}

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name], package), name)

    return get, lambda: sorted(modules)
