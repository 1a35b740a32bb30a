"""Rating the items of a benchmark: every question is asked once, and every reply is saved when it arrives."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from ..common.errors import ImageError
from ..common.identity import identity, sha256_file
from ..common.images import read_rgb, upright_size
from .backends.batch import WRITTEN, BatchRequests
from .errors import MllmError
from .item import Item
from .results import UNJUDGED, Name, ResultFile, Row
from .scoring.outcomes import Choice, Rating
from .scoring.preset import Preset
from .scoring.scorer import Scorer

SHARED = {"seconds": 0.0}  # an item that gets the reply to an equal item costs no time
MOST_PIXELS = 1 << 28  # of images held together: 0.8 GB
CHUNK = 32  # items sent to the backend together: the most that a kill can lose


@dataclass(frozen=True)
class Run:
    """What a run did; every item is counted once.

    Attributes:
        rows: the result of each item, in order.
        asked: items that the model was asked in this run.
        known: items that had a result before.
        shared: items that got the reply to an equal item (same images and question) of this run.
        seconds: wall time of asking, without loading the model.
        stopped: whether it was asked to stop before the end; ``rows`` then lacks what was not reached.
    """

    rows: tuple[Row, ...]
    asked: int
    known: int
    shared: int
    seconds: float
    stopped: bool = False

    @property
    def statuses(self) -> Counter[str]:
        """How many items have each status."""
        return Counter(row["status"] for row in self.rows)

    @property
    def failed(self) -> list[Row]:
        """The results of the items without a reply; the next run asks them again."""
        return [row for row in self.rows if row["status"] == "failed"]


def rate(
    scorer: Scorer,
    items: Sequence[Item],
    path: str | Path,
    *,
    chunk: int = CHUNK,
    remembered: str | None = None,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _note: None,
    stop: Callable[[], bool] = lambda: False,
) -> Run:
    """Rate items, and append each result to a file; after an interruption the same call continues from that file.

    Each question has a key: a hash of the scorer's identity (weights, preset, settings), the question and options, and
    the contents of the images. A key with a reply is never asked again; one whose reply failed is asked again in the
    next run. Equal items are asked once and get one line each.

    Args:
        scorer: what rates.
        items: what is rated; unique by benchmark, dimension and id.
        path: the file of results; see ``ResultFile``.
        chunk: items sent to the backend together.
        remembered: the scorer's identity if it is known from an earlier run: a server is then asked for its identity
            only if there is a question to send.
        progress: called with (items done, items to be asked, name of the last one).
        stop: called between chunks; True stops.

    Returns:
        One result per item, in order.

    Raises:
        MllmError: two items with the same name, a file of another scorer, a scorer that is not the remembered one or
            that cannot answer such questions, or a chunk without any reply. An image that cannot be read is not an
            error but a result of status ``failed``.
    """
    path = Path(path)
    _refuse_twins(items)
    scorer_id = remembered or scorer.identity
    labels = [labels_of(scorer.key, scorer_id, scorer.preset, item) for item in items]
    hashes: dict[Path, str] = {}
    keys = [question_key(scorer_id, item, hashes) for item in items]
    asked = known = shared = done = 0
    with ResultFile(path, scorer_id) as file:
        waiting: dict[str, list[int]] = {}
        for n, key in enumerate(keys):
            if (reply := file.replies.get(key)) is None or reply["status"] == "failed":
                waiting.setdefault(key, []).append(n)
                continue
            known += 1
            mine = file.find(key, _name(items[n]))
            file.keep((mine if mine and mine["status"] != "failed" else reply | SHARED) | labels[n])
        if waiting and scorer.identity != scorer_id:
            raise MllmError(
                f"'{path}' holds results of {scorer.key} with identity {scorer_id}, which is now {scorer.identity}: "
                "the server reports another model than before; give another folder"
            )
        began, to_do = time.perf_counter(), sum(map(len, waiting.values()))
        # What failed before comes last, so that the rest is done first.
        waiting = dict(sorted(waiting.items(), key=lambda entry: entry[0] in file.replies))
        for chunk_keys in _chunks(waiting, items, chunk):
            if stop():
                break
            outcomes = _ask(scorer, [items[waiting[key][0]] for key in chunk_keys])
            for key, outcome in zip(chunk_keys, outcomes, strict=True):
                before = file.replies.get(key)
                outcome |= {"key": key, "attempt": before["attempt"] + 1 if before else 1}
                one, *equal = waiting[key]
                file.keep(outcome | labels[one])
                for n in equal:
                    file.keep(outcome | SHARED | labels[n])
                asked, shared, done = asked + 1, shared + len(equal), done + 1 + len(equal)
            file.sync()
            progress(done, to_do, items[waiting[chunk_keys[-1]][0]].id)
            if len(chunk_keys) > 1 and done < to_do and all(outcome["status"] == "failed" for outcome in outcomes):
                raise MllmError(
                    f"none of {len(chunk_keys)} items got a reply, the last because: {outcomes[-1]['raw']}; "
                    f"{to_do - done} more were not asked; run the same command again to continue"
                )
        found = [file.find(key, _name(item)) for key, item in zip(keys, items, strict=True)]
        seconds = time.perf_counter() - began
    rows = tuple(row for row in found if row is not None)
    stopped = asked < len(waiting)
    if len(rows) != len(items) and not stopped:
        raise MllmError(f"{len(items)} items have {len(rows)} results; this is a bug in lopsided, please report it")
    return Run(rows, asked, known, shared, seconds, stopped)


def write_questions(backend: BatchRequests, preset: Preset, items: Sequence[Item]) -> list[Row]:
    """Write the questions about items to batch files; nothing is asked, and equal questions are written once.

    Args:
        backend: writes them.
        preset: what is asked.
        items: what is to be rated.

    Returns:
        The items that were not written, since an image cannot be read: ``item`` and, as ``raw``, why.

    Raises:
        MllmError: two items with the same name, or a question that a batch file cannot hold.
    """
    _refuse_twins(items)
    waiting = {str(n): [n] for n in range(len(items))}
    unwritten = []
    with backend:
        for chunk in _chunks(waiting, items, CHUNK):
            asked = [items[int(n)] for n in chunk]
            for item, row in zip(asked, _ask(Scorer(backend, preset), asked), strict=True):
                if row["raw"] != WRITTEN:
                    unwritten.append({"item": item.id, "raw": row["raw"]})
        backend.done()
    return unwritten


def _refuse_twins(items: Sequence[Item]) -> None:
    names = Counter(map(_name, items))
    if twins := [name for name, count in names.items() if count > 1]:
        raise MllmError(f"{len(twins)} item name(s) are used twice, first {' / '.join(twins[0])}; rename one")


def _name(item: Item) -> Name:
    return item.benchmark, item.dimension, item.id


def question_key(scorer_id: str, item: Item, hashes: dict[Path, str]) -> str:
    """Return the key of a question, which follows from its content; a missing image counts as an image of its own."""
    for path in item.images:
        if path not in hashes:
            try:
                hashes[path] = sha256_file(path)
            except OSError as error:
                hashes[path] = type(error).__name__
    question = {"task": item.task, "dimension": item.dimension, "text": item.question, "options": list(item.options)}
    images = [hashes[path] for path in item.images]
    again = {"repeat": item.repeat} if item.repeat else {}
    return identity({"kind": "mllm-question", "scorer": scorer_id, **question, "images": images, **again})


def _chunks(waiting: Mapping[str, list[int]], items: Sequence[Item], size: int) -> Iterator[list[str]]:
    """Yield the keys for one call each: of one task, dimension and repetition, whose images fit into memory."""
    groups: dict[tuple[str, str, int], list[str]] = {}
    for key, (first, *_) in waiting.items():
        groups.setdefault((items[first].task, items[first].dimension, items[first].repeat), []).append(key)
    for keys in groups.values():
        chunk, pixels = [], 0
        for key in keys:
            more = sum(map(_pixels, items[waiting[key][0]].images))
            if chunk and (len(chunk) == size or pixels + more > MOST_PIXELS):
                yield chunk
                chunk, pixels = [], 0
            chunk.append(key)
            pixels += more
        yield chunk


def _pixels(path: Path) -> int:
    """Return the number of pixels in a file's header; 0 if it cannot be read, which is reported when it is shown."""
    try:
        return math.prod(upright_size(path))
    except ImageError:
        return 0


