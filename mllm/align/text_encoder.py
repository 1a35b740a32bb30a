"""A fine-tuned Qwen2.5-VL as the text encoder of a Qwen-Image pipeline of diffusers: checked, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from ..errors import MllmError


def drop_index(pipeline: Any) -> int:
    """Return how many tokens of the pipeline's template come before the prompt; the pipeline drops them.

    The pipeline's own number is that of the published tokenizer, and no file keeps another one: with a wrong number,
    tokens of the template reach the image without any error.

    Raises:
        MllmError: a template without a place for the prompt, or one whose end joins the prompt into one token.
    """
    before, place, _ = pipeline.prompt_template_encode.partition("{}")
    if not place:
        raise MllmError("the pipeline's template has no place {} for the prompt")
    own = pipeline.tokenizer(before).input_ids
    whole = pipeline.tokenizer(pipeline.prompt_template_encode.format("a cat")).input_ids
    if list(whole[: len(own)]) != list(own):
        raise MllmError("the end of the pipeline's template and the prompt are one token: nothing can be dropped")
    return len(own)


def check_text_encoder(pipeline: Any, model: Any, tokenizer: Any = None) -> None:
    """Raise unless a model can be the text encoder of a pipeline as it is.

    Args:
        pipeline: a ``QwenImagePipeline``.
        model: a ``Qwen2_5_VLForConditionalGeneration``.
        tokenizer: with which the model was fine-tuned; default: not compared.

    Raises:
        MllmError: another size of hidden states than the transformer takes, fewer embeddings than the tokenizer has
            tokens, another tokenizer than the pipeline's, or a number of dropped tokens that is not the template's.
    """
    config = getattr(model.config, "text_config", model.config)
    taken, given = pipeline.transformer.config.joint_attention_dim, config.hidden_size
    if taken != given:
        raise MllmError(f"the text encoder has hidden states of {given}, the pipeline's transformer takes {taken}")
    tokens, embeddings = len(pipeline.tokenizer), model.get_input_embeddings().num_embeddings
    if tokens > embeddings:
        raise MllmError(f"the pipeline's tokenizer has {tokens} tokens, the text encoder embeds only {embeddings}")
    if tokenizer is not None and tokenizer.get_vocab() != pipeline.tokenizer.get_vocab():
        raise MllmError("the text encoder was fine-tuned with another tokenizer than the pipeline's; give that one too")
    dropped, right = pipeline.prompt_template_encode_start_idx, drop_index(pipeline)
    if dropped != right:
        raise MllmError(
            f"the pipeline drops {dropped} tokens of its template, which has {right} before the prompt: set "
            "pipeline.prompt_template_encode_start_idx = drop_index(pipeline), again after every from_pretrained"
        )


def swap_text_encoder(pipeline: Any, model: Any, tokenizer: Any = None) -> Any:
    """Give a pipeline another text encoder, set the number of dropped tokens, and check that they fit.

    Args:
        pipeline: a ``QwenImagePipeline``, changed in place only if all is well.
        model: see :func:`check_text_encoder`.
        tokenizer: likewise.

    Returns:
        The text encoder that it had.

    Raises:
        MllmError: see :func:`check_text_encoder`.
    """
    known = pipeline.prompt_template_encode_start_idx
    pipeline.prompt_template_encode_start_idx = drop_index(pipeline)
    try:
        check_text_encoder(pipeline, model, tokenizer)
    except MllmError:
        pipeline.prompt_template_encode_start_idx = known
        raise
    before, pipeline.text_encoder = pipeline.text_encoder, model
    return before


def side_by_side(
    pipeline: Any, encoders: Mapping[str, Any], prompts: Sequence[str], *, seed: int = 0, **options: Any
) -> dict[str, list[Image.Image]]:
    """Draw the same prompts from the same noise with several text encoders; the pipeline keeps its own.

    Args:
        pipeline: a ``QwenImagePipeline``.
        encoders: name → text encoder.
        prompts: what is drawn; the n-th prompt has noise of ``seed + n`` with every encoder.
        seed: of the first prompt's noise.
        options: of the pipeline, such as ``num_inference_steps``.

    Returns:
        Name → images, in the order of the prompts.

    Raises:
        MllmError: see :func:`check_text_encoder`.
    """
    own, dropped = pipeline.text_encoder, pipeline.prompt_template_encode_start_idx
    drawn: dict[str, list[Image.Image]] = {}
    try:
        for name, encoder in encoders.items():
            swap_text_encoder(pipeline, encoder)
            drawn[name] = [
                pipeline(prompt, generator=torch.Generator().manual_seed(seed + n), **options).images[0]
                for n, prompt in enumerate(prompts)
            ]
    finally:
        pipeline.text_encoder, pipeline.prompt_template_encode_start_idx = own, dropped
    return drawn
