# ruff: noqa: E501 (the table of faults reads best with one fault a line)
"""Tasks in experiments: what YAML may say of them, identities of their cells, real runs, and docs/tasks.md."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from support.paths import ROOT

from lopsided.common.errors import LopsidedError
from lopsided.experiments import load_experiment, plan
from lopsided.experiments.api import collect_tables, run
from lopsided.experiments.schema.experiment import Experiment
from lopsided.experiments.schema.restoration import TASKS
from lopsided.sr.degradation import bicubic_resize
from lopsided.sr.images import pairs
from lopsided.sr.real_world import RealWorld

DOC = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")

BASE = """\
name: task
data:
  train: {source: skimage, split: train}
  test: {photos: {images: {source: skimage, split: test}, crop: 64}}
super_resolution:
  task: bicubic
  scale: 4
  pretrain: {steps: 4, batch: 2, patch: 32, learning_rate: 4.0e-3, ema: 0.9}
  finetune: {steps: 2, batch: 2, patch: 32}
grid: {generator: swinir-tiny, fidelity: none}
judges: [psnr]
execution: {loader_threads: 0}
"""


def written(folder: Path, task: str, scale: int, **changes: Any) -> Path:
    path = folder / "e.yaml"
    text = BASE.replace("task: bicubic", f"task: {task}").replace("scale: 4", f"scale: {scale}")
    for old, new in changes.items():
        text = re.sub(old, new, text, count=1)
    path.write_text(text, encoding="utf-8")
    return path


# --- YAML -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_a_name_stands_for_the_defaults(tmp_path: Path, name: str) -> None:
    scale = TASKS[name].scales[-1]
    by_name = load_experiment(written(tmp_path, name, scale)).optimized.super_resolution.task
    by_mapping = load_experiment(written(tmp_path, f"{{degradation: {name}}}", scale)).optimized.super_resolution.task
    assert by_name == by_mapping == TASKS[name]()  # type: ignore[call-arg]


def test_options_reach_the_task_and_the_schema_knows_them(tmp_path: Path) -> None:
    text = "{degradation: real, order: 2, first: {noise_sigma: [1, 10], kernels: {isotropic: 1}}, second: {blur: 0}}"
    path = written(tmp_path, text, 4)
    task = load_experiment(path).optimized.super_resolution.task
    assert isinstance(task, RealWorld)
    assert (task.first.noise_sigma, task.first.kernels.isotropic, task.second.blur) == ((1, 10), 1, 0)
    assert task.first.sigma == (0.2, 3)
    validator = jsonschema.Draft202012Validator(Experiment.model_json_schema())
    for accepted in (text, "jpeg", "{degradation: jpeg, quality: 30}", "{degradation: denoising, sigma: [0, 50]}"):
        assert validator.is_valid(yaml.safe_load(written(tmp_path, accepted, 4).read_text()))
    for refused in ("jpg", "{degradation: jpeg, sigma: 30}", "{degradation: jpeg, quality: [1, 2, 3]}", "{quality: 3}"):
        assert not validator.is_valid(yaml.safe_load(written(tmp_path, refused, 4).read_text()))


NAMES = "a task is a name (bicubic, real, denoising, jpeg, deblurring) or a mapping with `degradation: <name>`"


@pytest.mark.parametrize(
    ("task", "scale", "text"),
    [
        ("reel", 4, ":6: super_resolution.task: unknown degradation 'reel'; did you mean 'real'?"),
        ("{degradation: jpg}", 1, ":6: super_resolution.task: unknown degradation 'jpg'; did you mean 'jpeg'?"),
        ("7", 4, f":6: super_resolution.task: {NAMES}"),
        ("{sigma: 3}", 1, f":6: super_resolution.task: {NAMES}"),
        ("denoising", 4, ":7: super_resolution.scale: task 'denoising' keeps the size; write scale: 1, got 4"),
        ("bicubic", 1, ":7: super_resolution.scale: task 'bicubic' supports scale 2, 3 or 4, got 1; tasks of scale 1 are denoising, jpeg, deblurring"),
        ("real", 1, ":7: super_resolution.scale: task 'real' supports scale 2, 3 or 4, got 1; tasks of scale 1 are denoising, jpeg, deblurring"),
        ("{degradation: jpeg, qualty: 3}", 1, ":6: super_resolution.task.qualty: unknown key 'qualty'; did you mean 'quality'?"),
        ("{degradation: jpeg, sigma: 3}", 1, ":6: super_resolution.task.sigma: unknown key 'sigma'; known: degradation, quality, subsampling"),
        ("{degradation: jpeg, quality: 0}", 1, ":6: super_resolution.task.quality: must be at least 1, got 0"),
        ("{degradation: jpeg, quality: [40, 10]}", 1, ":6: super_resolution.task.quality: the lower end comes first, got [40, 10]"),
        ("{degradation: jpeg, subsampling: 411}", 1, ":6: super_resolution.task.subsampling: must be 444, 422 or 420, got 411"),
        ("{degradation: denoising, sigma: much}", 1, ":6: super_resolution.task.sigma: must be a number, got 'much'"),
        ("{degradation: denoising, sigma: yes}", 1, ":6: super_resolution.task.sigma: true and false mean nothing here (YAML also reads unquoted yes, no, on and off as such)"),
        ("{degradation: deblurring, blur: motoin}", 1, ":6: super_resolution.task.blur: must be 'gaussian' or 'motion', got 'motoin'"),
        ("{degradation: real, order: 3}", 4, ":6: super_resolution.task.order: must be 1 or 2, got 3"),
        ("{degradation: real, first: {kernels: {isotropc: 1}}}", 4, ":6: super_resolution.task.first.kernels.isotropc: unknown key 'isotropc'; did you mean 'isotropic'?"),
        ("{degradation: real, second: {resize_factor: 2}}", 4, ":6: super_resolution.task.second: resize_factor must include 1, because values below and above it are drawn separately; got [2.0, 2.0]"),
        ("{degradation: real, second: {resize: {up: 0, down: 0, keep: 0}}}", 4, ":6: super_resolution.task.second.resize: at least one share must be above 0"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_names_place_value_and_way_out(
    tmp_path: Path, task: str, scale: int, text: str
) -> None:
    path = written(tmp_path, task, scale)
    with pytest.raises(LopsidedError) as caught:
        load_experiment(path)
    assert str(caught.value) == f"{path}{text}"


def test_judges_cut_off_no_border_where_the_size_stays(tmp_path: Path) -> None:
    assert load_experiment(written(tmp_path, "jpeg", 1)).optimized.judges[0].crop == 0
    assert load_experiment(written(tmp_path, "real", 4)).optimized.judges[0].crop == 4


# --- identities -----------------------------------------------------------------------------------------------------


def test_contents_of_bicubic_cells_name_no_task_and_those_of_others_do(tmp_path: Path) -> None:
    contents = {
        task: [cell.spec.content() for cell in plan(written(tmp_path, task, scale)).cells]
        for task, scale in (("bicubic", 4), ("real", 4), ("jpeg", 1), ("{degradation: jpeg, quality: 11}", 1))
    }
    assert not any("task" in content for content in contents["bicubic"])
    assert all(len(content["task"]) == 12 for task in list(contents)[1:] for content in contents[task])
    stripped = [{k: v for k, v in content.items() if k != "task"} for content in contents["real"]]
    assert stripped == contents["bicubic"]
    ids = [
        {cell.id for cell in plan(written(tmp_path, task, 1)).cells}
        for task in ("jpeg", "{degradation: jpeg, quality: 11}")
    ]
    assert not ids[0] & ids[1]


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "scale", "baseline"),
    [
        ("real", 4, "bicubic"),
        ("{degradation: real, order: 1}", 2, "bicubic"),
        ("{degradation: jpeg, quality: [10, 40]}", 1, "input"),
        ("{degradation: deblurring, blur: motion, noise: 2}", 1, "input"),
    ],
)
def test_every_task_runs_to_tables(tmp_path: Path, task: str, scale: int, baseline: str) -> None:
    path, store = written(tmp_path, task, scale), tmp_path / "runs"
    assert run(path, store=store).ok
    scores = collect_tables(path, store=store).sr_scores
    assert set(scores["fidelity"]) == {baseline, "none"}
    assert set(scores.loc[scores["fidelity"] == baseline, "fidelity_id"]) == {baseline}
    assert scores["status"].eq("ok").all()
    experiment = load_experiment(path)
    found = scores[scores["fidelity"] == baseline].set_index("image")["value"]
    for pair in pairs(
        experiment.optimized.data.test["photos"].images.items(),
        scale,
        crop=64,
        task=experiment.optimized.super_resolution.task,
    ):
        restored = pair.lr if baseline == "input" else bicubic_resize(pair.lr, scale)
        border = 0 if scale == 1 else scale
        inner = slice(border, 64 - border)
        error = ((restored.astype(float) - pair.hr)[inner, inner] ** 2).mean()
        assert found[pair.name] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)


def test_a_denoiser_improves_on_its_input_after_a_short_training(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "{degradation: denoising, sigma: 25}",
        1,
        **{"steps: 4, batch: 2": "steps: 80, batch: 2, warmup: 5, milestones: [48, 64]"},
    )
    assert run(path, store=tmp_path / "runs").ok
    scores = collect_tables(path, store=tmp_path / "runs").sr_scores
    psnr = scores.pivot_table(index="image", columns="fidelity", values="value")
    assert psnr["input"].between(20, 22.5).all()  # 20.17 dB, and more where noise is clamped
    gains = psnr["none"] - psnr["input"]
    assert gains.mean() > 2
    assert gains.min() > 0.5


# --- what is shipped ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["denoising", "real_world"])
def test_shipped_tasks_plan(name: str) -> None:
    planned = plan(ROOT / "experiments" / f"{name}.yaml")
    task = planned.experiment.optimized.super_resolution.task
    assert planned.of_stage("restore")[0].labels["fidelity"] == task.baseline
    assert len(planned.of_stage("finetune")) == 12


# --- the document ---------------------------------------------------------------------------------------------------


def table(heading: str) -> list[list[str]]:
    rows = DOC[DOC.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(Fraction(n)) for n in re.findall(r"\d*\.?\d+(?:/\d+)?", text))


def test_the_documents_tasks_scales_and_baselines_are_the_codes() -> None:
    documented = {row[0].strip("`"): row[1:] for row in table("| task |")}
    assert documented.keys() == TASKS.keys()
    for name, (scales, baseline, what, _) in documented.items():
        task = TASKS[name]()  # type: ignore[call-arg]
        assert tuple(map(int, scales.split(","))) == task.scales
        assert baseline == f"`{task.baseline}`"
        for option, value in re.findall(r"`(sigma|quality|length|noise): ([^`]+)`", what):
            low, high = getattr(task, option)
            assert numbers(value) in ((low, high), (low,) if low == high else ())


def test_the_documents_numbers_of_real_esrgan_are_the_codes() -> None:
    task = RealWorld()
    seen = set()
    for names, first, second, _ in table("| option | `first`"):
        options = re.findall(r"`(\w+)`", names)
        for settings, text in ((task.first, first), (task.second, first if second == "the same" else second)):
            found: list[float] = []
            for option in options:
                value = getattr(settings, option)
                found += (
                    [*value.model_dump().values()] if hasattr(value, "model_dump") else np.atleast_1d(value).tolist()
                )
            assert numbers(text) == pytest.approx(found), options
        seen |= set(options)
    assert seen == set(type(task.first).model_fields)
    assert f"`final_sinc: {task.final_sinc}`" in DOC
    assert f"`final_kernel_size: {list(task.final_kernel_size)}`" in DOC
    assert task.final_cutoff == 1 / 3
    assert "`final_cutoff: 1/3`" in DOC


def test_the_documents_yaml_and_python_work(tmp_path: Path) -> None:
    blocks = re.findall(r"```(yaml|python)\n(.*?)```", DOC, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["yaml", "yaml", "python"]
    for kind, text in blocks:
        if kind == "python":
            exec(text, {})
            continue
        settings = yaml.safe_load(text)["super_resolution"]
        whole = yaml.safe_load(BASE)
        whole["super_resolution"] |= settings
        Experiment.model_validate(whole)


def test_the_documents_psnr_of_unclamped_noise() -> None:
    assert 20 * np.log10(255 / 25) == pytest.approx(20.17, abs=0.005)
