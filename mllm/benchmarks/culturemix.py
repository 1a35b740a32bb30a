"""CultureMix: dishes alone, beside another dish, before a background, and both; the same dish in many contexts.

Source: World in a Frame, arXiv 2511.22787; columns and folders follow the scripts of the project's site. Not
published: the wording of the question, further columns, the exact number of items, the layout of CultureMix-Real.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import MllmError
from ..item import Item
from .countries import continent_of, country_of
from .questions import DIRECT, ask, reply
from .reading import Count, Entry, Found, inside, optional, read_table, text

FOOD = ("image_path", "food1_id", "food1_name", "food1_country")
OTHER_FOOD = ("food2_id", "food2_name", "food2_country")
BACKGROUND = ("background_country",)


@dataclass(frozen=True)
class Subtask:
    """One of the four sub-tasks.

    Attributes:
        files: metadata files → kind of background ("" without).
        items: the number in the paper's notes; the site's total differs, so it is not certain.
        columns: columns that its files must have.
        target: what is asked about.
        rest: what else is in the picture.
    """

    files: Mapping[str, str]
    items: int
    columns: tuple[str, ...]
    target: str
    rest: str


# The first food is the left one: this follows from the order of pasting and is not stated.
SUBTASKS = {
    "SF": Subtask({"sf.csv": ""}, 988, FOOD, "the dish in the image", ""),
    "MF": Subtask({"mf.csv": ""}, 948, FOOD + OTHER_FOOD, "the dish on the left", "the other dish"),
    "SFB": Subtask(
        {"sfb_street.csv": "street", "sfb_landmark.csv": "landmark"},
        12_350,
        FOOD + BACKGROUND,
        "the dish in the image",
        "the background",
    ),
    "MFB": Subtask(
        {"mfb_street.csv": "street"},
        9_480,
        FOOD + OTHER_FOOD + BACKGROUND,
        "the dish on the left",
        "the other dish and the background",
    ),
}
REAL_ITEMS = {"MF": 100, "SF": 219}
CONFLICT = "the sizes of the four sub-tasks add up to 23,766, the site's corpus figure leaves 23,031: not settled"
SAME, CONTINENT, APART = "same country", "same continent", "different continents"


def read_culturemix(folder: Path, *, subtasks: tuple[str, ...] | list[str] = (), strategy: str = DIRECT) -> Found:
    """Read ``metadata/{sf,mf,sfb_street,sfb_landmark,mfb_street}.csv``; ``image_path`` is relative to ``folder``.

    Args:
        folder: the one that holds ``metadata`` and the images.
        subtasks: which of SF, MF, SFB and MFB; by default those whose files are there.
        strategy: way of asking: direct, PromptDirect or PromptCoT, in our own words.
    """
    wanted = _wanted(subtasks) or [
        name for name, task in SUBTASKS.items() if any((folder / "metadata" / file).exists() for file in task.files)
    ]
    if not wanted:
        raise MllmError(f"{folder}: no metadata/*.csv of CultureMix is there; give the folder that holds metadata.")
    benchmark = _benchmark("culturemix", strategy)
    found = Found([], notes=[CONFLICT])
    for name in wanted:
        task, items = SUBTASKS[name], []
        for file, kind in task.files.items():
            path = folder / "metadata" / file
            if path.exists() or len(task.files) == 1:
                items += _items(benchmark, name, folder, read_table(path, task.columns), kind, strategy)
            else:
                found.notes.append(f"{name}: without metadata/{file}")
        found.items.extend(items)
        found.counts.append(Count(name, len(items), task.items, certain=False))
    white = [item.groups["white_background"] for item in found.items if item.dimension == "SF"]
    if len(set(white)) > 1:
        found.notes.append(
            f"SF: {white.count('yes')} of {len(white)} images are on white (by their path), the rest not"
        )
    return found


def read_culturemix_real(folder: Path, *, files: Mapping[str, str], strategy: str = DIRECT) -> Found:
    """Read CultureMix-Real, photographs of two dishes and crops of one.

    Args:
        folder: what ``image_path`` is relative to.
        files: sub-task → CSV file in ``folder``, with the columns of CultureMix, because the authors' layout is not
            published.
        strategy: as for CultureMix.
    """
    _wanted(files)
    benchmark = _benchmark("culturemix-real", strategy)
    found = Found([], notes=["the layout of CultureMix-Real is not published; the columns of CultureMix are taken"])
    for name, file in files.items():
        path = inside("files", folder, file)
        items = _items(benchmark, name, folder, read_table(path, SUBTASKS[name].columns), "", strategy)
        found.items.extend(items)
        if name in REAL_ITEMS:
            found.counts.append(Count(name, len(items), REAL_ITEMS[name], certain=False))
    return found


def distance(country: str, other: str) -> str:
    """Return how far two countries are apart: same country, same continent or different continents."""
    if country == other:
        return SAME
    return CONTINENT if continent_of(country) == continent_of(other) else APART


def known_countries(entries: list[Entry], *columns: str) -> dict[str, str]:
    """Return the country of every spelling in some columns.

    Raises:
        MllmError: spellings without a country; the message lists them, as a country is never guessed.
    """
    spellings = {str(entry[name]).strip() for _, entry in entries for name in columns if entry.get(name)} - {""}
    countries = {spelling: country_of(spelling) for spelling in spellings}
    if unknown := sorted(spelling for spelling, country in countries.items() if country is None):
        file = entries[0][0].rpartition(",")[0]
        raise MllmError(
            f"{file}: {len(unknown)} unknown countries: {', '.join(map(repr, unknown[:20]))}; correct them."
        )
    return {spelling: country for spelling, country in countries.items() if country is not None}


def _wanted(subtasks: Mapping[str, str] | list[str] | tuple[str, ...]) -> list[str]:
    if unknown := [name for name in subtasks if name not in SUBTASKS]:
        raise MllmError(f"CultureMix has no sub-task {unknown[0]!r}; it has {', '.join(SUBTASKS)}.")
    return list(subtasks)


def _benchmark(name: str, strategy: str) -> str:
    # Each way of asking has its own results.
    return name if strategy == DIRECT else f"{name}/{strategy}"


def _items(benchmark: str, name: str, folder: Path, entries: list[Entry], kind: str, strategy: str) -> list[Item]:
    task = SUBTASKS[name]
    countries = known_countries(entries, "food1_country", "food2_country", "background_country")
    question = ask(task.target, task.rest, strategy=strategy, food=True)
    items = []
    for where, entry in entries:
        image, dish = text(where, entry, "image_path"), text(where, entry, "food1_id")
        food, country = text(where, entry, "food1_name"), countries[text(where, entry, "food1_country")]
        groups = {
            "subtask": name,
            "strategy": strategy,
            "dish": dish,
            "food": food,
            "country": country,
            "white_background": "yes" if "white" in image.lower() else "no",
            **_context(where, entry, task, countries, country, kind),
        }
        items.append(
            Item(
                benchmark=benchmark,
                dimension=name,
                id=image,
                task="open",
                images=(inside(where, folder, image),),
                question=question,
                target=reply(food, country),
                reference=dish,
                groups=groups,
            )
        )
    return items


def _context(
    where: str, entry: Mapping[str, str], task: Subtask, countries: Mapping[str, str], country: str, kind: str
) -> dict[str, str]:
    """Return what surrounds the dish, and how far that is from the dish's country."""
    groups, context = {}, []
    if OTHER_FOOD[0] in task.columns:
        other = text(where, entry, "food2_id")
        groups |= {"distractor": text(where, entry, "food2_name")}
        context.append(other)
        # A neutral distractor (an apple, a car) has no country.
        if spelling := optional(entry, "food2_country"):
            groups["distractor_country"] = countries[spelling["food2_country"]]
    if BACKGROUND[0] in task.columns:
        background = text(where, entry, "background_country")
        groups |= {"background": background, "background_kind": kind, "background_country": countries[background]}
        context.append(f"{background} {kind}".strip())
    around = [groups[name] for name in ("distractor_country", "background_country") if name in groups]
    if around:
        far = [distance(country, other) for other in around]
        groups["distance"] = max(far, key=(SAME, CONTINENT, APART).index)
    return groups | {"context": " + ".join(context) or "alone"}
