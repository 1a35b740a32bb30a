"""No-reference models: losses, ridge regression, splits, initialisations, protocols, the table, the file."""

import csv
import itertools
import json
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import save_file
from scipy import stats
from support.paths import SHARED

from lopsided.analysis.statistics.correlation import srcc
from lopsided.backbones import build_extractor
from lopsided.common.errors import LopsidedError
from lopsided.common.images import read_rgb, to_tensor, write_png
from lopsided.common.sources import FolderSource
from lopsided.discriminators import build_discriminator
from lopsided.iqa.ladder import LadderSpec, build_ladder
from lopsided.iqa.manifest import FRDataset, NRDataset
from lopsided.iqa.nr import (
    FeatureCache,
    NRDivergedError,
    NRError,
    NRSpec,
    SelfSupervised,
    Split,
    Splits,
    ZeroLabelSpec,
    evaluate_nr,
    evaluate_split,
    fit_nr,
    load_nr,
)
from lopsided.iqa.nr.features import cut_views, pool
from lopsided.iqa.nr.initialisation import build_trunk
from lopsided.iqa.nr.losses import loss
from lopsided.iqa.nr.self_supervision import learn_to_rank, sources
from lopsided.iqa.nr.splits import group
from lopsided.iqa.nr.training import PENALTIES, ridge
from lopsided.sr.checkpoint import write_tensors

