"""Files that are either whole or absent: written under a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .processes import ProcessId, this_process

LEFT_SECONDS = 3600.0  # a temporary file of a process that nobody can ask after is left over when it is this old

_OURS = re.compile(r"\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{8}\.tmp")


def temporary_name(path: Path) -> Path:
    """Return a hidden name beside ``path`` that says which process writes to it.

    The suffix is kept because image and table writers choose their format by it.
    """
    me = this_process()
    owner = f"{_short(me.host)}-{me.pid}-{me.start or 0}-{uuid.uuid4().hex[:8]}"
    return path.with_name(f".{path.stem}.{owner}.tmp{path.suffix}")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it to ``path``.

    If the block raises (a full disk, an interrupt), the temporary file is removed and ``path`` is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def leftovers(folder: Path) -> Iterator[Path]:
    """Yield the temporary files and folders below ``folder`` whose writers are gone.

    Of a writer on another machine, or one whose name says nothing of it, that is assumed after an hour in which
    nothing changed, by the clock of the file system.
    """
    found = [path for path in _temporaries(folder) if not _written_to(path)]
    unknown = [path for path in found if not _process_of(path)]
    now = _file_system_time(folder) if unknown else 0.0
    yield from (path for path in found if path not in unknown or now - _changed(path) > LEFT_SECONDS)


def clear_temporary(folder: Path) -> None:
    """Delete the temporary files that killed processes left below ``folder``, which nobody else may be writing to.

    They are renamed first: a process that was thought to be dead finds them whole, or not at all.
    """
    for path in _temporaries(folder):
        aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
        with contextlib.suppress(FileNotFoundError):
            path.rename(aside)
        remove(aside)


def clear_leftovers(folder: Path) -> None:
    """Delete what killed processes left below ``folder``, which others may be writing to."""
    for path in leftovers(folder):
        remove(path)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; nothing happens if it is gone already."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` atomically, as indented JSON without NaN."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _temporaries(folder: Path) -> list[Path]:
    """Return the temporary files and folders below ``folder``, ours and those that safetensors makes beside them."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            if name.startswith(".") and ".tmp" in name:
                found.append(Path(place, name))
        folders[:] = [name for name in folders if Path(place, name) not in found]
    return sorted(found)


def _short(host: str) -> str:
    return f"{zlib.crc32(host.encode()):08x}"


def _process_of(path: Path) -> ProcessId | None:
    """Return the process that writes to a temporary file, if it belongs to this machine and the name says so."""
    match, me = _OURS.search(path.name), this_process()
    if not match or match["host"] != _short(me.host):
        return None
    return ProcessId(me.host, int(match["pid"]), int(match["start"]) or None)


def _written_to(path: Path) -> bool:
    process = _process_of(path)
    return process is not None and process.alive


def _changed(path: Path) -> float:
    """Return when a file, or the newest in a folder, last changed, in seconds since 1970; now, if it is gone."""
    try:
        times = [path.stat().st_mtime, *(inner.stat().st_mtime for inner in path.rglob("*"))]
    except FileNotFoundError:
        return time.time()
    return max(times)


def _file_system_time(folder: Path) -> float:
    """Return the time by the clock that stamps files in ``folder``."""
    probe = temporary_name(folder / "clock")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:  # a folder that cannot be written to: nothing in it can be deleted either
        return 0.0
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
