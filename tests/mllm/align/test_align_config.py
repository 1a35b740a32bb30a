"""Alignment files, and items as examples."""

import json
import math
import re
from pathlib import Path

import pytest
import yaml
from support import tiny_vlm
from support.command_line import invoke

from lopsided.mllm import Item, MllmError, create_preset
from lopsided.mllm.align.config import Alignment, Target, load_alignment
from lopsided.mllm.align.examples import ask, make_example, read_replies
from lopsided.mllm.align.training import plan_alignment
from lopsided.mllm.backends import Reply

BASE = {"model": "hub/name", "method": "sft", "preset": "numeric", "data": [{"benchmark": "jsonl", "path": "a.jsonl"}]}
GRPO = BASE | {"method": "grpo", "rewards": [{"kind": "adaptive-gaussian"}]}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (BASE | {"optim": {"raet": 1}}, "optim.raet: unknown key 'raet'; did you mean 'rate'?"),
        (
            BASE | {"loss": {"kind": "soft-digits", "etta": 1}},
            "loss.etta: unknown key 'etta'; did you mean 'eta'?",
        ),
        (BASE | {"data": []}, "data: must not be empty"),
        (BASE | {"preset": "q-aline"}, "unknown preset 'q-aline'; did you mean 'q-align'?"),
        (BASE | {"loss": {"kind": "levels"}}, "needs a preset that rates by levels"),
        (BASE | {"loss": {"kind": "soft-digits"}, "preset": "q-align"}, "needs a preset of written numbers"),
        (BASE | {"rewards": [{"kind": "window"}]}, "rewards are for grpo"),
        (BASE | {"kl": 0.1}, "kl: kl is for grpo"),
        (BASE | {"grpo": {"epsilon": 0.3}}, "grpo: grpo is for grpo; sft has none of it"),
        (BASE | {"dpo": {"gap": 0.3}}, "dpo: dpo is for dpo; sft has none of it"),
        (BASE | {"generation": {"replies": 4}}, "generation is for grpo"),
        (BASE | {"method": "dpo", "loss": {"kind": "soft-digits"}}, "loss is for sft"),
        (BASE | {"lora": {}, "optim": {"vision_rate": 1e-6}}, "optim.vision_rate: the vision has no adapters to learn"),
        (BASE | {"lora": {"parts": ["vision"]}, "optim": {"vision_rate": 0}}, "the vision has adapters"),
        (
            BASE | {"evaluate": {"benchmarks": {"held-out": BASE["data"][0]}}},
            "'held-out' is the name of the items",
        ),
        (BASE | {"data": [{"benchmark": "jsonl", "path": ""}]}, "data[0].path: must be a path, got ''"),
        (BASE | {"model": ""}, "model"),
        (BASE | {"data": [BASE["data"][0] | {"options": {"strict": False}}]}, "strict is no option of a reader"),
        (BASE | {"options": {"low": "a"}}, "options: preset numeric: low must be a finite number, got 'a'"),
        (GRPO | {"rewards": [{"kind": "gaussian", "on_failure": 5}]}, "rewards[0]: gaussian gives 1 at most"),
        (GRPO | {"rewards": [{"kind": "format", "on_failure": -1}]}, "format pays for the form of every reply"),
        (GRPO | {"rewards": [{"kind": "closeness", "scales": {"IQA": 0}}]}, "the scale of IQA must be above 0, got 0"),
        (GRPO | {"rewards": [{"kind": None}]}, "unknown 'kind': nothing"),
        (BASE | {"method": "grpo"}, "grpo needs rewards"),
        (GRPO | {"preset": "q-align"}, "begins the answer"),
        (GRPO | {"optim": {"batch": 9}}, "must be a multiple of generation.replies = 8"),
        (GRPO | {"options": {"parser": "constrained"}}, "nothing keeps replies to a form"),
        (BASE | {"target": {"template": "good"}}, "lacks {number}"),
        (BASE | {"target": {"template": "{number} {score}"}}, "has {score}; known: {label}, {number}"),
        (BASE | {"target": {"decimals": 1.5}}, "target.decimals: must be a whole number, got 1.5"),
        (GRPO | {"kl": True}, "kl: true and false mean nothing here"),
        (BASE | {"lora": 3}, "lora: must be a mapping, got 3"),
        (BASE | {"model": 3}, "model: must be a name or a mapping, got 3"),
        (BASE | {"data": [{"benchmark": "jsonl", "path": "a", "scale": [100, 0]}]}, "data[0].scale: the lowest label"),
        (BASE | {"data": [{"benchmark": "jsonl", "path": "a", "weight": "x"}]}, "data[0].weight: must be a number"),
        (GRPO | {"rewards": [{"weight": 1}]}, "rewards[0]: must have the key 'kind'"),
        (GRPO | {"rewards": [{"kind": "gausian"}]}, "rewards[0]: unknown 'kind': 'gausian'; did you mean 'gaussian'?"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_way_out(settings, words, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(settings))
    with pytest.raises(MllmError) as error:
        load_alignment(file)
    assert words in str(error.value)
    assert re.match(rf"{re.escape(str(file))}:\d+: ", str(error.value))


@pytest.mark.parametrize("text", ["", "[1]", "a: [", "a: \x00", "model: m\nmodel: m", "a: !!python/name:os.system"])
def test_what_is_not_an_alignment_is_refused(text, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(MllmError, match=r"a\.yaml:\d+: "):
        load_alignment(tmp_path / "a.yaml")


def test_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(BASE | {"model": {"path": "models"}}))
    made = load_alignment(tmp_path / "a.yaml")
    assert made.data[0].path == tmp_path / "a.jsonl"
    assert made.model.path == str(tmp_path / "models")
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(BASE))
    assert load_alignment(tmp_path / "a.yaml").model.path == "hub/name"


