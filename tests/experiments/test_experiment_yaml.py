# ruff: noqa: E501 (the table of faults reads best with one fault a line)
"""Experiment files: what is refused and in which words, what is accepted, and the JSON Schema for editors."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from PIL import Image
from support.paths import ROOT

from lopsided.common.errors import LopsidedError
from lopsided.experiments import Experiment, ExperimentError, load_experiment, plan

EXPERIMENTS = ROOT / "experiments"
SHIPPED = sorted(EXPERIMENTS.glob("*.yaml"))

BASE = """\
name: tiny
data:
  train: {source: skimage, split: train}
  test:
    photos: {images: {source: skimage, split: test}, crop: 64}
super_resolution:
  scale: 4
  pretrain: {steps: 20, batch: 2, patch: 32}
  finetune:
    steps: 10
    patch: 32
    betas: [0.9, 0.99]
    milestones: [4, 8]
grid:
  generator: swinir-tiny
  fidelity: [none, ssim]
  discriminator: [none, patch]
  gan_weight: 0.005
  seed: [0, 1]
  include:
    - {fidelity: gmsd, seed: 0}
  exclude:
    - {fidelity: ssim, discriminator: patch}
judges:
  - psnr_y
  - {judge: dists, options: {backbone: vgg16-r}, crop: 4}
assessment:
  datasets:
    ladder:
      ladder:
        source: {source: skimage, split: test}
        size: 64
        types: [jpeg]
        levels: [1, 5]
  measures: [ssim]