def labels_of(scorer: str, scorer_id: str, preset: Preset, item: Item) -> Row:
    """Return the columns that do not depend on the reply."""
    rated = item.task == "rate"
    return {
        "scorer": scorer,
        "scorer_id": scorer_id,
        "benchmark": item.benchmark,
        "dimension": item.dimension,
        "item": item.id,
        "reference": item.cluster,
        "target": item.target,
        "higher_is_better": preset.scale(item.dimension).higher_is_better if rated else item.higher_is_better,
    }


def _ask(scorer: Scorer, items: Sequence[Item]) -> list[Row]:
    """Put items of one task, dimension and repetition; one outcome per item, in order."""
    began = time.perf_counter()
    outcomes: dict[int, Row] = {}
    shown: dict[int, list[Image.Image]] = {}
    for n, item in enumerate(items):
        try:
            shown[n] = [Image.fromarray(read_rgb(path)) for path in item.images]
        except ImageError as error:
            outcomes[n] = _outcome("failed", str(error))
    put = [items[n] for n in shown]
    if put:
        ask = {"rate": _ratings, "answer": _choices, "open": _replies}[put[0].task]
        for n, outcome in zip(shown, ask(scorer, put, list(shown.values())), strict=True):
            outcomes[n] = outcome
    seconds = round((time.perf_counter() - began) / len(items), 6)
    return [outcomes[n] | {"seconds": seconds} for n in range(len(items))]


