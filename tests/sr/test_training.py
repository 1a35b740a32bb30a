"""The trainer and its checkpoints."""

import contextlib
import hashlib
import json
import logging
import math

import numpy as np
import pytest
import torch

from lopsided.common.sources import parse_source
from lopsided.discriminators import build_discriminator, objective
from lopsided.losses import create_measure
from lopsided.sr import (
    Adversarial,
    Fidelity,
    FinetuneSpec,
    GeneratorSpec,
    Trainer,
    TrainingSpec,
    build_generator,
)
from lopsided.sr.checkpoint import Checkpoint, load_checkpoint, read_tensors, save_checkpoint, write_tensors
from lopsided.sr.history import HistoryFile, read_history
from lopsided.sr.images import PairCache
from lopsided.sr.trainer import StoppedError

TINY = GeneratorSpec(name="swinir-tiny")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    items = parse_source({"source": "skimage", "split": "train"}).items()
    return PairCache.build(items, 4, tmp_path_factory.mktemp("pairs"))


def adversarial_trainer(pairs, steps=12, fidelity: str | None = "dists-resnet50-r", seed=0):
    spec = FinetuneSpec(steps=steps, batch=2, patch=32, log_every=3, learning_rate=1e-3, warmup=4, milestones=(9,))
    return Trainer(
        spec,
        build_generator(TINY, 4, seed=seed),
        pairs,
        seed=seed,
        stream="finetune",
        fidelity=Fidelity(create_measure(fidelity), None) if fidelity else None,
        adversarial=Adversarial(build_discriminator("patch", seed=seed), objective("bce"), 0.01, 1e-4),
    )


def tensors(trainer):
    return trainer.state().tensors


# --- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "penalty"), [("relativistic", 0.0), ("wasserstein", 10.0)])
def test_objectives_that_need_more_than_logits_train_and_resume(pairs, name, penalty):
    """Both players' logits for the relativistic one, a gradient penalty with draws of its own for Wasserstein's."""

    def trainer():
        network = build_discriminator("patch", seed=0)
        made = adversarial_trainer(pairs, fidelity=None)
        return Trainer(
            made.spec,
            build_generator(TINY, 4, seed=0),
            pairs,
            seed=0,
            stream="finetune",
            adversarial=Adversarial(network, objective(name), 0.01, 1e-4, penalty),
        )

    whole, first, second = trainer(), trainer(), trainer()
    history = [whole.train_step() for _ in range(4)]
    assert all(math.isfinite(value) for terms in history for value in terms.values())
    assert ("gradient_penalty" in history[0]) == bool(penalty)
    assert history[0]["gradient_adversarial"] > 0
    for _ in range(2):
        first.train_step()
    second.restore_state(first.state())
    for _ in range(2):
        second.train_step()
    assert all(torch.equal(value, tensors(second)[key]) for key, value in tensors(whole).items())