COLUMNS = [
    *("split", "reference", "image", "label", "label_kind", "label_higher_is_better", "higher_is_better"),
    *("score", "status"),
]


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def photographs(folder, count, side=48):
    """Squares of two sizes in random colours."""
    for index in range(count):
        rng = np.random.default_rng(index)
        squares = [np.kron(rng.uniform(0, 1, (side // n, side // n, 3)), np.ones((n, n, 1))) for n in (4, 16)]
        image = np.add(*squares)
        write_png(folder / f"photo{index}.png", (image / image.max() * 255).astype(np.uint8))


@pytest.fixture(scope="session")
def ladder(tmp_path_factory):
    """Six references, two distortions at three severity grades: 36 images of 48 px."""
    folder = tmp_path_factory.mktemp("ladder")
    photographs(folder / "photographs", 6)
    source, types = FolderSource(folder=folder / "photographs"), ("gaussian_noise", "impulse_noise")
    spec = LadderSpec(source=source, size=48, types=types, levels=(1, 3, 5))
    return FRDataset(build_ladder(spec, folder), name="ladder")


@pytest.fixture(scope="session")
def discriminators(tmp_path_factory):
    """Files of discriminators as a finetune cell writes them, every weight moved a little away from the start."""
    folder = tmp_path_factory.mktemp("discriminators")

    def write(key, seed=3):
        path = folder / f"{key}.safetensors"
        network = build_discriminator(key, seed=seed)
        state = {
            name: tensor + 1e-3 * torch.sin(torch.arange(tensor.numel()).reshape(tensor.shape))
            for name, tensor in network.state_dict().items()
        }
        write_tensors(path, state, {"discriminator": network.spec.key})
        return path, state

    return write


def spec(**values):
    return NRSpec.model_validate({"backbone": "conv", **values})


def from_discriminator(key, path):
    return {"name": "discriminator", "discriminator": key, "weights": str(path)}


def first_split(dataset):
    """Two references of six tested."""
    return Splits(count=1, test=0.33).draw(dataset)[0]


def write_manifest(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def rated(folder, count, name="manifest.csv", **others):
    """A no-reference data set of noise images whose label is their contrast."""
    rows = []
    for index in range(count):
        image = np.random.default_rng(index).integers(0, 255, (32, 32, 3)) * (index + 1) // count
        write_png(folder / f"{index}.png", image.astype(np.uint8))
        rows.append(
            {"image": f"{index}.png", "label": index, "label_kind": "mos", "label_higher_is_better": "true"}
            | {column: values[index] for column, values in others.items()}
        )
    return write_manifest(folder / name, rows)


# --- losses ---------------------------------------------------------------------------------------------------------

UNKNOWN = torch.full((12,), math.nan, dtype=torch.float64)


def test_l1_and_l2_are_means_of_differences():
    p, y = random(12), random(12, seed=1)
    assert loss("l1", 1)(p, y, UNKNOWN).item() == pytest.approx(np.abs((p - y).numpy()).mean())
    assert loss("l2", 1)(p, y, UNKNOWN).item() == pytest.approx(((p - y).numpy() ** 2).mean())


def test_plcc_loss_is_one_minus_pearsons_correlation():
    p, y = random(12), random(12, seed=1)
    assert loss("plcc", 1)(p, y, UNKNOWN).item() == pytest.approx(1 - np.corrcoef(p, y)[0, 1], abs=1e-7)


def test_norm_in_norm_is_the_published_formula_and_blind_to_affine_transforms_of_the_prediction():
    p, y = random(12), random(12, seed=1)
    unit_p, unit_y = ((v - v.mean()) / np.linalg.norm(v - v.mean()) for v in (p.numpy(), y.numpy()))
    expected = np.abs(unit_p - unit_y).sum() / (2 * math.sqrt(12))
    value = loss("nin", 1)
    assert value(p, y, UNKNOWN).item() == pytest.approx(expected, abs=1e-7)
    assert value(7 * p - 3, y, UNKNOWN).item() == pytest.approx(expected, abs=1e-7)
    assert value(-p, y, UNKNOWN).item() != pytest.approx(expected, abs=1e-2)
    assert value(y, y, UNKNOWN).item() == pytest.approx(0, abs=1e-7)
    assert 0 < expected < 1


def test_rank_loss_is_the_mean_hinge_of_all_pairs_of_different_labels():
    p, y = random(6), torch.tensor([1.0, 1.0, 2.0, 3.0, 3.0, 5.0], dtype=torch.float64)
    hinges = [max(0.0, 0.7 - (p[i] - p[j]).item()) for i, j in itertools.permutations(range(6), 2) if y[i] > y[j]]
    assert loss("rank", 0.7)(p, y, UNKNOWN[:6]).item() == pytest.approx(np.mean(hinges))
    assert loss("rank", 0.7)(p, torch.ones(6), UNKNOWN[:6]).item() == 0


@pytest.mark.parametrize("deviations", [(math.nan, math.nan), (0.3, 0.4), (0.3, math.nan)])
@pytest.mark.parametrize("label", [0.5, 0.0])
def test_fidelity_loss_of_one_pair_is_thurstones(deviations, label):
    p, y = torch.tensor([0.4, 0.1], dtype=torch.float64), torch.tensor([label, 0.0], dtype=torch.float64)
    predicted = stats.norm.cdf(0.3 / math.sqrt(2))
    known = not any(math.isnan(value) for value in deviations)
    labelled = stats.norm.cdf(label / 0.5) if known else (1.0 if label else 0.5)
    expected = 1 - math.sqrt(predicted * labelled) - math.sqrt((1 - predicted) * (1 - labelled))
    found = loss("fidelity", 1)(p, y, torch.tensor(deviations, dtype=torch.float64))
    assert found.item() == pytest.approx(expected, abs=3e-4)  # eps inside the roots


def test_known_value_of_the_fidelity_loss():
    """Two images predicted equal, one surely better: 1 - √½."""
    value = loss("fidelity", 1)(torch.zeros(2), torch.tensor([1.0, 0.0]), torch.full((2,), math.nan))
    assert value.item() == pytest.approx(0.292893, abs=3e-4)


@pytest.mark.parametrize("name", ["l1", "l2", "plcc", "rank", "fidelity", "nin"])
def test_gradients_of_the_losses_are_those_of_finite_differences(name):
    y, deviations, value = random(8, seed=1), random(8, seed=2).abs(), loss(name, 0.7)
    p = random(8).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: value(p, y, deviations), (p,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["l1", "l2", "plcc", "rank", "fidelity", "nin"])
def test_losses_are_least_for_predictions_equal_to_the_labels(name):
    y, value = 3 * torch.arange(12.0, dtype=torch.float64), loss(name, 0.7)
    assert value(y, y, UNKNOWN) < min(value(other, y, UNKNOWN) for other in (-y, random(12), torch.zeros(12).double()))


# --- ridge regression -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(20, 4), (12, 40)])
@pytest.mark.parametrize("penalty", [1e-2, 1.0])
def test_ridge_equals_least_squares_on_the_augmented_system(shape, penalty):
    x, y = random(*shape), random(shape[0], seed=1)
    x, y = x - x.mean(0), y - y.mean()
    found, _ = ridge(x, y, torch.arange(shape[0]), penalty)
    rank = np.linalg.matrix_rank(x.numpy())
    weight = math.sqrt(penalty * (x**2).sum().item() / rank)
    augmented = np.vstack([x.numpy(), weight * np.eye(shape[1])])
    expected = np.linalg.lstsq(augmented, np.r_[y.numpy(), np.zeros(shape[1])], rcond=None)[0]
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-9)


@pytest.mark.parametrize("shape", [(24, 5), (18, 60)])
def test_penalty_is_the_one_that_predicts_left_out_groups_best_when_everything_is_learnt_anew(shape):
    x, groups = random(*shape), torch.arange(shape[0]) // 3
    y = x[:, 0] + 0.5 * random(shape[0], seed=1) + random(shape[0] // 3, seed=2).repeat_interleave(3)
    x, y = x - x.mean(0), y - y.mean()
    scale = (x**2).sum().item() / np.linalg.matrix_rank(x.numpy())
    errors = []
    for penalty in PENALTIES:
        total = 0.0
        for left_out in groups.unique():
            inside, outside = (
                (x[groups == left_out], y[groups == left_out]),
                (x[groups != left_out], y[groups != left_out]),
            )
            centre, mean = outside[0].mean(0), outside[1].mean()
            a = (outside[0] - centre).numpy()
            w = np.linalg.solve(a.T @ a + penalty * scale * np.eye(a.shape[1]), a.T @ (outside[1] - mean).numpy())
            total += (((inside[0] - centre).numpy() @ w + mean.item() - inside[1].numpy()) ** 2).sum()
        errors.append(total)
    _, chosen = ridge(x, y, groups, None)
    assert chosen == PENALTIES[int(np.argmin(errors))]
    assert PENALTIES[0] < chosen < PENALTIES[-1]  # else any rule that takes an end would do


def test_a_penalty_cannot_be_chosen_from_one_group():
    with pytest.raises(NRError, match="there is 1 to learn from"):
        ridge(random(5, 2), random(5), torch.zeros(5), None)


def test_features_that_never_change_cannot_be_learnt_from():
    with pytest.raises(NRError, match="no pooled feature differs"):
        ridge(torch.zeros(5, 2, dtype=torch.float64), random(5), torch.arange(5), 1.0)


# --- splits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_splits_never_put_a_reference_or_equal_bytes_on_both_sides(ladder, share):
    splits = Splits(count=6, test=share).draw(ladder)
    assert len({split.test for split in splits}) == 6
    for split in splits:
        assert sorted(split.train + split.test) == list(range(len(ladder)))
        sides = [{ladder.rows[index].reference for index in side} for side in (split.train, split.test)]
        assert sides[0].isdisjoint(sides[1])
        assert len(sides[1]) == round(share * 6)


def test_images_without_references_are_groups_of_their_own_and_byte_identical_ones_stay_together(tmp_path):
    manifest = rated(tmp_path, 8)
    (tmp_path / "5.png").write_bytes((tmp_path / "2.png").read_bytes())
    dataset = NRDataset(manifest)
    groups = group(dataset)
    assert groups[5] == groups[2]
    assert len(set(groups)) == 7
    for split in Splits(count=20, test=0.4).draw(dataset):
        assert ({2, 5} <= set(split.test)) == (2 in split.test) == (5 in split.test)


def test_references_that_share_an_image_are_one_group_with_all_their_images(tmp_path):
    rows = [
        {
            "image": f"{index}.png",
            "reference": f"reference{index % 4}.png",
            "distortion": "none",
            "label": index,
            "label_kind": "mos",
            "label_higher_is_better": "true",
        }
        for index in range(8)
    ]
    for index in range(8):
        write_png(tmp_path / f"{index}.png", np.full((32, 32, 3), 10 * max(1, index), np.uint8))  # 0 and 1 are equal
        write_png(tmp_path / f"reference{index % 4}.png", np.full((32, 32, 3), 100 + index % 4, np.uint8))
    groups = group(FRDataset(write_manifest(tmp_path / "manifest.csv", rows)))
    assert groups[0] == groups[1] == groups[4] == groups[5]
    assert groups[2] == groups[6]
    assert groups[3] == groups[7]
    assert set(groups) == {0, 1, 2}


def test_splits_depend_on_contents_and_seed_and_fewer_are_the_first_of_more(ladder):
    splits = Splits(count=5).draw(ladder)
    assert splits == Splits(count=5).draw(ladder)
    assert splits[:3] == Splits(count=3).draw(ladder)
    assert splits != Splits(count=5, seed=1).draw(ladder)
    assert [split.name for split in splits] == list(Splits(count=5).names)


def test_five_of_six_ways_to_leave_out_one_reference_exist_and_seven_do_not(ladder):
    tested = {ladder.rows[split.test[0]].reference for split in Splits(count=6).draw(ladder)}
    assert len(tested) == 6
    with pytest.raises(NRError, match=r"6 group\(s\) of images, 1 of them tested, can be split in 6 way\(s\), not 7"):
        Splits(count=7).draw(ladder)


def test_one_group_cannot_be_split(tmp_path):
    dataset = NRDataset(rated(tmp_path, 1))
    with pytest.raises(NRError, match=r"1 group\(s\) of images, 1 of them tested, can be split in 0 way\(s\)"):
        Splits(count=1).draw(dataset)


def test_the_official_split_is_taken_as_it_is_and_its_validation_part_left_alone(tmp_path):
    parts = ["train", "test", "validation", "train", "", "test"]
    dataset = NRDataset(rated(tmp_path, 6, split=parts))
    assert Splits(kind="official").draw(dataset) == (Split("official", (0, 3), (1, 5)),)
    (tmp_path / "5.png").write_bytes((tmp_path / "3.png").read_bytes())
    with pytest.raises(NRError, match=r"trains on '3.png' and tests '5.png', which share a reference or their bytes"):
        Splits(kind="official").draw(NRDataset(tmp_path / "manifest.csv"))


def test_an_official_split_that_is_not_there_is_said_to_be_missing(ladder):
    with pytest.raises(LopsidedError, match="no image is in split 'train'"):
        Splits(kind="official").draw(ladder)


# --- initialisations ------------------------------------------------------------------------------------------------


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("key", ["patch", "vanilla", "patch-squeezenet1_1-r"])
def test_random_twin_has_the_weights_its_discriminator_began_with(key):
    discriminator = build_discriminator(key, seed=7)
    backbone = "squeezenet1_1" if "squeeze" in key else "conv"
    twin = spec(
        backbone=backbone, initialisation={"name": "random", "seed": 7}, depth=discriminator.spec.head_stage + 1
    )
    assert same(build_trunk(twin).network.state_dict(), discriminator.trunk.state_dict())
    other = twin.model_copy(update={"initialisation": twin.initialisation.model_copy(update={"seed": 8})})
    assert not same(build_trunk(other).network.state_dict(), discriminator.trunk.state_dict())
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = discriminator.trunk(discriminator.normalise(images))
        assert all(torch.equal(a, b) for a, b in zip(build_trunk(twin)(images), expected, strict=True))


@pytest.mark.parametrize(
    ("key", "backbone", "stages"), [("patch", "conv", 4), ("patch-squeezenet1_1-r", "squeezenet1_1", 3)]
)
def test_discriminator_initialisation_has_the_weights_of_the_file(discriminators, key, backbone, stages):
    path, state = discriminators(key)
    model = spec(backbone=backbone, initialisation=from_discriminator(key, path))
    assert model.n_stages == stages  # up to the head: later ones were never trained
    expected = {name.removeprefix("trunk."): value for name, value in state.items() if name.startswith("trunk.")}
    assert same(build_trunk(model).network.state_dict(), expected)


def test_a_discriminator_is_used_under_the_input_normalisation_it_was_trained_with(tmp_path):
    definition = {"form": "patch", "backbone": "squeezenet1_1-r", "input_normalisation": "symmetric"}
    network = build_discriminator(type(build_discriminator("patch").spec).model_validate(definition), seed=1)
    write_tensors(tmp_path / "d.safetensors", network.state_dict(), {"discriminator": network.spec.key})
    start = {"name": "discriminator", "discriminator": definition, "weights": str(tmp_path / "d.safetensors")}
    trunk = build_trunk(spec(backbone="squeezenet1_1", initialisation=start))
    images = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network.trunk(network.normalise(images))
        assert all(torch.equal(a, b) for a, b in zip(trunk(images), expected, strict=True))
    with pytest.raises(ValidationError, match="this discriminator was trained with 'symmetric'"):
        spec(backbone="squeezenet1_1", initialisation=start, input_normalisation="backbone")


def test_pretrained_initialisation_has_the_weights_of_the_file(tmp_path):
    source = build_extractor("squeezenet1_1-r")
    state = {name: tensor * 1.1 for name, tensor in source.trunk.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    start = {"name": "pretrained", "weights": str(tmp_path / "weights.safetensors")}
    trunk = build_trunk(spec(backbone="squeezenet1_1", initialisation=start))
    assert same(trunk.network.get_submodule("trunk").state_dict(), state)


def test_self_supervision_learns_to_rank_distortions_of_photographs_it_has_not_seen(tmp_path, ladder):
    train, other = tmp_path / "train", tmp_path / "other"
    photographs(train, 6)
    write_png(other / "unseen.png", read_rgb(train / "photo5.png"))
    start = SelfSupervised(steps=20, batch=3, crop=32, learning_rate=1e-3)
    model = spec(initialisation=start)
    losses = []
    trunk = build_trunk(model)
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    files = [train / f"photo{index}.png" for index in range(5)]
    learn_to_rank(model, start, trunk, files, "cpu", lambda d, t, note: losses.append(note))
    values = [float(note.split()[-1]) for note in losses]
    assert len(values) == 20
    assert np.mean(values[-5:]) < 0.7 * np.mean(values[:5])
    assert not same(trunk.state_dict(), before)


def test_self_supervision_sees_references_of_the_training_part_and_no_label(ladder):
    split = first_split(ladder)
    train = [ladder.rows[index] for index in split.train]
    tested = {ladder.rows[index].reference_path for index in split.test}
    assert set(sources(train)) == {row.reference_path for row in train}
    assert tested.isdisjoint(sources(train))


def test_initialisations_of_one_definition_share_their_key_and_differ_in_identity(tmp_path, discriminators):
    path, _ = discriminators("patch")
    starts = ["random", {"name": "random", "seed": 1}, "self", from_discriminator("patch", path)]
    models = [spec(initialisation=start) for start in starts]
    assert {model.key for model in models} == {"conv/linear-probe"}
    assert len({model.identity for model in models}) == 4
    assert spec(stages=2).key == "conv:2/linear-probe"
    assert spec(protocol="fine_tuned").key == "conv/fine-tuned"
    assert spec(protocol={"name": "fine_tuned", "steps": 9}).key.startswith("conv/fine-tuned+")


def test_identity_of_a_discriminator_goes_by_its_bytes_and_not_its_place(tmp_path, discriminators):
    path, state = discriminators("patch")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(path.read_bytes())
    identities = {spec(initialisation=from_discriminator("patch", file)).identity for file in (path, copy)}
    assert len(identities) == 1
    write_tensors(copy, {name: tensor + 1 for name, tensor in state.items()}, {})
    assert spec(initialisation=from_discriminator("patch", copy)).identity not in identities


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "vgg61"}, "did you mean 'vgg16'"),
        ({"backbone": "vgg16-r"}, "name the architecture, 'vgg16', and write `initialisation: random`"),
        ({"initialisation": "pretrained"}, "'conv' has no pretrained weights"),
        ({"initialisation": "discriminator"}, "discriminator"),
        ({"initialisation": "pretraind"}, "unknown initialisation 'pretraind'; did you mean 'pretrained'"),
        ({"protocol": "linear-probe"}, "unknown protocol 'linear-probe'; did you mean 'linear_probe'"),
        ({"protocol": {"name": "linear_probe", "head": "mlp"}}, "Extra inputs are not permitted"),
        ({"protocol": {"name": "fine_tuned", "loss": "mse"}}, "'l1', 'l2', 'plcc'"),
        ({"depth": 5}, "depth 5: there are 4 stages in 'conv'"),
        ({"stages": 4}, "stage 4: there are 4 stages, 0 to 3"),
        ({"backbone": "resnet18", "protocol": {"name": "fine_tuned", "crop": 20}}, "crop 20: 'resnet18' needs 32"),
        ({"input_normalisation": "backbone"}, "'conv' has no normalisation of its own"),
        ({"initialisation": from_discriminator("unet", "x")}, "'unet' has no trunk to start from"),
        ({"initialisation": from_discriminator("patch-vgg16-r", "x")}, "has backbone 'vgg16', not 'conv'"),
        (
            {
                "backbone": "squeezenet1_1",
                "initialisation": from_discriminator("patch-squeezenet1_1-r", "x"),
                "depth": 4,
            },
            "depth 4: there are 3 stages up to the head of 'patch-squeezenet1_1-r', and later ones were never trained",
        ),
    ],
)
def test_definitions_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        spec(**values)


def test_a_file_of_another_discriminator_is_refused(tmp_path, discriminators):
    vanilla, state = discriminators("vanilla")  # the same tensors as `patch`: only the file says what it is
    with pytest.raises(NRError, match="holds discriminator 'vanilla', not 'patch'"):
        build_trunk(spec(initialisation=from_discriminator("patch", vanilla)))
    renamed = {("other" if name == "head.linear.bias" else name): tensor for name, tensor in state.items()}
    write_tensors(tmp_path / "d.safetensors", renamed, {})
    with pytest.raises(LopsidedError, match=r"no tensor 'head.linear.bias'"):
        build_trunk(spec(initialisation=from_discriminator("patch", tmp_path / "d.safetensors")))
    (tmp_path / "cut.safetensors").write_bytes(vanilla.read_bytes()[:1000])
    with pytest.raises(LopsidedError, match="cannot read weights"):
        build_trunk(spec(initialisation=from_discriminator("patch", tmp_path / "cut.safetensors")))
    with pytest.raises(NRError, match=r"no weights file .* of a finished finetune cell"):
        _ = spec(initialisation=from_discriminator("patch", tmp_path / "none.safetensors")).identity


# --- training and evaluation ----------------------------------------------------------------------------------------

FROZEN = {"name": "frozen", "steps": 60, "batch": 8, "learning_rate": 1e-2}
TUNED = {"name": "fine_tuned", "steps": 25, "batch": 8, "crop": 40, "backbone_learning_rate": 1e-3}
PROTOCOLS = [
    "linear_probe",
    FROZEN,
    {**FROZEN, "head": "mlp", "hidden": 16, "loss": "nin"},
    {**FROZEN, "loss": "fidelity"},
    {**FROZEN, "loss": "rank"},
    {**TUNED, "loss": "plcc"},
    {**TUNED, "head": "mlp", "hidden": 128, "loss": "l2"},
]


@pytest.mark.parametrize(
    "protocol", PROTOCOLS, ids=lambda p: p if isinstance(p, str) else "-".join(map(str, p.values()))
)
def test_protocols_learn_severity_grades_of_unseen_references_in_the_labels_own_direction_and_units(ladder, protocol):
    split = first_split(ladder)
    table = evaluate_split(spec(protocol=protocol), ladder, split)
    assert list(table.columns) == COLUMNS
    assert table["image"].tolist() == [ladder.rows[index].image for index in split.test]
    assert set(table["status"]) == {"ok"}
    assert not table["higher_is_better"].any()  # severity grades are lower for better images
    assert srcc(table["score"], table["label"]) > 0.7
    assert abs(table["score"].mean() - 3) < 1.5  # grades are 1, 3 and 5
    assert 0.5 < table["score"].std() < 4


def test_everything_is_repeated_bit_for_bit_whatever_the_global_generator_says(ladder):
    start = {"name": "self", "steps": 2, "crop": 32, "batch": 1}
    protocol = {"name": "fine_tuned", "steps": 2, "batch": 4, "crop": 32, "head": "mlp"}
    model, splits = spec(initialisation=start, protocol=protocol), Splits(count=2, test=0.33)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = evaluate_nr(model, ladder, splits)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    alone = evaluate_split(model, ladder, splits.draw(ladder)[1])
    assert alone.equals(one[one["split"] == "1"].reset_index(drop=True))
    other = evaluate_split(model.model_copy(update={"seed": 1}), ladder, splits.draw(ladder)[1])
    assert not alone["score"].equals(other["score"])


def test_images_are_decoded_once_for_all_splits_stages_and_heads(ladder, monkeypatch):
    decoded = []

    def counting(path):
        decoded.append(path)
        return read_rgb(path)

    monkeypatch.setattr("lopsided.iqa.nr.features.read_rgb", counting)
    cache = FeatureCache()
    for values in ({}, {"stages": 1}, {"statistics": "mean"}, {"protocol": {"name": "frozen", "steps": 2}}):
        evaluate_nr(spec(**values), ladder, Splits(count=3, test=0.5), features=cache)
    assert len(decoded) == len(set(decoded)) == len(ladder)
    evaluate_split(spec(test_crop=32), ladder, first_split(ladder), features=cache)
    assert len(decoded) == 2 * len(ladder)  # other views are other features


def test_a_fine_tuned_model_leaves_the_weights_others_start_with(ladder):
    cache, split = FeatureCache(), first_split(ladder)
    before = evaluate_split(spec(), ladder, split, features=cache)
    protocol = {"name": "fine_tuned", "steps": 3, "crop": 32, "backbone_learning_rate": 0.1}
    tuned = fit_nr(spec(protocol=protocol), ladder, split.train, features=cache)
    probe = fit_nr(spec(), ladder, split.train, features=cache)
    assert same(probe.network.trunk.state_dict(), build_trunk(spec()).state_dict())
    moved = [
        not torch.equal(a, b)
        for a, b in zip(tuned.network.trunk.parameters(), probe.network.trunk.parameters(), strict=True)
    ]
    assert all(moved)
    assert evaluate_split(spec(), ladder, split, features=cache).equals(before)


def test_nothing_of_the_test_part_enters_a_model(tmp_path, ladder):
    """A data set of the training part alone gives the same weights."""
    split = first_split(ladder)
    rows = [ladder.rows[index] for index in split.train]
    part = [
        {
            "image": str(row.image_path),
            "reference": str(row.reference_path),
            "distortion": row.distortion,
            "label": row.label,
            "label_kind": "severity_grade",
            "label_higher_is_better": "false",
        }
        for row in rows
    ]
    alone = FRDataset(write_manifest(tmp_path / "part.csv", part))
    for protocol in ("linear_probe", {"name": "fine_tuned", "steps": 2, "batch": 4, "crop": 32, "loss": "nin"}):
        models = [fit_nr(spec(protocol=protocol), *of) for of in ((ladder, split.train), (alone, range(len(rows))))]
        assert same(*(model.network.state_dict() for model in models))


def test_statistics_and_stages_are_those_asked_for():
    maps = [torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)), torch.rand(2, 4, 3, 3)]
    pooled = pool(maps)
    assert pooled.shape == (2, 14)
    assert torch.allclose(pooled[:, :3], maps[0].mean((2, 3)))
    assert torch.allclose(pooled[:, 3:6], maps[0].flatten(2).std(2, correction=0), atol=1e-6)
    assert torch.allclose(pooled[:, 6:10], maps[1].mean((2, 3)))


