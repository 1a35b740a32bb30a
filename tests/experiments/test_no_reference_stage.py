# ruff: noqa: E501 (the table of faults reads best with one fault a line)
"""No-reference models in experiments: what YAML may say, which cells follow from it, and a real run to the report."""

import csv
import html
import re
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from support.paths import ROOT

from lopsided.backbones import WeightsUnavailableError
from lopsided.common.errors import LopsidedError
from lopsided.common.sources import SKIMAGE_TRAIN, SkimageSource
from lopsided.experiments import load_experiment, plan
from lopsided.experiments.api import collect_tables, report, run
from lopsided.experiments.schema.experiment import Experiment
from lopsided.experiments.stages.assess_nr import AssessNR
from lopsided.experiments.store import Store
from lopsided.iqa.ladder import LadderSpec, build_ladder
from lopsided.iqa.manifest import FRDataset
from lopsided.iqa.nr import NRSpec, Random, Splits, evaluate_nr

EXPERIMENTS = ROOT / "experiments"

BASE = """\
name: reuse
data:
  train: {source: skimage, split: train}
  test: {photos: {images: {source: skimage, split: test}, crop: 64}}
super_resolution:
  scale: 4
  pretrain: {steps: 3, batch: 2, patch: 32, learning_rate: 4.0e-3, ema: 0.9}
  finetune: {steps: 3, batch: 2, patch: 32}
grid:
  generator: swinir-tiny
  fidelity: none
  discriminator: [none, patch-squeezenet1_1-r]
  seed: [0, 1]
judges: [psnr]
assessment:
  datasets:
    ladder: {ladder: {source: {source: skimage, split: test}, size: 64, types: [jpeg, gaussian_noise], levels: [1, 3, 5]}}
  no_reference:
    fr_sets: [ladder]
    initialisations: [random, discriminator, {name: self, steps: 2, batch: 2, crop: 32}, zero-label]
    protocols: [linear_probe]
    layers: true
    splits: {count: 2, test: 0.34}
analysis: {resamples: 100}
execution: {loader_threads: 0}
"""
LADDER = LadderSpec(
    source=SkimageSource(split="test"), size=64, types=("jpeg", "gaussian_noise"), levels=(1, 3, 5)
)  # that of BASE


def written(folder: Path, *changes: tuple[str, str]) -> Path:
    path, text = folder / "e.yaml", BASE
    for old, new in changes:
        assert old in text, "the case replaces nothing"
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    return path


def nr_cells(path: Path):
    return plan(path).of_stage("assess_nr")


def nr_spec(cell) -> AssessNR:
    assert isinstance(cell.spec, AssessNR)
    return cell.spec


# --- what YAML may say ----------------------------------------------------------------------------------------------

