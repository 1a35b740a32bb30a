"""``lopsided status``: counts by stage and state, and reasons."""

import json

from support.command_line import invoke
from support.smoke import PART, SMOKE, cell_of

PARTS = [word for part in PART for word in ("--set", part)]


def counts(shown):
    """The table by stage: state and count."""
    head, *lines = [line.split() for line in shown.out.splitlines()]
    return {line[0]: dict(zip(head[1:], line[1:], strict=False)) for line in lines}


def test_a_finished_experiment_is_done_and_nothing_else(base):
    store, _ = base
    shown = invoke("status", SMOKE, "--store", store)
    assert (shown.status, shown.err) == (0, "")
    assert set(counts(shown)["finetune"]) == {"done", "time"}
    assert [counts(shown)[stage]["done"] for stage in ("pretrain", "finetune", "judge")] == ["1", "7", "24"]


def test_an_experiment_that_has_not_begun_is_pending(tmp_path):
    shown = invoke("status", SMOKE, "--store", tmp_path / "none")
    assert counts(shown)["finetune"] == {"done": "·", "pending": "7", "time": "0"}
    assert not (tmp_path / "none").exists()


def test_what_failed_or_diverged_is_listed_with_its_reason(tmp_path):
    found = {}
    for fidelity, state, reason in (("none", "failed", "no disk"), ("ssim", "diverged", "NaN at step 3")):
        found[state] = cell_of(PART, fidelity=fidelity, discriminator="none").id
        folder = tmp_path / "cells" / "finetune" / found[state]
        folder.mkdir(parents=True)
        (folder / "status.json").write_text(json.dumps({"state": state, "reason": reason}))
    shown = invoke("status", SMOKE, "--store", tmp_path, *PARTS)
    assert {key: counts(shown)["finetune"][key] for key in ("failed", "diverged")} == {"failed": "1", "diverged": "1"}
    lines = shown.out.splitlines()
    assert f"failed: finetune swinir-tiny none none seed 0 [{found['failed']}]: no disk" in lines
    assert f"diverged: finetune swinir-tiny ssim none seed 0 [{found['diverged']}]: NaN at step 3" in lines
    narrow = invoke("status", SMOKE, "--store", tmp_path, *PARTS, COLUMNS=60)
    assert counts(narrow)["finetune"] == counts(shown)["finetune"]


def test_a_finished_experiment_is_watched_once(base):
    store, _ = base
    shown = invoke("status", SMOKE, "--store", store, "--watch")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out == "43/43 done\n"


def test_failures_are_shown_with_what_is_kept_and_set_back(tmp_path):
    cell = cell_of(PART, fidelity="none", discriminator="none").id
    folder = tmp_path / "cells" / "finetune" / cell
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(json.dumps({"state": "failed", "reason": "no disk"}))
    kept = {"reason": "no disk", "traceback": ["Traceback: here"], "last_lines": ["step 3"], "python": "3.11"}
    (folder / "failure.json").write_text(json.dumps(kept))
    shown = invoke("status", SMOKE, "--store", tmp_path, *PARTS, "--failures")
    assert shown.out.splitlines()[-3:] == ["    Traceback: here", "    step 3", '    {"python":"3.11"}']
    title = f"finetune swinir-tiny none none seed 0 [{cell}]"
    back = invoke("retry", SMOKE, "--store", tmp_path, *PARTS)
    assert back.out == f"set back: {title}\n1 failed cells are to be computed again\n"
    assert counts(invoke("status", SMOKE, "--store", tmp_path, *PARTS))["finetune"]["pending"] == "3"