@pytest.mark.parametrize(
    ("values", "width"),
    [({}, 2 * 352), ({"statistics": "mean"}, 352), ({"stages": "last"}, 256), ({"stages": 1, "depth": 3}, 128)],
)
def test_a_head_has_one_weight_for_each_pooled_statistic(ladder, values, width):
    model = fit_nr(spec(**values), ladder, range(20))
    assert model.network.head.weight.shape == (1, width)


def test_views_lie_evenly_from_border_to_border_and_their_scores_are_averaged(ladder):
    image = torch.arange(64.0 * 64).reshape(1, 1, 64, 64).expand(1, 3, 64, 64) / 4096
    views = cut_views(image, spec(test_crop=24, test_grid=3))
    corners = [tuple(int(v) for v in divmod(round(view[0, 0, 0].item() * 4096), 64)) for view in views]
    assert corners == list(itertools.product((0, 20, 40), repeat=2))
    assert cut_views(image, spec(test_crop=64)).shape == (1, 3, 64, 64)
    model = fit_nr(spec(test_crop=24), ladder, range(30))
    row = ladder.rows[35]
    pixels = to_tensor(read_rgb(row.image_path))
    whole = fit_nr(spec(), ladder, range(30))
    one_by_one = [model.network.in_units(model.network(view[None])).item() for view in cut_views(pixels, model.spec)]
    assert model.score(pixels).item() == pytest.approx(np.mean(one_by_one), abs=1e-5)
    assert model.score(pixels).item() != pytest.approx(whole.score(pixels).item(), abs=1e-6)


