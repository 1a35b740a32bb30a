"""Precision, micro-batches, clipping, skipped steps, memory layout, loader threads, validation, TensorBoard."""

import math
import re
from dataclasses import dataclass

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from support.paths import ROOT
from torch import nn

from lopsided.common.sources import parse_source
from lopsided.discriminators import build_discriminator, objective
from lopsided.experiments.schema.execution import Execution
from lopsided.losses import create_measure
from lopsided.sr import (
    Adversarial,
    DivergedError,
    Fidelity,
    FinetuneSpec,
    GeneratorSpec,
    Runtime,
    Trainer,
    TrainingSpec,
    Validated,
    Validation,
    build_generator,
    tracker,
)
from lopsided.sr.checkpoint import load_checkpoint, read_tensors
from lopsided.sr.errors import SuperResolutionError
from lopsided.sr.history import read_history
from lopsided.sr.images import PairCache
from lopsided.sr.trainer import StoppedError


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    items = parse_source({"source": "skimage", "split": "train"}).items()
    return PairCache.build(items, 4, tmp_path_factory.mktemp("pairs"))


def network(seed=0):
    """A generator that trains in milliseconds."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 48, 3, padding=1), nn.PixelShuffle(4))


def trainer(pairs, *, runtime=None, validation=None, adversarial=None, generator=None, **numbers):
    numbers = {"steps": 12, "batch": 4, "patch": 32, "log_every": 3, "learning_rate": 1e-3, **numbers}
    return Trainer(
        FinetuneSpec(**numbers),
        generator or network(),
        pairs,
        seed=0,
        stream="finetune",
        fidelity=Fidelity(create_measure("ssim"), 0.1),
        adversarial=adversarial or Adversarial(build_discriminator("patch"), objective("bce"), 0.01, 1e-4),
        validation=validation,
        runtime=runtime or Runtime(),
    )


def tensors(trainer):
    return trainer.state().tensors


def equal(a, b):
    return [name for name in tensors(a) if not torch.equal(tensors(a)[name], tensors(b)[name])] == []


# --- precision ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fp16", "float16", "half"])
def test_half_precision_is_refused_with_the_reason(name):
    with pytest.raises(ValidationError, match=r"fp16 is refused: SwinIR's activations .* use bf16"):
        TrainingSpec(steps=1, precision=name)


def test_bf16_learns_nearly_the_same_in_fp32_weights(pairs):
    """One step's gradients point the same way; weights, averages and moments stay fp32."""
    gradients = []
    for precision in ("fp32", "bf16"):
        made = trainer(pairs, precision=precision, generator=build_generator(GeneratorSpec(name="swinir-tiny"), 4))
        held: list[torch.Tensor] = []
        for player in made.players.values():
            player.optimiser.register_step_pre_hook(
                lambda optimiser, *_, held=held: held.extend(
                    p.grad.flatten().clone() for group in optimiser.param_groups for p in group["params"]
                )
            )
        made.train_step()
        gradients.append(torch.cat(held))
        assert all(t.dtype != torch.bfloat16 for t in tensors(made).values())
    assert not torch.equal(*gradients)
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.99


# --- micro-batches, clipping ----------------------------------------------------------------------------------------


def test_micro_batches_make_the_gradient_of_the_whole_batch(pairs):
    made = trainer(pairs, micro_batches=2)
    crops = [made.batch(0, index) for index in range(2)]
    low, high = (torch.cat(parts) for parts in zip(*crops, strict=True))
    assert len(low) == made.spec.batch
    assert not torch.equal(*(low for low, _ in crops)), "each micro-batch has crops of its own"
    whole = trainer(pairs)
    restored = whole.generator(low)
    gradient, terms, pulls = whole.loss(restored, high, 1.0, torch.Generator())
    restored.backward(gradient)
    expected = torch.stack([p.grad.norm() for p in whole.generator.parameters() if p.grad is not None]).norm()
    seen = made.train_step()
    assert seen["gradient_generator"] == pytest.approx(expected.item(), rel=1e-4)
    for name in ("pixel", "fidelity", "adversarial", "discriminator", "total"):
        assert seen[name] == pytest.approx(terms[name].item(), rel=1e-5)
    for name, square in pulls.items():
        assert seen[f"gradient_{name}"] == pytest.approx(math.sqrt(square.item()), rel=1e-4)


