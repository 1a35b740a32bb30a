"""Trackers look on: the same numbers with and without them, no point twice, and a failing one ends no training."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from lopsided.common.sources import parse_source
from lopsided.sr import PairCache, StoppedError, SuperResolutionError, Trainer, TrainingSpec, require_trackers, tracker
from lopsided.sr import tracking as module

SPEC = TrainingSpec(steps=8, batch=1, patch=8, log_every=2)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    items = parse_source({"source": "skimage", "split": "test"}).items()[:1]
    return PairCache.build(items, 4, tmp_path_factory.mktemp("pairs"))


def trained(pairs, folder, trackers, stop_at=None):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.PixelShuffle(4))
    made = Trainer(SPEC, network, pairs, seed=0, stream="pretrain")
    made.run(folder, checkpoint_every=4, trackers=trackers, stop=lambda: made.step == stop_at)
    return made.averaged_generator().state_dict()


class Killed(BaseException):
    """Stands for SIGKILL: nothing is saved or closed after it."""


class Seen:
    """A tracker that keeps what it is told; an error on request."""

    def __init__(self, points, fail=None):
        self.points, self.fail = points, fail

    def row(self, row):
        if self.fail:
            raise RuntimeError(self.fail)
        self.points += [(row["step"], name) for name in row if name != "step"]

    def images(self, step, images):
        pass

    def close(self):
        pass


def test_a_tracker_that_fails_is_a_warning_and_changes_no_number(pairs, tmp_path, caplog):
    def unreachable(step):
        raise OSError("no route to host")

    plain = trained(pairs, tmp_path / "plain", [])
    points = []
    openers = [unreachable, lambda step: Seen([], "quota exceeded"), lambda step: Seen(points)]
    watched = trained(pairs, tmp_path / "watched", openers)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    text = caplog.text
    assert "a tracker of curves cannot start (no route to host); the training goes on without it" in text
    assert text.count("Seen failed (quota exceeded)") == 1
    assert sorted({step for step, _ in points}) == [2, 4, 6, 8]


def test_a_killed_training_sends_no_point_twice(pairs, tmp_path):
    points = []

    def opened(step):
        return module.SentOnce(Seen(points), tmp_path / "tracking" / "seen")

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.PixelShuffle(4))
    made = Trainer(SPEC, network, pairs, seed=0, stream="pretrain")

    def killed(step, loss):
        if step == 6:  # after the point of step 6, which the checkpoint of step 4 does not have
            raise Killed

    with pytest.raises(Killed):
        made.run(tmp_path / "run", checkpoint_every=4, trackers=[opened], progress=killed)
    assert (6, "pixel") in points
    trained(pairs, tmp_path / "run", [opened])
    assert len(points) == len(set(points))
    assert sorted({step for step, _ in points}) == [2, 4, 6, 8]


def test_one_that_is_not_installed_is_an_error_before_anything_runs(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(
        SuperResolutionError, match=r"wandb is not installed; pip install 'lopsided\[wandb\]', or leave"
    ):
        require_trackers(["wandb"])


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_offline_runs_of_wandb_and_mlflow(name, pairs, tmp_path, monkeypatch):
    pytest.importorskip(name)
    for variable in ("WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    opener = tracker(name, tmp_path / "cell", tmp_path / "shared", "0a1b2c", "pretrain seed 0")
    with pytest.raises(StoppedError):
        trained(pairs, tmp_path / "run", [opener], stop_at=4)
    resumed = trained(pairs, tmp_path / "run", [opener])
    plain = trained(pairs, tmp_path / "plain", [])
    assert all(torch.equal(plain[key], resumed[key]) for key in plain)
    assert points_of(name, tmp_path / "shared") == [2, 4, 6, 8]


def points_of(name: str, folder: Path) -> list[int]:
    """Return the steps at which the pixel loss was logged."""
    if name == "mlflow":
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

        client = MlflowClient(tracking_uri=(folder / "mlflow").as_uri())
        (run,) = client.search_runs([client.get_experiment_by_name("lopsided").experiment_id])
        assert run.info.status == "FINISHED"
        return [metric.step for metric in client.get_metric_history(run.info.run_id, "pixel")]
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportMissingImports]

    steps = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        # Records as in LevelDB's log: checksum (4 bytes), length (2), kind (1), content; after a header of 7 bytes.
        data, at = path.read_bytes(), 7
        assert len(data) < 1 << 15  # one block, in which all records are whole
        while at < len(data):
            size = int.from_bytes(data[at + 4 : at + 6], "little")
            record = Record.FromString(data[at + 7 : at + 7 + size])
            values = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
            steps += [json.loads(values["_step"])] if "pixel" in values else []
            at += 7 + size
    return steps
