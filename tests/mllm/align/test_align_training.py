"""Training through trl: what is trained, losses under accumulation, exact resume, adapters; each trap has a test."""

import json
import math
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("trl", reason="the extra 'align' is not installed")

from support import tiny_vlm

from lopsided.mllm import MllmError, TransformersBackend
from lopsided.mllm.align import adapters, trainers
from lopsided.mllm.align.config import Alignment, Lora, Optim
from lopsided.mllm.align.training import align, latest_checkpoint, plan_alignment

LORA = {"rank": 4, "parts": ["language", "projector"], "head": True}
GRPO = {
    "method": "grpo",
    "preset": "numeric",
    "rewards": [{"kind": "adaptive-gaussian"}, {"kind": "format", "weight": 0.5}],
    "generation": {"replies": 4, "max_tokens": 4},
}
SFT = {"method": "sft", "preset": "numeric", "loss": {"kind": "soft-digits"}}


@pytest.fixture(scope="module")
def path(rated):
    return rated("train", 12, 1)


@pytest.fixture(scope="module")
def alignment(tiny, path):
    def make(settings, **more):
        optim = {"rate": 1e-3, "batch": 4, "steps": 4, "warmup": 0, "schedule": "linear", **more.pop("optim", {})}
        base = {
            "model": str(tiny),
            "data": [{"benchmark": "jsonl", "path": path}],
            "split": {"near": None, "held_out": 0},
            "trackers": [],
            "log_every": 1,
            "save_every": 2,
        }
        return Alignment.model_validate(base | settings | {"optim": optim} | more)

    return make


def run(made, folder, kill_after=None, stop_after=math.inf):
    steps = []

    def progress(done, total, note):
        steps.append(done)
        if done == kill_after:
            raise KeyboardInterrupt

    return align(plan_alignment(made), folder, progress=progress, stop=lambda: steps[-1] >= stop_after)


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def weights(folder):
    return {name: w for file in folder.glob("*.safetensors") for name, w in load_file(file).items()}


def test_dpo_begins_at_ln_2_and_adds_the_loss_of_imitation(alignment, tmp_path):
    whole = {"batch": 12, "steps": 1}
    first = {}
    for name, more in {"dpo": {}, "both": {"dpo": {"imitation": 2.0}}, "sft": {"method": "sft"}}.items():
        made = alignment({"method": "dpo", "preset": "numeric"} | more, optim=whole)
        run(made, tmp_path / name)
        first[name] = lines(tmp_path / name)[0]["loss"]
    assert first["dpo"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["both"] == pytest.approx(math.log(2) + 2 * first["sft"], rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "killed"),
    [
        pytest.param(SFT, True, id="sft-full-killed"),
        pytest.param(SFT | {"lora": LORA | {"dropout": 0.1}}, False, id="sft-lora-stopped"),
        pytest.param(GRPO | {"kl": 0.1}, False, id="grpo-full-stopped"),
        pytest.param(GRPO | {"kl": 0.1, "lora": LORA}, True, id="grpo-lora-killed"),
    ],
)
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(alignment, settings, killed, tmp_path, tiny):
    made = alignment(settings)
    run(made, tmp_path / "whole")
    if killed:
        with pytest.raises(KeyboardInterrupt):
            run(made, tmp_path / "stopped", kill_after=3)
        (tmp_path / "stopped" / "checkpoint-3").mkdir()  # what a kill while saving leaves
    else:
        stopped = run(made, tmp_path / "stopped", stop_after=3)
        assert stopped.stopped
        assert not stopped.model.exists()
    done = run(made, tmp_path / "stopped")
    assert (done.resumed, done.stopped) == (2 if killed else 3, False)
    assert lines(tmp_path / "whole") == lines(tmp_path / "stopped")
    whole, resumed, start = (weights(p) for p in (tmp_path / "whole" / "model", done.model, tiny))
    assert max(float((whole[n] - resumed[n]).abs().max()) for n in whole) == 0
    assert max(float((whole[n] - start[n]).abs().max()) for n in whole) > 1e-4
    if made.method == "grpo":
        last = lines(tmp_path / "whole")[-1]
        assert {"frac_reward_zero_std", "rewards/gaussian/mean", "status/ok", "status/unparsable"} <= last.keys()
        assert last["kl"] > 0
        weighted = last["rewards/adaptive-gaussian/mean"] + 0.5 * last["rewards/format/mean"]
        assert last["reward"] == pytest.approx(weighted, abs=1e-5)  # the fixed Gaussian has weight 0