def test_micro_batches_must_divide_the_batch():
    with pytest.raises(ValidationError, match=r"micro_batches \(3\) must divide batch \(8\)"):
        TrainingSpec(steps=1, batch=8, micro_batches=3)


def test_clipping_bounds_the_norm_that_the_optimiser_sees_and_the_history_keeps_the_true_one(pairs):
    made = trainer(pairs, clip_gradient=1e-3)
    seen: list[float] = []
    for player in made.players.values():
        player.optimiser.register_step_pre_hook(
            lambda optimiser, *_: seen.append(
                torch.nn.utils.get_total_norm(
                    [p.grad for group in optimiser.param_groups for p in group["params"]]
                ).item()
            )
        )
    terms = made.train_step()
    assert seen == pytest.approx([1e-3, 1e-3], rel=1e-2)
    assert terms["gradient_generator"] > 2e-3
    assert terms["gradient_discriminator"] > 2e-3


# --- steps that are not finite --------------------------------------------------------------------------------------


@dataclass
class Poisoned:
    """A step's loss whose gradient, or one of whose terms, is not finite at some steps (from 0)."""

    trainer: Trainer
    steps: set[int]
    term: str | None = None

    def __post_init__(self):
        self.loss = self.trainer.loss
        self.trainer.loss = self  # type: ignore[assignment]

    def __call__(self, *arguments):
        gradient, terms, pulls = self.loss(*arguments)
        if self.trainer.step in self.steps:
            if self.term:
                terms[self.term] = terms[self.term] * math.nan
            gradient = gradient * math.inf
        return gradient, terms, pulls


@pytest.mark.parametrize(
    ("term", "located"), [("fidelity", "fidelity"), (None, r"gradient_generator (0.weight)")], ids=["term", "gradient"]
)
def test_a_step_that_is_not_finite_changes_nothing_and_is_located(pairs, term, located):
    made = trainer(pairs)
    Poisoned(made, {2}, term)
    for _ in range(2):
        made.train_step()
    before = {name: tensor.clone() for name, tensor in tensors(made).items()}
    made.train_step()
    assert [(skip.step, skip.term) for skip in made.skipped] == [(3, located)]
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors(made).items())
    made.train_step()
    assert not torch.equal(before["generator/0.weight"], tensors(made)["generator/0.weight"])


def test_skipped_steps_are_counted_and_survive_a_resume(pairs, tmp_path):
    """Means leave them out; the same training cut in two skips the same steps and ends on the same weights."""
    whole = trainer(pairs)
    Poisoned(whole, {1, 7, 8})
    whole.run(tmp_path / "whole", checkpoint_every=3)
    rows = read_history(tmp_path / "whole" / "history.jsonl")
    assert [row["skipped"] for row in rows] == [1, 0, 2, 0]
    assert all(math.isfinite(value) for row in rows for value in row.values())

    first, answers = trainer(pairs), iter([False, True])
    Poisoned(first, {1, 7, 8})
    with pytest.raises(StoppedError):
        first.run(tmp_path / "cut", checkpoint_every=3, stop=lambda: next(answers))
    second = trainer(pairs)
    Poisoned(second, {1, 7, 8})
    second.run(tmp_path / "cut", checkpoint_every=3)
    assert [skip.step for skip in second.skipped] == [2, 8, 9]
    assert equal(whole, second)


def test_a_spent_budget_ends_as_diverged_and_names_step_and_term(pairs, tmp_path):
    made = trainer(pairs, skip_budget=2)
    Poisoned(made, {4, 6, 7}, "pixel")
    with pytest.raises(DivergedError, match=r"pixel became nan at step 8, after 2 skipped step\(s\)") as caught:
        made.run(tmp_path, checkpoint_every=3)
    assert (caught.value.step, caught.value.term) == (8, "pixel")
    rows = read_history(tmp_path / "history.jsonl")
    assert [(row["step"], row["skipped"]) for row in rows] == [(3, 0), (6, 1), (8, 1)]  # to the very end
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint is not None
    assert all(torch.isfinite(t).all() for t in checkpoint.tensors.values() if t.is_floating_point())