def test_gradient_through_the_image_equals_one_backward_pass(pairs):
    """Splitting the backward pass at the image, and sharing logits, must not change what either player learns."""
    trainer = adversarial_trainer(pairs)
    trainer.match_gradients()
    assert trainer.fidelity is not None
    assert trainer.fidelity.weight is not None
    assert trainer.adversarial is not None
    low, high = trainer.batch(0)
    trainer.generator.eval()  # no stochastic depth, so that both passes see one network
    discriminator, players = trainer.adversarial.discriminator, trainer.adversarial.objective

    restored = trainer.generator(low)
    clamped = restored.clamp(0, 1)
    loss = (
        torch.nn.functional.l1_loss(restored, high)
        + trainer.fidelity.weight * trainer.fidelity.measure(clamped, high)
        + 0.01 * players.generator(discriminator(clamped))
    )
    expected = torch.autograd.grad(loss, list(trainer.generator.parameters()))
    of_discriminator = [p for p in discriminator.parameters() if p.requires_grad]
    expected += torch.autograd.grad(
        players.discriminator(discriminator(high), discriminator(clamped.detach())), of_discriminator
    )

    restored = trainer.generator(low)
    gradient, terms, pulls = trainer.loss(restored, high, 1.0, torch.Generator())
    restored.backward(gradient)
    seen = [p.grad for p in (*trainer.generator.parameters(), *of_discriminator)]
    assert terms["total"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert set(pulls) == {"pixel", "fidelity", "adversarial"}
    assert len(seen) == len(expected) > 0
    for a, b in zip(seen, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_pixel_training_approaches_the_reference(pairs, tmp_path):
    spec = TrainingSpec(steps=60, batch=4, patch=32, learning_rate=2e-3, ema=0.9)
    trainer = Trainer(spec, build_generator(TINY, 4), pairs, seed=0, stream="pretrain")
    trainer.run(tmp_path, checkpoint_every=1000)
    rows = read_history(tmp_path / "history.jsonl")
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 60]
    assert rows[-1]["pixel"] < 0.7 * rows[0]["pixel"]


def test_matched_gradients_have_equal_norms_at_the_start(pairs):
    trainer = adversarial_trainer(pairs)
    trainer.match_gradients()
    norms = []
    trainer.generator.eval()
    for index in range(16):
        low, high = trainer.batch(-1 - index)
        leaf = trainer.generator(low).detach().clamp(0, 1).requires_grad_()
        assert trainer.fidelity is not None
        for loss in (trainer.fidelity.measure, torch.nn.functional.l1_loss):
            norms.append(torch.autograd.grad(loss(leaf, high), leaf)[0].norm().item())
    assert trainer.fidelity is not None
    assert trainer.fidelity.weight == pytest.approx(np.mean(norms[1::2]) / np.mean(norms[::2]), rel=1e-4)


@pytest.mark.parametrize("every", [3, 6])
def test_resumed_training_equals_an_uninterrupted_one_bit_for_bit(pairs, tmp_path, every):
    whole = adversarial_trainer(pairs)
    whole.run(tmp_path / "whole", checkpoint_every=1000)
    first = adversarial_trainer(pairs)
    asked = iter([False, True])
    with pytest.raises(StoppedError, match="after step 6"):
        first.run(tmp_path / "cut", checkpoint_every=every, stop=lambda: next(asked))
    # A window logged after the checkpoint by a run that was then killed must not be counted twice.
    with (tmp_path / "cut" / "history.jsonl").open("a") as file:
        file.write('{"step":9,"total":1.0}\n{"step":12,"tot')
    second = adversarial_trainer(pairs)
    second.run(tmp_path / "cut", checkpoint_every=every)
    expected, seen = tensors(whole), tensors(second)
    assert expected.keys() == seen.keys()
    assert [name for name in expected if not torch.equal(expected[name], seen[name])] == []
    histories = [read_history(tmp_path / name / "history.jsonl") for name in ("whole", "cut")]
    for history in histories:
        for row in history:
            del row["seconds"]
    assert histories[0] == histories[1]


def test_same_seed_same_numbers_other_seed_others(pairs, tmp_path):
    runs = []
    for index, seed in enumerate((0, 0, 1)):
        torch.manual_seed(index)  # what the process drew before must not matter
        trainer = adversarial_trainer(pairs, steps=3, seed=seed)
        trainer.run(tmp_path / str(index), checkpoint_every=1000)
        runs.append(tensors(trainer))
    assert all(torch.equal(runs[0][k], runs[1][k]) for k in runs[0])
    assert not all(torch.equal(runs[0][k], runs[2][k]) for k in runs[0])


def test_average_follows_its_definition(pairs):
    spec = TrainingSpec(steps=3, batch=1, patch=32, ema=0.5)
    trainer = Trainer(spec, build_generator(TINY, 4), pairs, seed=0, stream="pretrain")
    seen = []
    for _ in range(3):
        trainer.train_step()
        seen.append(trainer.generator.get_parameter("conv_first.weight").detach().clone())
    # Weights 1/4, 1/2 and 1 over their sum: that of the start is not in it.
    expected = (seen[0] + 2 * seen[1] + 4 * seen[2]) / 7
    torch.testing.assert_close(trainer.averaged_generator().get_parameter("conv_first.weight"), expected)


def test_schedule_warms_up_and_steps_down():
    spec = TrainingSpec(steps=100, warmup=4, milestones=(10, 20), gamma=0.1)
    factors = [spec.learning_rate_factor(step) for step in (0, 1, 3, 4, 9, 10, 19, 20)]
    assert factors == pytest.approx([0.25, 0.5, 1, 1, 1, 0.1, 0.1, 0.01])


# --- checkpoints ----------------------------------------------------------------------------------------------------


def write_three(folder):
    for step in (9, 10, 100):  # 9 and 10 sort wrongly as text
        save_checkpoint(folder, Checkpoint(step, {"x": torch.full((50,), float(step))}, {"w": 0.1}))


def test_the_newest_two_are_kept_and_the_newest_is_loaded(tmp_path):
    write_three(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert (loaded.step, loaded.scalars) == (100, {"w": 0.1})
    assert torch.equal(loaded.tensors["x"], torch.full((50,), 100.0))
    assert load_checkpoint(tmp_path / "empty") is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "index"])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(tmp_path, damage, caplog):
    write_three(tmp_path)
    path = tmp_path / "step-000000100.safetensors"
    whole = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(whole[:-7])
    elif damage == "flip":
        whole[-5] ^= 1
        path.write_bytes(whole)
    elif damage == "delete":
        path.unlink()
    else:
        path.with_suffix(".json").write_text('{"step": 10')
    with caplog.at_level(logging.WARNING):
        loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.step == 10
    assert "damaged" in caplog.text