START = "assessment.no_reference.initialisations"
FAULTS = [
    ("fr_sets: [ladder]", "fr_stes: [ladder]", 19, "assessment.no_reference.fr_stes: unknown key 'fr_stes'; did you mean 'fr_sets'?"),
    ("fr_sets: [ladder]", "fr_sets: [lader]", 19, "assessment.no_reference.fr_sets[0]: unknown FR set 'lader'; did you mean 'ladder'?"),
    ("fr_sets: [ladder]", "fr_sets: [ladder, ladder]", 19, "assessment.no_reference.fr_sets: 'ladder' is listed twice; keep one"),
    ("fr_sets: [ladder]", "fr_sets: []", 18, "assessment.no_reference: needs rated images: name FR sets in fr_sets, or give datasets"),
    ("fr_sets: [ladder]", "datasets: {koniq: {}}", 19, "assessment.no_reference.datasets.koniq: a rated set is given by exactly one of `ladder: …`, `manifest: …` and `published: …`, got an empty mapping"),
    ("fr_sets: [ladder]", "datasets: {k: {published: koniq10k, path: x}}", 19, "assessment.no_reference.datasets.k.published: No data set called 'koniq10k'; did you mean 'koniq-10k'?"),
    ("fr_sets: [ladder]", "datasets: {b: {published: bapps, path: x}}", 19, "assessment.no_reference.datasets.b.published: 'bapps' holds judged pairs; no-reference models need images with a rating each"),
    ("fr_sets: [ladder]", "datasets: {k: {published: tqd, path: /nowhere}}", 19, "assessment.no_reference.datasets.k: /nowhere: no manifest.csv; TQD has no published layout known here: make one with 'lopsided data import'."),
    ("fr_sets: [ladder]", "fr_sets: [ladder]\n    datasets: {ladder: {published: tqd, path: /nowhere}}", 20, "assessment.no_reference.datasets.ladder: 'ladder' is an FR set too; choose another name"),
    ("[random, discriminator,", "[randm, discriminator,", 20, f"{START}[0]: unknown initialisation 'randm'; did you mean 'random'?"),
    ("[random, discriminator,", "[random, random,", 20, f"{START}: 'random' is listed twice; keep one"),
    ("{name: self, steps: 2,", "{name: self, seed: 2,", 20, f"{START}[2]: initialisations take the seeds of the grid; leave seed out"),
    ("{name: self, steps: 2,", "{name: self, steps: 0,", 20, f"{START}[2].steps: must be at least 1, got 0"),
    ("{name: self, steps: 2,", "{name: self, stesp: 2,", 20, f"{START}[2].stesp: unknown key 'stesp'; did you mean 'steps'?"),
    ("[random, discriminator,", "[{name: pretrained, weights: absent.pth}, discriminator,", 20, f"{START}: weights of 'squeezenet1_1': no file '{{folder}}/absent.pth'; give an existing .safetensors or .pth"),
    ("[none, patch-squeezenet1_1-r]", "none", 20, f"{START}[1]: the grid trains no discriminator; add one to grid.discriminator, or leave 'discriminator' out"),
    ("protocols:", "backbones: [vgg16]\n    protocols:", 20, f"{START}[1]: the grid trains no trunk of vgg16; add one to grid.discriminator, or leave 'discriminator' out"),
    ("protocols:", "backbones: [vgg61]\n    protocols:", 21, "assessment.no_reference.backbones: unknown backbone 'vgg61'; did you mean 'vgg16'?"),
    ("protocols:", "backbones: [vgg16-r]\n    protocols:", 21, "assessment.no_reference.backbones: 'vgg16-r': name the architecture, 'vgg16'; random is a start"),
    ("[linear_probe]", "[linear_prob]", 21, "assessment.no_reference.protocols[0]: unknown protocol 'linear_prob'; did you mean 'linear_probe'?"),
    ("[linear_probe]", "[{name: fine_tuned, loss: srcc}]", 21, "assessment.no_reference.protocols[0].loss: must be 'l1', 'l2', 'plcc', 'rank', 'fidelity' or 'nin', got 'srcc'"),
    ("[linear_probe]", "[{name: fine_tuned, crop: 16}]", 21, "assessment.no_reference.protocols[0]: crop 16: 'squeezenet1_1' needs 17 pixels"),
    ("layers: true", "layers: maybe", 22, "assessment.no_reference.layers: must be true or false, got 'maybe'"),
    ("{count: 2, test: 0.34}", "{count: 2, test: 1.5}", 23, "assessment.no_reference.splits.test: must be below 1.0, got 1.5"),
    ("{count: 2, test: 0.34}", "oficial", 23, "assessment.no_reference.splits: must be 'random' or 'official', got 'oficial'"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "text"), FAULTS, ids=[f[3].replace(" ", "_")[-60:] for f in FAULTS])
def test_a_fault_is_one_line_that_names_place_value_and_way_out(tmp_path, old, new, line, text):
    path = written(tmp_path, (old, new))
    with pytest.raises(LopsidedError) as caught:
        plan(path)
    assert str(caught.value) == f"{path}:{line}: " + text.replace("{folder}", str(tmp_path))


