"""trl's trainers with our losses, rewards and logs; the only module that imports trl and datasets.

What differs from trl's defaults, and why:

- ``remove_unused_columns=False``: labels travel beside the tokens. ``max_length=None``: cutting a prompt cuts an image.
- ``bf16`` and ``gradient_checkpointing`` are on in trl unless they are switched off; here the settings say it.
- ``loss_type``, ``scale_rewards`` and ``beta`` of GRPO are the papers'.
- A checkpoint's weights are loaded by :func:`lopsided.mllm.align.adapters.load_weights`, never by names that may not
  fit. The model that GRPO's KL term compares with stays the original one.
"""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling, SFTTrainer

from ...common.files import atomic_path, write_text
from ...common.identity import sha256_file
from ...common.lines import sealed, unsealed
from ..backends.backend import Reply
from ..backends.transformers import TransformersBackend
from ..errors import MllmError
from ..scoring.outcomes import Status
from ..scoring.preset import Preset
from ..scoring.scale import ScoreScale
from .adapters import load_weights
from .config import Alignment, CrossEntropy, Dpo, Levels, SoftDigits
from .examples import Example, read_replies, shown, write_rating
from .losses import IGNORED, fidelity_loss, level_expectation, level_loss, level_targets, soft_digit_loss
from .rewards import ParsedReply, Rewards

COMPLETE = "complete.json"  # the file that a checkpoint gets when all of it is there: the hashes of the others
TIMES = ("time", "runtime", "per_second", "memory", "total_flos")  # in names of what differs from run to run