def rating(target, scale=(0, 100), dimension="quality", **more):
    return Item(
        benchmark="b", dimension=dimension, id="1", task="rate", images=(Path("x"),), target=target, scale=scale, **more
    )


@pytest.mark.parametrize(
    ("item", "preset", "options", "target", "answer", "score"),
    [
        (rating(72.0), "q-align", {}, {}, "The quality of the image is good", 3.88),
        (rating(72.0), "unipercept", {}, {}, "dv", 72),
        (rating(72.4), "numeric", {}, {}, "72", 72.4),
        (rating(28.0, higher_is_better=False), "numeric", {}, {}, "72", 72),
        (rating(3.0, (1, 5)), "numeric", {"high": 10}, {"decimals": 2}, "5.00", 5),
        (
            *(rating(5.577, (0, 10), "Aesthetics"), "cogip", {}),
            *({"template": "{label} {number}", "decimals": 3}, "medium 5.577", 5.577),
        ),
        (rating(-0.04, (-3, 3), "Emotional_Valence"), "cogip", {}, {"decimals": 1}, "0.0", -0.04),
        (
            rating(2.0, (1, 5)),
            "q-insight",
            {},
            {"template": '{"rating": {number}}', "decimals": 1},
            '{"rating": 2.0}',
            2,
        ),
    ],
)
def test_the_answer_that_is_taught_is_read_as_the_label(item, preset, options, target, answer, score):
    asked, form = create_preset(preset, **options), Target(**target)
    example = make_example(item, asked, form)
    assert example.answer == answer
    assert example.score == pytest.approx(score)
    (read,) = read_replies([Reply(answer.removeprefix(example.prefix))], [item], asked)
    step = 25 if preset == "q-align" else (item.scale[1] - item.scale[0]) / 100
    assert read.status == "ok"
    assert read.number == pytest.approx(item.target, abs=step)