def test_editors_know_the_section():
    validator = jsonschema.Draft202012Validator(Experiment.model_json_schema())
    experiment = yaml.safe_load(BASE)
    assert validator.is_valid(experiment)
    section = experiment["assessment"]["no_reference"]
    for key, value in (
        ("splits", "official"),
        ("protocols", ["frozen", {"name": "fine_tuned", "loss": "plcc"}]),
        ("backbones", ["vgg16", "conv"]),
        ("datasets", {"koniq": {"published": "koniq-10k", "path": "x"}}),
    ):
        assert validator.is_valid({**experiment, "assessment": {"no_reference": {**section, key: value}}}), key
    for key, value in (("initialisations", ["randm"]), ("backbones", ["vgg61"]), ("layers", "maybe")):
        assert not validator.is_valid({**experiment, "assessment": {"no_reference": {**section, key: value}}}), key


def test_the_shipped_study_plans():
    planned = plan(EXPERIMENTS / "discriminator_reuse.yaml")
    found = pd.DataFrame([cell.labels for cell in planned.of_stage("assess_nr")])
    assert {"random", "pretrained", "discriminator", "self", "zero-label"} <= set(found["initialisation"])
    assert "hours" in (EXPERIMENTS / "discriminator_reuse.yaml").read_text(encoding="utf-8")[:900]


# --- which cells follow ---------------------------------------------------------------------------------------------


def test_every_discriminator_has_its_random_twin_and_all_models_the_same_stages(tmp_path):
    cells = nr_cells(
        written(tmp_path, ("patch-squeezenet1_1-r]", "patch-squeezenet1_1-r, vanilla-squeezenet1_1-r, patch]"))
    )
    trained = [cell for cell in cells if cell.labels["initialisation"] == "discriminator"]
    assert {cell.labels["discriminator"] for cell in trained} == {
        "patch-squeezenet1_1-r",
        "vanilla-squeezenet1_1-r",
        "patch",
    }
    for cell in trained:
        assert cell.inputs["finetune"].labels["discriminator"] == cell.labels["discriminator"]
        twins = [
            other
            for other in cells
            if other.labels["initialisation"] == "random"
            and other.labels["model"] == cell.labels["model"]
            and other.labels["seed"] == cell.labels["seed"]
            and (nr_spec(other).split, nr_spec(other).layers) == (nr_spec(cell).split, nr_spec(cell).layers)
        ]
        assert len(twins) == 1
        twin, own, discriminator = nr_spec(twins[0]).model, nr_spec(cell).model, nr_spec(cell).discriminator
        assert isinstance(twin, NRSpec)
        assert isinstance(own, NRSpec)
        assert discriminator
        assert twin.initialisation == Random(seed=cell.labels["seed"])
        assert twin.pooled_stages == own.pooled_stages
        assert own.n_stages == discriminator.head_stage + 1


def test_frozen_trunks_are_no_initialisation_and_whole_networks_are_zero_label_metrics_alone(tmp_path):
    more = "[none, patch-squeezenet1_1-r, {form: patch, backbone: conv, trainable: false}, {form: unet, width: 8}]"
    cells = nr_cells(written(tmp_path, ("[none, patch-squeezenet1_1-r]", more)))
    starts = pd.DataFrame([cell.labels for cell in cells]).groupby("initialisation")["discriminator"].agg(set)
    assert starts["discriminator"] == {"patch-squeezenet1_1-r"}
    assert {re.sub(r"\+.*", "", key) for key in starts["zero-label"]} == {"patch-squeezenet1_1-r", "patch", "unet"}


def test_more_splits_keep_the_cells_of_fewer_and_settings_that_matter_make_new_ones(tmp_path):
    few = {cell.id for cell in nr_cells(written(tmp_path))}
    more = {cell.id for cell in nr_cells(written(tmp_path, ("count: 2", "count: 3")))}
    assert few < more
    assert len(more) == 1.5 * len(few)
    for change in (
        ("test: 0.34", "test: 0.5"),
        ("layers: true", "layers: true\n    seed: 3"),
        ("levels: [1, 3, 5]", "levels: [1, 5]"),
    ):
        other = nr_cells(written(tmp_path, change))
        left = {cell.id for cell in other} & few
        # A discriminator read without labels has no seed of its own.
        zero = {cell.id for cell in other if cell.labels["model"].endswith("zero-label")}
        assert left <= (zero if "seed" in change[1] else set()), change
    trained = {
        cell.id
        for cell in nr_cells(
            written(tmp_path, ("steps: 3, batch: 2, patch: 32}\ngrid", "steps: 4, batch: 2, patch: 32}\ngrid"))
        )
    }
    kept = {cell.labels["initialisation"] for cell in nr_cells(written(tmp_path)) if cell.id in trained}
    assert kept == {"random", "self"}