class _Resumes:
    """A trainer that loads the weights of a checkpoint strictly, and writes no model card."""

    model: Any

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: it would name only trl."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(self.model if model is None else model, resume_from_checkpoint)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' own bars, and notices of what they will rename, out of ours."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`(is_)?gradient_checkpointing", FutureWarning)
            yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


# --- imitation -------------------------------------------------------------------------------------------------------


class _Collator(DataCollatorForVisionLanguageModeling):
    """trl's, with the labels beside the tokens."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        beside = {name: torch.tensor([example[name] for example in examples]) for name in ("score", "std")}
        return super().torch_call(examples) | beside


class RatingSFT(_Resumes, SFTTrainer):
    """Imitation of answers with one of our losses.

    Args:
        loss: which one.
        tokens: token ids that the loss is about, and the values of levels; see ``token_sets``.
        options: of trl's trainer.
    """

    def __init__(
        self, *, loss: CrossEntropy | SoftDigits | Levels, tokens: Mapping[str, Tensor], **options: Any
    ) -> None:
        super().__init__(**options)
        self._loss, self._tokens = loss, tokens
        # Qwen2.5-VL says no, and every micro-batch would be averaged on its own: answers of unlike lengths would then
        # count differently with and without accumulation. All losses here divide by the count over the whole step.
        self.model_accepts_loss_kwargs = True

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of a micro-batch, divided by the tokens or images of the whole step."""
        score, std = inputs.pop("score"), inputs.pop("std")
        if isinstance(self._loss, CrossEntropy):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs.pop("labels")[:, 1:]
        outputs = model(**inputs, use_cache=False)
        logits = outputs.logits[:, :-1]
        # Trainer counts trained tokens over all micro-batches of a step; images are counted likewise.
        trained = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        images = len(labels) * (1 if num_items_in_batch is None else self.current_gradient_accumulation_steps)
        tokens = {name: ids.to(logits.device) for name, ids in self._tokens.items()}
        if isinstance(self._loss, SoftDigits):
            options = self._loss.model_dump(exclude={"kind"})
            loss = soft_digit_loss(logits, labels, tokens["digits"], tokens["points"], **options) / trained
        else:
            loss = self._levels(self._loss, logits, labels, score, std, tokens, trained, images)
        return (loss, outputs) if return_outputs else loss

    @staticmethod
    def _levels(
        loss: Levels,
        logits: Tensor,
        labels: Tensor,
        score: Tensor,
        std: Tensor,
        tokens: Mapping[str, Tensor],
        trained: Any,
        images: int,
    ) -> Tensor:
        plain = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        total = loss.tokens * plain / trained
        rated = score.isfinite()
        is_level = torch.isin(labels[rated], tokens["levels"])
        if not bool(is_level.any(1).all()):
            raise MllmError("an answer has no token of the scale's levels: was it cut off?")
        rows = torch.arange(len(is_level), device=labels.device)
        at = logits[rated][rows, is_level.int().argmax(1)].float()
        values, means = tokens["values"].to(at), score[rated].to(at)
        stds = std[rated].to(at) if bool(std[rated].isfinite().all()) else None
        targets = level_targets(means, values, kind=loss.target, stds=stds, deqa=loss.deqa)
        total = total + loss.weight * level_loss(at, targets, tokens["levels"]) / images
        if loss.fidelity:
            of_pairs = fidelity_loss(level_expectation(at, tokens["levels"], values), means, stds)
            total = total + loss.fidelity * of_pairs * len(labels) / images
        return total


def token_sets(backend: TransformersBackend, preset: Preset, loss: Any) -> dict[str, Tensor]:
    """Return the token ids that a loss is about.

    Raises:
        MllmError: a level or a digit is not one token of the model.
    """
    tokenizer = backend.tokenizer
    if isinstance(loss, SoftDigits):
        ids = tokenizer.convert_tokens_to_ids([*"0123456789", "."])
        if None in ids or tokenizer.unk_token_id in ids:
            raise MllmError(f"{backend.name} has no tokens for single digits: soft-digits cannot be used")
        return {"digits": torch.tensor(ids[:10]), "points": torch.tensor(ids[10:])}
    if not isinstance(loss, Levels):
        return {}
    scales = {
        (question.prefix, question.reading.candidates): question.reading
        for question in preset.ratings.values()
        if isinstance(question.reading, ScoreScale)
    }
    found = {tuple(backend.renderer.candidate_ids(prefix, candidates)) for prefix, candidates in scales}
    if len(found) != 1:
        raise MllmError(f"the levels of {preset.key} are different tokens in different questions")
    values = next(iter(scales.values())).values
    return {"levels": torch.tensor(found.pop()), "values": torch.tensor(values)}


# --- data ------------------------------------------------------------------------------------------------------------


def to_dataset(examples: Sequence[Example], preset: Preset, columns: Callable[[Example], Mapping[str, Any]]) -> Dataset:
    """Return a data set whose images are read when they are needed.

    Args:
        examples: what is trained on.
        preset: whose steps images go through.
        columns: of an example, besides ``prompt`` and ``images``.
    """

    def load(rows: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [examples[n] for n in rows["index"]]
        made = [{"index": n, **_prompt(each), **columns(each)} for n, each in zip(rows["index"], chosen, strict=True)]
        images = [shown(each, preset) for each in chosen]
        return {**{name: [row[name] for row in made] for name in made[0]}, "images": images}

    return Dataset.from_dict({"index": list(range(len(examples)))}).with_transform(load)


def _prompt(example: Example) -> dict[str, Any]:
    system = [{"role": "system", "content": example.system}] if example.system else []
    return {"prompt": [*system, {"role": "user", "content": example.text}]}


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def wrong_answer(example: Example, preset: Preset, alignment: Alignment, dpo: Dpo) -> str:
    """Return an answer that is wrong by at least ``dpo.gap`` of the scale, the same one for the same example."""
    draw = random.Random(f"{alignment.seed} {example.item.benchmark} {example.item.id} {example.text}")  # noqa: S311
    if example.item.task == "answer":
        letters = [chr(ord("A") + n) for n in range(len(example.item.options))]
        return draw.choice([letter for letter in letters if letter != example.answer])
    low, high = preset.scale(example.item.dimension).range
    for _ in range(1000):
        score = draw.uniform(low, high)
        if abs(score - example.score) < dpo.gap * (high - low):
            continue
        try:
            answer = example.prefix + write_rating(score, example.item, preset, alignment.target)
        except MllmError:  # a number between two labels of CogIP-Bench
            continue
        if answer != example.answer:
            return answer
    raise MllmError(f"item {example.item.id}: no answer is wrong by {dpo.gap} of the scale; lower dpo.gap")


# --- rewards ---------------------------------------------------------------------------------------------------------


class _Judge:
    """Reads the replies of a step once, and gives each reward as a function in trl's form."""

    def __init__(self, rewards: Rewards, examples: Sequence[Example], preset: Preset, longest: int, ends: set[int]):
        self.rewards, self.examples, self.preset = rewards, examples, preset
        self.longest, self.ends = longest, ends
        self._known: tuple[Any, list[ParsedReply]] = (None, [])

    def functions(self) -> list[Callable[..., list[float | None]]]:
        return [self._function(name, reward) for name, reward in self.rewards.named.items()]

    def _function(self, name: str, reward: Any) -> Callable[..., list[float | None]]:
        def score(
            completions: Any, completion_ids: Any, index: Sequence[int], log_metric: Any = None, **_: Any
        ) -> list[float | None]:
            replies, new = self._read(completions, completion_ids, index)
            if new and log_metric is not None:
                shares = self.rewards.take_statuses()
                for status in get_args(Status):
                    log_metric(f"status/{status}", shares.get(status, 0.0))
            return [None if math.isnan(value) else float(value) for value in reward(replies)]

        score.__name__ = name
        return score

    def _read(self, completions: Any, ids: Any, index: Sequence[int]) -> tuple[list[ParsedReply], bool]:
        key = json.dumps([[list(map(int, row)) for row in ids], list(index)])
        if self._known[0] == key:
            return self._known[1], False
        replies = []
        for completion, tokens in zip(completions, ids, strict=True):
            text = completion if isinstance(completion, str) else completion[0]["content"]
            finished = len(tokens) < self.longest or int(tokens[-1]) in self.ends
            replies.append(Reply(text, finished=finished, new_tokens=len(tokens)))
        parsed = read_replies(replies, [self.examples[n].item for n in index], self.preset)
        self.rewards.count(parsed)
        self._known = key, parsed
        return parsed, True


class RatingGRPO(_Resumes, GRPOTrainer):
    """Group relative policy optimisation with an exact resume."""


class RatingDPO(_Resumes, DPOTrainer):
    """Direct preference optimisation with an exact resume."""


# --- callbacks -------------------------------------------------------------------------------------------------------


class LogLines(TrainerCallback):
    """Writes every log as a JSON line, without times, so that equal runs have equal lines.

    Args:
        path: the file. What a killed run wrote after its last checkpoint is cut off when it resumes.
        progress: told (steps done, all steps, note).
    """

    def __init__(self, path: Path, progress: Callable[[float, int, str], None]) -> None:
        self.path, self.progress = path, progress

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the lines up to the checkpoint."""
        del args, control, kwargs
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        whole = lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines  # a kill cut the last one off
        kept = [line for line in whole if self._step(line) <= state.global_step]
        if state.global_step and not kept:
            raise MllmError(
                f"{self.path} has no line up to step {state.global_step}; delete the folder and start again"
            )
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(b"".join(kept))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Append a line."""
        del args, control, kwargs
        numbers = {name: value for name, value in (logs or {}).items() if not any(time in name for time in TIMES)}
        if "train_loss" not in numbers:  # the summary at the end
            self.add(state.global_step, numbers)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        del args, control, kwargs
        last = state.log_history[-1] if state.log_history else {}
        shown = {name: last[name] for name in ("loss", "reward") if name in last}
        note = ", ".join(f"{name} {value:.3g}" for name, value in shown.items() if isinstance(value, int | float))
        self.progress(state.global_step, state.max_steps, note)

    def add(self, step: int, numbers: Mapping[str, Any]) -> None:
        """Append a line of any numbers."""
        whole = {name: value if _is_finite(value) else None for name, value in numbers.items()}
        with self.path.open("ab") as file:
            file.write(sealed({"step": step, **whole}))

    def _step(self, line: bytes) -> int:
        try:
            return unsealed(line)["step"]
        except (ValueError, KeyError) as error:
            raise MllmError(f"{self.path}: a line is damaged: {error}; delete the folder and start again") from None


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


class Marks(TrainerCallback):
    """Marks a checkpoint as complete: one that a kill has cut off is never resumed from."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the mark, which has the hash of every file."""
        del control, kwargs
        place = Path(args.output_dir, f"checkpoint-{state.global_step}")
        write_text(place / COMPLETE, json.dumps(digests(place)))


class Stops(TrainerCallback):
    """Saves a checkpoint and ends the training when it is asked to.

    Args:
        stop: asked after every step.
        every: steps that use one draw of replies, between which a checkpoint would not resume exactly.
    """

    def __init__(self, stop: Callable[[], bool], every: int) -> None:
        self.stop, self.every = stop, every

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask."""
        del args, kwargs
        if self.stop() and state.global_step % self.every == 0:
            control.should_save = control.should_training_stop = True


def digests(checkpoint: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a checkpoint, by name."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != COMPLETE)
    return {path.relative_to(checkpoint).as_posix(): sha256_file(path) for path in files}


class Evaluates(TrainerCallback):
    """Rates held-out items greedily every so many steps.

    Args:
        every: steps between evaluations.
        evaluate: returns numbers.
        log: where they go.
    """

    def __init__(self, every: int, evaluate: Callable[[], Mapping[str, Any]], log: LogLines) -> None:
        self.every, self.evaluate, self.log = every, evaluate, log

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Evaluate with the generators left as they are."""
        del args, control, kwargs
        if state.global_step % self.every:
            return
        cpu, python = torch.get_rng_state(), random.getstate()
        training = model.training
        model.eval()
        self.log.add(state.global_step, self.evaluate())
        model.train(training)
        torch.set_rng_state(cpu)
        random.setstate(python)


# --- putting together ------------------------------------------------------------------------------------------------


def make_trainer(
    alignment: Alignment,
    examples: Sequence[Example],
    backend: TransformersBackend,
    model: Any,
    optimiser: torch.optim.Optimizer,
    folder: Path,
    callbacks: Sequence[TrainerCallback],
) -> Any:
    """Return trl's trainer for an alignment.

    Args:
        alignment: what is done.
        examples: what is trained on.
        backend: has the processor.
        model: the backend's, perhaps with adapters.
        optimiser: of its weights.
        folder: where checkpoints go.
        callbacks: of the trainer.
    """
    optim, preset, draws = alignment.optim, alignment.asked, alignment.generation
    common: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": optim.batch,
        "gradient_accumulation_steps": optim.accumulation,
        "learning_rate": optim.rate,
        "lr_scheduler_type": optim.schedule,
        "warmup_steps": optim.warmup,
        "max_grad_norm": optim.clip,
        "num_train_epochs": optim.epochs,
        "max_steps": optim.steps or -1,
        "gradient_checkpointing": optim.checkpointing,
        "bf16": alignment.model.autocast,
        "use_cpu": backend.model.device.type == "cpu",
        "dataloader_pin_memory": backend.model.device.type != "cpu",
        "remove_unused_columns": False,
        "logging_steps": alignment.log_every,
        "logging_first_step": True,
        "save_steps": alignment.save_every,
        "save_total_limit": 2,
        "eval_strategy": "no",
        "report_to": alignment.trackers or "none",
        "disable_tqdm": True,
        "seed": alignment.seed,
        "data_seed": alignment.seed,
    }
    both: dict[str, Any] = {
        "model": model,
        "processing_class": backend.processor,
        "callbacks": list(callbacks),
        "optimizers": (optimiser, None),
    }
    if alignment.method == "sft":
        return RatingSFT(
            loss=alignment.loss,
            tokens=token_sets(backend, preset, alignment.loss),
            args=SFTConfig(max_length=None, completion_only_loss=True, **common),
            train_dataset=to_dataset(
                examples, preset, lambda each: {"completion": _said(each.answer), "score": each.score, "std": each.std}
            ),
            data_collator=_Collator(backend.processor, max_length=None, completion_only_loss=True),
            **both,
        )
    if alignment.method == "dpo":
        losses = {"sigmoid": 1.0, "sft": alignment.dpo.imitation}
        kept = {name: weight for name, weight in losses.items() if weight}
        return RatingDPO(
            args=DPOConfig(
                max_length=None,
                beta=alignment.dpo.beta,
                loss_type=list(kept),
                loss_weights=list(kept.values()),
                **common,
            ),
            train_dataset=to_dataset(
                examples,
                preset,
                lambda each: {
                    "chosen": _said(each.answer),
                    "rejected": _said(wrong_answer(each, preset, alignment, alignment.dpo)),
                },
            ),
            **both,
        )
    rewards = Rewards(alignment.rewards)
    ends = backend.model.generation_config.eos_token_id
    judge = _Judge(rewards, examples, preset, draws.max_tokens, set(ends if isinstance(ends, list) else [ends]))
    return RatingGRPO(
        args=GRPOConfig(
            num_generations=draws.replies,
            max_completion_length=draws.max_tokens,
            temperature=draws.temperature,
            top_p=draws.top_p,
            top_k=draws.top_k,
            beta=alignment.kl,
            loss_type=alignment.grpo.loss,
            scale_rewards=alignment.grpo.scale,
            multi_objective_aggregation=alignment.grpo.aggregation,
            epsilon=alignment.grpo.epsilon,
            num_iterations=alignment.grpo.iterations,
            reward_weights=[reward.weight for reward in rewards.named.values()],
            **common,
        ),
        reward_funcs=judge.functions(),  # pyright: ignore[reportArgumentType]
        train_dataset=to_dataset(examples, preset, lambda _: {}),
        **both,
    )


def train(trainer: Any, checkpoint: Path | None, steps: int) -> int:
    """Train up to a number of steps, from a checkpoint if there is one; return the number of steps done in all.

    From the last checkpoint only the weights are loaded: asked to train on, trl makes one step more unless an epoch
    ends there.
    """
    trainer.remove_callback(PrinterCallback)
    if checkpoint and int(checkpoint.name.split("-")[1]) >= steps:
        load_weights(trainer.model, checkpoint)
        trainer.state.global_step = trainer.state.max_steps = steps
    else:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer.state.global_step