@pytest.mark.parametrize("edit", [{"step": 46}, {"step": 10**9}, {"scalars": {"w": 9.0}}])
def test_nothing_that_is_written_beside_a_checkpoint_changes_what_is_resumed(tmp_path, edit):
    write_three(tmp_path)
    index = tmp_path / "step-000000100.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), **edit}))
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert (loaded.step, loaded.scalars) == (100, {"w": 0.1})


@pytest.mark.parametrize("metadata", [{"step": 46}, {"step": 10**9}, {"scalars": {"w": 9.0}}])
def test_a_checkpoint_whose_own_step_was_edited_is_discarded(tmp_path, metadata):
    write_three(tmp_path)
    path = tmp_path / "step-000000100.safetensors"
    tensors, before = read_tensors(path)
    write_tensors(path, tensors, {**before, **metadata})
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.step == 10


def test_a_checkpoint_whose_history_was_edited_is_discarded(tmp_path, caplog):
    history = tmp_path / "history.jsonl"
    for step in (1, 2, 3):
        with HistoryFile(history, history.stat().st_size if history.exists() else 0) as file:
            file.append({"step": step, "total": 0.5})
        save_checkpoint(tmp_path, Checkpoint(step, {"x": torch.zeros(1)}, {}, file.written))
    lines = history.read_text().splitlines()
    history.write_text("\n".join([*lines[:2], lines[2].replace("0.5", "0.4")]) + "\n")
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.step == 2
    assert "history.jsonl is not as it was" in caplog.text
    history.write_text("")
    assert load_checkpoint(tmp_path) is None


def test_a_checkpoint_of_a_version_that_did_not_check_the_history_is_discarded(tmp_path, caplog):
    path = tmp_path / "step-000000009.safetensors"
    write_tensors(path, {"x": torch.zeros(1)}, {"step": 9, "scalars": {}})
    index = {"step": 9, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "scalars": {}}
    path.with_suffix(".json").write_text(json.dumps(index))
    assert load_checkpoint(tmp_path) is None
    assert "older version" in caplog.text


def test_a_run_that_lost_its_place_writes_to_the_old_history(tmp_path):
    """A process that slept, and wakes while another one goes on with its work, adds no line to the other's history."""
    path = tmp_path / "history.jsonl"
    with HistoryFile(path, 0) as slept:
        slept.append({"step": 1})
        with HistoryFile(path, path.stat().st_size) as other:
            slept.append({"step": 2})
            other.append({"step": 2, "ours": True})
    assert read_history(path) == [{"step": 1}, {"step": 2, "ours": True}]


def test_a_checkpoint_of_a_run_that_lost_its_place_is_not_taken_for_one_of_the_other_history(pairs, tmp_path):
    """Both write checkpoints to one folder, and only the other one's history is there in the end."""
    spec = TrainingSpec(steps=4, batch=1, patch=32, log_every=1)
    slept, other, resumed = (
        Trainer(spec, build_generator(TINY, 4, seed=0), pairs, seed=0, stream="pretrain") for _ in range(3)
    )

    def taken_over():
        if slept.step == 1:
            with contextlib.suppress(StoppedError):
                other.run(tmp_path, checkpoint_every=10, stop=lambda: other.step == 1)
            for path in tmp_path.glob("step-*"):
                path.unlink()  # it was killed before it could save
        return slept.step == 2

    with pytest.raises(StoppedError):
        slept.run(tmp_path, checkpoint_every=10, stop=taken_over)
    resumed.run(tmp_path, checkpoint_every=10)
    assert [row["step"] for row in read_history(tmp_path / "history.jsonl")] == [1, 2, 3, 4]


def test_no_temporary_files_are_left(tmp_path):
    write_three(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_files_of_tensors_can_be_read_by_whom_the_umask_allows(tmp_path):
    (tmp_path / "plain").touch()
    write_three(tmp_path)
    modes = {path.stat().st_mode for path in [tmp_path / "plain", *tmp_path.glob("*.safetensors")]}
    assert len(modes) == 1
