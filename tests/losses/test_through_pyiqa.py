"""Measures through pyiqa: by its own account of them, gradients tried before they are used, limits made errors."""

import re

import pytest
import torch
from support.photograph import build, crop, degrade

from lopsided.losses import MeasureError, PyiqaSpec, create_measure, parse_measure


@pytest.mark.parametrize("metric", ["ssimc", "psnr", "gmsd", "vsi", "cw_ssim", "nlpd"])
def test_any_pyiqa_metric_is_a_measure_by_pyiqas_own_account(metric):
    import pyiqa

    measure = create_measure(f"pyiqa-{metric}")
    theirs = pyiqa.create_metric(metric, device="cpu")
    reference = crop(96)
    batch = torch.cat([degrade(reference), reference])
    torch.testing.assert_close(
        measure.score(batch, reference), theirs(batch, reference.expand_as(batch)).float().flatten()
    )
    assert measure.lower_is_better == theirs.lower_better
    prediction = batch[:1].clone().requires_grad_()
    loss = measure(prediction, reference)
    loss.backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
    score, upper = measure.score(batch[:1], reference).item(), measure.value_range[1]
    assert loss.item() == pytest.approx(score if measure.lower_is_better else (upper or 0) - score, rel=1e-6)


def test_a_pyiqa_metric_is_named_identified_and_declared():
    spec = parse_measure({"measure": "pyiqa", "metric": "ahiq", "families": ["form:mine", "data:live"]})
    assert isinstance(spec, PyiqaSpec)
    assert spec.key == "pyiqa-ahiq"
    known = {"form:ahiq", "backbone:vit", "backbone:resnet", "data:imagenet", "data:pipal"}
    assert spec.families == known | {"form:mine", "data:live"}
    assert spec.identity == parse_measure("pyiqa-ahiq").identity  # what is declared changes no score
    assert parse_measure(spec.model_dump(mode="json")) == spec
    # What shares a family with our measures says so unasked.
    for metric, family in {"ssimc": "form:ssim", "lpips-vgg+": "backbone:vgg", "topiq_fr": "backbone:resnet"}.items():
        assert family in parse_measure(f"pyiqa-{metric}").families
    yiq, ycbcr = "pyiqa-ssim", {"measure": "pyiqa", "metric": "ssim", "options": {"color_space": "ycbcr"}}
    assert parse_measure(ycbcr).identity != parse_measure(yiq).identity
    assert parse_measure(ycbcr).key != "pyiqa-ssim"
    assert hash(parse_measure(ycbcr)) == hash(parse_measure(ycbcr))
    assert build("pyiqa-psnr").value_range == (None, None)  # pyiqa's ~0, ~40 is no bound


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("pyiqa-niqe", "pyiqa's 'niqe' is not a full-reference metric"),
        ("pyiqa-ssmi", "has no metric 'ssmi'; did you mean 'ssim'"),
        ("pyiqa", "metric: is missing"),
        ({"measure": "pyiqa", "metric": "ssim", "familie": []}, "did you mean 'families'"),
        ({"measure": "pyiqa", "metric": "ahiq", "families": ["vit"]}, "write backbone:…, form:… or data:…"),
        ({"measure": "pyiqa", "metric": "ahiq", "families": ["backbone:vgg11"]}, "write backbone:vgg "),
        ({"measure": "pyiqa", "metric": "ahiq", "families": ["backbone:clip_vit_b16-r"]}, "write backbone:vit "),
        ({"measure": "pyiqa", "metric": "ssim", "options": {"color": "y"}}, "unexpected keyword argument 'color'"),
        ({"measure": "pyiqa", "metric": "ssim", "pyiqa": "0.0.1"}, "asked for pyiqa 0.0.1, installed is"),
    ],
)
def test_what_is_no_full_reference_metric_is_refused(value, message):
    with pytest.raises(MeasureError, match=message):
        create_measure(value)


@pytest.mark.parametrize("metric", ["lpips+", "topiq_fr", "ckdn"])
def test_learned_metrics_without_weights_say_so(metric, monkeypatch, tmp_path):
    from urllib.error import URLError

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    def unreachable(*_args, **_kwargs):  # the machine's network must not decide this test
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    state = torch.get_rng_state()
    with pytest.raises(MeasureError, match=re.escape(f"cannot download the weights of '{metric}'")):
        create_measure(f"pyiqa-{metric}")
    assert torch.equal(torch.get_rng_state(), state)  # pyiqa draws initial weights first


class Network(torch.nn.Module):
    """Stands for a metric whose gradient is unusable: none of pyiqa's that need no weights is of the kind."""

    def __init__(self, score):
        super().__init__()
        self.score = score

    def forward(self, images, references):
        return self.score((images - references).square().mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("score", "found"),
    [
        (torch.Tensor.detach, "does not require grad"),
        (torch.Tensor.round, "zero"),
        (lambda x: (x - x).sqrt(), "not finite"),
    ],
    ids=["detached", "rounded", "not a number"],
)
def test_gradients_of_a_pyiqa_metric_are_tried_before_they_are_used(score, found):
    measure, reference = create_measure("pyiqa-psnr"), crop(64)
    measure.network = Network(score)
    assert measure(degrade(reference), reference).isfinite()  # a number without a gradient is no training
    with pytest.raises(MeasureError, match=rf"gives 'psnr' no usable gradient \(.*{found}.*it cannot be a loss"):
        measure(degrade(reference).requires_grad_(), reference)


def test_what_pyiqa_cannot_compute_is_an_error_of_ours():
    with pytest.raises(MeasureError, match=r"pyiqa-ms_ssim: pyiqa .* failed on images of shape \(1, 3, 64, 64\)"):
        create_measure("pyiqa-ms_ssim").score(degrade(crop(64)), crop(64))
    measure = create_measure("pyiqa-psnr")
    measure.network = Network(torch.Tensor.tolist)
    with pytest.raises(MeasureError, match="gave list, not one number per image"):
        measure.score(crop(64), crop(64))


# --- limits of the measures that it computes -------------------------------------------------------------------------


def test_fsim_of_one_colour_refuses_the_backward_pass_and_leaves_no_hook_behind():
    measure, black = build("fsim"), torch.zeros(1, 3, 32, 32, requires_grad=True)
    with pytest.raises(MeasureError, match=r"fsim: pyiqa .* has no finite gradient on these images"):
        measure(black, crop(32)).backward()
    (2 * black).sum().backward()
    assert black._backward_hooks is None


def test_mad_is_a_judge_only():
    measure, image = build("mad"), crop(64)
    with pytest.raises(MeasureError, match="mad has no finite gradient, so it cannot be a loss"):
        measure(degrade(image).requires_grad_(), image)
    # The reason, and what it is blind to: differences below its threshold score 0.
    other = image.clone()
    other[..., 32, 32] -= 0.1
    assert measure.score(other, image).item() == 0
    other.requires_grad_()
    score: torch.Tensor = measure.get_submodule("network")(other, image)
    (gradient,) = torch.autograd.grad(score.sum(), other)
    assert torch.isnan(gradient).any()
