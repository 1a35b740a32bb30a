"""Opening a benchmark by name, with the checks that are the same for all."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from ...common.identity import identity
from ...common.paths import expanded, is_file, is_folder, why_missing
from ..errors import MllmError
from ..item import Item
from .benchmark import Benchmark
from .reading import Found
from .registry import BenchmarkInfo, benchmark_info


def open_benchmark(
    name: str,
    path: Path | str,
    *,
    images: Literal["present", "absent"] = "present",
    strict: bool = True,
    **options: Any,
) -> Benchmark:
    """Read a benchmark in its official layout.

    Args:
        name: one of ``list_benchmarks()``.
        path: its folder (``jsonl``: the file).
        images: ``absent`` to use only the labels: image files are not checked then, and a note says so.
        strict: refuse a benchmark without its official number of items, if that number is certain; False makes it a
            note.
        options: of the reader, e.g. ``sets=["KonIQ-10K"]`` of unipercept-vr or ``strategy="PromptCoT"`` of culturemix;
            JSON values, see ``docs/mllm_benchmarks.md``.

    Raises:
        MllmError: an unknown name or option, a file that is missing or malformed, an image that is not there, two items
            with the same name, a target out of range, an unknown country, a wrong number of items.

    Examples:
        >>> import json, tempfile
        >>> file = Path(tempfile.mkdtemp(), "own.jsonl")
        >>> line = {"id": "1", "task": "rate", "images": "lamp.png", "target": 3.5, "scale": [1, 5]}
        >>> _ = file.write_text(json.dumps(line), encoding="utf-8")
        >>> benchmark = open_benchmark("jsonl", file, images="absent")
        >>> benchmark.items[0].benchmark, benchmark.items[0].target, benchmark.notes
        ('own', 3.5, ('images were not looked for: labels only',))
    """
    info = benchmark_info(name)
    if images not in ("present", "absent"):
        raise MllmError(f"images must be 'present' or 'absent', got {images!r}.")
    _check_options(info, options)
    place = expanded(path)
    if not (is_file(place) or is_folder(place)):
        raise MllmError(f"{place}: is not there; {info.name} reads {info.layout}.")
    found = info.read(place, **options)
    _refuse_twins(name, found.items)
    notes = [*found.notes, *_count_notes(name, found, strict)]
    if images == "present":
        if found.extract is not None:
            found.extract()
        _check_images(name, found.items)
    else:
        notes.append("images were not looked for: labels only")
    return Benchmark(name, tuple(found.items), _identity(found.items), tuple(notes))


_KINDS = {str: "text", bool: "true or false"}


def _check_options(info: BenchmarkInfo, options: dict[str, Any]) -> None:
    known = [
        parameter
        for parameter in inspect.signature(info.read).parameters.values()
        if parameter.kind == parameter.KEYWORD_ONLY
    ]
    names = [parameter.name for parameter in known]
    if unknown := [option for option in options if option not in names]:
        raise MllmError(f"{info.name} has no option {unknown[0]!r}; it has {', '.join(names) or 'none'}.")
    for parameter in known:
        wanted = type(parameter.default)
        given = options.get(parameter.name, parameter.default)
        if wanted in (str, bool) and not isinstance(given, wanted):
            raise MllmError(f"{info.name}: the option {parameter.name!r} must be {_KINDS[wanted]}, got {given!r}.")
    if missing := [p.name for p in known if p.default is inspect.Parameter.empty and p.name not in options]:
        raise MllmError(f"{info.name} needs the option {missing[0]!r}: it is read from {info.layout}.")


def _refuse_twins(name: str, items: Iterable[Item]) -> None:
    names = Counter((item.benchmark, item.dimension, item.id) for item in items)
    if twice := [key for key, count in names.items() if count > 1]:
        raise MllmError(f"{name}: {len(twice)} items are listed twice or more, first {' / '.join(twice[0])}.")


def _count_notes(name: str, found: Found, strict: bool) -> list[str]:
    notes = []
    for count in found.counts:
        if count.found == count.official:
            continue
        said = f"{count.part} has {count.found} items, officially {count.official}"
        if strict and count.certain:
            raise MllmError(f"{name}: {said}; get the whole file, or give strict=False to use it as it is.")
        notes.append(said if count.certain else f"{said} (not certain)")
    return notes


def _check_images(name: str, items: Iterable[Item]) -> None:
    paths = list(dict.fromkeys(path for item in items for path in item.images))
    if missing := [path for path in paths if not is_file(path)]:
        more = f", … {missing[-1]}" if len(missing) > 1 else ""
        raise MllmError(
            f"{name}: {len(missing)} of {len(paths)} images are not there: {missing[0]}{why_missing(missing[0])}{more};"
            " in Python, images='absent' uses only the labels."
        )
    if empty := [path for path in paths if not path.stat().st_size]:
        raise MllmError(f"{name}: {len(empty)} of {len(paths)} images are empty files, first {empty[0]}.")


def _identity(items: Iterable[Item]) -> str:
    """Hash what is asked and what is right; where the images are does not matter."""
    return identity(
        [
            [
                *(item.benchmark, item.dimension, item.id, item.task, [path.name for path in item.images]),
                *(item.question, list(item.options), item.target, item.scale and list(item.scale)),
                *(item.higher_is_better, item.reference, dict(item.groups)),
            ]
            for item in items
        ]
    )
