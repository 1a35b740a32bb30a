"""``lopsided learn-weights``: what it writes, what it says, and what it refuses."""

from types import SimpleNamespace

import pytest
from support.command_line import invoke
from support.noisy_set import noisy_set

from lopsided.cli.learn_weights import result_lines
from lopsided.losses import create_measure


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return noisy_set(tmp_path_factory.mktemp("set")) / "set.csv"


def test_it_writes_the_file_and_says_what_it_is_worth(tmp_path, manifest):
    path = tmp_path / "out.safetensors"
    options = ["--held-out", 0.6, "--set", "steps=20", "--set", "scale=learnt"]
    shown = invoke("learn-weights", "dists-squeezenet1_1-r", "--dataset", manifest, "--to", path, *options)
    assert (shown.status, shown.err) == (0, "")
    assert "learnt from 2 references" in shown.out
    assert "held out: 5 images of 1 references; labels: MOS" in shown.out
    assert shown.out.count("(no interval)") == 5
    assert "held-out reference(s) are few" in shown.out
    assert shown.out.endswith(f"weights: {path}\n")
    create_measure({"measure": "dists", "backbone": "squeezenet1_1-r", "alpha_beta": str(path)})


def test_numbers_come_with_their_intervals():
    found = {"srcc": 0.5, "srcc_low": 0.4, "srcc_high": 0.625, "plcc": 0.25, "plcc_low": 0.125, "plcc_high": 0.375}
    held_out = {"status": "ok", "n": 90, "n_references": 30, "uniform": found, "learnt": found, "difference": found}
    metadata = {"key": "dists-x", "dataset": "mine", "label_kind": "dmos"}
    learnt = SimpleNamespace(results={"held_out": held_out}, metadata=metadata, train_references=range(70))
    assert result_lines(learnt) == [  # pyright: ignore[reportArgumentType]
        "dists-x learnt from 70 references of 'mine'; held out: 90 images of 30 references; labels: DMOS",
        "uniform  SRCC 0.500 (95 % interval 0.400 to 0.625)  PLCC 0.250 (95 % interval 0.125 to 0.375)",
        "learnt   SRCC 0.500 (95 % interval 0.400 to 0.625)  PLCC 0.250 (95 % interval 0.125 to 0.375)",
        "gain     SRCC +0.500 (95 % interval +0.400 to +0.625)",
    ]


@pytest.mark.parametrize(
    ("measure", "options", "text"),
    [
        ("ssim", [], "a DISTS only"),
        ("dists-squeezenet1_1-q", [], "did you mean 'dists-squeezenet1_1-r'?"),
        ("dists-squeezenet1_1-r", ["--recipe", "mso"], "unknown recipe 'mso'; did you mean 'mos'?"),
        ("dists-squeezenet1_1-r", ["--set", "stps=5"], "stps: unknown; did you mean 'steps'?"),
        ("dists-squeezenet1_1-r", ["--set", "steps=0"], "steps: Input should be greater than or equal to 1, got 0"),
        ("dists-squeezenet1_1-r", ["--set", "steps"], "--set steps: write it as KEY=VALUE"),
        ("dists-squeezenet1_1-r", ["--held-out", "1"], "--held-out: Input should be less than 1, got 1.0"),
        ("dists-squeezenet1_1-r", ["--to", "weights.pt"], "must end in .safetensors"),
        ("dists-squeezenet1_1-r", ["--dataset", "absent.csv"], "absent.csv: the manifest cannot be read"),
        (
            "dists-squeezenet1_1-r",
            ["--dataset", "kadid-10k"],
            "--dataset kadid-10k: give a manifest; of a published set, 'lopsided data check kadid-10k FOLDER --to "
            "manifest.csv' writes it",
        ),
        ("dists-squeezenet1_1-r", ["--dataset", "."], "'lopsided data check NAME . --to manifest.csv' writes it"),
        ("dists-squeezenet1_1-r", ["--set", "steps=1", "--set", "steps=2"], "--set steps is given twice, as '1' and"),
        ("dists-squeezenet1_1-r", ["--device", "gpu"], "device 'gpu' is unknown; known: cpu, cuda"),
    ],
)
def test_what_it_cannot_do_is_one_line(tmp_path, manifest, measure, options, text):
    path = tmp_path / "out.safetensors"
    shown = invoke("learn-weights", measure, "--dataset", manifest, "--to", path, *options)
    assert (shown.status, shown.out) == (1, "")
    (line,) = shown.err.splitlines()
    assert text in line
    assert not path.exists()