def test_scores_of_a_batch_are_those_of_its_images_one_by_one(ladder):
    model = fit_nr(spec(test_crop=32, test_grid=2), ladder, range(30))
    images = torch.cat([to_tensor(read_rgb(row.image_path)) for row in ladder.rows[30:34]])
    one_by_one = [model.score(image[None]).item() for image in images]
    assert model.score(images).tolist() == pytest.approx(one_by_one, abs=1e-5)


def test_images_without_references_are_learnt_from_and_named_as_their_own_reference(tmp_path):
    table = evaluate_nr(spec(), NRDataset(rated(tmp_path, 20)), Splits(count=2, test=0.4))
    assert len(table) == 16
    assert table["reference"].equals(table["image"])
    assert table["higher_is_better"].all()
    assert srcc(table["score"], table["label"]) > 0.8  # contrast is easily seen


def test_progress_tells_what_is_done(ladder):
    told = []
    protocol = {"name": "fine_tuned", "steps": 3, "crop": 32}
    evaluate_nr(spec(protocol=protocol), ladder, Splits(count=1, test=0.33), progress=lambda *said: told.append(said))
    assert (24, 24, f"split 0: {ladder.rows[first_split(ladder).train[-1]].image}") in told
    assert [said[:2] for said in told if "loss" in said[2]] == [(1, 3), (2, 3), (3, 3)]


