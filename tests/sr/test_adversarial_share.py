"""The adversarial term's share of the gradient on the image, held during training."""

import math

import pytest
import torch

from lopsided.analysis.figures import setting_name
from lopsided.common.sources import parse_source
from lopsided.discriminators import build_discriminator, objective
from lopsided.experiments import plan
from lopsided.experiments.schema.errors import ExperimentError
from lopsided.experiments.schema.load import load_experiment
from lopsided.losses import create_measure
from lopsided.sr import (
    Adversarial,
    AdversarialShare,
    Fidelity,
    FinetuneSpec,
    GeneratorSpec,
    PairCache,
    Trainer,
    build_generator,
)
from lopsided.sr.adversarial_share import CAP, DECAY
from lopsided.sr.history import read_history
from lopsided.sr.stability import summarise_stability


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    items = parse_source({"source": "skimage", "split": "train"}).items()[:3]
    return PairCache.build(items, 4, tmp_path_factory.mktemp("pairs"))


def trainer(pairs, weight, steps=40, fidelity="ssim"):
    return Trainer(
        FinetuneSpec(steps=steps, batch=2, patch=32, log_every=1, learning_rate=1e-4, ema=0.9),
        build_generator(GeneratorSpec(name="swinir-tiny"), 4, seed=0),
        pairs,
        seed=0,
        stream="finetune",
        fidelity=Fidelity(create_measure(fidelity), None) if fidelity else None,
        adversarial=Adversarial(build_discriminator("patch", seed=0), objective("bce"), weight, 3e-4),
    )


@pytest.mark.parametrize("fidelity", [None, "ssim"])
def test_the_share_is_held_where_a_fixed_weight_lets_it_drift(pairs, tmp_path, fidelity):
    def shares(weight, name):
        run = trainer(pairs, weight, fidelity=fidelity)
        run.run(tmp_path / name, checkpoint_every=1000)
        rows = read_history(tmp_path / name / "history.jsonl")
        found = []
        for row in rows:
            total = sum(row.get(f"gradient_{term}", 0.0) for term in ("pixel", "fidelity", "adversarial"))
            found.append(row["gradient_adversarial"] / total)
        return found, rows

    held, rows = shares(AdversarialShare(0.1), "held")
    fixed, _ = shares(rows[0]["adversarial_weight"], "fixed")  # equal at the first step
    assert held[0] == pytest.approx(0.1, rel=1e-4)
    assert fixed[0] == pytest.approx(0.1, rel=1e-4)
    ratio = 0.1 / 0.9
    assert max(held) <= CAP * ratio / (1 + CAP * ratio) + 1e-6
    # The slopes grow from step to step: the running match lags behind them a little, a fixed weight far.
    late = [sum(values[20:]) / len(values[20:]) for values in (held, fixed)]
    assert late[0] == pytest.approx(0.1, rel=0.5)
    assert abs(late[1] - 0.1) > 2 * abs(late[0] - 0.1)
    assert summarise_stability(rows)["adversarial_gradient_share"] == pytest.approx(sum(held) / len(held), rel=1e-6)


def test_a_resumed_training_goes_on_with_the_same_weight(pairs):
    whole, first, second = (trainer(pairs, AdversarialShare(0.1)) for _ in range(3))
    rows = [whole.train_step() for _ in range(6)]
    for _ in range(3):
        first.train_step()
    second.restore_state(first.state())
    again = [second.train_step() for _ in range(3)]
    assert [row["adversarial_weight"] for row in again] == [row["adversarial_weight"] for row in rows[3:]]
    tensors = second.state().tensors
    assert all(torch.equal(value, tensors[key]) for key, value in whole.state().tensors.items())


def test_the_weight_is_a_running_mean_of_what_would_have_matched():
    share = AdversarialShare(0.5)  # as long as all others together
    assert share.log_weight is None
    share.update(others=4.0, adversarial=2.0, weight=1.0)
    assert share.log_weight == pytest.approx(math.log(2))
    share.update(others=4.0, adversarial=0.0, weight=1.0)  # no slope: nothing to learn from it
    share.update(others=4.0, adversarial=0.5, weight=1.0)
    expected = DECAY * math.log(2) + (1 - DECAY) * math.log(8)
    assert share.log_weight == pytest.approx(expected)
    steep, flat = (share.weight(others=torch.tensor(4.0), adversarial=torch.tensor(slope)) for slope in (60.0, 0.0))
    assert steep.item() == pytest.approx(CAP * 4 / 60)  # capped
    assert flat.item() == pytest.approx(math.exp(expected))


EXPERIMENT = """
name: held
data: {train: {source: skimage, split: train}, test: {t: {images: {source: skimage, split: test}, crop: 64}}}
super_resolution:
  pretrain: {steps: 2, batch: 1, patch: 32}
  finetune: {steps: 2, batch: 1, patch: 32, hold_adversarial_share: true}
grid: {fidelity: none, discriminator: patch, gan_weight: [0.1, 1.0]}
judges: [psnr_y]
"""


def test_a_share_of_one_is_refused(tmp_path):
    path = tmp_path / "held.yaml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"held\.yaml:7: grid\.gan_weight.*must be below 1, got 1"):
        load_experiment(path)
    assert load_experiment(path, ["grid.gan_weight=0.1"]).optimized.super_resolution.finetune.hold_adversarial_share


def test_a_generator_without_weights_needs_steps(tmp_path):
    path = tmp_path / "held.yaml"
    path.write_text(
        EXPERIMENT.replace("1.0", "0.2").replace("pretrain: {steps: 2", "pretrain: {steps: 0"), encoding="utf-8"
    )
    with pytest.raises(
        ExperimentError, match=r"pretrain\.steps: must be at least 1, got 0: 'swinir-tiny' has no `weights`"
    ):
        load_experiment(path)


def test_tables_and_titles_say_that_the_weight_is_a_share(tmp_path):
    path = tmp_path / "held.yaml"
    path.write_text(EXPERIMENT.replace("1.0", "0.2"), encoding="utf-8")
    cells = [cell for cell in plan(path).cells if cell.stage == "finetune"]
    assert {cell.labels["discriminator"] for cell in cells} == {"none", "patch@share"}
    assert {setting_name(cell.labels["discriminator"], cell.labels["gan_weight"]) for cell in cells} == {
        *("no discriminator", "patch (share 0.1)", "patch (share 0.2)"),
    }
    assert sum("patch share=0.1 seed 0" in cell.title for cell in cells) == 1
    weighed = plan(path, ["super_resolution.finetune.hold_adversarial_share=false"])
    assert {cell.labels["discriminator"] for cell in weighed.cells if cell.stage == "finetune"} == {"none", "patch"}
