"""The DISTS family: what its keys and options mean, gradients against finite differences, half precision."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file
from support.paths import ROOT, SHARED

from lopsided.losses import DISTS, LPIPS, DistsSpec, MeasureError, create_measure, list_measures, parse_measure
from lopsided.losses.dists import VARIANTS
from lopsided.losses.features import FeatureSpec

PUBLISHED = SHARED / "weights"


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(2, 3, 40, 48, generator=generator)
    return (0.8 * reference + 0.2 * torch.rand(2, 3, 40, 48, generator=generator)), reference


def test_without_a_backbone_it_is_the_authors_metric_and_with_one_the_uniform_member():
    authors = DistsSpec()
    assert (authors.backbone.name, authors.alpha_beta, authors.pooling, authors.resize) == (
        "vgg16",
        "published",
        "l2",
        "none",
    )
    assert authors == parse_measure("dists") == parse_measure({"measure": "dists"})
    assert authors.key == "dists"
    uniform = parse_measure("dists-vgg16")
    assert isinstance(uniform, DistsSpec)
    assert (uniform.key, uniform.alpha_beta) == ("dists-vgg16", "uniform")
    assert uniform.identity != authors.identity
    assert {"dists", "dists-vgg16"} <= set(list_measures())
    # Written out, as tables and folders store it, it stays what it was.
    for spec in (authors, uniform):
        assert parse_measure(spec.model_dump(mode="json")) == spec


def test_variants_are_options_by_name():
    specs = {name: parse_measure({"measure": "dists", "variant": name}) for name in VARIANTS}
    assert specs["original"] == specs["pyiqa"] == specs["torchmetrics"] == DistsSpec()
    assert specs["piq"] == DistsSpec.model_validate({"resize": "bilinear-256"})
    assert specs["piq"].key.startswith("dists-vgg16+")
    assert len({spec.identity for spec in specs.values()}) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "matlab"}, "unknown variant 'matlab'; known: original"),
        ({"variant": "piq", "backbone": "resnet50"}, "drop 'backbone' or 'variant'"),
        ({"backbone": "resnet50-r", "alpha_beta": "published"}, "belongs to all layers of pretrained 'vgg16'"),
        ({"backbone": "vgg16-r", "layers": ["relu9"]}, "no layer 'relu9'; known: relu1_2"),
        ({"backbone": "vgg16-r", "layers": []}, "one or more stages"),
        ({"backbone": "vgg16-r", "layers": ["relu1_2", "relu1_2"]}, "each once"),
        ({"backbone": "resnet50-r", "precision": "bf16"}, "loses the direction of the gradient"),
    ],
)
def test_definitions_that_make_no_sense_are_refused(options, message):
    with pytest.raises(MeasureError, match=message):
        parse_measure({"measure": "dists", **options})


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"alpha": torch.full((1475,), -1.0), "beta": torch.full((1475,), 2.0)}, "not negative"),
        ({"alpha": torch.full((1475,), torch.nan), "beta": torch.ones(1475)}, "finite"),
        ({"alpha": torch.ones(1475)}, "must hold alpha and beta, it holds alpha"),
    ],
)
def test_files_of_bad_weights_are_refused(tensors, message, tmp_path):
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(MeasureError, match=message):
        create_measure({"measure": "dists", "backbone": "vgg16-r", "alpha_beta": str(tmp_path / "weights.safetensors")})


def test_weights_learnt_for_another_definition_are_refused(tmp_path):
    own = parse_measure("dists-squeezenet1_1-r")
    assert isinstance(own, DistsSpec)
    count = 3 + sum(own.channels)
    record = json.dumps({"measure": own.identity, "key": own.key})
    path = tmp_path / "learnt.safetensors"
    save_file({"alpha": torch.ones(count), "beta": torch.ones(count)}, path, metadata={"lopsided": record})
    fields = {"measure": "dists", "backbone": "squeezenet1_1-r", "alpha_beta": str(path)}
    create_measure(fields)
    for other in ({"backbone": {"name": "squeezenet1_1-r", "seed": 1}}, {"pooling": "max"}):
        with pytest.raises(MeasureError, match="was learnt for 'dists-squeezenet1_1-r'"):
            create_measure(fields | other)


def test_published_weights_are_found_in_the_offline_folder(monkeypatch, tmp_path):
    if not (PUBLISHED / "dists_alpha_beta").is_dir():
        pytest.skip("the published alpha and beta are not beside the project")
    from lopsided.losses.dists import _alpha_beta

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(PUBLISHED))
    alpha, beta = _alpha_beta(DistsSpec(), 1475)
    assert (alpha.sum().item(), beta.sum().item()) == pytest.approx((0.876, 0.124), abs=5e-4)
    damaged = tmp_path / "dists_alpha_beta" / "weights.pt"
    damaged.parent.mkdir()
    damaged.write_bytes(b"not these")
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(tmp_path))
    with pytest.raises(MeasureError, match="not the official file"):
        _alpha_beta(DistsSpec(), 1475)


@pytest.mark.parametrize("backbone", ["vgg16-r", "resnet18-r", "squeezenet1_1-r", "convnext_tiny-r", "dinov2_vits14-r"])
def test_gradients_agree_with_finite_differences(backbone, pair):
    """Central differences in float64 along random directions. ReLUs have kinks, so the step is small."""
    image, reference = (x[:1].double() for x in pair)
    measure = DISTS(backbone).double()
    leaf = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(measure(leaf, reference), leaf)
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            ahead, behind = (measure(image + step * direction, reference) for step in (4e-9, -4e-9))
        assert (gradient * direction).sum().item() == pytest.approx(((ahead - behind) / 8e-9).item(), rel=1e-4)


def test_layers_choose_stages(pair):
    measure = DISTS(DistsSpec.model_validate({"backbone": "vgg16-r", "layers": ["relu3_3", "relu1_2"]}))
    assert measure.channels == (3, 64, 256)  # shallow to deep, whatever the order they were named in
    assert len(measure.extractor(pair[0])) == 3  # nothing deeper is computed
    every = DISTS("vgg16-r").terms(*pair)
    chosen = measure.terms(*pair)
    for mine, theirs in zip(chosen, (every[0], every[1], every[3]), strict=True):
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b)


def test_bfloat16_is_close_and_its_statistics_are_float32(pair):
    full, half = (
        DISTS(DistsSpec.model_validate({"backbone": "vgg16-r", "precision": precision}))
        for precision in ("fp32", "bf16")
    )
    assert half.spec.identity != full.spec.identity
    leaf = pair[0].clone().requires_grad_()
    results = [
        (loss, torch.autograd.grad(loss, leaf)[0].flatten()) for loss in (m(leaf, pair[1]) for m in (full, half))
    ]
    (loss, gradient), (rough, direction) = results
    assert rough.dtype == direction.dtype == torch.float32
    assert rough.item() == pytest.approx(loss.item(), rel=0.01)
    assert torch.cosine_similarity(gradient, direction, dim=0) > 0.98
    assert half(pair[1], pair[1]).item() == 0


def test_a_converted_backbone_is_refused(pair):
    host = torch.nn.Sequential(DISTS("squeezenet1_1-r")).half()
    with pytest.raises(MeasureError, match=r"converted to torch\.float16, it is defined in torch\.float32"):
        host[0](*pair)


def test_the_docs_list_every_measure_on_feature_maps_with_its_direction_and_range():
    text = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")
    rows = [row.split("|") for row in text.split("## Measures on feature maps")[1].split("\n## ")[0].splitlines()]
    listed = {key: row[2:4] for row in rows if len(row) == 6 for key in re.findall(r"`([^`]+)`", row[1])}
    keys = {key for key in list_measures() if isinstance(parse_measure(key), FeatureSpec)}
    families = {f"{key.split('-')[0]}-<backbone>" if f"{key}-r" in keys or key.endswith("-r") else key for key in keys}
    assert set(listed) == families
    for key, (better, bounds) in listed.items():
        example = key.replace("<backbone>", "squeezenet1_1-r")
        cls = type(create_measure(example)) if example.endswith("-r") else {"dists": DISTS}.get(key, LPIPS)
        assert better.strip() == ("lower" if cls.lower_is_better else "higher")
        low, high = cls.value_range
        assert bounds.strip() == f"{low:g} … {'∞' if high is None else format(high, 'g')}"