def test_a_training_that_diverges_is_a_status_and_never_a_number(ladder):
    protocol = {"name": "fine_tuned", "loss": "l2", "steps": 30, "learning_rate": 1e9, "crop": 32}
    split = first_split(ladder)
    table = evaluate_split(spec(protocol=protocol), ladder, split)
    assert len(table) == len(split.test)
    assert set(table["status"]) == {"diverged"}
    assert table["score"].isna().all()
    with pytest.raises(NRDivergedError, match=r"loss is .* at step"):
        fit_nr(spec(protocol=protocol), ladder, split.train)


# --- a discriminator without labels, and layer by layer --------------------------------------------------------------


@pytest.mark.parametrize("key", ["patch", "vanilla-squeezenet1_1-r", "unet"])
def test_zero_label_score_is_the_mean_logit_and_higher_is_more_real(ladder, discriminators, key):
    path, state = discriminators(key)
    split = Split("0", (0, 1), (2, 7, 13))
    table = evaluate_split(ZeroLabelSpec.model_validate({"discriminator": key, "weights": str(path)}), ladder, split)
    network = build_discriminator(key, seed=0).eval()
    network.load_state_dict(state)
    with torch.no_grad():
        expected = [network(to_tensor(read_rgb(ladder.rows[index].image_path))).mean().item() for index in split.test]
    assert table["score"].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert table["higher_is_better"].all()
    assert list(table.columns) == COLUMNS


