"""Generators, the trainer and its checkpoints."""

import logging

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lopsided.common.sources import parse_source
from lopsided.discriminators import build_discriminator, objective
from lopsided.losses import create_measure
from lopsided.sr import (
    Adversarial,
    DivergedError,
    Fidelity,
    FinetuneSpec,
    GeneratorSpec,
    Trainer,
    TrainingSpec,
    build_generator,
    super_resolve,
)
from lopsided.sr.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lopsided.sr.errors import SuperResolutionError
from lopsided.sr.images import PairCache
from lopsided.sr.trainer import StoppedError, read_lines

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


# --- generators -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("preset", ["tiny", "lightweight"])
def test_generators_enlarge_by_their_scale(preset, scale):
    generator = build_generator(GeneratorSpec(name=f"swinir-{preset}"), scale)
    images = torch.rand(1, 3, 11, 18)  # no multiples of the window
    restored = super_resolve(generator, images, scale)
    assert restored.shape == (1, 3, 11 * scale, 18 * scale)
    assert restored.min() >= 0
    assert restored.max() <= 1
    assert generator.training  # left as it was


@pytest.mark.parametrize("preset", ["classical", "realworld"])
@pytest.mark.parametrize("layout", ["params", "params_ema", None])
def test_checkpoints_in_the_official_layouts_load_strictly(tmp_path, preset, layout):
    if preset == "classical" and layout is None:
        pytest.skip("one large model in two layouts is enough")
    source = build_generator(GeneratorSpec(name=f"swinir-{preset}"), 4, seed=1)
    state = source.state_dict()
    path = tmp_path / "official.pth"
    torch.save({layout: state} if layout else state, path)
    spec = GeneratorSpec(name=f"swinir-{preset}", weights=str(path))
    loaded = build_generator(spec, 4, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(state.values(), loaded.state_dict().values(), strict=True))
    with pytest.raises(SuperResolutionError, match="does not fit this generator"):
        build_generator(GeneratorSpec(name="swinir-tiny", weights=str(path)), 4)


def test_checkpoints_trained_at_another_size_load(tmp_path):
    """Official classical files come with masks for 48 px crops; masks are constants and are computed anew."""
    from lopsided.common.basicsr_compat import load_basicsr

    load_basicsr()
    from basicsr.archs.swinir_arch import SwinIR

    options = {"embed_dim": 60, "depths": (6,) * 4, "num_heads": (6,) * 4, "upsampler": "pixelshuffledirect"}
    official = SwinIR(upscale=2, img_size=48, window_size=8, mlp_ratio=2, **options).eval()
    path = tmp_path / "s48.pth"
    torch.save({"params": official.state_dict()}, path)
    loaded = build_generator(GeneratorSpec(name="swinir-lightweight", weights=str(path)), 2).eval()
    images = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), official(images))


def test_bad_generators_are_refused(tmp_path):
    with pytest.raises(ValidationError, match="did you mean 'swinir-tiny'"):
        GeneratorSpec(name="swinir-tinny")
    with pytest.raises(SuperResolutionError, match="has no ×3"):
        build_generator(GeneratorSpec(name="swinir-realworld"), 3)
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(SuperResolutionError, match="cannot read checkpoint"):
        build_generator(GeneratorSpec(name="swinir-tiny", weights=str(broken)), 4)


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
    assert all(torch.isfinite(value) for terms in history for value in terms.values())
    assert ("gradient_penalty" in history[0]) == bool(penalty)
    assert history[0]["gradient_adversarial"] > 0
    for _ in range(2):
        first.train_step()
    second.restore_state(first.state())
    for _ in range(2):
        second.train_step()
    assert all(torch.equal(value, tensors(second)[key]) for key, value in tensors(whole).items())


def test_gradient_through_the_image_equals_one_backward_pass(pairs, tmp_path):
    """Splitting the backward pass at the image must not change what the generator learns."""
    trainer = adversarial_trainer(pairs)
    trainer.match_gradients()
    twin = adversarial_trainer(pairs)
    low, high = trainer.batch(0)
    trainer.generator.eval()  # no stochastic depth, so that both see one network
    twin.generator.eval()
    image = twin.generator(low)
    clamped = image.clamp(0, 1)
    assert trainer.fidelity is not None
    assert trainer.fidelity.weight is not None
    assert twin.fidelity is not None
    assert twin.adversarial is not None
    loss = (
        torch.nn.functional.l1_loss(image, high)
        + trainer.fidelity.weight * twin.fidelity.measure(clamped, high)
        + 0.01 * objective("bce").generator(twin.adversarial.discriminator(clamped))
    )
    loss.backward()
    expected = [p.grad.clone() for p in twin.generator.parameters() if p.grad is not None]
    seen: list[torch.Tensor] = []
    original = trainer.optimiser.step
    trainer.optimiser.step = lambda: seen.extend(  # type: ignore[method-assign]
        p.grad.clone() for p in trainer.generator.parameters() if p.grad is not None
    )
    trainer.train_step()
    trainer.optimiser.step = original  # type: ignore[method-assign]
    assert len(seen) == len(expected) > 0
    for a, b in zip(seen, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_pixel_training_approaches_the_reference(pairs, tmp_path):
    spec = TrainingSpec(steps=60, batch=4, patch=32, learning_rate=2e-3, ema=0.9)
    trainer = Trainer(spec, build_generator(TINY, 4), pairs, seed=0, stream="pretrain")
    trainer.run(tmp_path, checkpoint_every=1000)
    rows = read_lines(tmp_path / "history.jsonl")
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 60]
    assert rows[-1]["pixel"] < 0.7 * rows[0]["pixel"]


def test_matched_gradients_have_equal_norms_at_the_start(pairs):
    trainer = adversarial_trainer(pairs)
    trainer.match_gradients()
    norms = []
    trainer.generator.eval()
    for index in range(4):
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
    histories = [read_lines(tmp_path / name / "history.jsonl") for name in ("whole", "cut")]
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


def test_a_non_finite_loss_ends_as_diverged_and_names_step_and_term(pairs, tmp_path):
    trainer = adversarial_trainer(pairs, steps=12, fidelity=None)
    step = trainer.train_step

    def poisoned():
        if trainer.step == 7:
            with torch.no_grad():
                trainer.generator.get_parameter("conv_first.weight").mul_(float("inf"))
        return step()

    trainer.train_step = poisoned  # type: ignore[method-assign]
    with pytest.raises(DivergedError) as caught:
        trainer.run(tmp_path, checkpoint_every=3)
    assert caught.value.step == 8
    assert caught.value.term == "pixel"
    rows = read_lines(tmp_path / "history.jsonl")
    assert [row["step"] for row in rows] == [3, 6]  # history up to the fault is kept
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint is not None
    assert all(torch.isfinite(t).all() for t in checkpoint.tensors.values() if t.is_floating_point())


def test_average_follows_its_definition(pairs):
    spec = TrainingSpec(steps=3, batch=1, patch=32, ema=0.5)
    trainer = Trainer(spec, build_generator(TINY, 4), pairs, seed=0, stream="pretrain")
    seen = []
    for _ in range(3):
        trainer.train_step()
        seen.append(trainer.generator.get_parameter("conv_first.weight").detach().clone())
    expected = 0.5 * (0.5 * seen[0] + 0.5 * seen[1]) + 0.5 * seen[2]
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


def test_no_temporary_files_are_left(tmp_path):
    write_three(tmp_path)
    assert not list(tmp_path.glob(".*"))