def test_a_folder_belongs_to_one_alignment(alignment, tmp_path):
    made = alignment(SFT)
    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path, kill_after=1)
    with pytest.raises(MllmError, match=r"another alignment \(seed was 0 and is 1\)"):
        run(made.model_copy(update={"seed": 1}), tmp_path)
    settings = json.loads((tmp_path / "alignment.json").read_text())
    del settings["settings"]["dpo"]["imitation"]  # a folder of a version that did not have this key
    (tmp_path / "alignment.json").write_text(json.dumps(settings))
    assert run(made.model_copy(update={"save_every": 1, "trackers": []}), tmp_path).model.exists()


def test_a_folder_of_something_else_is_left_alone(alignment, tiny, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "NOTES.txt").write_text("do not lose me")
    with pytest.raises(MllmError, match="is not empty and not of an alignment"):
        run(alignment(SFT), tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["NOTES.txt"]


def test_other_labels_or_images_are_not_continued(alignment, rated, tmp_path):
    path = rated("changing", 12, 1)
    made = alignment(SFT | {"data": [{"benchmark": "jsonl", "path": path}]})
    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path, kill_after=3)
    rated("changing", 12, 2)  # other images with other labels, under the same names
    with pytest.raises(MllmError, match="labels, items or images have changed"):
        run(made, tmp_path)
    rated("changing", 12, 1)
    assert run(made, tmp_path).resumed == 2


@pytest.mark.parametrize("settings", [SFT, SFT | {"lora": LORA}, GRPO], ids=["sft", "sft-lora", "grpo"])
def test_the_same_call_after_the_end_changes_nothing(alignment, settings, tmp_path):
    made = alignment(settings, optim={"steps": 2, "schedule": "constant"})  # in the middle of an epoch
    run(made, tmp_path)
    log, model = lines(tmp_path), weights(tmp_path / "model")
    shutil.rmtree(tmp_path / "model")  # a kill before it was saved
    assert run(made, tmp_path).resumed == 2
    again = weights(tmp_path / "model")
    assert lines(tmp_path) == log
    assert max(float((model[name] - again[name]).abs().max()) for name in model) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rewards": [{"kind": "format", "pattern": "("}]}, "is no regular expression"),
        ({"rewards": [{"kind": "length", "free": 9, "most": 9}]}, "free must be below most"),
        ({"rewards": [{"kind": "window", "weight": 0}]}, "all rewards have weight 0"),
    ],
)
def test_rewards_that_cannot_work_are_found_before_training(alignment, wrong, message):
    with pytest.raises(ValueError, match=message):
        alignment(GRPO | wrong)


def test_what_cannot_be_trained_is_found_before_training(alignment, rated):
    with pytest.raises(MllmError, match="less data than one step takes"):
        plan_alignment(alignment(GRPO, optim={"steps": None, "batch": 16, "accumulation": 9}))
    path = rated("deviating", 3, 1, groups={"std": "wide"})
    with pytest.raises(MllmError, match="std = 'wide'"):
        plan_alignment(alignment(SFT | {"data": [{"benchmark": "jsonl", "path": path}]}))


@pytest.mark.parametrize(
    "loss", [{"kind": "cross-entropy"}, SFT["loss"], {"kind": "levels", "target": "two-level", "tokens": 0.5}]
)
def test_accumulation_does_not_change_the_step(alignment, loss, tmp_path):
    preset = "q-align" if loss["kind"] == "levels" else "numeric"
    found = []
    for batch, accumulation in ((4, 1), (1, 4)):
        made = alignment(
            SFT | {"loss": loss, "preset": preset}, optim={"batch": batch, "accumulation": accumulation, "steps": 2}
        )
        run(made, tmp_path / f"{accumulation}")
        found.append(lines(tmp_path / f"{accumulation}"))
    for once, parts in zip(*found, strict=True):
        assert parts["loss"] == pytest.approx(once["loss"], rel=1e-5)
        assert parts["grad_norm"] == pytest.approx(once["grad_norm"], rel=1e-4)