def rated(folder: Path, size: int = 64, source: bytes | None = None, **columns: str) -> Path:
    """A manifest of 6 rated images without references."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for index in range(6):
        name = f"{index}.png"
        Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(folder / name)
        if source and not index:
            (folder / name).write_bytes(source)
        rows.append({"image": name, "label": index, "label_kind": "mos", "label_higher_is_better": "true", **columns})
    with (folder / "rated.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "rated.csv"


def test_sets_without_references_are_rated_too_and_images_that_discriminators_saw_are_refused(tmp_path):
    rated(tmp_path / "mine")
    path = written(tmp_path, ("fr_sets: [ladder]", "datasets: {mine: {manifest: mine/rated.csv}}"))
    assert {cell.labels["dataset"] for cell in nr_cells(path)} == {"mine"}
    train = next(item for item in SkimageSource(split="train").items() if item.path.name == next(iter(SKIMAGE_TRAIN)))
    rated(tmp_path / "seen", source=train.path.read_bytes())
    path = written(tmp_path, ("fr_sets: [ladder]", "datasets: {mine: {manifest: seen/rated.csv}}"))
    with pytest.raises(
        LopsidedError, match=r":19: assessment\.no_reference\.datasets\.mine: 1 image.* training set too"
    ):
        plan(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("fr_sets: [ladder]", "datasets: {mine: {manifest: mine/rated.csv}}"), ("layers: true", "layers: true\n    test_crop: 96")], r"0\.png' is 64×64 px, at least 96 per side are needed; leave it out, or lower crop or test_crop"),
        ([("fr_sets: [ladder]", "datasets: {mine: {manifest: mine/rated.csv}}"), ("{count: 2, test: 0.34}", "official")], "no image is in split 'train'"),
        ([("{count: 2, test: 0.34}", "{count: 99}")], r"6 group\(s\) of images, 1 of them tested, can be split in 6 way\(s\), not 99"),
        ([("[random, ", "[random, pretrained, ")], "squeezenet1_1-.* LOPSIDED_WEIGHTS"),
    ],
)  # fmt: skip
def test_what_is_missing_is_found_before_anything_is_trained(tmp_path, monkeypatch, changes, message):
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(tmp_path / "no_weights"))
    monkeypatch.setenv("LOPSIDED_OFFLINE", "1")
    rated(tmp_path / "mine")
    with pytest.raises(LopsidedError, match=message) as caught:
        run(written(tmp_path, *changes), store=tmp_path / "runs")
    assert ("pretrained" in changes[0][1]) == isinstance(caught.value, WeightsUnavailableError)
    assert not list((tmp_path / "runs").glob("**/generator.safetensors"))


# --- a run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nr")
    path = written(folder)
    summary = run(path, store=folder / "runs")
    assert summary.ok, summary.failed
    return path, folder / "runs"


@pytest.fixture(scope="module")
def scores(ran):
    return collect_tables(ran[0], store=ran[1]).nr_scores


def test_a_run_gives_a_row_for_every_model_split_and_test_image(scores):
    assert scores["status"].eq("ok").all()
    assert set(scores["model"]) == {"squeezenet1_1/linear-probe/first-3-stages", "patch-squeezenet1_1-r/zero-label"}
    counts = scores.groupby(["model", "initialisation", "stage", "seed", "split"], dropna=False).size()
    # 2 of 6 photographs × 6 distortions; 3 initialisations × (the whole + 3 layers) + 2, each with 2 seeds and splits.
    assert set(counts) == {12}
    assert len(counts) == (3 * 4 + 2) * 2 * 2
    sourced = scores["source_cell"] != ""
    assert set(scores.loc[sourced, "initialisation"]) == {"discriminator", "zero-label"}
    assert scores.loc[sourced, "source_cell"].nunique() == 2
    assert (scores["train_references"] == 4).all()
    assert (scores["seed"].notna()).all()


def test_what_is_in_the_tables_is_what_the_models_say(ran, scores, tmp_path):
    dataset, splits = FRDataset(build_ladder(LADDER, tmp_path)), Splits(count=2, test=0.34)
    cell = next(
        c for c in plan(ran[0]).of_stage("finetune") if c.labels["discriminator"] != "none" and c.labels["seed"] == 1
    )
    weights = Store(ran[1]).folder(cell.stage, cell.id) / "discriminator.safetensors"
    for name, start in (
        ("random", {"name": "random", "seed": 1}),
        ("discriminator", {"name": "discriminator", "discriminator": "patch-squeezenet1_1-r", "weights": str(weights)}),
    ):
        expected = evaluate_nr(
            NRSpec.model_validate({"backbone": "squeezenet1_1", "initialisation": start, "depth": 3}), dataset, splits
        )
        found = scores[(scores["initialisation"] == name) & (scores["seed"] == 1) & scores["stage"].isna()]
        found = found[found["model"].str.startswith("squeezenet")]
        key = ["split", "image"]
        pd.testing.assert_series_equal(
            found.set_index(key)["score"].sort_index(), expected.set_index(key)["score"].sort_index()
        )
    pair = scores[scores["stage"].isna() & scores["model"].str.startswith("squeezenet") & (scores["seed"] == 1)]
    wide = pair.pivot_table(index=["split", "image"], columns="initialisation", values="score")
    assert (wide["random"] != wide["discriminator"]).any()  # three steps of training do change a trunk


def test_a_run_that_is_done_computes_nothing(ran):
    summary = run(ran[0], store=ran[1])
    assert (summary.done, summary.cached) == (0, len(plan(ran[0]).cells))


def test_a_missing_discriminator_is_named(ran, tmp_path):
    cells = plan(ran[0]).cells
    source = next(cell for cell in cells if cell.stage == "finetune" and cell.labels["discriminator"] != "none")
    weights = Store(ran[1]).folder(source.stage, source.id) / "discriminator.safetensors"
    hidden = weights.rename(tmp_path / "hidden")
    try:
        changed = ran[0].parent / "changed.yaml"
        changed.write_text(
            ran[0]
            .read_text()
            .replace("layers: true", "layers: false")
            .replace("linear_probe]", "{name: linear_probe, penalty: 1}]")
        )
        summary = run(changed, store=ran[1])
    finally:
        hidden.rename(weights)
    reasons = {reason for cell, reason in summary.failed if cell.inputs.get("finetune") is not None}
    assert len(reasons) == 1
    assert re.search(r"discriminator\.safetensors' is damaged: .*, found no such file", reasons.pop())


def test_the_report_has_the_section(ran):
    page = report(ran[0], store=ran[1])
    text = re.sub(r"base64,[^\"]*|<style>.*?</style>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "No-reference models</h2>" in text
    plain = html.unescape(re.sub(r"<[^>]*>", "", text))  # explained words are links
    assert "Of 1 comparison of a discriminator's weights with random ones" in plain
    assert "SqueezeNet 1.1, linear probe, first 3 stages" in text
    assert "Layer by layer" in text
    for unwanted in (">nan<", " nan", "None", "<NA>", "&lt;NA&gt;"):
        assert unwanted not in text, unwanted
    derived = page.parent / "derived"
    differences = pd.read_parquet(derived / "nr_differences.parquet")
    assert (differences["status"] == "ok").all()
    # Of the whole and of each layer: discriminator and self with random; zero-label with three.
    assert len(differences) == 4 * 2 + 3
    assert len(pd.read_parquet(derived / "nr_assessment.parquet")) == 3 * 4 + 2


def test_an_experiment_without_the_section_has_no_such_cells_and_an_empty_table(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(BASE[: BASE.index("  no_reference:")] + BASE[BASE.index("analysis:") :])
    assert not nr_cells(path)
    assert load_experiment(path).assessment.no_reference is None
