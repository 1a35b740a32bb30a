"""A judge of replies: another model reads what the parser could not, and the table says so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from support.command_line import invoke
from support.hostile_server import completion
from support.model_servers import _Handler, _Server
from support.rated_images import COUNT, lines, write_benchmark

from lopsided.mllm import MllmError, ReplyJudge, Scorer, ServerBackend, TransformersBackend, compare_runs, create_preset
from lopsided.mllm.backends import Backend, Reply

# It reads numbers with a decimal point only, and the tiny model writes whole ones.
UNREAD = ("--preset", "numeric", "--option", "parser=cogip")


class Clerk(_Server):
    """A judge behind a server: it finds the number in the reply, but not 0; it can be down."""

    def __init__(self) -> None:
        super().__init__(ClerkHandler)
        self.asked: list[str] = []
        self.down = False


class ClerkHandler(_Handler):
    server: Clerk

    def do_GET(self) -> None:  # noqa: N802
        self.reply(200, b'{"data": [{"id": "lab/clerk"}]}')

    def do_POST(self) -> None:  # noqa: N802
        text = json.loads(self.body())["messages"][-1]["content"]
        text = text if isinstance(text, str) else "".join(part.get("text", "") for part in text)
        said = re.search(r"<reply>\n(\d+)\n</reply>", text)
        if said:
            self.server.asked.append(text)
        if said and self.server.down:
            return self.reply(400, b'{"error": {"message": "no more"}}')
        return self.reply(200, completion(said[1] if said and said[1] != "0" else "UNREADABLE", model="lab/clerk"))


@pytest.fixture(scope="module")
def model(tiny_vlm: ModuleType) -> Path:
    return tiny_vlm.trained()


@pytest.fixture(scope="module")
def benchmark(tiny_vlm: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark"), tiny_vlm)


def test_the_values_of_a_judge_are_named_and_counted(model: Path, benchmark: Path, tmp_path: Path) -> None:
    common = ("jsonl", benchmark, "--model", model)
    plain, judged, robust = (tmp_path / name for name in ("plain", "judged", "robust"))
    assert invoke("rate", *common, *UNREAD, "--to", plain).status == 0
    assert invoke("rate", *common, "--preset", "numeric", "--to", robust).status == 0
    with Clerk() as clerk:
        judge = ("--reply-judge", "lab/clerk", "--judge-server", clerk.url)
        clerk.down = True
        shown = invoke("rate", *common, *UNREAD, *judge, "--to", judged)
        assert shown.status == 1
        assert "clerk, which reads unparsable replies, gave no reply" in shown.err
        clerk.down = False
        shown = invoke("rate", *common, *UNREAD, *judge, "--to", judged)
        assert shown.status == 0, shown.err
        clerk.asked.clear()
        assert "0 asked" in invoke("rate", *common, *UNREAD, *judge, "--to", judged).text
        assert not clerk.asked
    scores = [pd.read_parquet(folder / "mllm_scores.parquet") for folder in (plain, judged, robust)]
    assert set(scores[0]["status"]) == {"unparsable"}
    assert set(scores[0]["parsed_by"]) == {"preset"}
    found = scores[1]
    assert set(found["parsed_by"]) == {"judge"}
    known = found["raw"] != "0"
    assert known.sum() > COUNT / 2
    assert found.loc[known, "value"].tolist() == scores[2].loc[known, "value"].tolist()
    assert (found.loc[known, "judge_reply"] == found.loc[known, "raw"]).all()
    assert found.loc[~known, "status"].eq("unparsable").all()
    read = f"{known.sum()} of {len(found)} unparsable replies read by the judge"
    assert read in " ".join(shown.text.split())
    assert pd.read_csv(judged / "statuses.csv")["n_by_judge"].tolist() == [known.sum()]
    ids = {frame["scorer_id"].iloc[0] for frame in scores}
    assert len(ids) == 3
    assert found["scorer"].iloc[0].endswith("/numeric[parser=cogip]+judge:clerk")
    again = tmp_path / "again"
    shown = invoke("rate", *common, *UNREAD, "--reparse", judged, "--to", again)
    assert shown.status == 0, shown.err
    assert set(pd.read_parquet(again / "mllm_scores.parquet")["status"]) == {"unparsable"}
    assert lines(again / "results.jsonl")[0]["scorer_id"] == scores[0]["scorer_id"].iloc[0]
    table = compare_runs([judged, robust]).table.set_index("scorer")
    assert sorted(table["n_by_judge"]) == [0, known.sum()]
    board = invoke("leaderboard", judged, robust, "--html", tmp_path / "board.html")
    assert f"{known.sum()} by judge" in " ".join(board.text.split())
    assert "read by a judge" in (tmp_path / "board.html").read_text(encoding="utf-8")


def test_a_real_model_as_judge_never_changes_what_was_read(model: Path, tiny_vlm: ModuleType) -> None:
    backend = TransformersBackend(model)
    shown, preset = tiny_vlm.images(6, seed=3), create_preset("numeric", parser="cogip")
    without = Scorer(backend, preset).rate(shown)
    found = [Scorer(backend, preset, ReplyJudge(backend)).rate(shown) for _ in range(2)]
    assert found[0] == found[1]
    for before, after in zip(without, found[0], strict=True):
        assert (after.parsed_by, after.raw) == ("judge", before.raw)
        assert after.status == ("unparsable" if after.value is None else "ok")
    robust = create_preset("numeric")
    assert Scorer(backend, robust, ReplyJudge(backend)).rate(shown) == Scorer(backend, robust).rate(shown)


class Scripted(Backend):
    """Writes what it is told, prompt by prompt."""

    def __init__(self, *replies: Reply) -> None:
        self.replies, self.prompts = replies, []

    @property
    def name(self) -> str:
        return "scripted"

    def definition(self) -> dict[str, str]:
        return {"of": "tests"}

    def check_candidates(self, candidates: object) -> None:
        raise NotImplementedError

    def level_logits(self, prompts: object, candidates: object) -> list:
        raise NotImplementedError

    def generate(self, prompts, **_: object) -> list[Reply]:
        self.prompts += prompts
        return list(self.replies[: len(prompts)])


def test_only_unparsable_replies_go_to_the_judge_and_failures_stay_failures(tiny_vlm: ModuleType) -> None:
    said = ("I cannot assess images, sorry.", "", "between 3 and 4", "a lamp", "a chair", "a table", "a bed")
    judge = Scripted(Reply("UNREADABLE"), Reply("It is 80 or 90."), Reply("72"), Reply("", failure="gone"))
    backend = Scripted(*map(Reply, said))
    found = Scorer(backend, create_preset("numeric"), ReplyJudge(judge)).rate(tiny_vlm.images(7))
    assert [one.status for one in found][:3] == ["refused", "empty", "ambiguous"]
    assert [(one.status, one.value, one.parsed_by) for one in found[3:]] == [
        ("unparsable", None, "judge"),
        ("unparsable", None, "judge"),
        ("ok", 72.0, "judge"),
        ("failed", None, "preset"),
    ]
    assert len(judge.prompts) == 4
    assert all(not prompt.images for prompt in judge.prompts)


def test_a_choice_is_found_and_a_word_for_nothing_is_no_option(tiny_vlm: ModuleType) -> None:
    judge = Scripted(Reply("C"), Reply("UNREADABLE"))
    scorer = Scorer(Scripted(Reply("It glitters."), Reply("Hm.")), create_preset("numeric"), ReplyJudge(judge))
    options = ["None", "Slight", "UNREADABLE"]
    found = scorer.answers(tiny_vlm.images(2), ["How blurred is it?"] * 2, [options] * 2)
    assert [(one.choice, one.status) for one in found] == [("C", "ok"), (None, "unparsable")]
    assert "A. None" in judge.prompts[0].text
    assert "It glitters." in judge.prompts[0].text


def test_a_judge_without_replies_to_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MllmError, match="reads probabilities"):
        Scorer(Scripted(), create_preset("q-align"), ReplyJudge(Scripted()))
    common = ("rate", "--images", tmp_path, "--model", tmp_path, "--to", tmp_path / "out", "--preset")
    for options, said in (
        (("q-align", "--reply-judge", "m"), "there is no reply that a judge could read"),
        (("numeric", "--judge-server", "http://127.0.0.1:1/v1"), "name its model by --reply-judge"),
        (("numeric", "--reply-judge", "m", "--reparse", tmp_path), "--reparse asks no model"),
    ):
        assert said in " ".join(invoke(*common, *options).err.split())


def test_a_server_is_not_asked_for_probabilities() -> None:
    with Clerk() as clerk:
        judge = ReplyJudge(ServerBackend(clerk.url, "lab/clerk", logprobs="none"))
        assert judge.definition()["grammar"]
        assert judge.definition() == judge.definition()
