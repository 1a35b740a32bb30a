"""``lopsided init``: the experiment it writes loads, plans, and its next steps are true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from support.command_line import invoke
from support.paths import ROOT

from lopsided.experiments import load_experiment, plan


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_loads_plans_and_fits_the_schema(here: Path) -> None:
    shown = invoke("init", "study")
    assert (shown.status, shown.err) == (0, "")
    experiment = load_experiment("study.yaml")
    assert experiment.name == "study"
    stages = {cell.stage for cell in plan(experiment).cells}
    assert stages == {"pretrain", "finetune", "restore", "judge", "assess_fr"}
    text = Path("study.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=experiment.schema.json\n")
    assert "NAME" not in text
    assert max(map(len, text.splitlines())) <= 120
    schema = json.loads(invoke("schema").out)
    jsonschema.validate(yaml.safe_load(text), schema)


def test_the_next_steps_are_true(here: Path) -> None:
    shown = invoke("init", "study")
    steps = re.findall(r"^  lopsided (.*?)  +# \w", shown.out, re.MULTILINE)
    assert [step.split()[0] for step in steps] == ["plan", "run", "schema"]
    planned = invoke(*steps[0].split())
    assert re.search(r"(\d+) new, 0 cached of \1 cells in 'runs'", planned.out)
    assert invoke(*steps[2].split()).status == 0
    assert Path("experiment.schema.json").is_file()


def test_the_next_steps_can_be_pasted_where_a_folder_has_a_blank(here: Path) -> None:
    Path("my studies").mkdir()
    shown = invoke("init", "my studies/study")
    assert "  lopsided plan 'my studies/study.yaml'  " in shown.out
    assert "  lopsided schema --to 'my studies/experiment.schema.json'  " in shown.out


@pytest.mark.slow
def test_it_runs(here: Path) -> None:
    """As it is, but for the number of steps, seeds and judges, which takes a minute."""
    invoke("init", "study")
    smaller = ["super_resolution.pretrain.steps=2", "super_resolution.finetune.steps=2", "grid.seed=0", "judges=[psnr]"]
    smaller += ["analysis.resamples=100", "grid.fidelity=[none,ssim,gmsd]", "super_resolution.pretrain.warmup=1"]
    shown = invoke("run", "study.yaml", *(word for override in smaller for word in ("--set", override)))
    assert shown.status == 0, shown.text
    assert Path("runs/experiments/study/report.html").is_file()


def test_its_commented_alternatives_are_valid(here: Path) -> None:
    """Each commented line of YAML is a line that may be switched on."""
    invoke("init", "study")
    text = Path("study.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("  scale: 4 #", "  scale: 1 #"),
        ("  # task: {degradation: jpeg", "  task: {degradation: jpeg"),
        ("  # exclude:", "  exclude:"),
        ("  #   - {fidelity: none", "    - {fidelity: none"),
        ("  # measures:", "  measures:"),
        ("  # threads:", "  threads:"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    Path("study.yaml").write_text(text, encoding="utf-8")
    changed = load_experiment("study.yaml")
    assert changed.optimized.super_resolution.task.name() == "jpeg"
    assert changed.execution.threads == 4
    assert [measure.key for measure in changed.assessment.measures] == ["lpips-alexnet-r"]
    assert len(changed.optimized.grid.exclude) == 1


@pytest.mark.parametrize("option", ["generator", "fidelity", "discriminator", "judges"])
def test_the_others_that_its_comments_name_exist(option: str, here: Path) -> None:
    invoke("init", "study")
    text = Path("study.yaml").read_text(encoding="utf-8")
    before = text[: re.search(rf"^ *{option}:", text, re.MULTILINE).start()]  # pyright: ignore[reportOptionalMemberAccess]
    others = re.findall(r"Others: (.*?) \.\.\.", before)[-1].split(", ")
    assert len(others) > 3
    key = option if option == "judges" else f"grid.{option}"
    patch = ["super_resolution.finetune.patch=192", "super_resolution.pretrain.patch=192"]
    load_experiment("study.yaml", [f"{key}=[{','.join(others)}]", *patch])


def test_what_is_there_is_not_overwritten(here: Path) -> None:
    Path("study.yaml").write_text("mine")
    shown = invoke("init", "study")
    assert (shown.status, shown.out) == (1, "")
    assert shown.err == "error: 'study.yaml' exists already, and is left as it is; choose another name\n"
    assert Path("study.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "path"), [("a.yaml", "a.yaml"), ("sub/b", "sub/b.yaml"), ("v1.2", "v1.2.yaml"), ("7", "7.yaml")]
)
def test_names_and_places(name: str, path: str, here: Path) -> None:
    assert invoke("init", name).status == 0
    assert load_experiment(path).name == Path(path).stem


@pytest.mark.parametrize("name", ["_x", "a b", "ü", "x" * 65])
def test_names_that_are_no_names(name: str, here: Path) -> None:
    shown = invoke("init", name)
    assert shown.status == 1
    assert "cannot name an experiment" in shown.err
    assert not list(here.iterdir())


def test_the_template_is_part_of_the_package() -> None:
    assert '"lopsided.cli" = ["*.yaml"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