def _ratings(scorer: Scorer, items: Sequence[Item], images: Sequence[Sequence[Image.Image]]) -> Iterable[Row]:
    if unfit := next((item for item, of in zip(items, images, strict=True) if len(of) != 1), None):
        raise MllmError(f"item '{unfit.id}' shows {len(unfit.images)} images; a rating takes exactly one")
    questions = [item.question for item in items]
    ratings = scorer.rate(
        [image for (image,) in images], dimension=items[0].dimension, questions=questions, seed=items[0].repeat
    )
    return map(partial(_read, name="value"), ratings)


def _choices(scorer: Scorer, items: Sequence[Item], images: Sequence[Sequence[Image.Image]]) -> Iterable[Row]:
    questions, options = [item.question for item in items], [item.options for item in items]
    return map(partial(_read, name="choice"), scorer.answers(images, questions, options, seed=items[0].repeat))


def _replies(scorer: Scorer, items: Sequence[Item], images: Sequence[Sequence[Image.Image]]) -> Iterable[Row]:
    for reply in scorer.reply(images, [item.question for item in items], seed=items[0].repeat):
        if reply.failure:
            yield _outcome("failed", reply.failure)
        elif not reply.text.strip():
            yield _outcome("empty", reply.text)
        else:
            yield _outcome("ok" if reply.finished else "truncated", reply.text)


def _read(found: Rating | Choice, name: str) -> Row:
    distribution = found.distribution and {level: _finite(p) for level, p in found.distribution.items()}
    given = {name: getattr(found, name), "distribution": distribution, "mass": _finite(found.mass)}
    return _outcome(found.status, found.raw) | given | {name: getattr(found, name) for name in UNJUDGED}


def _outcome(status: str, raw: str) -> Row:
    nothing = {"value": None, "choice": None, "distribution": None, "mass": None}
    return {**nothing, "status": status, "raw": raw, **UNJUDGED}


def _finite(number: float | None) -> float | None:
    """Return None for NaN, what a server does not report: JSON has no form for it."""
    return None if number is None or not math.isfinite(number) else float(number)
