"""Sets similar to CultureMix: one thing of a culture, shown in several contexts that should not matter.

MixCuBe (arXiv 2503.16826): food, festivals and clothes of five cultures, with the people in the picture replaced.
ConfusedTourist: things and dishes with cues of another country added; only the names of its images are known. Both use
our own questions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...common.images import EXTENSIONS
from ..errors import MllmError
from ..item import Item
from .countries import country_of
from .culturemix import distance, known_countries
from .questions import DIRECT, ask, reply
from .reading import (
    Count,
    EmbeddedImages,
    Entry,
    Found,
    inside,
    optional,
    read_parquet,
    read_table,
    text,
)

ORIGINAL = "original"
MIXCUBE_ITEMS, TOURIST_ITEMS = 2_475, 5_451
TARGETS = {
    "Food": "the food in the image",
    "Festival": "the festival in the image",
    "Clothes": "the clothes in the image",
}
PEOPLE = "the looks of the people"


def read_mixcube(folder: Path, *, extract: str = "", strategy: str = DIRECT) -> Found:
    """Read MixCuBe's parquet files, or folders ``<culture>_<category>_<number>/<ethnicity>.png``.

    The rows of the parquet files have no names: the pictures of one thing are consecutive and start with the original.

    Args:
        folder: of the data set.
        extract: where to write images that are inside a parquet file.
        strategy: way of asking: direct, PromptDirect or PromptCoT.
    """
    paths = sorted(folder.glob("**/*.parquet"))
    images = EmbeddedImages(folder, extract)
    entries = _rows(paths, images) if paths else _folders(folder)
    countries = known_countries(entries, "country")
    items = [_mixcube_item(where, entry, countries, strategy) for where, entry in entries]
    originals = {item.reference for item in items if item.groups["context"] == ORIGINAL}
    alone = sorted({item.reference for item in items} - originals)
    notes = [f"{len(alone)} things without an original, e.g. {alone[0]}"] if alone else []
    return Found(items, [Count("MixCuBe", len(items), MIXCUBE_ITEMS)], notes, images.write)


def read_confused_tourist(folder: Path, *, table: str, strategy: str = DIRECT) -> Found:
    """Read images named ``<thing>_<country of the cue>.jpeg``, or ``<thing>.jpeg`` without a cue.

    Args:
        folder: of the images, sub-folders included.
        table: CSV in ``folder`` with the columns ``item`` (as in the names) and ``country``, and optionally
            ``category``: the names do not say where a thing comes from, and the authors' own file is not known.
        strategy: way of asking: direct, PromptDirect or PromptCoT.
    """
    entries = read_table(inside("table", folder, table), ("item", "country"))
    countries = known_countries(entries, "country")
    things = {text(where, entry, "item"): (where, entry) for where, entry in entries}
    if len(things) < len(entries):
        twice = Counter(entry["item"].strip() for _, entry in entries).most_common(1)[0][0]
        raise MllmError(f"{folder / table}: {twice!r} is listed twice.")
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not images:
        raise MllmError(f"{folder}: there are no images.")
    items, strange = [], []
    for path in images:
        thing, cue = _thing(path.stem, things)
        if thing is None:
            strange.append(path.name)
            continue
        entry = things[thing][1]
        category, country = optional(entry, "category"), countries[entry["country"].strip()]
        groups = {"dish": thing, "country": country, "strategy": strategy, "context": cue or ORIGINAL, **category}
        if cue:
            groups |= {"background_country": cue, "distance": distance(country, cue)}
        items.append(
            _item(
                "confused-tourist", category.get("category", "all"), path.relative_to(folder).as_posix(), path, groups
            )
        )
    if strange:
        raise MllmError(
            f"{folder}: {len(strange)} images are not named <thing>_<country> of {table}: {', '.join(strange[:5])}."
        )
    return Found(items, [Count("ConfusedTourist", len(items), TOURIST_ITEMS, certain=False)])


def _rows(paths: list[Path], images: EmbeddedImages) -> list[Entry]:
    """Return the rows, each with the name of its thing and the path of its image."""
    entries, numbers = [], Counter[str]()
    thing, seen = "", set[str]()
    for where, row in read_parquet(paths, ("country", "category", "ethnicity", "image")):
        kind, ethnicity = f"{text(where, row, 'country')}_{text(where, row, 'category')}", text(where, row, "ethnicity")
        if ethnicity == ORIGINAL:
            numbers[kind] += 1
            thing, seen = f"{kind}_{numbers[kind]}", set()
        if not thing.startswith(f"{kind}_") or ethnicity in seen:
            raise MllmError(f"{where}: {kind} {ethnicity} follows {thing or 'nothing'}; an original begins each thing.")
        seen.add(ethnicity)
        path = images.path(where, row["image"], f"{thing}/{ethnicity}")
        entries.append((where, {**row, "thing": thing, "path": path}))
    return entries


def _folders(folder: Path) -> list[Entry]:
    entries: list[Entry] = []
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() not in EXTENSIONS:
            continue
        match = re.fullmatch(r"(.+)_([A-Za-z]+)_(\d+)", path.parent.name)
        if not match:
            raise MllmError(f"{path.parent}: is not named <culture>_<category>_<number>.")
        row = {"country": match[1], "category": match[2], "ethnicity": path.stem, "thing": match[0], "path": path}
        entries.append((f"{path.parent}, {path.name}", row))
    if not entries:
        raise MllmError(f"{folder}: has neither parquet files nor folders <culture>_<category>_<number>.")
    return entries


def _mixcube_item(where: str, entry: Mapping[str, Any], countries: Mapping[str, str], strategy: str) -> Item:
    category = text(where, entry, "category")
    if category not in TARGETS:
        raise MllmError(f"{where}: category {category!r} is none of {', '.join(TARGETS)}.")
    groups = {
        "dish": entry["thing"],
        "category": category,
        "country": countries[text(where, entry, "country")],
        "strategy": strategy,
        "context": text(where, entry, "ethnicity"),
    }
    return _item("mixcube", category, f"{entry['thing']}/{entry['ethnicity']}", entry["path"], groups)


def _item(benchmark: str, dimension: str, name: str, image: Path, groups: dict[str, str]) -> Item:
    target, rest = TARGETS.get(dimension, "the main thing in the image"), "the background, flags and landmarks"
    strategy = groups["strategy"]
    return Item(
        benchmark=benchmark if strategy == DIRECT else f"{benchmark}/{strategy}",
        dimension=dimension,
        id=name,
        task="open",
        images=(image,),
        question=ask(target, PEOPLE if benchmark == "mixcube" else rest, strategy=strategy, food=False),
        target=reply("", groups["country"]),
        reference=groups["dish"],
        groups=groups,
    )


def _thing(stem: str, things: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return thing and country of the cue in an image's name; (None, "") if it has another form."""
    if stem in things:
        return stem, ""
    parts = stem.split("_")
    for cut in range(len(parts) - 1, 0, -1):
        country = country_of(" ".join(parts[cut:]))
        if country and "_".join(parts[:cut]) in things:
            return "_".join(parts[:cut]), country
    return None, ""
