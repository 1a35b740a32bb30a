"""The page of a leaderboard: which of several scorers agrees best with people, and where each fails."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image

from ...common.errors import ImageError
from ..figures.leaderboard_forest import leaderboard_forest
from ..figures.rating_calibration import rating_calibration
from ..figures.rating_residuals import rating_residuals
from ..figures.status_bars import status_bars
from ..statistics.correlation import srcc
from ..statistics.frames import Row, grouped, records
from ..statistics.rated import status_of
from .blocks import (
    Block,
    Cell,
    Sample,
    Samples,
    Section,
    Table,
    Text,
    number,
    p_value,
    picture,
    table,
    text,
    with_interval,
)
from .downloads import csv, latex
from .render import render

QUESTION = "Which of these scorers agrees best with people, and by how much?"
MISSES = 6  # shown of each scorer
SETS_NAMED = 2  # sets of a benchmark in the title; more are called by the benchmark's name
MISSED = (
    f"Of each scorer at most {MISSES // 3} replies without a value, then the worst misses: ratings whose rank among all"
    " is farthest from the rank of the label, and wrong choices."
)
SIDE = 320  # pixels: the longer side of an embedded image
ALPHA = 0.05
READINGS = (
    "A reply without a value counts as the worst possible opinion, so that refusing what is difficult does not pay;"
    " “valid only” leaves such replies out, as most papers do."
)
CLUSTERS = "Intervals: 95 %, over references: items of one reference are left out, or drawn again, together."


PLACE = "Place: what the tests of the pairs leave open, so 2–3 is a tie of two."


class Board(Protocol):
    """What a leaderboard is shown from: ``lopsided.mllm.Leaderboard``."""

    @property
    def benchmark(self) -> str:
        """Its name."""
        ...

    @property
    def table(self) -> pd.DataFrame:
        """One row per dimension and scorer."""
        ...

    @property
    def tests(self) -> pd.DataFrame:
        """One row per pair of scorers."""
        ...

    @property
    def scores(self) -> pd.DataFrame:
        """One row per scorer and item."""
        ...


def place(row: Row) -> str:
    """Show the places that the tests leave a scorer."""
    if pd.isna(row["rank_low"]):
        return "–"
    low, high = int(row["rank_low"]), int(row["rank_high"])
    return str(low) if low == high else f"{low}–{high}"


SHARED: dict[str, Cell] = {"scorer": text("scorer"), "place": place}
COSTS: dict[str, Cell] = {
    "valid replies": lambda row: f"{row['n_valid']} of {row['n']}",
    "read by a judge": lambda row: str(row["n_by_judge"]) if row["n_by_judge"] else "–",
    "items per s": number("items_per_second", 1),
    "tokens per item": number("tokens_per_item", 0),
    "cost": number("cost", 4),
    "trained on it": lambda row: "–" if row["trained_on_it"] == "unknown" else row["trained_on_it"],
}
OF: Mapping[str, dict[str, Cell]] = {
    "srcc": {
        "SRCC": with_interval("srcc", 3),
        "PLCC": with_interval("plcc", 3),
        "SRCC, valid only": with_interval("srcc_valid", 3),
        "PLCC, valid only": with_interval("plcc_valid", 3),
    },
    "accuracy": {
        "accuracy": with_interval("accuracy", 3),
        "accuracy, valid only": with_interval("accuracy_valid", 3),
        "chance": number("chance", 3),
    },
}


def board_tables(board: Board) -> list[Table]:
    """Return one table per benchmark, dimension and kind of task."""
    tables = []
    for (benchmark, dimension, of), rows in grouped(board.table, "benchmark", "dimension", "of"):
        same = bool((rows["n_valid"] == rows["n"]).all())  # then both readings are one
        agreement = {name: cell for name, cell in OF[str(of)].items() if not (same and name.endswith("valid only"))}
        note = f"{'' if same else READINGS} {CLUSTERS} {PLACE}".strip()
        columns = {**SHARED, **agreement, **COSTS}
        tables.append(table(rows, f"{benchmark}: {dimension}", columns, note=note, optional=COSTS))
    return tables


def board_csv(board: Board) -> str:
    """Return the numbers of a leaderboard, one row per dimension and scorer."""
    return csv(board.table)


def board_latex(board: Board) -> str:
    """Return the tables of a leaderboard for papers; they need the package booktabs."""
    return "\n".join(latex(shown.title, shown.header, shown.rows) for shown in board_tables(board))


def findings(board: Board) -> list[list[str]]:
    """Say per dimension which scorer is ahead, and whether that is more than noise."""
    said = []
    for (benchmark, dimension, of), rows in grouped(board.table, "benchmark", "dimension", "of"):
        ranked = records(rows.loc[rows[str(of)].notna()])
        if not ranked:
            said.append([f"{benchmark}, {dimension}. Undecided: no scorer has a value."])
            continue
        best, name = ranked[0], "SRCC" if of == "srcc" else "accuracy"
        here = board.tests.loc[(board.tests["benchmark"] == benchmark) & (board.tests["dimension"] == dimension)]
        here = here.loc[(here["of"] == of) & (here["scorer_a"] == best["scorer"])]
        ties = here.loc[~(here["p_holm"] < ALPHA), "scorer_b"].tolist()
        if len(ranked) == 1:
            verdict = f"Undecided: only {best['scorer']} has a value, {name} {best[str(of)]:.3f}."
        elif not ties:
            verdict = f"Established: {best['scorer']} is best, with {name} {best[str(of)]:.3f}."
        else:
            leaders = ", ".join([best["scorer"], *ties[:-1]])
            verdict = (
                f"Undecided: the tests do not tell {leaders} and {ties[-1]} apart; {name} up to {best[str(of)]:.3f}."
            )
        said.append(
            [
                f"{benchmark}, {dimension}. {verdict}",
                f"{len(ranked)} scorers on {best['n']} items of {best['n_references']} references; paired tests on the"
                f" same items, corrected (Holm).",
            ]
        )
    return said


def write_leaderboard(
    board: Board,
    path: str | Path,
    shown: Mapping[str, pd.DataFrame],
    *,
    model: str = "",
    link: bool = False,
) -> None:
    """Write the page of a leaderboard as one HTML file; opening it needs no network.

    Args:
        board: What to show.
        path: The file; replaced if it exists.
        shown: Folder of ratings → its table of items, with ``images`` seen from the folder, and ``question``.
        model: The model that all scorers share, if they do.
        link: Link images where they are instead of embedding small copies.
    """
    path = Path(path)
    tests: dict[str, Cell] = {
        "benchmark": text("benchmark"),
        "dimension": text("dimension"),
        "ahead": text("scorer_a"),
        "behind": text("scorer_b"),
        "difference": with_interval("difference", 3),
        "p": p_value("p"),
        "p, Holm": p_value("p_holm"),
    }
    note = (
        "Difference in SRCC (or accuracy) on the same items, failed replies counted as worst; t tests over the"
        " jackknife of references, corrected (Holm) over the pairs of a dimension. From 0.05 on, two scorers are not"
        " separated."
    )
    sets = sorted(set(board.table["benchmark"]))
    if len(sets) == board.table["dimension"].nunique() == 1:
        del tests["benchmark"], tests["dimension"]
    order = {scorer: n for n, scorer in enumerate(board.table["scorer"].unique())}
    scores = board.scores.sort_values("scorer", key=lambda column: column.map(order), kind="stable")
    rated = scores.loc[(scores["task"] == "rate") & scores["target"].notna()]
    sections = [
        Section("board", "Leaderboard", [*_forest(board), *board_tables(board)]),
        Section("tests", "Differences", [table(board.tests, "Every two scorers", tests, note=note)]),
        Section("calibration", "Ratings against people", [*_calibration(rated), *_by_distortion(rated)]),
        Section("statuses", "Replies without a value", _statuses(scores)),
        Section("misses", "Worst misses", _misses(scores, path, shown, link)),
    ]
    render(
        path,
        sections,
        findings(board),
        title=f"Leaderboard of {' and '.join(sets) if len(sets) <= SETS_NAMED else board.benchmark}",
        description=f"All scorers are presets of one model: {model}." if model else "",
        question=QUESTION,
        code=Markup("<p>The same again: <code>lopsided leaderboard RUN RUN …</code> with the folders of ratings.</p>"),
        cites=False,
    )


def _forest(board: Board) -> list[Block]:
    alt = "Agreement of each scorer with people, with intervals"
    readings = READINGS if bool((board.table["n_valid"] < board.table["n"]).any()) else ""
    return [picture(leaderboard_forest(board.table), alt, f"Agreement with people. {readings} {CLUSTERS}")]


def _calibration(rated: pd.DataFrame) -> list[Block]:
    blocks: list[Block] = []
    for (benchmark, dimension), rows in grouped(rated, "benchmark", "dimension") if len(rated) else ():
        scores = rows.assign(target=pd.to_numeric(rows["target"]))
        caption = (
            f"{benchmark}, {dimension}: what people gave against each scorer's rating. The line joins the means of"
            " about equally many images; where it is flat, the ratings say nothing."
        )
        blocks.append(picture(rating_calibration(scores), f"Ratings of {dimension} against people's", caption))
        left = (
            f"{benchmark}, {dimension}: what people gave, minus the straight line through each scorer's ratings. Means"
            " that bend away from 0 show a scale unlike people's; points far above 0 are underrated images."
        )
        blocks.append(picture(rating_residuals(scores), f"Residuals of {dimension}", left))
    return blocks


def _by_distortion(rated: pd.DataFrame) -> list[Block]:
    """Return SRCC within each kind of distortion, where the items say which one they have."""
    if "distortion" not in rated:
        return []
    blocks: list[Block] = []
    known = rated.loc[rated["distortion"].notna() & (rated["distortion"] != "")]
    for (benchmark, dimension), rows in grouped(known, "benchmark", "dimension") if len(known) else ():
        found = [
            {"scorer": scorer, "distortion": distortion, "srcc": _srcc(of)}
            for (scorer, distortion), of in grouped(rows.loc[rows["status"] == "ok"], "scorer", "distortion")
        ]
        wide = pd.DataFrame(found).pivot(index="scorer", columns="distortion", values="srcc")
        wide = wide.reindex(rows["scorer"].unique()).reset_index()
        columns = {"scorer": text("scorer"), **{str(name): number(str(name), 3) for name in wide.columns[1:]}}
        note = "SRCC with people within each kind of distortion, of valid replies; no interval, and no test."
        blocks.append(table(wide, f"{benchmark}: {dimension}, by distortion", columns, note=note))
    return blocks


def _srcc(rows: pd.DataFrame) -> float:
    value, target = (np.asarray(rows[name], dtype=np.float64) for name in ("value", "target"))
    if status_of(value, target, 0) != "ok":
        return float("nan")
    higher = bool(rows["higher_is_better"].iloc[0]), bool(rows["target_higher_is_better"].iloc[0])
    return srcc(value, target, score_higher_is_better=higher[0], label_higher_is_better=higher[1])


def _statuses(scores: pd.DataFrame) -> list[Block]:
    if (scores["status"] == "ok").all():
        return [Text("Every reply has a value.")]
    counts = pd.crosstab(scores["scorer"], scores["status"]).reset_index()
    columns = {str(name): text(str(name)) for name in counts.columns}
    caption = "Replies by status. Those without a value are no opinion that was read, and never a guess."
    drawn = picture(status_bars(scores), "Share of replies of each status", caption)
    return [drawn, table(counts, "Replies by status", columns)]


def _misses(scores: pd.DataFrame, path: Path, shown: Mapping[str, pd.DataFrame], link: bool) -> list[Block]:
    """Return the worst misses of each scorer, with what was shown, asked, written and read."""
    blocks: list[Block] = []
    known = scores.loc[scores["target"].notna() & scores["task"].isin(["rate", "answer"])]
    items = {folder: table_.set_index(["benchmark", "dimension", "item"]) for folder, table_ in shown.items()}
    sets = [name for name in ("benchmark", "dimension", "task") if known[name].nunique() > 1]
    for scorer in known["scorer"].unique():
        for key, rows in grouped(known.loc[known["scorer"] == scorer], "benchmark", "dimension", "task"):
            worst = rows.assign(miss=_miss(key[2], rows)).sort_values("miss", ascending=False, kind="stable")
            failed = worst.loc[worst["status"] != "ok"].head(MISSES // 3)
            worst = pd.concat([failed, worst.loc[(worst["status"] == "ok") & (worst["miss"] > 0)]]).head(MISSES)
            samples = [_sample(row, path, items.get(str(row["folder"])), link) for row in records(worst)]
            if samples:
                blocks.append(Samples(", ".join([str(scorer), *(str(rows[name].iloc[0]) for name in sets)]), samples))
    return [Text(MISSED), *blocks] if blocks else []


def _miss(task: str, rows: pd.DataFrame) -> pd.Series:
    """Return how far each reply is from people, from 0 to 1; NaN for a rating without a value."""
    if task == "answer":
        return (rows["choice"] != rows["target"]).astype(float)
    target, value = (rows[name].astype(float) for name in ("target", "value"))
    same = bool(rows["higher_is_better"].iloc[0]) == bool(rows["target_higher_is_better"].iloc[0])
    far = target.rank(pct=True) - (value if same else -value).rank(pct=True)
    return far.abs()


def _sample(row: Row, path: Path, items: pd.DataFrame | None, link: bool) -> Sample:
    """Return one item as it is shown."""
    key = (row["benchmark"], row["dimension"], row["item"])
    item = items.loc[key] if items is not None and key in items.index else None
    urls = [] if item is None else [_url(Path(row["folder"]) / name, path, link) for name in item["images"]]
    answer = row["choice"] if row["task"] == "answer" else row["value"]
    read = row["status"] if row["status"] != "ok" else f"{answer:.4g}" if row["task"] == "rate" else str(answer)
    read += " (by a judge of replies)" if row.get("parsed_by") == "judge" and row["status"] == "ok" else ""
    label = f"{float(row['target']):.4g}" if row["task"] == "rate" else str(row["target"])
    question = "" if item is None else str(item["question"])
    options = [] if item is None else [f"{chr(65 + n)}. {option}" for n, option in enumerate(item["options"])]
    asked = "\n".join([question, *options]) if options else question
    return Sample(
        str(row["item"]),
        [url for url in urls if url],
        [("asked", asked), ("reply", row["raw"] or "(level probabilities)"), ("read as", read), ("people", label)],
    )


def _url(image: Path, page: Path, link: bool) -> str:
    """Return the address of an image: its place seen from the page, or a small copy; "" if it cannot be read."""
    if link:
        return quote(os.path.relpath(image, page.parent))
    from ...common.images import read_rgb  # needs torch

    try:
        small = Image.fromarray(read_rgb(image))
    except (ImageError, OSError):
        return ""
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "jpeg", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
