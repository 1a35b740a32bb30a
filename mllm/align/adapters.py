"""The weights that are trained: parts of a model, adapters, checkpoints that are loaded whole or not at all."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, load_peft_weights, set_peft_model_state_dict
from safetensors import SafetensorError
from torch import nn

from ...common.errors import one_line
from ..errors import MllmError
from .config import Lora, Optim, Part

PROJECTOR = ("merger", "projector", "connector", "mlp1")
VISION = ("visual", "vision")


def part_of(name: str) -> Part:
    """Return which part of a multimodal LLM a weight or module belongs to, by its name.

    Examples:
        >>> [part_of(f"model.{name}") for name in ("visual.merger.mlp.0", "vision_tower.blocks.0", "layers.0.mlp")]
        ['projector', 'vision', 'language']
    """
    if any(word in name for word in PROJECTOR):
        return "projector"
    return "vision" if any(word in name for word in VISION) else "language"


def add_adapters(model: Any, lora: Lora) -> PeftModel:
    """Put adapters on the linear layers of some parts; all other weights are frozen.

    The output layer gets none: it is trained in full with ``head``, and then tied to the input embeddings if the model
    ties them, or merging would lose what it learnt.

    Raises:
        MllmError: the parts have no linear layers, or the model has no output layer to train.
    """
    output = model.get_output_embeddings()
    named = dict(model.named_modules())
    targets = [
        name
        for name, module in named.items()
        if isinstance(module, nn.Linear) and module is not output and part_of(name) in lora.parts
    ]
    if not targets:
        raise MllmError(f"the model has no linear layers in {', '.join(lora.parts)}")
    head = next((name.rpartition(".")[2] for name, module in named.items() if module is output), None)
    if lora.head and head is None:
        raise MllmError("the model has no output layer of its own to train: leave lora.head out")
    return get_peft_model(  # pyright: ignore[reportReturnType]
        model,
        LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType] - a fraction works
            lora_dropout=lora.dropout,
            target_modules=targets,
            modules_to_save=[str(head)] if lora.head else None,
            ensure_weight_tying=lora.head and ties(model),
            task_type="CAUSAL_LM",
        ),
    )


def ties(model: Any) -> bool:
    """Return whether input and output embeddings are one tensor."""
    output = model.get_output_embeddings()
    return output is not None and output.weight is model.get_input_embeddings().weight


def merged(model: PeftModel) -> Any:
    """Return the model with its adapters added to the weights; the adapters are gone afterwards."""
    return model.merge_and_unload()  # pyright: ignore[reportCallIssue]


def make_optimiser(model: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """Return AdamW with a learning rate per part; a rate of 0 freezes the part. Vectors and biases do not decay.

    Raises:
        MllmError: nothing is left to train.
    """
    rates = {"language": optim.rate, "projector": optim.projector_rate, "vision": optim.vision_rate}
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, weight in model.named_parameters():
        rate = rates[part_of(name)]
        rate = optim.rate if rate is None else rate
        if not rate:
            weight.requires_grad_(False)
        if weight.requires_grad:
            groups[rate, optim.weight_decay if weight.ndim >= 2 else 0.0].append(weight)
    if not groups:
        raise MllmError("nothing is left to train: every part has the learning rate 0")
    return torch.optim.AdamW(
        [{"params": weights, "lr": rate, "weight_decay": decay} for (rate, decay), weights in groups.items()]
    )


def load_weights(model: Any, folder: Path | str) -> None:
    """Load the weights of a checkpoint into a model or its adapters, every one of them.

    transformers loads a checkpoint of Qwen2.5-VL into the running model by the names of the file, which are not those
    of the module, and ignores what does not fit: the weights stay as they were. Here the checkpoint is read as a model
    of its own first.

    Raises:
        MllmError: a weight is missing, left over or of another shape.
    """
    if isinstance(model, PeftModel):
        result = set_peft_model_state_dict(model, load_peft_weights(str(folder)))
        mine = [name for name in result.missing_keys if f".{model.active_adapter}." in name]  # not of a frozen copy
        _refuse(folder, mine, result.unexpected_keys)
        return
    try:
        source, report = type(model).from_pretrained(folder, dtype=model.dtype, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise MllmError(f"checkpoint {folder} cannot be loaded: {one_line(error)}") from error
    _refuse(folder, report["missing_keys"], [*report["unexpected_keys"], *report["mismatched_keys"]])
    model.load_state_dict(source.state_dict(), strict=True)


def _refuse(folder: Path | str, missing: Any, unexpected: Any) -> None:
    for what, names in (("lacks", missing), ("has unknown", unexpected)):
        if names := sorted(map(str, names)):
            raise MllmError(f"checkpoint {folder} {what} {len(names)} weights of the model, first {names[0]}")