# --- checkpoints -----------------------------------------------------------------------------------------------------


def backend_of(folder):
    return TransformersBackend(str(folder), dtype="float32")


def trainer_for(made, backend, folder):
    plan = plan_alignment(made)
    model = backend.model if made.lora is None else adapters.add_adapters(backend.model, made.lora)
    optimiser = adapters.make_optimiser(model, made.optim)
    return trainers.make_trainer(made, plan.examples, backend, model, optimiser, folder, [])


@pytest.fixture(scope="module")
def changed(tiny, tmp_path_factory):
    """A checkpoint of the tiny model, with other weights."""
    model = backend_of(tiny).model
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    return folder


def test_trl_alone_would_not_load_a_full_checkpoint_and_we_do(alignment, tiny, changed, tmp_path):
    """The trap: names in the file are not those of the module, and the load is not strict."""
    trainer = trainer_for(alignment(GRPO | {"kl": 0.1}), backend_of(tiny), tmp_path)
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    trainer._load_from_checkpoint(str(changed))
    after = trainer.model.state_dict()
    assert all(torch.allclose(after[name], before[name] + 0.01) for name in before if before[name].is_floating_point())
    # The model that the KL term compares with is still the original.
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.ref_model.state_dict().items())


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_a_checkpoint_that_does_not_fit_is_an_error(tiny, changed, change, tmp_path):
    (tmp_path / "config.json").write_bytes((changed / "config.json").read_bytes())
    tensors = load_file(changed / "model.safetensors")
    name = sorted(tensors)[3]
    if change == "missing":
        del tensors[name]
    elif change == "unknown":
        tensors["model.stranger"] = torch.zeros(1)
    else:
        tensors[name] = torch.zeros(3)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    words = {"missing": "lacks 1 weights of the model", "unknown": "stranger", "shape": "cannot be loaded"}
    with pytest.raises(MllmError, match=words[change]):
        adapters.load_weights(backend_of(tiny).model, tmp_path)


