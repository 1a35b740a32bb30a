"""What `lopsided.iqa` offers: every name, registries that refuse taken names, and paths as text."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.noisy_set import noisy_set

from lopsided import iqa
from lopsided.common.errors import LopsidedError
from lopsided.common.images import write_png
from lopsided.common.sources import SkimageSource
from lopsided.iqa import datasets, nr
from lopsided.iqa.datasets.registry import register
from lopsided.iqa.nr.spec import AnyInitialisation, AnyProtocol
from lopsided.losses import MeasureGroup, create_measure
from lopsided.losses.learn_weights import Weights


@pytest.mark.parametrize("package", [iqa, datasets, nr], ids=lambda package: package.__name__)
def test_every_name_is_there(package) -> None:
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert set(package.__all__) <= set(dir(package))


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match=r"module 'lopsided\.iqa' has no attribute 'nothing'"):
        _ = iqa.nothing


# --- registries -----------------------------------------------------------------------------------------------------


def test_a_taken_name_is_refused() -> None:
    entry = iqa.NO_REFERENCE["niqe"]
    for taken in ("musiq", "psnr_y", "dists-vgg16-r"):  # measures are judges too
        with pytest.raises(LopsidedError, match=f"judge '{taken}' exists already; register it under another name"):
            iqa.NO_REFERENCE.register(taken, entry)
    with pytest.raises(LopsidedError, match="data set 'live' exists already"):
        register(iqa.dataset_info("live"))


def test_no_name_is_listed_twice() -> None:
    for names in (iqa.list_judges(), iqa.list_datasets(), nr.list_nr_backbones()):
        assert len(names) == len(set(names))


def test_data_sets_are_listed_by_what_they_hold() -> None:
    tasks = [iqa.dataset_info(name).task for name in iqa.list_datasets()]
    assert tasks == ["fr"] * 9 + ["pairs"] + ["nr"] * 6


@pytest.mark.parametrize(("field", "known"), [(AnyInitialisation, "random"), (AnyProtocol, "frozen")])
def test_choices_of_no_reference_models_have_one_name_each(field, known: str) -> None:
    members = [member.model_fields["name"].default for member in field.__origin__.__args__]
    assert known in members
    assert len(members) == len(set(members))


# --- paths ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rated set, a judged pair and a model's file."""
    folder = noisy_set(tmp_path_factory.mktemp("set"))
    patches, judged = folder / "2afc" / "val" / "cnn", np.zeros((16, 16, 3), np.uint8)
    for kind in ("ref", "p0", "p1"):
        write_png(patches / kind / "0.png", judged)
    (patches / "judge").mkdir()
    np.save(patches / "judge" / "0.npy", np.array([0.2]))
    model(folder).save(folder / "model.safetensors")
    return folder


def model(folder: Path) -> nr.NRModel:
    dataset = iqa.FRDataset(folder / "set.csv")
    return nr.fit_nr(nr.NRSpec(backbone="squeezenet1_1", depth=1), dataset, range(len(dataset)))


def scores(path: Path | str, partial: Path | str) -> list[float]:
    measure = create_measure("l1")
    table = iqa.evaluate_fr(measure, iqa.FRDataset(path), partial=partial)
    again = iqa.evaluate_fr_group(MeasureGroup([measure]), iqa.FRDataset(path), partial={"l1": partial})["l1"]
    pd.testing.assert_frame_equal(table, again, check_exact=True)
    return table["score"].tolist()


def saved(path: Path | str) -> bytes:
    weights = Weights(torch.full((2,), 0.25), torch.full((2,), 0.25), ())
    iqa.LearntWeights(weights, ("a",), ("b",), {}, {}).save(path)
    return Path(path).read_bytes()


def listed(manifest: Path | str) -> list[dict[str, str]]:
    return [cells for _, cells in iqa.read_manifest(manifest).records]


LADDER = iqa.LadderSpec(source=SkimageSource(split="test"), size=32, types=("jpeg",), levels=(1,))
COLUMNS = iqa.Columns("image", "label", reference="reference", distortion="distortion")
LABELS = iqa.Labels("mos", higher_is_better=True)
DOORS = {
    "FRDataset": lambda path, kind: iqa.FRDataset(kind(path / "set.csv")).identity,
    "NRDataset": lambda path, kind: iqa.NRDataset(kind(path / "set.csv")).identity,
    "PairDataset": lambda path, kind: iqa.PairDataset(kind(path)).identity,
    "open_dataset": lambda path, kind: iqa.open_dataset("manifest", kind(path / "set.csv")).identity,
    "check_dataset": lambda path, kind: iqa.check_dataset("manifest", kind(path / "set.csv")),
    "list_images": lambda path, kind: iqa.list_images("manifest", kind(path / "set.csv")),
    "read_manifest": lambda path, kind: listed(kind(path / "set.csv")),
    "write_manifest": lambda path, kind: iqa.write_manifest(
        iqa.read_manifest(path / "set.csv"), kind(path / "out.csv")
    ),
    "import_csv": lambda path, kind: iqa.import_csv(
        kind(path / "set.csv"), kind(path / "imported.csv"), COLUMNS, LABELS, images=kind(path)
    ),
    "build_ladder": lambda path, kind: iqa.build_ladder(LADDER, kind(path / "ladders")),
    "evaluate_fr": lambda path, kind: scores(kind(path / "set.csv"), kind(path / "partial.jsonl")),
    "LearntWeights": lambda path, kind: saved(kind(path / "weights.safetensors")),
    "load_nr": lambda path, kind: nr.load_nr(kind(path / "model.safetensors")).identity,
    "NRModel": lambda path, kind: model(path).save(kind(path / "model.safetensors")),
}


@pytest.mark.parametrize("door", DOORS)
def test_paths_may_be_text(folder: Path, door: str) -> None:
    assert DOORS[door](folder, str) == DOORS[door](folder, Path)