def test_zero_label_of_an_untrained_discriminator_goes_by_its_seed(ladder):
    split = first_split(ladder)
    models = [ZeroLabelSpec.model_validate({"discriminator": "patch", "seed": seed}) for seed in (0, 1, 0)]
    one, other, again = (evaluate_split(model, ladder, split) for model in models)
    assert one.equals(again)
    assert not one["score"].equals(other["score"])
    assert len({model.identity for model in models}) == 2


def test_layers_of_a_discriminator_are_probed_one_by_one(ladder, discriminators):
    path, _ = discriminators("patch")
    start, split, cache = from_discriminator("patch", path), first_split(ladder), FeatureCache()
    scores = [
        evaluate_split(spec(initialisation=start, stages=stage), ladder, split, features=cache)["score"].tolist()
        for stage in range(4)
    ]
    assert len({tuple(column) for column in scores}) == 4


# --- the file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "protocol",
    [PROTOCOLS[0], PROTOCOLS[2], {**TUNED, "steps": 2, "batch": 4}],
    ids=["probe", "frozen", "fine-tuned"],
)
def test_a_saved_model_scores_as_before_and_needs_nothing_it_began_with(tmp_path, ladder, discriminators, protocol):
    path, _ = discriminators("patch", seed=9)
    split = first_split(ladder)
    start = from_discriminator("patch", tmp_path / "d.safetensors")
    (tmp_path / "d.safetensors").write_bytes(path.read_bytes())
    model = fit_nr(spec(initialisation=start, protocol=protocol, test_crop=32), ladder, split.train)
    model.save(tmp_path / "model.safetensors")
    (tmp_path / "d.safetensors").unlink()
    loaded = load_nr(tmp_path / "model.safetensors")
    images = torch.cat([to_tensor(read_rgb(row.image_path)) for row in ladder.rows[:4]])
    assert torch.equal(loaded.score(images), model.score(images))
    assert (loaded.spec, loaded.identity, loaded.training) == (model.spec, model.identity, model.training)
    assert loaded.higher_is_better is False
    model.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_scores_of_the_table_are_those_of_the_model(ladder):
    split = first_split(ladder)
    model, table = fit_nr(spec(), ladder, split.train), evaluate_split(spec(), ladder, split)
    scores = [model.score(to_tensor(read_rgb(ladder.rows[index].image_path))).item() for index in split.test]
    assert table["score"].tolist() == pytest.approx(scores, abs=1e-5)


