"""``lopsided learn-weights``: what it writes, what it says, and what it refuses."""

import pytest
from support.command_line import invoke
from support.noisy_set import noisy_set

from lopsided.losses import create_measure


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return noisy_set(tmp_path_factory.mktemp("set")) / "set.csv"


def test_it_writes_the_file_and_says_what_it_is_worth(tmp_path, manifest):
    path = tmp_path / "out.safetensors"
    options = ["--held-out", 0.6, "--set", "steps=20", "--set", "scale=learnt"]
    shown = invoke("learn-weights", "dists-squeezenet1_1-r", "--dataset", manifest, "--to", path, *options)
    assert (shown.status, shown.err) == (0, "")
    assert "learnt from 1 references" in shown.out
    assert "held out: 10 images of 2 references; labels: MOS" in shown.out
    assert shown.out.count("95 % interval") == 5
    assert "held-out reference(s) are few" in shown.out
    assert shown.out.endswith(f"weights: {path}\n")
    create_measure({"measure": "dists", "backbone": "squeezenet1_1-r", "alpha_beta": str(path)})


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
        ("dists-squeezenet1_1-r", ["--device", "gpu"], "--device gpu: unknown; known are cpu, cuda"),
    ],
)
def test_what_it_cannot_do_is_one_line(tmp_path, manifest, measure, options, text):
    path = tmp_path / "out.safetensors"
    shown = invoke("learn-weights", measure, "--dataset", manifest, "--to", path, *options)
    assert (shown.status, shown.out) == (1, "")
    (line,) = shown.err.splitlines()
    assert text in line
    assert not path.exists()