def test_an_adapter_that_lacks_a_weight_is_an_error(tiny, tmp_path):
    model = adapters.add_adapters(backend_of(tiny).model, Lora(**LORA))
    model.save_pretrained(tmp_path)
    adapters.load_weights(model, tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    del tensors[next(name for name in tensors if "lora_A" in name)]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(MllmError, match="lacks 1 weights"):
        adapters.load_weights(model, tmp_path)


def test_latest_checkpoint_takes_only_complete_ones_as_they_were_written(tmp_path):
    for step, complete in ((9, True), (10, True), (11, False)):
        place = tmp_path / f"checkpoint-{step}"
        place.mkdir()
        (place / "model.safetensors").write_bytes(b"weights")
        if complete:
            state = SimpleNamespace(global_step=step)
            trainers.Marks().on_save(SimpleNamespace(output_dir=tmp_path), state, None)
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-11").exists()
    mark = tmp_path / "checkpoint-10" / trainers.COMPLETE
    known = mark.read_bytes()
    mark.write_bytes(b"\xff" + known)
    with pytest.raises(MllmError, match="checkpoint-10 is damaged"):
        latest_checkpoint(tmp_path)
    mark.write_bytes(known)
    (tmp_path / "checkpoint-10" / "model.safetensors").write_bytes(b"weighty")
    with pytest.raises(MllmError, match=r"checkpoint-10 is damaged: .* delete it to go on from the one before"):
        latest_checkpoint(tmp_path)


def test_a_changed_line_of_the_log_is_an_error_and_one_cut_off_is_dropped(tmp_path):
    log = trainers.LogLines(tmp_path / "log.jsonl", lambda *_: None)
    for step in (1, 2, 3):
        log.add(step, {"loss": 0.5})
    first, second, third = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(first + second + third[:-9])
    log.on_train_begin(None, SimpleNamespace(global_step=2), None)
    assert log.path.read_bytes() == first + second
    log.path.write_bytes(first.replace(b"0.5", b"0.6") + second)
    with pytest.raises(MllmError, match=r"log.jsonl: a line is damaged: its checksum is not that of its content"):
        log.on_train_begin(None, SimpleNamespace(global_step=2), None)


# --- adapters --------------------------------------------------------------------------------------------------------


def logits(model, processor):
    inputs = processor(
        text=[tiny_vlm.chat(processor, "Rate", "")], images=tiny_vlm.images(1), return_tensors="pt", padding=True
    )
    with torch.no_grad():
        return model.eval()(**inputs).logits


@pytest.mark.parametrize("tied", [False, True])
def test_an_adapter_saved_reloaded_and_merged_says_the_same(tiny, tied, tmp_path):
    backend = backend_of(tiny)
    processor, model = backend.processor, backend.model
    if tied:
        model.config.tie_word_embeddings = model.config.get_text_config().tie_word_embeddings = True
        model.tie_weights()
        assert adapters.ties(model)
    model.save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "base")
    base = logits(model, processor)
    model = adapters.add_adapters(model, Lora(**LORA))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    tuned = logits(model, processor)
    assert float((tuned - base).abs().max()) > 0.1
    model.save_pretrained(tmp_path / "adapter")
    again = adapters.add_adapters(backend_of(tmp_path / "base").model, Lora(**LORA))
    adapters.load_weights(again, tmp_path / "adapter")
    assert float((logits(again, processor) - tuned).abs().max()) <= 1e-5
    whole = adapters.merged(again)
    assert adapters.ties(whole) == tied
    whole.save_pretrained(tmp_path / "merged")
    processor.save_pretrained(tmp_path / "merged")
    assert float((logits(backend_of(tmp_path / "merged").model, processor) - tuned).abs().max()) <= 1e-5


def test_what_is_trained(tiny):
    def trained(lora):
        model = adapters.add_adapters(backend_of(tiny).model, Lora(**lora))
        return {name for name, weight in model.named_parameters() if weight.requires_grad}

    assert not any("lm_head" in name for name in trained({"parts": ["language", "projector", "vision"]}))
    assert any("lm_head" in name for name in trained({"head": True}))
    assert all(adapters.part_of(name) == "projector" for name in trained({"parts": ["projector"]}))
    model = backend_of(tiny).model
    optimiser = adapters.make_optimiser(model, Optim(rate=3e-5, projector_rate=1e-5, vision_rate=0, weight_decay=0.1))
    assert sorted({(group["lr"], group["weight_decay"]) for group in optimiser.param_groups}) == [
        (1e-5, 0.0),
        (1e-5, 0.1),
        (3e-5, 0.0),
        (3e-5, 0.1),
    ]
    assert not any(w.requires_grad for n, w in model.named_parameters() if adapters.part_of(n) == "vision")


def test_the_defaults_of_trl_that_are_traps_are_set(alignment, tiny, tmp_path):
    backend = backend_of(tiny)
    args = trainer_for(alignment(SFT), backend, tmp_path).args
    assert (args.bf16, args.gradient_checkpointing, args.max_length, args.remove_unused_columns) == (
        *(False, False),
        None,
        False,
    )
    args = trainer_for(alignment(GRPO), backend, tmp_path).args
    assert (args.loss_type, args.scale_rewards, args.beta, args.temperature, args.bf16) == (
        *("grpo", "group", 0.0, 1.0),
        False,
    )
    assert not math.isnan(args.learning_rate)


def test_without_the_libraries_the_extra_is_named(alignment, tmp_path, monkeypatch):
    monkeypatch.setattr("lopsided.mllm.align.training.find_spec", lambda name: None if name == "trl" else object())
    with pytest.raises(MllmError, match=r"needs trl: pip install 'lopsided\[align\]'"):
        run(alignment(SFT), tmp_path)