def test_a_file_that_is_no_model_or_was_altered_is_refused(tmp_path, ladder):
    file = tmp_path / "model.safetensors"
    fit_nr(spec(), ladder, range(30)).save(file)
    with safe_open(file, framework="pt") as opened:
        about, state = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118

    def altered(message, tensors, metadata=about):
        save_file(tensors, tmp_path / "altered.safetensors", metadata=metadata)
        with pytest.raises(NRError, match=message):
            load_nr(tmp_path / "altered.safetensors")

    altered("fails its known-answer test", {**state, "head.weight": state["head.weight"] * 1.5})
    altered("Missing key|Error.s. in loading", {name: state[name] for name in state if name != "centre"})
    altered("is not a no-reference model", state, {"lopsided": json.dumps({"discriminator": "patch"})})
    altered("is not a no-reference model", state, {})
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:500])
    with pytest.raises(NRError, match="cannot read model"):
        load_nr(tmp_path / "cut.safetensors")
    with pytest.raises(NRError, match="no model file"):
        load_nr(tmp_path / "none.safetensors")


# --- what cannot be learnt from -------------------------------------------------------------------------------------


def test_data_sets_without_a_reference_column_or_with_labels_that_are_not_finite_are_refused(tmp_path):
    manifest = rated(tmp_path, 6)
    with pytest.raises(LopsidedError, match="no column 'reference', 'distortion'"):
        FRDataset(manifest)
    text = manifest.read_text().replace("3.png,3", "3.png,nan")
    (tmp_path / "nan.csv").write_text(text)
    with pytest.raises(LopsidedError, match="label is 'nan'; every row needs a finite one"):
        NRDataset(tmp_path / "nan.csv")


