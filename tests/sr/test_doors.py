"""What `lopsided.sr` offers: every name, registries that refuse taken names, and paths as text."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lopsided import sr
from lopsided.common.errors import LopsidedError
from lopsided.common.images import write_png
from lopsided.common.sources import FolderSource
from lopsided.sr.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lopsided.sr.generators import load_generator, read_state

SPEC = sr.GeneratorSpec(name="swinir-tiny")


@pytest.mark.parametrize("name", sr.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(sr, name) is not None
    assert name in dir(sr)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match=r"module 'lopsided\.sr' has no attribute 'nothing'"):
        _ = sr.nothing


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(LopsidedError, match="generator 'edsr' exists already; register it under another name"):
        sr.ARCHITECTURES.register("edsr", sr.ARCHITECTURES["rrdb"])
    with pytest.raises(LopsidedError, match="task 'jpeg' exists already"):
        sr.TASKS.register("jpeg", sr.Denoising)


def test_definitions_are_json_and_identities_their_hashes(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "x.pth")
    other = sr.GeneratorSpec(name="swinir-tiny", weights=str(tmp_path / "x.pth"))
    assert SPEC.definition() == {"name": "swinir-tiny", "weights": None}
    assert SPEC.identity == sr.GeneratorSpec(name="swinir-tiny").identity
    assert len({SPEC.identity, other.identity, sr.GeneratorSpec(name="edsr").identity}) == 3
    assert sr.Jpeg().definition() == {"version": 1, "degradation": "jpeg", "quality": [10, 10], "subsampling": 420}


# --- paths ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph, a generator's file, a history, a checkpoint and tensors."""
    folder = tmp_path_factory.mktemp("files")
    write_png(folder / "photos" / "a.png", np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8))
    sr.export_generator(folder / "x2.safetensors", generator())
    sr.write_tensors(folder / "tensors.safetensors", {"a": torch.ones(1)}, {})
    save_checkpoint(folder, Checkpoint(1, {"a": torch.ones(1)}, {}))
    (folder / "history.jsonl").write_text('{"step":1}\n')
    return folder


def generator() -> sr.LoadedGenerator:
    return sr.LoadedGenerator(sr.build_generator(SPEC, 2), SPEC, 2)


def train(path: Path | str) -> float:
    """One step; the working folder, the cache and the events are given as ``path`` is."""
    kind = type(path)
    items = FolderSource(folder=Path(path, "photos")).items()
    cache = sr.PairCache.build(items, 2, kind(f"{path}/cache"))
    trainer = sr.Trainer(
        sr.TrainingSpec(steps=1, batch=1, patch=16), sr.build_generator(SPEC, 2), cache, seed=0, stream="s"
    )
    trainer.run(
        kind(f"{path}/run"),
        checkpoint_every=1,
        trackers=[sr.tracker("tensorboard", Path(path, "events"), Path(path), "one", "One step")],
    )
    (row,) = sr.read_history(kind(f"{path}/run/history.jsonl"))
    return row["pixel"]


DOORS = {
    "load_exported": lambda path, kind: sr.load_exported(kind(path / "x2.safetensors")).digest,
    "read_metadata": lambda path, kind: sr.read_metadata(kind(path / "x2.safetensors")),
    "export_generator": lambda path, kind: sr.export_generator(kind(path / "y.safetensors"), generator()),
    "read_history": lambda path, kind: sr.read_history(kind(path / "history.jsonl")),
    "read_tensors": lambda path, kind: sr.read_tensors(kind(path / "tensors.safetensors")),
    "write_tensors": lambda path, kind: sr.write_tensors(kind(path / "other.safetensors"), {}, {}),
    "checkpoints": lambda path, kind: load_checkpoint(kind(path)),
    "load_generator": lambda path, kind: load_generator(generator().generator, kind(path / "x2.safetensors")),
    "read_state": lambda path, kind: sorted(read_state(kind(path / "x2.safetensors"))),
    "restore_folder": lambda path, kind: sr.restore_folder(
        kind(path / "photos"), kind(path / "restored"), generator(), overwrite=True
    ),
    "training": lambda path, kind: train(kind(path)),
}


@pytest.mark.parametrize("door", DOORS)
def test_paths_may_be_text(folder: Path, door: str) -> None:
    assert DOORS[door](folder, str) == DOORS[door](folder, Path)
