"""Where a value is in its YAML file, for messages that name file, line and path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Origin:
    """The file that settings were read from. All origins compare equal: settings are the same wherever they were read.

    Attributes:
        file: the YAML file.
        root: its nodes, which know their lines.
        overrides: ``--set`` arguments by the location they set.
    """

    file: Path = field(compare=False)
    root: yaml.Node = field(compare=False)
    overrides: Mapping[Location, str] = field(default_factory=dict, compare=False)

    def message(self, location: Location, text: str) -> str:
        """Return ``file:line: path: text``, or ``--set …: path: text`` where that argument set the value."""
        line, whole = self._line(location)
        where = f"{self.file}:{line}"
        for place, override in self.overrides.items():
            if location[: len(place)] == place or (not whole and place[: len(location)] == location):
                where = f"--set {override}"
        return f"{where}: {located(location, text)}"

    def _line(self, location: Location) -> tuple[int, bool]:
        """Line of the deepest part of ``location`` that the file has, and whether that is all of it."""
        node = self.root
        line = node.start_mark.line + 1
        for part in location:
            if isinstance(node, yaml.MappingNode):
                entry = next((entry for entry in node.value if entry[0].value == str(part)), None)
                if entry is None:
                    return line, False
                line, node = entry[0].start_mark.line + 1, entry[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                return line, False
        return line, True


def located(location: Location, text: str) -> str:
    """Return ``path: text`` with the path written as ``grid.exclude[0]``."""
    dotted = re.sub(r"\.?\[", "[", ".".join(f"[{part}]" if isinstance(part, int) else part for part in location))
    return f"{dotted}: {text}" if dotted else text
