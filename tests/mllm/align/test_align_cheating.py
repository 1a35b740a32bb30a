"""The cheating probe: each way of cheating sounds its alarm, chance does not, and the page shows it."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.browser import OVER_THE_EDGE, opened
from support.command_line import invoke

from lopsided.common.images import write_png
from lopsided.mllm import MllmError
from lopsided.mllm.align import probe, read_checkpoints, shows_prompt
from lopsided.mllm.backends import Backend, LevelLogits

PROMPTS, PER_PROMPT, SIDE = ("a red thing", "a blue thing"), 6, 24


def noise(seed, side=SIDE):
    return np.random.default_rng(seed).integers(0, 200, (side, side, 3)).astype(np.uint8)


def write(folder, name, change=lambda pixels, _seed: pixels, side=SIDE):
    place, rows = folder / name, []
    place.mkdir(parents=True)
    for p, prompt in enumerate(PROMPTS):
        for n in range(PER_PROMPT):
            pixels = change(noise([p, n], side), n)
            write_png(place / f"{p}-{n}.png", pixels)
            rows.append({"file": f"{p}-{n}.png", "prompt": prompt, "reward": pixels.mean()})
    pd.DataFrame(rows).to_csv(place / "images.csv", index=False)


def contrast(images):
    """A judge that has nothing to do with brightness."""
    return [float(np.asarray(image, float).std()) for image in images]


def redness(images, _prompts):
    return [float(np.asarray(image, float)[..., 0].mean()) for image in images]


WAYS = {
    "blank": (lambda pixels, _: np.full_like(pixels, 255), {"blank", "diversity", "distance", "judge", "unshared"}),
    "same": (lambda *_: noise([0, 0]), {"diversity"}),
    "paler": (lambda pixels, _: (pixels // 2 + 110).astype(np.uint8), {"diversity", "judge", "unshared"}),
    "not red": (lambda pixels, _: pixels * np.array([0, 1, 1], np.uint8), {"fidelity"}),
    "other noise": (lambda pixels, _: np.roll(pixels, 5, 1), set()),
    "brighter": (lambda pixels, _: (pixels * 1.2).astype(np.uint8), set()),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_cheating_has_its_alarm_and_chance_has_none(tmp_path, way):
    change, expected = WAYS[way]
    write(tmp_path, "step-0")
    write(tmp_path, "step-10", change)
    found = probe(read_checkpoints(tmp_path), {"contrast": contrast}, fidelity=redness)
    alarms = set(found.alarms["alarm"])
    assert alarms >= expected if expected else not alarms
    assert found.reference == "step-0"
    assert found.table["images"].tolist() == [12, 12]


def test_checkpoints_are_read_in_natural_order_and_only_if_they_can_be_compared(tmp_path):
    for name in ("step-10", "step-9", "step-0"):
        write(tmp_path, name)
    assert list(dict.fromkeys(read_checkpoints(tmp_path)["checkpoint"])) == ["step-0", "step-9", "step-10"]
    manifest = tmp_path / "step-9" / "images.csv"
    good = manifest.read_text()
    for bad, message in {
        good.replace("red", "green", 1): r"0-0\.png is not as in step-0 \(prompt .*green.* in place of .*red",
        good.replace("reward", "score"): "no column 'reward'",
        good.replace("0-1.png", "0-0.png"): "a file of its own",
        good.replace("0-0.png", "../0-0.png"): "not below",
    }.items():
        manifest.write_text(bad)
        with pytest.raises(MllmError, match=message):
            read_checkpoints(tmp_path)
    with pytest.raises(MllmError, match="two or more sub-folders"):
        read_checkpoints(tmp_path / "step-9")


def test_a_judge_is_needed_and_a_score_that_is_missing_is_the_least(tmp_path):
    write(tmp_path, "step 1")
    write(tmp_path, "step 2")
    images = read_checkpoints(tmp_path)
    with pytest.raises(MllmError, match="held-out judges"):
        probe(images, {})
    with pytest.raises(MllmError, match="no checkpoint 'c'"):
        probe(images, {"contrast": contrast}, reference="c")
    calls = []

    def fails(shown):
        calls.append(len(shown))
        return [float("nan")] * len(shown) if len(calls) > 1 else list(range(len(shown)))

    assert probe(images, {"fails": fails}).alarms["alarm"].tolist() == ["judge"]


class SaysYes(Backend):
    """Is sure about red images."""

    @property
    def name(self):
        return "says-yes"

    def definition(self):
        return {}

    def generate(self, prompts, *, max_tokens, temperature=0.0, seed=0):
        raise NotImplementedError

    def check_candidates(self, candidates):
        assert candidates == ["Yes", "No"]

    def level_logits(self, prompts, candidates):
        assert 'show "a red thing"?' in prompts[0].text
        reds = [np.asarray(prompt.images[0])[0, 0, 0] / 255 for prompt in prompts]
        return [LevelLogits(np.log([0.5 * red, 0.5 * (1 - red)])) for red in reds]


def test_fidelity_is_the_share_of_yes():
    images = [Image.new("RGB", (4, 4), (51, 0, 0)), Image.new("RGB", (4, 4), (204, 0, 0))]
    assert shows_prompt(SaysYes())(images, ["a red thing"] * 2) == pytest.approx([0.2, 0.8])


def test_a_start_that_does_not_vary_has_no_unit(tmp_path):
    write(tmp_path, "step 0")
    write(tmp_path, "step 1")
    images = read_checkpoints(tmp_path)
    with pytest.raises(MllmError, match="step 0: reward is the same for all images"):
        probe(images.assign(reward=1.0), {"contrast": contrast})
    with pytest.raises(MllmError, match="the images of a prompt are all equal"):
        probe(images, {"contrast": contrast}, distance=lambda one, _: [0.0] * len(one))


def test_what_was_drawn_before_is_known_or_asked_for(tmp_path):
    for name in ("before", "after"):
        write(tmp_path, name)
    images = read_checkpoints(tmp_path)
    with pytest.raises(MllmError, match="which of after, before was drawn before training"):
        probe(images, {"contrast": contrast})
    assert probe(images, {"contrast": contrast}, reference="before").reference == "before"
    (tmp_path / "update 3").mkdir()
    with pytest.raises(MllmError, match=r"update 3 has no images\.csv"):
        read_checkpoints(tmp_path)


def test_the_command_exits_with_3_on_an_alarm_and_writes_a_page(tmp_path):
    images, page, csv = tmp_path / "images", tmp_path / "probe.html", tmp_path / "scores.csv"
    write(images, "step-0", side=96)
    write(images, "step-40", WAYS["blank"][0], side=96)
    shown = invoke("align", "probe", images, "--judge", "niqe", "--distance", "l1", "--html", page, "--csv", csv)
    assert shown.status == 3, shown.err
    assert "100% of the images are blank" in shown.err
    assert len(pd.read_csv(csv)) == 24
    text = page.read_text()
    assert "step-40: blank, diversity" in text
    assert text.count("data:image/jpeg") == 2 * 2
    with opened(page, 390) as (browser, complaints):
        assert browser.evaluate(OVER_THE_EDGE) == []
        assert complaints == []
    for wrong, message in {
        ("--distance", "ssim"): "grows with likeness",
        ("--limit", "fal=1"): "fall",
        ("--limit", "diversity=2"): "error: diversity: ",
        ("--html", images): "is a folder; name a file in it",
    }.items():
        refused = invoke("align", "probe", images, "-j", "niqe", *wrong)
        assert refused.status == 1
        assert message in refused.text