def test_a_training_of_which_most_would_be_skipped_has_diverged(pairs):
    made = trainer(pairs, steps=5)
    Poisoned(made, set(range(5)))
    for _ in range(2):
        made.train_step()
    with pytest.raises(DivergedError, match=r"at step 3, after 2 skipped step\(s\)"):
        made.train_step()


# --- how it runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [0, 3])
def test_threads_that_draw_crops_change_nothing(pairs, tmp_path, threads):
    plain = trainer(pairs)
    plain.run(tmp_path / "1", checkpoint_every=100)
    other = trainer(pairs, runtime=Runtime(loader_threads=threads))
    other.run(tmp_path / "n", checkpoint_every=100)
    assert equal(plain, other)


def test_channels_last_gives_the_same_to_rounding_and_resumes_exactly(pairs, tmp_path):
    """A checkpoint has no memory layout, but optimiser kernels go over memory as it lies."""
    runtime = Runtime(channels_last=True)
    whole, plain = trainer(pairs, runtime=runtime), trainer(pairs)
    whole.run(tmp_path / "whole", checkpoint_every=100)
    plain.run(tmp_path / "plain", checkpoint_every=100)
    weight = whole.generator.get_parameter("2.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(weight, plain.generator.get_parameter("2.weight"), rtol=1e-3, atol=1e-5)
    first, answers = trainer(pairs, runtime=runtime), iter([True])
    with pytest.raises(StoppedError):
        first.run(tmp_path / "cut", checkpoint_every=100, stop=lambda: next(answers))
    second = trainer(pairs, runtime=runtime)
    second.run(tmp_path / "cut", checkpoint_every=100)
    assert equal(whole, second)


def test_a_compiled_generator_trains_the_same_weights(pairs):
    compiled, plain = (
        Trainer(
            TrainingSpec(steps=1, batch=1, patch=16),
            network(),
            pairs,
            seed=0,
            stream="pretrain",
            runtime=Runtime(compile=compiling),
        )
        for compiling in (True, False)
    )
    for made in (compiled, plain):
        made.train_step()
    assert tensors(compiled).keys() == tensors(plain).keys()
    for name, tensor in tensors(plain).items():
        torch.testing.assert_close(tensors(compiled)[name], tensor, rtol=1e-3, atol=1e-5, msg=name)


# --- validation -----------------------------------------------------------------------------------------------------

SCORES = {4: 3.0, 8: 1.0, 12: 2.0}


def validation(made, top=2, scores=SCORES):
    """Rank by made-up scores, of weights that are real."""
    return Validation(
        every=4,
        judge="distance",
        lower_is_better=True,
        top=top,
        score=lambda _: Validated({"distance": scores[made[0].step]}, [torch.zeros(3, 8, 8)]),
    )


def validated_trainer(pairs, **options):
    made: list[Trainer] = []
    made.append(trainer(pairs, validation=validation(made, **options)))
    return made[0]


def test_validation_keeps_the_best_averaged_weights_and_goes_into_the_history(pairs, tmp_path):
    made = validated_trainer(pairs)
    made.run(tmp_path, checkpoint_every=3)
    assert made.ranking is not None
    assert made.ranking.entries == [(8, 1.0), (12, 2.0)]
    rows = [row for row in read_history(tmp_path / "history.jsonl") if "validation/distance" in row]
    assert rows == [{"step": step, "validation/distance": score} for step, score in SCORES.items()]
    weights, about = read_tensors(made.ranking.paths()[1])
    assert about == {"step": 12, "distance": 2.0}
    assert all(torch.equal(weights[name], t) for name, t in made.averaged_generator().state_dict().items())


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_the_best_weights_are_the_same_after_a_resume(pairs, tmp_path, stop):
    whole = validated_trainer(pairs, top=1)
    whole.run(tmp_path / "whole", checkpoint_every=3)
    first, windows = validated_trainer(pairs, top=1), iter(range(1, 9))
    with pytest.raises(StoppedError):
        first.run(tmp_path / "cut", checkpoint_every=3, stop=lambda: next(windows) == stop)
    second = validated_trainer(pairs, top=1)
    second.run(tmp_path / "cut", checkpoint_every=3)
    assert second.ranking is not None
    assert whole.ranking is not None
    assert second.ranking.entries == whole.ranking.entries == [(8, 1.0)]
    ours, theirs = (read_tensors(ranking.paths()[0])[0] for ranking in (second.ranking, whole.ranking))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_weights_that_an_older_checkpoint_ranks_are_there_when_it_is_needed(pairs, tmp_path):
    """The newest checkpoint is lost, and the resumed run, on a GPU that sums in another order, finds other scores."""
    first, windows = validated_trainer(pairs, top=1), iter(range(1, 9))
    with pytest.raises(StoppedError):
        first.run(tmp_path, checkpoint_every=3, stop=lambda: next(windows) == 3)
    assert first.ranking is not None
    assert first.ranking.entries == [(8, 1.0)]
    (tmp_path / "step-000000009.json").unlink()
    second = validated_trainer(pairs, top=1, scores={8: 5.0, 12: 6.0})
    second.run(tmp_path, checkpoint_every=3)
    assert second.ranking is not None
    assert second.ranking.entries == [(4, 3.0)]
    assert read_tensors(second.ranking.paths()[0])[1]["step"] == 4


def test_best_weights_that_were_damaged_are_not_resumed_from(pairs, tmp_path, caplog):
    """Neither with the checkpoint that ranks them nor at the end, where they become the result."""
    first, windows = validated_trainer(pairs, top=1), iter(range(1, 9))
    with pytest.raises(StoppedError):
        first.run(tmp_path, checkpoint_every=3, stop=lambda: next(windows) == 3)
    assert first.ranking is not None
    (path,) = first.ranking.paths()
    whole = bytearray(path.read_bytes())
    path.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    with pytest.raises(SuperResolutionError, match="is damaged"):
        list(first.ranking.read())
    second = validated_trainer(pairs, top=1)
    second.run(tmp_path, checkpoint_every=3)
    assert "best weights of the checkpoint of step 9 are damaged" in caplog.text
    assert second.ranking is not None
    ((_, weights, _),) = second.ranking.read()
    assert all(torch.equal(t, safetensors.torch.load(bytes(whole))[name]) for name, t in weights.items())


def test_a_validation_that_is_not_finite_ends_as_diverged(pairs, tmp_path):
    made = validated_trainer(pairs, scores={4: math.nan})
    with pytest.raises(DivergedError, match="validation by distance became nan at step 4"):
        made.run(tmp_path, checkpoint_every=3)


def test_tensorboard_shows_the_history_and_restored_images(pairs, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = validated_trainer(pairs)
    made.run(
        tmp_path / "work", checkpoint_every=3, trackers=[tracker("tensorboard", tmp_path, tmp_path, "key", "title")]
    )
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    rows = read_history(tmp_path / "work" / "history.jsonl")
    for name in ("pixel", "d_real", "gradient_generator", "learning_rate", "skipped", "validation/distance"):
        expected = [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows if name in row]
        assert [(event.step, event.value) for event in events.Scalars(name)] == expected
    assert [event.step for event in events.Images("validation/0")] == [4, 8, 12]


# --- docs/training.md -----------------------------------------------------------------------------------------------

DOCS = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("spec", [FinetuneSpec, Execution])
def test_the_tables_of_the_docs_have_every_setting(spec):
    cells = [row.split("|")[1] for row in DOCS.splitlines() if row.startswith("| `")]
    named = set(re.findall(r"`(\w+)`", " ".join(cells)))
    assert set(spec.model_fields) <= named
    assert named <= set(FinetuneSpec.model_fields) | set(Execution.model_fields)


def test_the_example_of_the_docs_trains_and_resumes(tmp_path):
    example = re.search(r"```python\n(.*?)```", DOCS, re.DOTALL)
    assert example
    for _ in range(2):
        names = {"folder": tmp_path}
        exec(example[1], names)
        assert names["restored"].shape == (1, 3, 64, 64)
        assert names["trainer"].step == 20