def test_equal_labels_small_images_and_large_crops_are_refused_by_name(tmp_path, ladder):
    with pytest.raises(NRError, match=r"nothing can be learnt from 2 training image\(s\) whose labels are all equal"):
        fit_nr(spec(), ladder, [0, 3])
    dataset = NRDataset(rated(tmp_path, 6))  # of 32 px
    with pytest.raises(NRError, match=r"0.png: 32×32 pixels, smaller than test_crop 48"):
        fit_nr(spec(test_crop=48), dataset, range(6))
    with pytest.raises(NRError, match=r"0.png: 32×32 pixels, smaller than the training crop 48"):
        fit_nr(spec(protocol={"name": "fine_tuned", "crop": 48}), dataset, [0, 1])
    write_png(tmp_path / "0.png", np.zeros((12, 12, 3), np.uint8))
    with pytest.raises(NRError, match=r"0.png: 12×12 pixels, at least 16×16 are needed"):
        fit_nr(spec(), NRDataset(tmp_path / "manifest.csv"), range(6))
    model = fit_nr(spec(), ladder, range(20))
    with pytest.raises(NRError, match="needs images of at least 16 px"):
        model.score(torch.zeros(1, 3, 8, 8))
    with pytest.raises(LopsidedError, match=r"expected values in \[0, 1\]"):
        model.score(torch.full((1, 3, 32, 32), 2.0))


# --- real images ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="the folder of real weights is not here")
def test_pretrained_weights_beat_random_ones_on_the_ladder(tmp_path, monkeypatch):
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(SHARED / "weights"))
    source = FolderSource(folder=SHARED / "sr" / "test" / "Set5" / "x4", pattern="*_HR.png")
    types, levels = ("jpeg", "gaussian_blur", "gaussian_noise"), (1, 3, 5)
    ladder = FRDataset(build_ladder(LadderSpec(source=source, size=96, types=types, levels=levels), tmp_path))
    found = {}
    for name, start in (
        ("random", "random"),
        ("pretrained", {"name": "pretrained", "weights": "squeezenet1_1.safetensors"}),
    ):
        model = spec(backbone="squeezenet1_1", initialisation=start)
        table = evaluate_nr(model, ladder, Splits(count=5))
        found[name] = np.median([srcc(rows["score"], rows["label"]) for _, rows in table.groupby("split")])
    assert found["pretrained"] > found["random"] + 0.1
