"""Learning alpha and beta of DISTS: the losses, what is learnt from known examples, the split, the file, the verb."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from support.paths import SHARED

from lopsided.analysis.statistics.correlation import plcc
from lopsided.common.errors import LopsidedError
from lopsided.common.images import read_rgb, to_tensor, write_png
from lopsided.common.sources import FolderSource
from lopsided.iqa.learn import dissimilarities, learn_from_dataset, split_references, texture_items
from lopsided.iqa.manifest import FRDataset
from lopsided.losses import DISTS, DistsSpec, create_measure, parse_measure
from lopsided.losses.learn_weights import (
    Examples,
    LearningError,
    LearningSpec,
    Partners,
    fidelity_loss,
    labelled_preference,
    learn,
    learnable,
    normalised,
    preference,
)

MEASURE = DistsSpec.model_validate({"measure": "dists", "backbone": "squeezenet1_1-r"})
CHANNELS = 6  # of the synthetic examples
RECIPES = [{"name": "mos", "texture_weight": 0, "learning_rate": 1e-3}, {"name": "pairwise", "learning_rate": 2e-2}]


def random(*size, seed=0):
    return torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def examples(column=3, count=60, deviation=math.nan, references=5):
    """Images whose quality is told by one column alone."""
    dissimilarity = random(count, 2 * CHANNELS)
    unknown = torch.full((count,), deviation, dtype=torch.float64)
    return Examples(dissimilarity, -dissimilarity[:, column], unknown, torch.arange(count) % references)


def spec(recipe, **others):
    return LearningSpec.model_validate({"recipe": recipe, **others})


def fast(recipe):
    return {**recipe, "steps": 500}


# --- the losses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deviation", [math.nan, 0.3])
@pytest.mark.parametrize(
    "recipe", [{"name": "mos"}, {"name": "pairwise"}, {"name": "pairwise", "pairs": "set", "scale": "learnt"}]
)
def test_gradients_of_the_losses_are_those_of_finite_differences(recipe, deviation):
    chosen = spec(recipe).recipe
    value = chosen.loss(examples(deviation=deviation), random(9, 2 * CHANNELS, seed=1))
    raw = (0.1 + 0.2 * random(2 * CHANNELS, seed=2)).requires_grad_()
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def loss(raw, scale):
        return value(normalised(raw, chosen.sharpness), scale, torch.Generator().manual_seed(3))

    loss(raw, scale).backward()
    step = 1e-6
    for index in range(2 * CHANNELS):
        shift = torch.zeros_like(raw)
        shift[index] = step
        numeric = (loss(raw.detach() + shift, scale) - loss(raw.detach() - shift, scale)) / (2 * step)
        assert raw.grad is not None
        assert float(raw.grad[index]) == pytest.approx(numeric.item(), abs=1e-8)
    numeric = (loss(raw, scale + step) - loss(raw, scale - step)) / (2 * step)
    gradient = 0 if scale.grad is None else scale.grad
    assert float(gradient) == pytest.approx(numeric.item(), abs=1e-8)


@pytest.mark.parametrize(("p", "g", "expected"), [(0.3, 0.3, 0), (0.5, 1, 1 - 0.5**0.5), (1, 0, 1), (0.5, 0.5, 0)])
def test_known_values_of_the_fidelity_loss(p, g, expected):
    p, g = (torch.tensor([value], dtype=torch.float64, requires_grad=True) for value in (p, g))
    loss = fidelity_loss(p, g)
    assert loss.item() == pytest.approx(expected, abs=3e-4)  # eps inside the roots
    loss.backward()
    assert p.grad is not None
    assert torch.isfinite(p.grad).all()


def test_the_nearer_image_is_preferred_with_thurstones_probability():
    first, second = torch.tensor([0.0, 0.5], dtype=torch.float64), torch.tensor([1.0, 0.5], dtype=torch.float64)
    # The normal distribution function at 1/√2 and at 2/√2, from tables.
    assert preference(first, second).tolist() == pytest.approx([0.76025, 0.5], abs=1e-5)
    assert preference(first, second, 2.0).tolist() == pytest.approx([0.92135, 0.5], abs=1e-5)
    assert preference(second, first).tolist() == pytest.approx([0.23975, 0.5], abs=1e-5)


@pytest.mark.parametrize(
    ("deviation", "expected"),
    [((math.nan, math.nan), (1, 0.5)), ((0, 0), (1, 0.5)), ((1, math.nan), (1, 0.5)), ((3, 4), (0.84134, 0.5))],
)
def test_labels_with_known_deviations_are_probabilities_and_others_are_hard(deviation, expected):
    quality = torch.tensor([7.0, 2.0, 7.0], dtype=torch.float64)  # the first is better by 5
    spread = torch.tensor([*deviation, deviation[1]], dtype=torch.float64)
    found = labelled_preference(
        Examples(torch.zeros(3, 2), quality, spread, torch.zeros(3).long()), torch.tensor([0, 0]), torch.tensor([1, 2])
    )
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("sizes", [[1, 2, 5], [4]])
def test_pairs_are_two_different_members_of_one_group_and_all_occur(sizes):
    group = torch.cat([torch.full((size,), index) for index, size in enumerate(sizes)])[torch.randperm(sum(sizes))]
    first, second = Partners(group).draw(2000, torch.Generator().manual_seed(0))
    assert (first != second).all()
    assert (group[first] == group[second]).all()
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == sum(size * (size - 1) for size in sizes)


# --- what is learnt -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", [1, CHANNELS + 2], ids=["texture", "structure"])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe["name"])
def test_weight_goes_to_the_one_channel_that_tells_quality(recipe, column):
    found = learn(examples(column), spec(fast(recipe)))
    weights = torch.cat([found.alpha, found.beta])
    assert int(weights.argmax()) == column
    assert weights[column] > 0.5
    assert found.history[-1]["loss"] < found.history[0]["loss"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe["name"])
def test_weights_are_positive_and_sum_to_one(recipe):
    found = learn(examples(), spec({**recipe, "steps": 20}))
    assert float(found.alpha.sum() + found.beta.sum()) == pytest.approx(1, abs=1e-12)
    assert min(found.alpha.min(), found.beta.min()) > 0


def test_the_texture_term_lowers_the_distance_of_textures():
    textures = random(20, 2 * CHANNELS, seed=5)
    textures[:, : CHANNELS // 2] *= 0.01  # channels that do not tell two crops of a texture apart

    def distance(weight):
        found = learn(examples(8), spec({**fast(RECIPES[0]), "texture_weight": weight}), textures)
        return float((textures @ torch.cat([found.alpha, found.beta])).mean())

    assert distance(10.0) < distance(1.0) < distance(0.0)


def test_a_learnt_scale_starts_at_the_spread_of_the_distances_and_a_given_one_stays():
    some = examples()
    spread = float(some.dissimilarity.mean(1).std())
    near = Examples(some.dissimilarity / 100, some.quality, some.deviation, some.reference)
    scales = {}
    for scale in ("learnt", 3.0):
        history = learn(near, spec({"name": "pairwise", "steps": 50, "scale": scale})).history
        scales[scale] = [entry["scale"] for entry in history]
    assert scales["learnt"][0] == pytest.approx(100 / spread, rel=1e-3)
    assert scales["learnt"][-1] != scales["learnt"][0]
    assert scales[3.0] == pytest.approx([3.0] * 50)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe["name"])
def test_equal_seeds_give_equal_bits_and_the_global_generator_is_left_alone(recipe):
    before = torch.get_rng_state()
    one, two, other = (learn(examples(), spec({**recipe, "steps": 50}, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one.alpha, two.alpha)
    assert torch.equal(one.beta, two.beta)
    assert one.history == two.history
    assert not torch.equal(one.alpha, other.alpha)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("make", "recipe", "text"),
    [
        (lambda: examples(), {"name": "mos"}, "needs textures"),
        (lambda: examples(references=60), {"name": "pairwise"}, "no two images share a reference"),
        (lambda: Examples(torch.ones(3, 2), torch.ones(3), torch.ones(3), torch.ones(3)), "mos", "are all equal"),
        (lambda: Examples(torch.full((3, 2), math.nan), random(3), random(3), random(3)), "mos", "not finite"),
    ],
)
def test_examples_that_do_not_suffice_are_refused(make, recipe, text):
    with pytest.raises(LearningError, match=text):
        learn(make(), spec(recipe))


def test_a_spec_is_closed_and_known_by_its_content():
    assert spec("mos").identity == spec({"name": "mos", "steps": 5000}).identity
    assert len({spec("mos").identity, spec("pairwise").identity, spec("mos", seed=1).identity}) == 3
    with pytest.raises(ValidationError, match="did you mean 'pairwise'"):
        spec("pairwize")
    with pytest.raises(ValidationError, match="Extra inputs"):
        spec({"name": "mos", "scale": 2})


@pytest.mark.parametrize("key", ["ssim", "dists"])
def test_only_a_uniform_dists_can_learn(key):
    with pytest.raises(LearningError, match=r"for a DISTS only|such as 'dists-vgg16'"):
        learnable(parse_measure(key))


# --- data sets ------------------------------------------------------------------------------------------------------


def write_set(folder, direction=1, references=4, **repeated):
    """Noise of several strengths on small pictures; ``repeated`` gives references the pixels of others."""
    rng = np.random.default_rng(0)
    names = [f"r{index}" for index in range(references)]
    pictures = {name: rng.integers(0, 256, (40, 40, 3)).repeat(2, 0).repeat(2, 1) for name in names}
    rows = []
    for name, picture in pictures.items():
        write_png(folder / f"{name}.png", pictures[repeated.get(name, name)].astype(np.uint8))
        for level in range(1, 5):
            noisy = np.clip(picture + rng.normal(0, 12 * level, picture.shape), 0, 255).astype(np.uint8)
            write_png(folder / f"{name}_{level}.png", noisy)
            label = direction * (level + rng.normal(0, 0.1))
            kind, higher = ("mos", "true") if direction < 0 else ("dmos", "false")
            rows.append([f"{name}_{level}.png", f"{name}.png", "noise", label, 0.5, kind, higher])
    path = folder / "manifest.csv"
    with path.open("w", newline="") as file:
        header = ["image", "reference", "distortion", "label", "label_std", "label_kind", "label_higher_is_better"]
        csv.writer(file).writerows([header, *rows])
    return FRDataset(path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def learnt(dataset):
    return learn_from_dataset(MEASURE, dataset, spec({"name": "pairwise", "steps": 60}, held_out=0.5))


def test_no_reference_is_on_both_sides(dataset, learnt):
    train, held_out = split_references(dataset, 0.5, 0)
    assert not train & held_out
    assert train | held_out == {row.reference for row in dataset.rows}
    assert (set(learnt.train_references), set(learnt.held_out_references)) == (train, held_out)
    assert {frozenset(split_references(dataset, 0.5, seed)[1]) for seed in range(20)} != {frozenset(held_out)}


def test_references_of_equal_bytes_stay_together(tmp_path):
    dataset = write_set(tmp_path, r1="r0", r3="r2")
    sides = [split_references(dataset, 0.5, seed) for seed in range(5)]
    assert all(
        {frozenset(a), frozenset(b)} == {frozenset({"r0.png", "r1.png"}), frozenset({"r2.png", "r3.png"})}
        for a, b in sides
    )


@pytest.mark.parametrize(
    ("references", "held_out", "text"),
    [(1, 0.5, "at least 2 are needed"), (4, 0.1, "holds none out"), (4, 0.95, "leaves none to learn from")],
)
def test_a_split_with_an_empty_side_is_refused(tmp_path, references, held_out, text):
    with pytest.raises(LearningError, match=text):
        learn_from_dataset(MEASURE, write_set(tmp_path, references=references), spec("pairwise", held_out=held_out))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe["name"])
def test_mos_and_dmos_of_the_same_opinions_give_the_same_weights(tmp_path, recipe):
    found = []
    for direction in (1, -1):
        opinions = write_set(tmp_path / str(direction), direction)
        found.append(learn_from_dataset(MEASURE, opinions, spec({**recipe, "steps": 30}, held_out=0.5)))
    assert torch.equal(found[0].weights.alpha, found[1].weights.alpha)
    assert found[0].results == found[1].results


def test_the_file_is_read_by_dists_and_gives_the_scores_that_were_reported(tmp_path, dataset, learnt):
    path = tmp_path / "weights.safetensors"
    learnt.save(path)
    measure = create_measure({"measure": "dists", "backbone": "squeezenet1_1-r", "alpha_beta": str(path)})
    row = dataset.rows[5]
    score = measure.score(*(to_tensor(read_rgb(file)) for file in (row.image_path, row.reference_path)))
    expected = dissimilarities(DISTS(MEASURE), dataset)[5] @ torch.cat([learnt.weights.alpha, learnt.weights.beta])
    assert float(score) == pytest.approx(float(expected), rel=1e-5)
    assert measure.spec.identity != MEASURE.identity


def test_the_file_says_where_its_weights_come_from_and_is_the_same_every_time(tmp_path, dataset, learnt):
    for name in "ab":
        learnt.save(tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        record = json.loads(file.metadata()["lopsided"])
    assert record["measure"] == MEASURE.identity
    assert record["dataset_identity"] == dataset.identity
    assert record["held_out_references"] == list(learnt.held_out_references)
    assert record["learning"]["recipe"]["steps"] == 60
    assert record["results"]["held_out"]["n"] == 8


def test_results_are_of_the_held_out_images(dataset, learnt):
    result = learnt.results["held_out"]
    assert (result["n"], result["n_references"], result["status"]) == (8, 2, "ok")
    chosen = [index for index, row in enumerate(dataset.rows) if row.reference in learnt.held_out_references]
    distance = dissimilarities(DISTS(MEASURE), dataset)[chosen] @ torch.cat([learnt.weights.alpha, learnt.weights.beta])
    labels = [dataset.rows[index].label for index in chosen]
    assert result["learnt"]["plcc"] == pytest.approx(plcc(distance, labels), abs=1e-6)
    for weights in ("uniform", "learnt"):
        values = result[weights]
        assert values["srcc"] > 0.8  # stronger noise has the larger label
        assert values["srcc_low"] is values["srcc_high"] is None  # an interval takes three references
    gain = result["learnt"]["srcc"] - result["uniform"]["srcc"]
    assert result["difference"]["srcc"] == pytest.approx(gain)


def test_textures_come_from_any_source_and_must_be_large_enough(tmp_path, dataset):
    assert [item.name for item in texture_items(None)] == ["brick", "grass", "gravel"]
    write_png(tmp_path / "t.png", np.random.default_rng(0).integers(0, 256, (70, 70, 3)).astype(np.uint8))
    source = FolderSource(folder=tmp_path)
    recipe = {"name": "mos", "steps": 5, "texture_pairs": 2}
    found = learn_from_dataset(MEASURE, dataset, spec({**recipe, "texture_crop": 48}, held_out=0.5), textures=source)
    assert found.metadata["textures"] == [source.items()[0].sha256]
    with pytest.raises(LopsidedError, match=r"t\.png: 70×70 pixels, texture_crop is 256"):
        learn_from_dataset(MEASURE, dataset, spec(recipe, held_out=0.5), textures=source)


@pytest.mark.skipif(not (SHARED / "iqa" / "live_subset").is_dir(), reason="the LIVE subset is not beside the project")
def test_learning_from_opinions_helps_on_references_that_were_held_out(tmp_path):
    folder = SHARED / "iqa" / "live_subset"
    path = tmp_path / "live.csv"
    with (folder / "live_subset.csv").open() as file:
        rows = list(csv.DictReader(file))[::3]
    with path.open("w", newline="") as file:
        header = ["image", "reference", "distortion", "label", "label_kind", "label_higher_is_better"]
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            images = [write_ninth(folder / row[key], tmp_path / row[key]) for key in ("file", "ref")]
            writer.writerow([*images, row["dist_type"], row["dmos"], "dmos", "false"])
    backbone = {"name": "squeezenet1_1", "weights": str(SHARED / "weights" / "squeezenet1_1.safetensors")}
    measure = DistsSpec.model_validate({"measure": "dists", "backbone": backbone})
    recipe = {"name": "mos", "steps": 500, "halve_every": 200, "texture_weight": 0, "learning_rate": 1e-3}
    results = learn_from_dataset(measure, FRDataset(path), spec(recipe, held_out=0.4)).results
    assert results["held_out"]["uniform"]["srcc"] > 0.9
    assert results["held_out"]["difference"]["srcc"] > 0
    assert results["train"]["difference"]["srcc"] > results["held_out"]["difference"]["srcc"]


def write_ninth(source, target):
    pixels = read_rgb(source)
    height, width = (side // 3 for side in pixels.shape[:2])
    write_png(target, pixels[height : 2 * height, width : 2 * width])
    return target
