"""Q-Bench: multiple-choice questions on low-level vision (LLVisionQA), and its lists of rated images.

Source: Q-Bench, arXiv 2309.14181, its repository and the data set LLVisionQA-QBench. The numbers in ``type`` and
``concern`` are kept unchanged: the files do not say which kind of question each means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..errors import MllmError
from ..item import Item
from .reading import Count, Found, inside, number, one_of, optional, read_concatenated, read_objects, text

QUESTIONS = {"dev": 1_495, "test": 1_495}
IMAGE_FOLDERS = ("images", "images_llvisionqa", "llvisionqa_qbench_{split}")
ASK = "{question}\nChoose between one of the options as follows:\n{options}"
# Database → items, if the list is complete. KADID's images are distortions of 81 references.
RATED = {"koniq": 10_073, "spaq": 11_125, "livec": 1_169, "kadid": 10_125, "agi": 2_982, "cgi": 6_000, "flive": None}


def read_qbench(folder: Path, *, split: str = "dev") -> Found:
    """Read ``llvisionqa_<split>.json`` and its images; several questions can be about one image.

    Args:
        folder: of the data set.
        split: dev, or test, whose answers are not published.
    """
    if split not in QUESTIONS:
        raise MllmError(f"q-bench has the splits {', '.join(QUESTIONS)}, not {split!r}.")
    entries = read_objects(one_of(folder, f"llvisionqa_{split}.json"), ("img_path", "question", "candidates"))
    names = [name.format(split=split) for name in IMAGE_FOLDERS]
    images = next((folder / name for name in names if (folder / name).exists()), folder / names[0])
    items, seen = [], Counter[str]()
    for where, entry in entries:
        image, options = text(where, entry, "img_path"), _options(where, entry["candidates"])
        seen[image] += 1
        listed = "".join(f"{chr(ord('A') + n)}. {option}\n" for n, option in enumerate(options))
        items.append(
            Item(
                benchmark=f"q-bench/{split}",
                dimension="perception",
                id=f"{image}#{seen[image]}",
                task="answer",
                images=(inside(where, images, image),),
                question=ASK.format(question=text(where, entry, "question"), options=listed).strip(),
                options=options,
                target=_answer(where, entry.get("correct_ans"), options),
                reference=image,
                groups=optional(entry, "type", "concern"),
            )
        )
    kept_back = sum(item.target is None for item in items)
    notes = [f"{kept_back} of {len(items)} answers are not published by the authors"] if kept_back else []
    return Found(items, [Count(split, len(items), QUESTIONS[split])], notes)


def read_qbench_iqa(folder: Path, *, sets: Sequence[str] = ()) -> Found:
    """Read ``<set>.json`` of the databases that Q-Bench rates, and their images in ``<folder>/<set>``.

    A file can also hold a model's published outputs on that database: the same fields, and logits, which are ignored.

    Args:
        folder: of the lists, ``a3_iqa_databases/jsons`` of the repository.
        sets: which ones; by default all that are there.
    """
    if unknown := [name for name in sets if name not in RATED]:
        raise MllmError(f"q-bench-iqa has no set {unknown[0]!r}; it has {', '.join(RATED)}.")
    wanted = list(sets) or [name for name in RATED if (folder / f"{name}.json").exists()]
    if not wanted:
        raise MllmError(f"{folder}: there is no <set>.json of {', '.join(RATED)}.")
    found = Found([])
    for name in wanted:
        entries = read_concatenated(folder / f"{name}.json", ("img_path", "gt_score"))
        for where, entry in entries:
            image = text(where, entry, "img_path")
            found.items.append(
                Item(
                    benchmark=f"q-bench-iqa/{name}",
                    dimension="quality",
                    id=image,
                    task="rate",
                    images=(inside(where, folder / name, image),),
                    target=number(where, entry["gt_score"], name="gt_score"),
                    reference=image.partition("_")[0] if name == "kadid" else "",
                    groups={"dataset": name},
                )
            )
        if (official := RATED[name]) is not None:
            found.counts.append(Count(name, len(entries), official, certain=False))
    return found


def _options(where: str, candidates: object) -> tuple[str, ...]:
    match candidates:
        case [str(), str(), *rest] if all(isinstance(option, str) for option in rest):
            return tuple(option.strip() for option in candidates)  # pyright: ignore[reportGeneralTypeIssues]
    raise MllmError(f"{where}: candidates must be a list of two texts or more, got {candidates!r}.")


def _answer(where: str, answer: object, options: tuple[str, ...]) -> str | None:
    if answer is None:
        return None
    if not isinstance(answer, str) or options.count(answer.strip()) != 1:
        raise MllmError(f"{where}: correct_ans {answer!r} is not exactly one of {', '.join(map(repr, options))}.")
    return chr(ord("A") + options.index(answer.strip()))