def test_the_prompt_is_the_one_a_scorer_sends():
    picture = tiny_vlm.images(1)[0]
    item = Item(
        benchmark="b",
        dimension="q",
        id="1",
        task="answer",
        images=(Path("x"),),
        question="Q?",
        options=("a", "b"),
        target="B",
    )
    asked = create_preset("numeric")
    example = make_example(item, asked, Target())
    assert example.answer == "B"
    assert math.isnan(example.score)
    assert example.text == ask(asked, item, [picture]).text
    assert example.text.endswith("Q?\nA. a\nB. b")
    assert [read_replies([Reply(t)], [item], asked)[0].value for t in ("B", "The answer is A.")] == ["B", "A"]
    own = rating(1.0, question="How sharp, 0 to 100?")
    assert make_example(own, asked, Target()).text == "How sharp, 0 to 100?"


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (rating(None), "no label"),
        (rating(5.0, None), "does not say its scale"),
        (rating(101.0), "outside its scale"),
        (rating(5.0, dimension="charm"), "does not rate 'charm'"),
    ],
)
def test_items_that_cannot_be_trained_on_are_refused(item, words):
    with pytest.raises(MllmError, match=words):
        make_example(item, create_preset("numeric"), Target())


def test_the_dry_run_says_what_would_be_done(tiny, rated, tmp_path):
    train = rated("dry", 12, 5)
    settings = GRPO | {"model": str(tiny), "data": [{"benchmark": "jsonl", "path": train, "weight": 1.5}]}
    settings |= {"split": {"held_out": 0.25, "against": [{"benchmark": "jsonl", "path": train}], "near": None}}
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(settings))
    shown = invoke("align", file, "--dry-run")
    assert shown.status == 1  # all of it is in the evaluation benchmark
    assert "12 were refused" in shown.err
    settings["split"].pop("against")
    file.write_text(yaml.safe_dump(settings))
    shown = invoke("align", file, "--dry-run")
    assert shown.status == 0, shown.err
    assert "3 held out" in shown.out
    assert "reward adaptive-gaussian, weight 1; an unreadable reply gets 0.0" in shown.out
    plan = plan_alignment(Alignment.model_validate(settings))
    assert 9 < len(plan.examples) < 18
    assert json.loads(json.dumps(plan.split.record()))["held_out"]
    assert "--to FOLDER" in invoke("align", file).err


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        ({"kind": "binary"}, "rewards[0]: binary is for the task 'answer', and the data has 6 of 'rate'"),
        ({"kind": "gaussian", "weight": 0}, "all rewards have weight 0"),
    ],
)
def test_a_reward_that_nothing_can_earn_is_refused(reward, words, tiny, rated, tmp_path):
    settings = GRPO | {"model": str(tiny), "data": [{"benchmark": "jsonl", "path": rated("unearned", 6, 2)}]}
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(settings | {"split": {"held_out": 0}, "rewards": [reward]}))
    shown = invoke("align", file, "--dry-run")
    assert shown.status == 1
    assert words in shown.err


def test_data_that_no_reward_is_for_is_refused(tiny, rated, tmp_path):
    data = [{"benchmark": "jsonl", "path": rated("rewarded", 6, 2)}]
    rewards = [{"kind": "gaussian", "weight": 0}, {"kind": "binary"}, {"kind": "format", "weight": 0}]
    file = tmp_path / "a.yaml"
    entry = {"id": "q", "task": "answer", "images": "rewarded-0.png", "question": "Is it?", "options": ["yes", "no"]}
    Path(data[0]["path"]).with_name("asked.jsonl").write_text(json.dumps(entry | {"target": "A"}))
    data.append({"benchmark": "jsonl", "path": str(Path(data[0]["path"]).with_name("asked.jsonl"))})
    settings = {"model": str(tiny), "data": data, "rewards": rewards, "split": {"held_out": 0}, "preset": "unipercept"}
    file.write_text(yaml.safe_dump(GRPO | settings))
    shown = invoke("align", file, "--dry-run")
    assert shown.status == 1
    assert "no reward with a weight is for the task 'rate', and the data has 6 of it" in shown.err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": {"template": "I will not say {number} but 99"}}, "is read as 99 by numeric: change the template"),
        ({"target": {"template": "7 {number}"}}, "is read as nothing (ambiguous) by numeric: change the template"),
        ({"evaluate": {"every": 5}}, "evaluate.every: nothing is held out and there is no benchmark"),
    ],
)
def test_what_could_not_work_is_found_before_training(settings, words, tiny, rated, tmp_path):
    data = [{"benchmark": "jsonl", "path": rated("hopeless", 6, 2)}]
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(BASE | {"model": str(tiny), "data": data, "split": {"held_out": 0}} | settings))
    shown = invoke("align", file, "--dry-run")
    assert shown.status == 1
    assert words in shown.err


