"""Every file of pretrained weights that lopsided knows: finding it by name, and checking it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import did_you_mean
from ..common.identity import sha256_file
from . import known_answers
from .extractor import build_extractor
from .files import WeightsFile, registered_files
from .registry import BackboneError, BackboneSpec, list_backbones
from .weights import published, read_state, weights_file


@dataclass(frozen=True)
class Entry:
    """One origin of weights: a file, the backbone it belongs to, or both; random twins have no file.

    Attributes:
        key: name to ask for it by.
        file: the file; None for a random twin.
        backbone: the backbone; None for files of other networks.
    """

    key: str
    file: WeightsFile | None
    backbone: BackboneSpec | None

    def at(self, path: Path | None) -> BackboneSpec | None:
        """Return the backbone with its weights read from ``path``, where one is given."""
        if self.backbone and path:
            return self.backbone.model_copy(update={"weights": str(path)})
        return self.backbone


def inventory() -> list[Entry]:
    """Return every file: those of backbones by the backbone's key, known copies and all others by the file's name.

    Other parts register their files when they are imported: ``lopsided.losses`` does.
    """
    backbones = [Entry(s.name if s.weights == "official" else s.weights, weights_file(s), s) for s in published()]
    return backbones + [Entry(file.name, file, None) for file in registered_files()]


def find_entries(names: Iterable[str]) -> list[Entry]:
    """Return the entries of these names, each once: a key of :func:`inventory`, a file's name, or a random twin's key.

    Raises:
        BackboneError: an unknown name.
    """
    twins = [Entry(name, None, BackboneSpec(name=name)) for name in list_backbones() if name.endswith("-r")]
    entries = inventory()
    known = {e.file.name: e for e in entries if e.file} | {entry.key: entry for entry in [*entries, *twins]}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, "see 'lopsided weights list'")
            raise BackboneError(f"no weights called '{name}'; {hint}")
    return list(dict.fromkeys(known[name] for name in names))


def verify_entry(entry: Entry, path: Path | None) -> str:
    """Check the weights at ``path``, and return what was found right and what could not be checked.

    Raises:
        LopsidedError: what is wrong.
    """
    right = []
    if entry.file and path:
        entry.file.check(path)
        right.append("digest right" if entry.file.sha256 else f"SHA-256 {sha256_file(path)}")
        if not entry.backbone:
            read_state(path)
            right.append("readable")
    if spec := entry.at(path):
        build_extractor(spec)  # loads strictly, and compares with the known answer
        known = known_answers.stored(spec, path)
        right += ["loads", "known answer right" if known else "no known answer stored"]
    return ", ".join(right)
