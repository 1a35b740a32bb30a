"""Rating with a real model: nothing is asked twice, and nothing is lost."""

from __future__ import annotations

import fcntl
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.rated_images import COUNT, Flaky, lines, q_align, write_benchmark

from lopsided.mllm import (
    Backend,
    Item,
    MllmError,
    Run,
    Scorer,
    TransformersBackend,
    create_preset,
    open_benchmark,
    rate,
    scores_table,
    storable,
)
from lopsided.mllm.results import COLUMNS


@pytest.fixture(scope="module")
def model(tiny_vlm: ModuleType) -> Path:
    return tiny_vlm.trained()


@pytest.fixture(scope="module")
def backend(model: Path) -> Backend:
    return TransformersBackend(model, batch_size=4)


@pytest.fixture(scope="module")
def benchmark(tiny_vlm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark"), tiny_vlm)


@pytest.fixture
def items(benchmark: Path) -> list[Item]:
    return list(open_benchmark("jsonl", benchmark).items)


def values(run: Run) -> list[float]:
    return [row["value"] for row in run.rows]


def test_every_item_has_one_line_and_equal_ones_are_asked_once(
    backend: Backend, items: list[Item], tmp_path: Path
) -> None:
    meter = Flaky(backend)
    run = rate(q_align(meter), items, tmp_path / "r.jsonl")
    assert (run.asked, run.known, run.shared, len(run.rows)) == (COUNT, 0, 1, COUNT + 1)
    assert meter.prompts == COUNT
    assert [row["item"] for row in run.rows] == [item.id for item in items]
    found = lines(tmp_path / "r.jsonl")
    assert sorted(row["item"] for row in found) == sorted(item.id for item in items)
    assert all(sorted(row) == sorted([*COLUMNS, "sha256"]) for row in found)
    first, twin = run.rows[0], run.rows[-1]
    assert (twin["key"], twin["value"], twin["seconds"]) == (first["key"], first["value"], 0.0)
    assert {**run.statuses} == {"ok": COUNT + 1}


def test_paths_may_be_text(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    images: Any = [str(path) for path in items[0].images]
    same = replace(items[0], images=images)
    assert same == items[0]
    assert rate(q_align(backend), [same], str(tmp_path / "r.jsonl")).statuses == {"ok": 1}


def test_a_second_run_asks_nothing_and_leaves_the_file_alone(
    backend: Backend, items: list[Item], tmp_path: Path
) -> None:
    first = rate(q_align(backend), items, tmp_path / "r.jsonl")
    before = (tmp_path / "r.jsonl").read_bytes()
    meter = Flaky(backend)
    again = rate(q_align(meter), items, tmp_path / "r.jsonl")
    assert (meter.prompts, again.asked, again.known) == (0, 0, COUNT + 1)
    assert again.rows == first.rows
    assert (tmp_path / "r.jsonl").read_bytes() == before


@pytest.mark.parametrize("cut", [1, 40, 10_000])
def test_a_torn_last_line_is_asked_again(backend: Backend, items: list[Item], tmp_path: Path, cut: int) -> None:
    whole = rate(q_align(backend), items[:3], tmp_path / "r.jsonl")
    data = (tmp_path / "r.jsonl").read_bytes()
    (tmp_path / "r.jsonl").write_bytes(data[: max(len(data) - cut, 20)])
    again = rate(q_align(backend), items[:3], tmp_path / "r.jsonl")
    assert again.asked == (1 if cut < 100 else 3)
    assert values(again) == pytest.approx(values(whole), abs=1e-5)
    assert len(lines(tmp_path / "r.jsonl")) == 3


def test_a_stopped_run_goes_on(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    whole = rate(q_align(backend), items, tmp_path / "whole.jsonl")
    steps = iter([False, True])
    part = rate(q_align(backend), items, tmp_path / "r.jsonl", chunk=4, stop=lambda: next(steps))
    assert part.stopped
    assert part.asked == 4
    rest = rate(q_align(backend), items, tmp_path / "r.jsonl", chunk=4)
    assert (rest.asked, rest.known, rest.stopped) == (COUNT - 4, 5, False)
    assert values(rest) == pytest.approx(values(whole), abs=1e-5)


def test_large_images_are_held_one_by_one(
    backend: Backend, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    rate(q_align(backend), items, tmp_path / "a.jsonl", progress=lambda done, total, name: steps.append(done))
    monkeypatch.setattr("lopsided.mllm.rating.MOST_PIXELS", 1)
    rate(q_align(backend), items, tmp_path / "b.jsonl", progress=lambda done, total, name: steps.append(done))
    assert steps == [COUNT + 1, *range(2, COUNT + 2)]  # the first two are equal


def test_what_failed_is_asked_again_and_only_that(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    first = rate(q_align(Flaky(backend, drops=[0, 4])), items, tmp_path / "r.jsonl")
    assert [row["item"] for row in first.failed] == ["image0", "image4", "twin"]
    assert first.failed[0]["raw"] == "the line dropped"
    assert first.statuses == {"ok": COUNT - 2, "failed": 3}
    again = rate(q_align(meter := Flaky(backend, drops=[1])), items, tmp_path / "r.jsonl")
    assert (meter.prompts, again.asked, again.shared, again.known) == (2, 2, 1, COUNT - 2)
    assert [row["item"] for row in again.failed] == ["image4"]
    last = rate(q_align(backend), items, tmp_path / "r.jsonl")
    assert [row["attempt"] for row in last.rows] == [2, 1, 1, 1, 3, *[1] * 5, 2]
    assert last.statuses == {"ok": COUNT + 1}
    whole = rate(q_align(backend), items, tmp_path / "whole.jsonl")
    assert values(last) == pytest.approx(values(whole), abs=1e-5)


def test_a_kill_between_the_lines_of_equal_items_leaves_no_stale_failure(
    backend: Backend, items: list[Item], tmp_path: Path
) -> None:
    path, equal = tmp_path / "r.jsonl", [items[0], items[-1]]
    rate(q_align(Flaky(backend, drops=[0])), equal, path)
    rate(q_align(backend), equal, path)
    kept = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert [json.loads(line)["status"] for line in kept] == ["failed", "failed", "ok", "ok"]
    path.write_text("".join(kept[:-1]), encoding="utf-8")
    again = rate(q_align(backend), equal, path)
    assert (again.asked, again.known, again.statuses) == (0, 2, {"ok": 2})
    assert lines(path)[-1]["item"] == "twin"


def test_a_chunk_without_any_reply_ends_the_run_and_fresh_items_come_before_failed_ones(
    backend: Backend, items: list[Item], tmp_path: Path
) -> None:
    with pytest.raises(MllmError, match=r"none of 4 items got a reply, the last because: the line dropped; 6 more"):
        rate(q_align(Flaky(backend, drops=range(4))), items, tmp_path / "r.jsonl", chunk=4)
    with pytest.raises(MllmError, match="none of 3 items"):
        rate(q_align(Flaky(backend, drops=range(6, 9))), items, tmp_path / "r.jsonl", chunk=3)
    held = [row["item"] for row in lines(tmp_path / "r.jsonl") if row["status"] == "ok"]
    assert held == [f"image{n}" for n in range(4, 10)]


def test_an_image_that_cannot_be_read_fails_until_it_can(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(items[1].images[0].read_bytes()[:200])
    shown = [items[0], Item(benchmark="own", dimension="quality", id="broken", task="rate", images=(broken,))]
    first = rate(q_align(backend), shown, tmp_path / "r.jsonl")
    assert first.statuses == {"ok": 1, "failed": 1}
    assert "broken.png" in first.failed[0]["raw"]
    broken.write_bytes(items[1].images[0].read_bytes())
    again = rate(q_align(backend), shown, tmp_path / "r.jsonl")
    assert (again.asked, again.known, again.statuses) == (1, 1, {"ok": 2})


def test_a_new_target_or_name_needs_no_new_question(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    rate(q_align(backend), items[:2], tmp_path / "r.jsonl")
    other = Item(benchmark="own", dimension="quality", id="image0", task="rate", images=items[0].images, target=3.5)
    run = rate(q_align(backend), [other, items[1]], tmp_path / "r.jsonl")
    assert (run.asked, run.rows[0]["target"]) == (0, 3.5)
    asked = Item(benchmark="own", dimension="quality", id="image0", task="rate", images=items[0].images, question="?")
    assert rate(q_align(backend), [asked], tmp_path / "r.jsonl").asked == 1


def test_results_of_another_scorer_are_not_mixed_in(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    rate(q_align(backend), items[:1], tmp_path / "r.jsonl")
    before = (tmp_path / "r.jsonl").read_bytes()
    with pytest.raises(MllmError, match=r"holds results of .*q-align .* and this scorer is .*; give another folder"):
        rate(Scorer(backend, create_preset("q-bench")), items[:1], tmp_path / "r.jsonl")
    with pytest.raises(MllmError, match="another model than before"):
        rate(q_align(backend), items[:1], tmp_path / "s.jsonl", remembered="0123456789ab")
    assert (tmp_path / "r.jsonl").read_bytes() == before


def test_damage_and_other_writers_are_refused(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    rate(q_align(backend), items[:2], path)
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MllmError, match="being written by another run"):
            rate(q_align(backend), items[:2], path)
    first, second = path.read_text(encoding="utf-8").splitlines()
    path.write_text(f"{first[:50]}\n{second}\n", encoding="utf-8")
    with pytest.raises(MllmError, match=r"line 1 of '.*' is damaged \(it has no checksum\); remove it"):
        rate(q_align(backend), items[:2], path)
    value = json.loads(second)["value"]
    for old, new in ((f'"value":{value}', '"value":5.0'), (json.loads(second)["sha256"], "0123456789ab")):
        edited = second.replace(old, new)
        assert edited != second
        path.write_text(f"{first}\n{edited}\n", encoding="utf-8")
        with pytest.raises(MllmError, match=r"line 2 of '.*' is damaged \(its checksum is not .*\); remove it"):
            rate(q_align(backend), items[:2], path)
    path.write_text(f"{first}\n", encoding="utf-8")  # as it says
    assert rate(q_align(backend), items[:2], path).asked == 1
    with pytest.raises(MllmError, match="used twice, first own / quality / image0"):
        rate(q_align(backend), [items[0], items[0]], tmp_path / "s.jsonl")


def test_tasks_share_a_file_and_a_table(backend: Backend, items: list[Item], tmp_path: Path) -> None:
    common: dict[str, Any] = {"benchmark": "own", "dimension": "IQA", "images": items[0].images}
    asked = [
        Item(**common, id="letters", task="answer", question="How bright?", options=("dark", "bright"), target="B"),
        Item(**common, id="words", task="open", question="What is it?", target="grey"),
    ]
    run = rate(Scorer(backend, create_preset("letters", max_tokens=3)), asked, tmp_path / "r.jsonl")
    table = storable(scores_table(asked, run.rows))
    assert table["target"].tolist() == ["B", "grey"]
    assert table["n_options"].tolist() == [2, 0]
    assert set(table["choice"].dropna()) <= {"A", "B"}
    table.to_parquet(tmp_path / "t.parquet")