def test_labels_that_become_one_answer_are_noted(tiny, rated, tmp_path):
    settings = {"model": str(tiny), "data": [{"benchmark": "jsonl", "path": rated("coarse", 12, 2)}]}
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(BASE | settings | {"split": {"held_out": 0}, "options": {"high": 1}}))
    shown = invoke("align", file, "--dry-run")
    assert "different labels become 2 answers: target.decimals would tell them apart" in shown.out + shown.err


@pytest.mark.parametrize("place", [".", "", "x" * 300 + ".yaml"])
def test_what_is_no_file_is_an_error_of_one_line(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = invoke("align", place, "--dry-run")
    assert shown.status == 1
    assert shown.err.startswith("error: cannot read alignment")
    assert len(shown.err.splitlines()) == 1


def test_names_that_no_file_can_have_are_errors(tiny, tmp_path):
    for settings in ({"model": "x/" * 2 + "x" * 300}, {"data": [{"benchmark": "jsonl", "path": "x" * 300}]}):
        (tmp_path / "a.yaml").write_text(yaml.safe_dump(BASE | {"model": str(tiny)} | settings))
        shown = invoke("align", tmp_path / "a.yaml", "--dry-run")
        assert shown.status == 1
        assert "did not expect" not in shown.err


def test_a_small_file_cannot_hold_endlessly_many_values(tmp_path):
    lists = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 3000 if n else ['x'] * 3000)}]" for n in range(4)]
    (tmp_path / "a.yaml").write_text("\n".join(lists))
    with pytest.raises(MllmError, match="more than 100000 values"):
        load_alignment(tmp_path / "a.yaml")


def test_mixed_precision_is_for_a_gpu(tiny, rated, tmp_path):
    data = [{"benchmark": "jsonl", "path": rated("mixed", 6, 2)}]
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(BASE | {"model": {"path": str(tiny), "autocast": True}, "data": data}))
    shown = invoke("align", file, "--dry-run")
    assert shown.status == 1
    assert "model.autocast is for a GPU, and the device is cpu" in shown.err


def test_a_file_that_is_no_image_is_found_before_training(tiny, rated, tmp_path):
    path = Path(rated("broken", 6, 2))
    path.with_name("broken-3.png").write_text("no picture")
    settings = BASE | {"model": str(tiny), "data": [{"benchmark": "jsonl", "path": str(path)}]}
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(settings | {"split": {"held_out": 0, "near": None}}))
    shown = invoke("align", file, "--dry-run")
    assert shown.status == 1
    assert "broken-3.png" in shown.err


RECIPES = sorted((Path(__file__).parents[3] / "mllm" / "align" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_says_what_is_published(recipe):
    load_alignment(recipe)
    assert {"published", "ours"} <= set(re.findall(r"[a-z]+", recipe.read_text().lower()))


def test_there_is_a_recipe_of_every_system():
    assert {path.stem for path in RECIPES} == {
        *("cogip_qwen", "cogip_gemma", "cogip_llama", "unipercept", "tatar", "q_insight", "visualquality_r1"),
        *("deqa", "q_realign", "culturemix"),
    }


def test_few_levels_are_no_sign_of_too_few_decimals(tiny, rated, tmp_path):
    settings = {"model": str(tiny), "preset": "q-align", "loss": {"kind": "levels"}}
    settings |= {"data": [{"benchmark": "jsonl", "path": rated("levels", 12, 2)}], "split": {"held_out": 0}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(BASE | settings))
    shown = invoke("align", tmp_path / "a.yaml", "--dry-run")
    assert shown.status == 0, shown.err
    assert "target.decimals" not in shown.text
