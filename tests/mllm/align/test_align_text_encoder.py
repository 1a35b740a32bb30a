"""A fine-tuned Qwen2.5-VL in a tiny random Qwen-Image pipeline."""

import copy

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers", reason="the extra 't2i' is not installed")

from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage  # pyright: ignore[reportMissingImports]
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel  # pyright: ignore[reportMissingImports]
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline  # pyright: ignore[reportMissingImports]
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler  # pyright: ignore[reportMissingImports]

from lopsided.mllm import MllmError, TransformersBackend
from lopsided.mllm.align import check_text_encoder, drop_index, side_by_side, swap_text_encoder

OPTIONS = {"height": 32, "width": 32, "num_inference_steps": 2, "true_cfg_scale": 1.0}


@pytest.fixture(scope="module")
def made(tiny):
    backend = TransformersBackend(tiny, dtype="float32")
    torch.manual_seed(0)
    size = backend.model.config.text_config.hidden_size
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=size,
        axes_dims_rope=(8, 4, 4),
    )
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    pipeline = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=backend.model,
        tokenizer=backend.processor.tokenizer,
        transformer=transformer,
    )
    pipeline.set_progress_bar_config(disable=True)
    tuned = copy.deepcopy(backend.model)
    with torch.no_grad():
        tuned.get_input_embeddings().weight.add_(0.5)
    return pipeline, tuned


def test_a_wrong_number_of_dropped_tokens_is_found_and_set_right(made):
    pipeline, tuned = made
    assert pipeline.prompt_template_encode_start_idx == 34 != drop_index(pipeline)
    with pytest.raises(MllmError, match="drops 34 tokens of its template"):
        check_text_encoder(pipeline, pipeline.text_encoder)
    before = swap_text_encoder(pipeline, tuned, pipeline.tokenizer)
    check_text_encoder(pipeline, tuned)
    embeddings = pipeline.encode_prompt("a cat")[0]
    tokens = pipeline.tokenizer("a cat<|im_end|>\n<|im_start|>assistant\n").input_ids
    assert embeddings.shape[1] == len(tokens)
    swap_text_encoder(pipeline, before)
    pipeline.prompt_template_encode_start_idx = 34


def test_side_by_side_draws_the_same_noise_and_leaves_the_pipeline_as_it_was(made):
    pipeline, tuned = made
    own = pipeline.text_encoder
    drawn = side_by_side(pipeline, {"own": own, "same": own, "tuned": tuned}, ["a cat"], seed=3, **OPTIONS)
    one, same, other = (np.asarray(images[0], int) for images in drawn.values())
    assert (one == same).all()
    assert (one != other).any()
    assert pipeline.text_encoder is own
    assert pipeline.prompt_template_encode_start_idx == 34


@pytest.mark.parametrize("wrong", ["hidden", "vocabulary", "tokenizer", "template"])
def test_what_does_not_fit_is_refused_and_changes_nothing(made, wrong, monkeypatch):
    pipeline, tuned = made
    model, tokenizer = copy.deepcopy(tuned), None
    message = {
        "hidden": "hidden states of 48, the pipeline's transformer takes",
        "vocabulary": "embeds only 10",
        "tokenizer": "another tokenizer",
        "template": "no place",
    }[wrong]
    if wrong == "hidden":
        model.config.text_config.hidden_size = 48
    elif wrong == "vocabulary":
        model.set_input_embeddings(torch.nn.Embedding(10, 8))
    elif wrong == "tokenizer":
        tokenizer = copy.deepcopy(pipeline.tokenizer)
        tokenizer.add_tokens(["<new>"])
    else:
        monkeypatch.setattr(pipeline, "prompt_template_encode", "always a cat")
    own = pipeline.text_encoder
    with pytest.raises(MllmError, match=message):
        swap_text_encoder(pipeline, model, tokenizer)
    assert pipeline.text_encoder is own
    assert pipeline.prompt_template_encode_start_idx == 34
