"""`lopsided run` under torchrun: processes share each training and make what one process makes."""

import json
import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from lopsided.sr.distributed import Ranks
from lopsided.sr.errors import SuperResolutionError

pytestmark = pytest.mark.slow

EXPERIMENT = """
name: shared
data:
  train: {source: skimage, split: train}
  test:
    photographs: {images: {source: skimage, split: test}, crop: 64}
super_resolution:
  scale: 4
  pretrain: {steps: 4, batch: 4, micro_batches: 2, patch: 32, learning_rate: 2.0e-3, ema: 0.9, log_every: 2}
  finetune: {steps: 4, batch: 4, micro_batches: 2, patch: 32, ema: 0.9, log_every: 2, augmentation: [color]}
grid: {generator: swinir-tiny, fidelity: ssim, discriminator: {form: unet, width: 8}, gan_weight: 0.005, seed: 0}
judges: [psnr_y]
"""


def run(folder, *start):
    folder.mkdir()
    path, store = folder / "experiment.yaml", folder / "store"
    path.write_text(EXPERIMENT)
    result = subprocess.run(
        [sys.executable, "-m", *start, "lopsided", "run", path, "--store", store, "--no-report"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "300"},
    )
    return result, store


TWO = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


def test_two_processes_make_what_one_makes(tmp_path):
    """Same global batch: networks within 1e-6, whatever is random included, and one history, not two."""
    one, two = run(tmp_path / "one"), run(tmp_path / "two", *TWO)
    for result, _ in (one, two):
        assert result.returncode == 0, result.stderr
    files = [sorted(path.relative_to(store) for path in store.rglob("*.safetensors")) for _, store in (one, two)]
    assert files[0] == files[1]
    assert {path.parts[1] for path in files[0]} == {"pretrain", "finetune"}
    for name in files[0]:
        ours, theirs = (load_file(store / name) for _, store in (one, two))
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            assert (tensor - theirs[key]).abs().max() <= 1e-6, (name, key)
    for path in one[1].rglob("training.jsonl"):
        other = two[1] / path.relative_to(one[1])
        rows = [[json.loads(line) for line in file.read_text().splitlines()] for file in (path, other)]
        assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
        for ours, theirs in zip(*rows, strict=True):
            assert {k: v for k, v in ours.items() if k != "seconds"} == pytest.approx(
                {k: v for k, v in theirs.items() if k != "seconds"}, rel=1e-4, abs=1e-6
            )
    assert two[0].stdout.count("cells, in") == 1, "one process speaks"


def test_micro_batches_are_dealt_out_and_what_cannot_be_shared_is_refused():
    shares = [set(Ranks(index, 4).share(8)) for index in range(4)]
    assert set.union(*shares) == set(range(8))
    assert [len(share) for share in shares] == [2, 2, 2, 2]
    assert list(Ranks().share(3)) == [0, 1, 2]
    with pytest.raises(SuperResolutionError, match=r"2 processes cannot share 1 micro-batch.* to a multiple of 2"):
        Ranks(0, 2).share(1)