analysis: {resamples: 200}
execution: {threads: 1, device: cpu}
"""

TRAIN = "train: {source: skimage, split: train}"
PATCH = "    patch: 32\n"
ONE_OF = "images come from exactly one of `source: skimage`, `folder: …` and `manifest: …`"
ONE_KIND = "an FR set is given by exactly one of `ladder: …`, `manifest: …` and `published: …`"
BOOLEAN = "true and false mean nothing here (YAML also reads unquoted yes, no, on and off as such)"
TEXT = "must be text (in quotes if it looks like something else)"

# (what is replaced in BASE, by what, line of the fault, the message after it)
FAULTS = [
    # the YAML itself
    ("  scale: 4", "\tscale: 4", 7, "not valid YAML: a tab; indent with spaces"),
    ("  scale: 4", "  scale: 04", 7, "not valid YAML: YAML reads 04 in base 8; write the number in base 10, or text in quotes"),
    ("  scale: 4", "  scale: 1:30", 7, "not valid YAML: YAML reads 1:30 in base 60; write the number in base 10, or text in quotes"),
    ("name: tiny", "name: {a} b", 1, "not valid YAML: the value ends before this; put text that begins with {, [ or a quote in quotes as a whole"),
    ("name: tiny", "name: !!bool maybe", 1, "not valid YAML: 'maybe' is not true or false; put text in quotes"),
    ("name: tiny", "name: !!int ''", 1, "not valid YAML: '' is not a whole number; put text in quotes"),
    ("  scale: 4", "   scale: 4", 8, "not valid YAML: the indentation does not fit the lines above"),
    ("name: tiny", "name: a: b", 1, "not valid YAML: an unexpected ':'; fix the indentation, or put a value that holds ': ' in quotes"),
    ("batch: 2, patch: 32}", "batch: 2, patch: 32", 8, "not valid YAML: a bracket that opens here is not closed, or a comma is missing"),
    ("name: tiny", "name: 'tiny", 1, "not valid YAML: a quotation that opens here is not closed"),
    ("name: tiny", r'name: "C:\data"', 1, "not valid YAML: in double quotes a backslash begins an escape; use single quotes, or / in paths"),
    ("name: tiny", r'name: "C:\users"', 1, "not valid YAML: in double quotes a backslash begins an escape; use single quotes, or / in paths"),
    ("  scale: 4", "  scale: 4\n  scale: 2", 8, "'scale' is given twice (first on line 7); keep one"),
    ("name: tiny", "name: !!python/object/apply:os.system [ls]", 1, "not valid YAML: the tag !!python/object/apply:os.system is not allowed; write plain values"),
    ("name: tiny", "name: tiny\n---\nname: b", 2, "not valid YAML: a second document; one file holds one experiment"),
    ("name: tiny", "? [a]\n: b\nname: tiny", 1, "a key must be text, this is a list or a mapping"),
    ("name: tiny", "name: &a [*a]", 1, "more than 100000 values; does an alias refer to itself?"),
    ("name: tiny", "name: 2024-13-45", 1, "not valid YAML: '2024-13-45' is not a date; put text in quotes"),
    # unknown keys, in every section
    ("judges:", "jugdes:", 24, "jugdes: unknown key 'jugdes'; did you mean 'judges'?"),
    ("analysis:", "colour: red\nanalysis:", 36, "colour: unknown key 'colour'; known: align, analysis, assessment, data, description, diagnose, execution, grid, judges, learn, mllm, name, super_resolution, title"),
    (TRAIN, "trian: {source: skimage, split: train}", 3, "data.trian: unknown key 'trian'; did you mean 'train'?"),
    ("split: train}", "splt: train}", 3, "data.train.splt: unknown key 'splt'; did you mean 'split'?"),
    (TRAIN, "train: {foldr: x}", 3, f"data.train: {ONE_OF}, got a mapping with foldr; did you mean 'folder'?"),
    ("crop: 64}", "crap: 64}", 5, "data.test.photos.crap: unknown key 'crap'; did you mean 'crop'?"),
    ("  scale: 4", "  scael: 4", 7, "super_resolution.scael: unknown key 'scael'; did you mean 'scale'?"),
    ("{steps: 20,", "{step: 20,", 8, "super_resolution.pretrain.step: unknown key 'step'; did you mean 'steps'?"),
    (PATCH, PATCH + "    lerning_rate: 1.0e-3\n", 12, "super_resolution.finetune.lerning_rate: unknown key 'lerning_rate'; did you mean 'learning_rate'?"),
    ("  seed: [0, 1]", "  seeds: [0, 1]", 19, "grid.seeds: unknown key 'seeds'; did you mean 'seed'?"),
    ("generator: swinir-tiny", "generator: {nam: swinir-tiny}", 15, "grid.generator.nam: unknown key 'nam'; did you mean 'name'?"),
    ("{fidelity: gmsd,", "{fidelty: gmsd,", 21, "grid.include[0].fidelty: unknown key 'fidelty'; did you mean 'fidelity'?"),
    ("ssim, discriminator: patch}", "ssim, gan: patch}", 23, "grid.exclude[0].gan: unknown key 'gan'; known: discriminator, fidelity, gan_weight, generator, seed"),
    ("dists, options:", "dists, option:", 26, "judges[1].option: unknown key 'option'; did you mean 'options'?"),
    ("  measures:", "  measure:", 35, "assessment.measure: unknown key 'measure'; did you mean 'measures'?"),
    ("        size: 64", "        side: 64", 32, "assessment.datasets.ladder.ladder.side: unknown key 'side'; did you mean 'size'?"),
    ("{resamples: 200}", "{resample: 200}", 36, "analysis.resample: unknown key 'resample'; did you mean 'resamples'?"),
    ("device: cpu", "devise: cpu", 37, "execution.devise: unknown key 'devise'; did you mean 'device'?"),
    # missing
    ("name: tiny\n", "", 1, "'name' is missing"),
    (f"  {TRAIN}\n", "", 2, "data: 'train' is missing"),
    (", split: train}", "}", 3, "data.train: 'split' is missing"),
    ("    steps: 10\n", "", 9, "super_resolution.finetune: 'steps' is missing"),
    ("  fidelity: [none, ssim]\n", "", 14, "grid: 'fidelity' is missing"),
    ("judges:\n  - psnr_y\n  - {judge: dists, options: {backbone: vgg16-r}, crop: 4}\n", "", 1, "'judges' is missing: data, super_resolution, grid and judges are given together, or none of them"),
    ("[none, ssim]", "[]", 16, "grid.fidelity: must not be empty"),
    ("[none, ssim]", "", 16, "grid.fidelity: must be a list, got nothing"),
    ("{fidelity: gmsd, seed: 0}", "{}", 21, "grid.include[0]: a rule needs at least one of generator, fidelity, discriminator, gan_weight, seed"),
    ("{resamples: 200}", "", 36, "analysis: must be a mapping, got nothing"),
    # wrong types and values out of range
    ("name: tiny", "name: a/b", 1, "name: 'a/b' must be 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit: it names a folder"),
    ("name: tiny", "name: no", 1, f"name: {TEXT}, got false"),
    ("name: tiny", "name: 2024-01-01", 1, f"name: {TEXT}, got 2024-01-01"),
    ("    photos:", "    1:", 4, "data.test: the key 1 must be text; put it in quotes"),
    ("crop: 64}", "crop: 8}", 5, "data.test.photos.crop: must be at least 16, got 8"),
    ("  scale: 4", "  scale: 5", 7, "super_resolution.scale: must be 1, 2, 3 or 4, got 5"),
    ("{steps: 20,", "{steps: many,", 8, "super_resolution.pretrain.steps: must be a whole number, got 'many'"),
    ("{steps: 20,", "{steps: 0,", 8, "super_resolution.pretrain.steps: must be at least 1, got 0: 'swinir-tiny' has no `weights` to start from"),
    ("{steps: 20,", "{steps: 1" + 300 * "0" + ",", 8, "super_resolution.pretrain.steps: must be at most 100000000, got a number of about 300 digits"),
    ("{steps: 20,", "{steps: 0x1" + 9000 * "0" + ",", 8, "super_resolution.pretrain.steps: must be at most 100000000, got a number of about 10837 digits"),
    ("batch: 2,", "batch: 1000000000000,", 8, "super_resolution.pretrain.batch: must be at most 65536, got 1000000000000"),
    ("threads: 1,", "threads: 1000000000,", 37, "execution.threads: must be at most 1024, got 1000000000"),
    ("gan_weight: 0.005", "gan_weight: 1.0e+300", 18, "grid.gan_weight: must be at most 1000000000.0, got 1e+300"),
    ("seed: [0, 1]", "seed: [0, 1, 0]", 19, "grid.seed: 0 is given twice; give every value of an axis once"),
    ("gan_weight: 0.005", "gan_weight: [0.01, 1.0e-2]", 18, "grid.gan_weight: 0.01 is given twice; give every value of an axis once"),
    ("[none, ssim]", "[none, ssim, {measure: ssim}]", 16, "grid.fidelity: ssim is given twice; give every value of an axis once"),
    ("[none, ssim]", "[none, none]", 16, "grid.fidelity: none is given twice; give every value of an axis once"),
    ("[none, patch]", "[patch, patch]", 17, "grid.discriminator: patch is given twice; give every value of an axis once"),
    ("swinir-tiny", "[swinir-tiny, {name: swinir-tiny}]", 15, "grid.generator: swinir-tiny is given twice; give every value of an axis once"),
    ("gmsd, seed: 0}", "gmsd, seed: [0, 0]}", 21, "grid.include[0].seed: 0 is given twice; give every value of an axis once"),
    ("{steps: 20,", "{steps: yes,", 8, f"super_resolution.pretrain.steps: {BOOLEAN}"),
    (PATCH, "    patch: 40\n", 11, "super_resolution.finetune.patch: at ×4 'swinir-tiny' needs a patch that is a multiple of 32 px, e.g. 32; got 40"),
    (PATCH, PATCH + "    learning_rate: .inf\n", 12, "super_resolution.finetune.learning_rate: must be a finite number, got inf"),
    (PATCH, PATCH + "    augment: maybe\n", 12, "super_resolution.finetune.augment: must be true or false, got 'maybe'"),
    ("[0.9, 0.99]", "[0.9, 1.5]", 12, "super_resolution.finetune.betas[1]: must be below 1.0, got 1.5"),
    ("[0.9, 0.99]", "[0.9]", 12, "super_resolution.finetune.betas: value number 2 is missing"),
    ("[4, 8]", "[8, 4]", 13, "super_resolution.finetune.milestones: milestones must be positive and ascending, got [8, 4]"),
    ("gan_weight: 0.005", "gan_weight: .nan", 18, "grid.gan_weight: must be a finite number, got nan"),
    ("gan_weight: 0.005", "gan_weight: [0.1, -0.5]", 18, "grid.gan_weight[1]: must be at least 0.0, got -0.5"),
    ("seed: [0, 1]", "seed: -1", 19, "grid.seed: must be at least 0, got -1"),
    ("seed: [0, 1]", "seed: 1.5", 19, "grid.seed: must be a whole number, got 1.5"),
    ("device: cpu", "device: gpu", 37, "execution.device: unknown device 'gpu'; known: cpu, cuda, cuda:N (such as cuda:0), mps"),
    ("levels: [1, 5]", "levels: [1, 9]", 34, "assessment.datasets.ladder.ladder.levels: unknown level 9; levels are 1 (slight) to 5 (severe)"),
    ("{resamples: 200}", "{resamples: 5}", 36, "analysis.resamples: must be at least 100, got 5"),
    ("{resamples: 200}", "{independence: [form, colour]}", 36, "analysis.independence[1]: must be 'backbone', 'form' or 'data', got 'colour'"),
    ("{resamples: 200}", "{independence: [form, form]}", 36, "analysis.independence: form, form: give each of them once"),
    # unknown names
    ("split: train}", "split: tran}", 3, "data.train.split: unknown split 'tran'; did you mean 'train'? (known: train, test, assess, all)"),
    (PATCH, PATCH + "    objective: hing\n", 12, "super_resolution.finetune.objective: unknown adversarial objective 'hing'; did you mean 'hinge'?"),
    ("swinir-tiny", "swinir-tny", 15, "grid.generator: unknown generator 'swinir-tny'; did you mean 'swinir-tiny'?"),
    ("[none, ssim]", "[none, sim]", 16, "grid.fidelity[1]: unknown measure 'sim'; did you mean 'ssim'?"),
    ("[none, ssim]", "[none, dists-vgg-r]", 16, "grid.fidelity[1]: unknown measure 'dists-vgg-r'; did you mean 'dists-vgg16-r'?"),
    ("[none, ssim]", "[none, {measure: dists, pooling: avg}]", 16, "grid.fidelity[1].pooling: must be 'max' or 'l2', got 'avg'"),
    ("[none, patch]", "[none, pach]", 17, "grid.discriminator[1]: unknown discriminator 'pach'; did you mean 'patch'?"),
    ("[none, patch]", "[none, {form: patch, backbone: vgg61}]", 17, "grid.discriminator[1].backbone: unknown backbone 'vgg61'; did you mean 'vgg16'?"),
    ("- psnr_y", "- psnr_z", 25, "judges[0]: unknown judge 'psnr_z'; did you mean 'psnr_y'?"),
    ("types: [jpeg]", "types: [jpeg, impulse]", 33, "assessment.datasets.ladder.ladder.types: unknown distortion 'impulse'; did you mean 'impulse_noise'?"),
    ("measures: [ssim]", "measures: [fsmi]", 35, "assessment.measures[0]: unknown measure 'fsmi'; did you mean 'fsim'?"),
    # things that do not go together
    ("split: train}", "split: train, folder: x}", 3, f"data.train: {ONE_OF}, got a mapping with source, split, folder"),
    ("      ladder:\n        source", "      manifest: x.csv\n      ladder:\n        source", 29, f"assessment.datasets.ladder: {ONE_KIND}, got a mapping with manifest, ladder"),
    ("    ladder:\n      ladder:", "    empty: {}\n    ladder:\n      ladder:", 29, f"assessment.datasets.empty: {ONE_KIND}, got an empty mapping"),
    ("    ladder:\n      ladder:", "    rated: {published: kadid10k, path: x}\n    ladder:\n      ladder:", 29, "assessment.datasets.rated.published: No data set called 'kadid10k'; did you mean 'kadid-10k'?"),
    ("    ladder:\n      ladder:", "    rated: {published: spaq, path: x}\n    ladder:\n      ladder:", 29, "assessment.datasets.rated.published: 'spaq' has no references, which full-reference measures compare with"),
    ("    ladder:\n      ladder:", "    rated: {published: tqd, path: /nowhere}\n    ladder:\n      ladder:", 29, "assessment.datasets.rated: /nowhere: no manifest.csv; TQD has no published layout known here: make one with 'lopsided data import'."),
    ("[none, ssim]", "[none, mad]", 16, "grid.fidelity[1]: 'mad' has no finite gradient, so it cannot be a training loss; use it as a judge"),
    ("{fidelity: gmsd,", "{fidelity: ms_ssim,", 21, "grid.include[0].fidelity[0]: 'ms_ssim' needs crops of at least 161 px, super_resolution.finetune.patch is 32"),
    ("- psnr_y", "- psnr_y\n  - psnr_y", 26, "judges[1]: judge 'psnr_y' is listed twice; keep one"),
    ("ssim, discriminator: patch}", "fsim}", 23, "grid.exclude[0]: matches no cell of the grid; fix or delete this rule"),
    ("{fidelity: ssim, discriminator: patch}", "{seed: [0, 1]}", 23, "grid.exclude[0]: leaves no cell of the grid; nothing would be trained"),
]  # fmt: skip


def message(path, overrides=()):
    with pytest.raises(LopsidedError) as caught:
        plan(load_experiment(path, overrides))
    return str(caught.value)


@pytest.mark.parametrize(("old", "new", "line", "text"), FAULTS, ids=[f[3].replace(" ", "_")[:60] for f in FAULTS])
def test_a_fault_is_one_line_that_names_place_value_and_way_out(tmp_path, old, new, line, text):
    path = tmp_path / "e.yaml"
    path.write_text(BASE.replace(old, new, 1), encoding="utf-8")
    assert BASE.count(old), "the case replaces nothing"
    assert message(path) == f"{path}:{line}: {text}"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ":1: the file is empty; an experiment begins with name, data, …"),
        (b"# only a comment\n", ":1: the file is empty; an experiment begins with name, data, …"),
        (b"\n- a\n", ":2: an experiment is a mapping of keys, this is a list"),
        (b"hello", ":1: an experiment is a mapping of keys, this is a single value"),
        (b"\x89PNG\r\n\x1a\n", ":1: not UTF-8 text (byte 0x89); save the file as UTF-8"),
        ("name: a\ntitle: é".encode("latin-1"), ":2: not UTF-8 text (byte 0xe9); save the file as UTF-8"),
        (b"name: a\ntitle: \x00", ":2: not text: it holds the control character 0x00"),
        (b"[" * 100_000, ":1: not valid YAML: nested more than 100 levels deep"),
        (b"- " * 100_000, ":1: not valid YAML: nested more than 100 levels deep"),
        (b"a: " + b"1" * 5000, f":1: not valid YAML: '{'1' * 39}…' is not a whole number; put text in quotes"),
    ],
)
def test_files_that_are_no_experiment(tmp_path, content, text):
    path = tmp_path / "e.yaml"
    path.write_bytes(content)
    assert message(path) == f"{path}{text}"


ALONE = "name: alone\n" + BASE[BASE.index("assessment:") :]
RATERS = ALONE.replace("  measures: [ssim]\n", "mllm:\n  scorers: [{model: m, preset: q-align}]\n  fr_sets: [ladder]\n")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            ALONE.replace("  measures: [ssim]\n", ""),
            ":1: asks for nothing; give data, super_resolution, grid and judges, or",
        ),
        (
            "name: alone\nassessment: {measures: [ssim]}\n",
            "experiment 'alone' has nothing to compute: measures need rated sets;",
        ),
        (
            RATERS.replace("  fr_sets: [ladder]\n", ""),
            "mllm: has nothing to rate; give fr_sets, datasets or benchmarks",
        ),
        (
            RATERS.replace("mllm:\n", "mllm:\n  restored: true\n"),
            "mllm.restored: nothing is restored without data,",
        ),
        (
            ALONE + "diagnose: {measures: [ssim]}\n",
            "diagnose.images: an experiment without data has no training images;",
        ),
    ],
    ids=lambda value: value[-40:].strip(),
)
def test_without_training_there_must_be_something_else(tmp_path, text, fault):
    path = tmp_path / "e.yaml"
    path.write_text(text, encoding="utf-8")
    assert fault in message(path)


@pytest.mark.parametrize(("text", "stage"), [(ALONE, "assess_fr"), (RATERS, "rate")], ids=["assessment", "raters"])
def test_assessment_or_raters_alone_train_nothing(tmp_path, text, stage):
    path = tmp_path / "e.yaml"
    path.write_text(text, encoding="utf-8")
    assert {cell.stage for cell in plan(load_experiment(path)).cells} == {stage}


def test_missing_file_and_folder_in_place_of_a_file(tmp_path):
    absent = tmp_path / "absent.yaml"
    assert message(absent) == f"cannot read experiment '{absent}': No such file or directory"
    assert message(tmp_path) == f"cannot read experiment '{tmp_path}': Is a directory"


def test_what_has_no_end_or_waits_is_not_opened(tmp_path):
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        assert message(path) == f"cannot read experiment '{path}': it is a pipe or device, not a file"
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(10**10)
    assert "10,000,000,000 bytes, at most 10,000,000 are read" in message(large)


def test_a_home_folder_of_nobody_is_a_folder_that_does_not_exist(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(BASE.replace(TRAIN, "train: {folder: ~nobody-of-this-name/x}"))
    with pytest.raises(LopsidedError, match=r"~nobody-of-this-name/x.*does not exist"):
        plan(load_experiment(path))


def test_several_faults_are_several_lines(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(BASE.replace("scale: 4", "scale: 5").replace("psnr_y", "psnr_z"))
    assert message(path).splitlines() == [
        f"{path}:7: super_resolution.scale: must be 1, 2, 3 or 4, got 5",
        f"{path}:25: judges[0]: unknown judge 'psnr_z'; did you mean 'psnr_y'?",
    ]


# --- overrides ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("grid.seed", "write it as key.path=value, e.g. --set super_resolution.finetune.steps=100"),
        ("=3", "write it as key.path=value, e.g. --set super_resolution.finetune.steps=100"),
        ("grid..seed=1", "write it as key.path=value, e.g. --set super_resolution.finetune.steps=100"),
        ("grid.seed=[0", "'[0' is not a YAML value; write a list as [a, b], a mapping as {a: b}, other text in quotes"),
        (
            "name=!!python/name:os.system",
            "'!!python/name:os.system' is not a YAML value; write a list as [a, b], a mapping as {a: b}, other text in quotes",
        ),
        (
            'name="C:\\data"',
            "'\"C:\\data\"' is not a YAML value; in double quotes a backslash begins an escape; use single quotes, or / in paths",
        ),
        ("grid.seed=[0, 0]", "grid.seed: 0 is given twice; give every value of an axis once"),
        ("judges.9=ssim", "there is no 'judges.9'"),
        ("name.first=x", "there is no 'name.first'"),
        ("gird.seed=1", "gird: unknown key 'gird'; did you mean 'grid'?"),
        ("grid.seeds=1", "grid.seeds: unknown key 'seeds'; did you mean 'seed'?"),
        ("judges.0=psnr_z", "judges[0]: unknown judge 'psnr_z'; did you mean 'psnr_y'?"),
        ("super_resolution.pretrain.steps=many", "super_resolution.pretrain.steps: must be a whole number, got 'many'"),
        ("grid.exclude=[{seed: 7}]", "grid.exclude[0]: matches no cell of the grid; fix or delete this rule"),
    ],
)
def test_a_fault_of_an_override_names_the_override(tmp_path, override, text):
    path = tmp_path / "e.yaml"
    path.write_text(BASE)
    assert message(path, [override]) == f"--set {override}: {text}"


LAUGHS = (
    "{a: &a [x, x, x, x, x, x, x, x, x], "
    + ", ".join(
        f"{name}: &{name} [{', '.join(9 * [f'*{before}'])}]" for before, name in itertools.pairwise("abcdefghi")
    )
    + "}"
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (LAUGHS, "more than 100000 values"),
        ("[" * 100_000, "nested more than 100 levels deep"),
        ("&a [*a]", "more than 100000 values"),
        ("{seed: 0, seed: 1}", "'seed' is given twice"),
    ],
)
def test_an_override_is_read_with_the_care_of_a_file(tmp_path, value, text):
    path = tmp_path / "e.yaml"
    path.write_text(BASE)
    seen = message(path, [f"grid.seed={value}"])
    assert text in seen
    assert len(seen) < 1000


def test_overrides_replace_and_add(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(BASE)
    changed = load_experiment(
        path,
        ["grid.seed=[3,4,5]", "judges.0=gmsd", "super_resolution.finetune.learning_rate=1e-3", "execution.device=mps"],
    )
    assert changed.optimized.grid.seed == [3, 4, 5]
    assert [judge.key for judge in changed.optimized.judges] == ["gmsd", "dists-vgg16-r"]
    assert changed.optimized.super_resolution.finetune.learning_rate == 1e-3
    assert changed.execution.device == "mps"
    assert changed.name == "tiny"


def test_an_override_of_one_use_of_an_alias_leaves_the_other(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(
        BASE.replace("pretrain: {", "pretrain: &t {").replace("finetune:\n    steps: 10\n", "finetune:\n    <<: *t\n")
    )
    changed = load_experiment(path, ["super_resolution.pretrain.betas=[0.5,0.5]", "super_resolution.finetune.steps=7"])
    assert (changed.optimized.super_resolution.pretrain.steps, changed.optimized.super_resolution.finetune.steps) == (
        20,
        7,
    )
    assert changed.optimized.super_resolution.finetune.betas == (0.9, 0.99)


# --- data -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    """Two folders of photographs beside an experiment that names them by relative paths."""
    rng = np.random.default_rng(0)
    for folder, index in itertools.product(("train", "test"), range(2)):
        (tmp_path / "e" / folder).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "e" / folder / f"{folder}{index}.png")
    path = tmp_path / "e" / "e.yaml"
    text = BASE.replace(TRAIN, "train: {folder: train}").replace(
        "images: {source: skimage, split: test}", "images: {folder: test}"
    )
    path.write_text(text)
    return path


def test_relative_paths_are_relative_to_the_file(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment: Any = load_experiment(Path("e") / "e.yaml")
    assert experiment.optimized.data.train.folder == folders.parent / "train"
    assert experiment.optimized.data.test["photos"].images.folder == folders.parent / "test"
    moved: Any = load_experiment(
        folders, ["data.train.folder=../elsewhere", "data.test.photos.images.folder=/absolute"]
    )
    assert moved.optimized.data.train.folder == folders.parent / "../elsewhere"
    assert moved.optimized.data.test["photos"].images.folder == Path("/absolute")
    manifest: Any = load_experiment(folders, ["assessment.datasets={x: {manifest: m.csv}}"]).assessment.datasets["x"]
    assert manifest.manifest == folders.parent / "m.csv"
    published: Any = load_experiment(folders, ["assessment.datasets={x: {published: csiq, path: CSIQ}}"])
    assert published.assessment.datasets["x"].path == folders.parent / "CSIQ"


def test_a_model_beside_the_file_is_a_folder_and_any_other_a_name(folders):
    for model, read in (("train", str(folders.parent / "train")), ("Qwen/Qwen2.5-VL", "Qwen/Qwen2.5-VL")):
        mllm = load_experiment(folders, [f"mllm={{scorers: [{{model: {model}, preset: numeric}}]}}"]).mllm
        assert mllm
        assert mllm.scorers[0].model == read


def test_words_in_place_of_paths_stay_words(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(
        BASE.replace(
            "[none, ssim]", "[{measure: dists, backbone: {name: vgg16, weights: official}, alpha_beta: uniform}, ssim]"
        )
    )
    fidelity: Any = load_experiment(path).optimized.grid.fidelity[0]
    assert (fidelity.backbone.weights, fidelity.alpha_beta) == ("official", "uniform")


def test_missing_folder(folders):
    absent = folders.parent / "absent"
    text = f"{folders}:3: data.train: {absent}: does not exist; `folder` must name a folder of images."
    assert message(folders, ["data.train.folder=absent"]) == text
    folders.write_text(folders.read_text().replace("folder: train", "folder: absent"))
    assert message(folders) == text


def test_a_file_in_train_and_test_is_refused_whatever_its_name(folders):
    train, test = folders.parent / "train" / "train1.png", folders.parent / "test" / "renamed.png"
    test.write_bytes(train.read_bytes())
    text = (
        f"data.test.photos.images: 1 file(s) are in both the training set and test set 'photos', "
        f"e.g. '{train}' and '{test}'; remove them from one"
    )
    assert message(folders) == f"{folders}:5: {text}"


def test_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(BASE, encoding="utf-8-sig")
    plain = tmp_path / "plain.yaml"
    plain.write_text(BASE, encoding="utf-8")
    assert load_experiment(path) == load_experiment(plain)


def test_what_pyyaml_reads_as_text_is_still_a_number(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(BASE.replace("gan_weight: 0.005", "gan_weight: [1e-3, 5e-3]"))
    assert load_experiment(path).optimized.grid.gan_weight == [1e-3, 5e-3]


def test_one_value_stands_for_a_list_of_one(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(BASE.replace("seed: [0, 1]", "seed: 4").replace("[none, ssim]", "ssim"))
    grid = load_experiment(path).optimized.grid
    assert grid.seed == [4]
    assert [measure.key for measure in grid.fidelity if measure] == ["ssim"]


# --- what is shipped ------------------------------------------------------------------------------------------------


def test_experiments_are_shipped():
    assert {"smoke.yaml", "quickstart.yaml"} <= {path.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_experiments_load_and_fit_the_schema(path):
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=experiment.schema.json"
    load_experiment(path)
    validator = jsonschema.Draft202012Validator(Experiment.model_json_schema())
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


def test_committed_schema_is_the_models():
    committed = json.loads((EXPERIMENTS / "experiment.schema.json").read_text(encoding="utf-8"))
    assert committed == Experiment.model_json_schema(), "lopsided schema --to experiments/experiment.schema.json"


def test_every_number_has_an_upper_bound():
    """Of the levels of a ladder a check of their own says that they end at 5."""

    bounds = {"maximum", "exclusiveMaximum", "enum", "const"}

    def unbounded(node, place):
        if isinstance(node, dict):
            if node.get("type") in ("integer", "number") and not node.keys() & bounds:
                yield place
            for key, child in node.items():
                yield from unbounded(child, f"{place}.{key}")
        elif isinstance(node, list):
            for child in node:
                yield from unbounded(child, place)

    found = set(unbounded(Experiment.model_json_schema(), ""))
    assert found == {".$defs.LadderSpec.properties.levels.items"}


def test_schema_is_valid_and_closed():
    schema = Experiment.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    def objects(node):
        if isinstance(node, dict):
            if "properties" in node and node.get("type") == "object":
                yield node
            for child in node.values():
                yield from objects(child)
        elif isinstance(node, list):
            for child in node:
                yield from objects(child)

    found = list(objects(schema))
    assert len(found) > 10
    assert all(node.get("additionalProperties") is False for node in found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("judges:", "jugdes:"),
        ("[none, ssim]", "[none, sim]"),
        ("fidelity: [none, ssim]", "fidelity: sim"),
        ("[none, patch]", "[none, pach]"),
        ("swinir-tiny", "swinir-huge"),
        ("- psnr_y", "- psnr_z"),
        ("[ssim]\nanalysis", "[sim]\nanalysis"),
        ("split: train}", "split: tran}"),
        ("scale: 4", "scale: 5"),
        ("dists, options:", "dists, option:"),
        ("[none, patch]", "[none, {form: patch, backbone: vgg99}]"),
        ("[none, ssim]", "[none, {measure: dists, backbon: vgg16}]"),
        ("{fidelity: gmsd, seed: 0}", "{fidelity: gmsd, sed: 0}"),
        ("device: cpu", "device: gpu"),
        ("name: tiny", "name: a/b"),
    ],
)
def test_schema_finds_in_the_editor_what_loading_would_refuse(old, new):
    validator = jsonschema.Draft202012Validator(Experiment.model_json_schema())
    assert validator.is_valid(yaml.safe_load(BASE))
    assert not validator.is_valid(yaml.safe_load(BASE.replace(old, new, 1)))


def test_mappings_in_place_of_keys_fit_the_schema(tmp_path):
    text = BASE.replace("[none, ssim]", "[none, {measure: dists, backbone: {name: vgg16-r, seed: 3}, pooling: max}]")
    text = text.replace("[none, patch]", "[{form: patch, backbone: resnet50-r, trainable: false}, none]")
    text = text.replace("swinir-tiny", "{name: swinir-tiny}").replace(
        "{fidelity: ssim, discriminator: patch}", "{fidelity: gmsd, seed: 0}"
    )
    path = tmp_path / "e.yaml"
    path.write_text(text)
    load_experiment(path)
    assert jsonschema.Draft202012Validator(Experiment.model_json_schema()).is_valid(yaml.safe_load(text))


def test_error_class_is_of_the_family():
    assert issubclass(ExperimentError, LopsidedError)


def test_the_range_of_an_experiments_images_is_not_an_option():
    from pydantic import TypeAdapter

    from lopsided.experiments.schema.axes import DiscriminatorAxis
    from lopsided.experiments.schema.measures import AssessedMeasure
    from lopsided.iqa import JudgeSpec

    cases: list[tuple[Any, dict[str, Any]]] = [
        (DiscriminatorAxis, {"form": "unet"}),
        (AssessedMeasure, {"measure": "ssim"}),
        (JudgeSpec, {"judge": "ssim", "options": {"color": "rgb"}}),
    ]
    for kind, value in cases:
        adapter = TypeAdapter(kind)
        adapter.validate_python(value)
        options = value.get("options", value)
        options["input_range"] = [-1, 1]
        with pytest.raises(ValueError, match=r"input_range: .* leave it out"):
            adapter.validate_python(value)
