"""``lopsided score``: files and folders scored by any measures, what fails named, and what goes in counted out."""

import numpy as np
import pandas as pd
import pytest
import torch
from support.command_line import invoke

from lopsided.common.images import read_rgb, to_tensor, write_png
from lopsided.iqa import NO_REFERENCE, list_judges
from lopsided.losses import create_measure

SIZE = 40


def photograph(seed, noise=0.0):
    rng = np.random.default_rng(seed)
    smooth = np.kron(rng.uniform(0, 255, (5, 5, 3)), np.ones((8, 8, 1)))
    return (smooth + noise * rng.standard_normal(smooth.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    """Three pairs, one of them in a sub-folder."""
    for seed, name in enumerate(("img2.png", "img10.png", "sub/img1.png")):
        write_png(tmp_path / "originals" / name, photograph(seed))
        write_png(tmp_path / "restored" / name, photograph(seed, noise=5.0 * (seed + 1)))
    return tmp_path / "restored", tmp_path / "originals"


def test_two_folders_give_a_row_per_image_the_means_and_a_csv(folders, tmp_path):
    restored, originals = folders
    file = tmp_path / "scores.csv"
    measures = ("-m", "psnr_y, ssim", "-m", "{measure: dists, backbone: squeezenet1_1-r}")
    shown = invoke("score", restored, "-r", originals, *measures, "--crop", 2, "-o", file)
    assert (shown.status, shown.err) == (0, "")
    lines = shown.out.splitlines()
    keys = ["psnr_y", "ssim", "dists-squeezenet1_1-r"]
    assert lines[0].split() == ["image", "psnr_y", "↑", "ssim", "↑", "dists-squeezenet1_1-r", "↓"]
    names = ["img2.png", "img10.png", "sub/img1.png"]
    assert [line.split()[0] for line in lines[1:4]] == names
    assert lines[-1] == "scored 3, failed 0 of 3"

    table = pd.read_csv(file)
    assert list(table["image"]) == [str(restored / name) for name in names]
    assert list(table["reference"]) == [str(originals / name) for name in names]
    assert set(table["status"]) == {"ok"}
    for key in keys:
        measure = create_measure(key)
        for name, score in zip(names, table[key], strict=True):
            image, reference = (to_tensor(read_rgb(folder / name))[..., 2:-2, 2:-2] for folder in (restored, originals))
            assert score == pytest.approx(measure.score(image, reference).item(), rel=1e-6)
        (summary,) = [line.split() for line in lines if line.split()[:2] in ([key, "higher"], [key, "lower"])]
        mean, error, deviation = (f"{value:.5g}" for value in (table[key].mean(), table[key].sem(), table[key].std()))
        assert summary[2:] == [mean, error, deviation, "3"]


def test_two_files(folders):
    restored, originals = folders
    shown = invoke("score", restored / "img2.png", "-r", originals / "sub" / "img1.png", "-m", "l1")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.splitlines()[-1] == "scored 1, failed 0 of 1"
    assert "SD" not in shown.out


def test_images_alone_by_a_no_reference_model(folders, tmp_path, monkeypatch):
    class Brightness(torch.nn.Module):
        def forward(self, images):
            return images.mean((1, 2, 3))

    monkeypatch.setattr("lopsided.iqa.judges.pyiqa_network", lambda _: Brightness())
    monkeypatch.setitem(NO_REFERENCE._entries, "brightness", type(NO_REFERENCE["nima"])(frozenset(), min_size=SIZE))
    restored, originals = folders
    file = tmp_path / "scores.csv"
    shown = invoke("score", restored, "-m", "brightness", "-o", file)
    assert (shown.status, shown.err) == (0, "")
    expected = read_rgb(restored / "img2.png").mean() / 255
    assert pd.read_csv(file)["brightness"][0] == pytest.approx(expected, rel=1e-5)
    both = invoke("score", restored, "-r", originals, "-m", "brightness,l1")
    assert (both.status, both.err) == (0, "")
    alone = invoke("score", restored, "-r", originals, "-m", "brightness")
    message = "error: no reference is looked at by brightness; leave the references out\n"
    assert (alone.status, alone.err) == (1, message)


def test_names_that_differ_in_extension_or_at_their_end_are_paired(folders):
    restored, originals = folders
    for path in sorted(restored.rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}_x4.PNG"))
    shown = invoke("score", restored, "-r", originals, "-m", "l1", "--suffix", "_x4")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.splitlines()[-1] == "scored 3, failed 0 of 3"
    without = invoke("score", restored, "-r", originals, "-m", "l1", "--partial")
    assert without.status == 1
    assert "error: no image has a reference of its name: 3 images without a reference" in without.err


def test_files_without_a_partner_are_listed_and_refused_unless_asked(folders, tmp_path):
    restored, originals = folders
    (originals / "img2.png").unlink()
    (restored / "img10.png").unlink()
    command = ("score", restored, "-r", originals, "-m", "l1", "-o", tmp_path / "scores.csv")
    shown = invoke(*command)
    assert shown.status == 1
    assert shown.err.splitlines() == [
        f"wrong: {restored / 'img2.png'}: no reference",
        f"wrong: {originals / 'img10.png'}: no image",
        "error: 1 images without a reference, 1 references without an image; --partial scores only the 1 pairs",
    ]
    assert not (tmp_path / "scores.csv").exists()
    shown = invoke(*command, "--partial")
    assert (shown.status, shown.err) == (0, "")
    assert f"note: {restored / 'img2.png'}: no reference" in shown.out
    last = "scored 1, failed 0, without a reference 1 of 2; references without an image: 1"
    assert shown.out.splitlines()[-1] == last
    assert list(pd.read_csv(tmp_path / "scores.csv")["status"]) == ["ok", "no reference"]


def test_an_image_that_cannot_be_scored_is_a_row_and_an_exit_status(folders, tmp_path):
    restored, originals = folders
    (restored / "img2.png").write_bytes(b"no image")
    write_png(restored / "img10.png", photograph(0)[:24])
    file = tmp_path / "scores.csv"
    shown = invoke("score", restored, "-r", originals, "-m", "l1,ms_ssim", "-o", file)
    assert shown.status == 1
    broken, size, small = shown.err.splitlines()
    assert broken.startswith(f"failed: {restored / 'img2.png'}: not a PNG")
    assert size == f"failed: {restored / 'img10.png'}: the image is 40×24, its reference 40×40"
    assert small.startswith(f"failed: {restored / 'sub' / 'img1.png'}: judge 'ms_ssim' needs sides of")
    assert shown.out.splitlines()[-1] == "scored 0, failed 3 of 3"
    table = pd.read_csv(file)
    assert list(table["status"]) == ["failed"] * 3
    assert list(table["l1"].notna()) == [False, False, True]  # what could be computed is not thrown away


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-m", "l1"), "references are missing, with which l1 would compare images"),
        (("-r", "{originals}", "-m", "disst"), "unknown judge 'disst'; did you mean 'dists'?"),
        (("-r", "{originals}", "-m", "l1,l1"), "give one or more measures, each once; got l1, l1"),
        (("-r", "{originals}", "-m", ""), "give one or more measures, each once; got none (list_judges() and lopsided"),
        (
            ("-r", "{originals}", "-m", "{{measure: ssim, colour: rgb}}"),
            "unknown option 'colour'; did you mean 'color'?",
        ),
        (("-r", "{originals}", "-m", "{{backbone: vgg16}}"), "write {measure: …}"),
        (("-r", "{originals}", "-m", "{{measure: "), "is not a YAML value; write a list as [a, b], a mapping as"),
        (("-r", "{originals}/img2.png", "-m", "l1"), "give two files, or two folders"),
        (("-r", "{originals}s", "-m", "l1"), "no image or folder"),
        (("-r", "{originals}", "-m", "l1", "-o", "scores.txt"), "--output scores.txt: the name must end in .csv"),
        (("-r", "{originals}", "-m", "l1", "--device", "gpu"), "device 'gpu' is unknown"),
        (("-r", "{originals}", "-m", "dists"), "Put the file (SHA-256 397923af…"),
    ],
)
def test_a_wrong_argument_is_one_line_that_says_what_is_right(folders, monkeypatch, tmp_path, arguments, message):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("LOPSIDED_MIRROR", "http://127.0.0.1:9")
    restored, originals = folders
    shown = invoke("score", restored, *(argument.format(originals=originals) for argument in arguments))
    assert shown.status == 1
    (line,) = shown.err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_two_images_of_one_name_are_refused(folders):
    restored, originals = folders
    (restored / "img2.jpg").write_bytes((restored / "img2.png").read_bytes())
    shown = invoke("score", restored, "-r", originals, "-m", "l1")
    assert shown.err == f"error: {restored}: 'img2.jpg' and 'img2.png' would have one reference; rename one\n"


def test_many_images_are_shown_in_part_unless_asked(folders, tmp_path):
    restored, _ = folders
    for index in range(25):
        write_png(tmp_path / "many" / f"{index}.png", read_rgb(restored / "img2.png"))
    command = ("score", tmp_path / "many", "-r", tmp_path / "many", "-m", "l1")
    assert "… and 5 more; --all shows them, --output writes them" in invoke(*command).out
    assert "\n24.png" in invoke(*command, "--all").out


def test_the_list_of_keys():
    shown = invoke("score", "--list")
    assert [line.split()[0] for line in shown.out.splitlines()] == list_judges()
    assert "musiq  no-reference" in shown.out.splitlines()
