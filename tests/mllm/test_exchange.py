"""Benchmarks in the formats of VLMEvalKit and lmms-eval, and what comes back from them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import yaml
from support.command_line import invoke
from support.rated_images import COUNT, write_benchmark

from lopsided.mllm import Item, MllmError, Scorer, TransformersBackend, create_preset, open_benchmark, scores_table
from lopsided.mllm.backends import Prompt
from lopsided.mllm.exchange import lmms_eval, read_vlmevalkit, write_lmms_tasks, write_vlmevalkit
from lopsided.mllm.metrics import rating_metrics
from lopsided.mllm.rating import rate

REPLIES = ["Score: 40", "I cannot rate this.", "", "Failed to obtain answer via API.", "7 or 8"]


@pytest.fixture(scope="module")
def path(tiny_vlm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark"), tiny_vlm)


def predictions(tsv: Path, file: Path, **changes: Any) -> Path:
    """Write what VLMEvalKit writes: its TSV without the images, in another order, with a column of replies."""
    table = pd.read_csv(tsv, sep="\t").drop(columns="image")
    table["prediction"] = [REPLIES[n] if n < len(REPLIES) else str(10 * n) for n in range(len(table))]
    table = table.assign(**changes).iloc[::-1]
    if file.suffix == ".xlsx":
        table.to_excel(file, index=False)
    else:
        table.to_csv(file, sep="\t", index=False)
    return file


@pytest.mark.parametrize("suffix", [".xlsx", ".tsv"])
def test_a_benchmark_goes_to_vlmevalkit_and_its_replies_come_back(path: Path, tmp_path: Path, suffix: str) -> None:
    benchmark, preset = open_benchmark("jsonl", path), create_preset("numeric")
    items = benchmark.items
    write_vlmevalkit(items, preset, tmp_path / "Own.tsv")
    written = pd.read_csv(tmp_path / "Own.tsv", sep="\t")
    assert [base64.b64decode(image) for image in written["image"]] == [item.images[0].read_bytes() for item in items]
    assert set(written["question"]) == {preset.question("quality").text}
    file = predictions(tmp_path / "Own.tsv", tmp_path / f"m_Own{suffix}")
    rated = read_vlmevalkit(file, benchmark, items, preset, "m", tmp_path / "out")
    scores = rated.scores.set_index("item")
    assert scores["status"].tolist()[:5] == ["ok", "refused", "empty", "failed", "ambiguous"]
    assert scores["value"].tolist()[5:] == [10.0 * n for n in range(5, COUNT + 1)]
    assert scores["scorer"].iloc[0] == "m/numeric"
    assert "ratings" in rated.metrics
    assert json.loads((tmp_path / "out" / "meta.json").read_text())["imported_from"]["file"] == file.name
    with pytest.raises(MllmError, match="holds results already"):
        read_vlmevalkit(file, benchmark, items, preset, "m", tmp_path / "out")


def test_result_files_that_do_not_fit_are_refused(path: Path, tmp_path: Path) -> None:
    benchmark, preset = open_benchmark("jsonl", path), create_preset("numeric")
    write_vlmevalkit(benchmark.items, preset, tmp_path / "Own.tsv")
    index = list(range(COUNT + 1))
    for changes, said in (
        ({"index": [0, *index[:-1]]}, "two rows of index 0"),
        ({"index": [*index[:-1], 99]}, "1 rows of no item, first index 99"),
        ({"item": "another"}, "item is another, not "),
    ):
        file = predictions(tmp_path / "Own.tsv", tmp_path / "m.tsv", **changes)
        with pytest.raises(MllmError, match=said):
            read_vlmevalkit(file, benchmark, benchmark.items, preset, "m", tmp_path / "out")
    pd.read_csv(file, sep="\t").assign(item="x").iloc[1:].to_csv(file, sep="\t", index=False)
    with pytest.raises(MllmError, match=f"lacks 1 of {COUNT + 1} items"):
        read_vlmevalkit(file, benchmark, benchmark.items, preset, "m", tmp_path / "out")
    pd.DataFrame({"index": [0]}).to_csv(file, sep="\t", index=False)
    with pytest.raises(MllmError, match="no column prediction"):
        read_vlmevalkit(file, benchmark, benchmark.items, preset, "m", tmp_path / "out")
    for wrong in ("q-align", "unipercept"):
        with pytest.raises(MllmError, match="other toolkits"):
            write_vlmevalkit(benchmark.items, create_preset(wrong), tmp_path / "x.tsv")


def test_the_commands_write_and_read_as_the_functions_do(path: Path, tmp_path: Path) -> None:
    of = ("jsonl", path, "--limit", 6)
    shown = invoke("exchange", "to-vlmevalkit", *of, "--to", tmp_path / "Own.tsv")
    assert (shown.status, "run.py --data Own" in shown.text) == (0, True)
    file = predictions(tmp_path / "Own.tsv", tmp_path / "m_Own.xlsx")
    back = ("exchange", "from-vlmevalkit", *of, "--from", file, "--model", "m")
    shown = invoke(*back, "--to", tmp_path / "m")
    assert (shown.status, "6 items: 2 ok" in shown.text) == (1, True)  # one request of theirs had failed
    assert pd.read_csv(tmp_path / "m" / "mllm_scores.csv")["value"].dropna().tolist() == [40, 50]
    assert invoke(*back, "--to", tmp_path / "m").err.startswith("error: ")
    shown = invoke("exchange", "to-lmms-eval", *of, "--to", tmp_path / "tasks", "--option", "max_tokens=8")
    (task,) = (tmp_path / "tasks").glob("*.yaml")
    assert f"--tasks {task.stem} " in shown.text
    assert load(task)["generation_kwargs"]["max_new_tokens"] == 8
    shown = invoke("exchange", "to-lmms-eval", *of, "--to", tmp_path / "levels", "--preset", "q-align")
    assert (shown.status, "other toolkits" in shown.text) == (1, True)


def test_tasks_of_lmms_eval_name_functions_that_read_and_measure_as_ours_do(path: Path, tmp_path: Path) -> None:
    items = open_benchmark("jsonl", path).items
    shown = {"benchmark": "own", "dimension": "IQA", "task": "answer", "images": items[0].images}
    choices = [Item(**shown, id=str(n), question="How?", options=("a", "b"), target="A") for n in range(2)]
    names = write_lmms_tasks([*items, *choices], "numeric", tmp_path, options={"max_tokens": 8})
    assert len(names) == 2
    functions = lmms_eval
    for name in names:
        task = load(tmp_path / f"{name}.yaml")
        assert task["generation_kwargs"]["max_new_tokens"] == 8
        docs = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        assert str(tmp_path / f"{name}.jsonl") == task["dataset_kwargs"]["data_files"]["test"]
        for metric in task["metric_list"]:
            assert callable(getattr(functions, metric["aggregation"].removeprefix("lopsided.mllm.exchange.lmms_eval.")))
        answered = name.endswith("answer")
        replies = ["A", "the sky"] if answered else [REPLIES[n % 3] if n < 3 else str(n) for n in range(len(docs))]
        found = [functions.process_results(doc, [reply]) for doc, reply in zip(docs, replies, strict=True)]
        assert all(set(row) == {metric["metric"] for metric in task["metric_list"]} for row in found)
        assert len(functions.doc_to_visual(docs[0])) == 1
        if answered:
            assert (
                functions.accuracy([row["accuracy"] for row in found])
                == functions.valid([row["valid"] for row in found])
                == 0.5
            )
            assert "B. b" in functions.doc_to_text(docs[0])
        else:
            assert functions.valid([row["valid"] for row in found]) == pytest.approx((COUNT - 1) / (COUNT + 1))
            assert -1 <= functions.srcc([row["srcc"] for row in found]) <= 1
    with pytest.raises(MllmError, match="other toolkits"):
        write_lmms_tasks(items, "q-align", tmp_path / "levels")


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!function", lambda _loader, node: node.value)


def load(file: Path) -> dict[str, Any]:
    return yaml.load(file.read_text(), Loader=_Loader)


def test_a_run_of_lmms_eval_and_ours_agree_item_by_item(path: Path, tiny_vlm: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("lmms_eval", reason="needs the extra [lmms-eval]")
    from lmms_eval.api.model import lmms  # pyright: ignore[reportMissingImports]
    from lmms_eval.evaluator import simple_evaluate  # pyright: ignore[reportMissingImports]
    from lmms_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    backend = TransformersBackend(tiny_vlm.trained())

    class Tiny(lmms):
        """The tiny model, asked by lmms-eval."""

        def generate_until(self, requests: list[Any]) -> list[str]:
            replies = []
            for request in requests:
                text, asked, visual, index, task, split = request.args
                prompt = Prompt(tuple(visual(self.task_dict[task][split][index])), text)
                replies.append(backend.generate([prompt], max_tokens=asked["max_new_tokens"])[0].text)
            return replies

        def loglikelihood(self, requests: list[Any]) -> list[Any]:
            raise NotImplementedError

        def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
            raise NotImplementedError

    items = open_benchmark("jsonl", path).items
    preset = create_preset("numeric", max_tokens=4)
    (name,) = write_lmms_tasks(items, "numeric", tmp_path / "tasks", options={"max_tokens": 4})
    manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    theirs = simple_evaluate(Tiny(), tasks=[name], task_manager=manager, bootstrap_iters=0, batch_size=1)
    ours = scores_table(items, rate(Scorer(backend, preset), items, tmp_path / "r.jsonl").rows)
    metrics = rating_metrics(ours)
    worst = metrics.loc[metrics["reading"] == lmms_eval.AS_WORST].iloc[0]
    samples = {sample["srcc"]["doc"]["id"]: sample["srcc"] for sample in theirs["samples"][name]}
    assert len(samples) == len(items)
    for row in ours.to_dict("records"):
        assert samples[row["item"]]["raw"] == row["raw"]
        assert samples[row["item"]]["value"] == row["value"]
    assert theirs["results"][name]["srcc,none"] == pytest.approx(worst["srcc"])
    assert theirs["results"][name]["valid,none"] == pytest.approx((ours["status"] == "ok").mean())
