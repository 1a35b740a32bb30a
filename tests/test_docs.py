"""The front door: README's limits, code that runs, commands that exist, links that lead somewhere."""

import re
import shlex

import pytest
import torch
import typer.main
from support.paths import ROOT

from lopsided.backbones import BackboneSpec, list_backbones
from lopsided.cli.main import app
from lopsided.common.families import KINDS
from lopsided.experiments import load_experiment
from lopsided.iqa import list_judges, parse_judge

PAGES = {path.relative_to(ROOT).as_posix(): path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]}
README = PAGES["README.md"].read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app)


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page].read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def command_lines():
    for page in PAGES:
        for block in [*blocks(page, "bash"), *blocks(page, "sh"), *blocks(page, "")]:
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("lopsided "):
                    yield pytest.param(line, id=f"{page}: {line[:60]}")


def test_readme_is_one_screen_of_reading():
    assert len(README.splitlines()) <= 120
    assert len(README.split()) <= 900


def test_readme_shows_an_experiment_in_ten_lines():
    (experiment,) = blocks("README.md", "yaml")
    assert len(experiment.splitlines()) <= 10


@pytest.mark.parametrize("page", ["README.md", "docs/experiments.md"])
def test_whole_experiments_load(page, tmp_path):
    """Readers copy them; data and weights are looked for later."""
    found = [block for block in blocks(page, "yaml") if re.search("^name:", block, re.MULTILINE)]
    path = tmp_path / "mine.yaml"
    for text in found:
        path.write_text(text, encoding="utf-8")
        experiment = load_experiment(path)
        assert len(experiment.grid.fidelity if experiment.grid else experiment.assessment.measures) >= 3
    assert found


@pytest.mark.parametrize("page", ["README.md", "docs/losses.md"])
def test_python_of_the_losses_runs(page):
    torch.manual_seed(0)
    prediction, reference = torch.rand(2, 3, 64, 64, requires_grad=True), torch.rand(2, 3, 64, 64)
    names = {"prediction": prediction, "reference": reference, "images": [prediction.detach()]}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)
    loss = names["loss"]
    loss.backward()
    assert prediction.grad is not None
    assert prediction.grad.abs().sum() > 0
    assert names["score"].shape == (2,)


@pytest.mark.parametrize("line", [*command_lines()])
def test_commands_exist_with_their_options(line):
    command = COMMANDS
    words = shlex.split(line, comments=True)[1:]
    while inner := getattr(command, "commands", None):
        assert words[0] in inner, f"no command '{words[0]}'"
        command = inner[words.pop(0)]
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    options = {word.split("=")[0] for word in words if re.match("--?[a-z]", word)}
    assert options <= known | {"--help"}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", PAGES[page].read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (PAGES[page].parent / link).exists()]
    assert missing == []


def test_the_index_names_every_page():
    index = PAGES["docs/README.md"].read_text(encoding="utf-8")
    pages = [name.removeprefix("docs/") for name in PAGES if name.startswith("docs/") and name != "docs/README.md"]
    assert [page for page in pages if f"({page})" not in index] == []


def words(families):
    """Backbones, forms and data, as the table writes them."""
    found = {kind: sorted(f.partition(":")[2] for f in families if f.startswith(f"{kind}:")) for kind in KINDS}
    return [", ".join(sorted(names)) for names in found.values()]


def table(page, columns):
    """Rows of the table with these columns, by each key of their first cell."""
    lines = (
        PAGES[page].read_text(encoding="utf-8").split(f"| {' | '.join(columns)} |\n")[1].split("\n\n")[0].splitlines()
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return {key: row[1:] for row in rows for key in re.findall(r"`(.*?)`", row[0])}


def test_what_judges_are_made_of_is_what_they_declare():
    listed = table("docs/judges.md", ["key", "backbone", "form", "data"])
    short = {key for key in list_judges() if not any(key.endswith(f"-{name}") for name in list_backbones())}
    assert {key for key in listed if "<backbone>" not in key} == short
    for key, row in listed.items():
        judge = parse_judge(key.replace("<backbone>", "swin_t"), scale=4)
        expected = ["swin" if cell == "its own" else "imagenet" if cell == "the backbone's" else cell for cell in row]
        assert [", ".join(sorted(cell.split(", "))) for cell in expected] == words(judge.families), key


def test_what_backbones_are_and_learnt_from_is_what_they_declare():
    listed = table("docs/judges.md", ["backbone", "family", "official weights learnt from"])
    assert set(listed) == {name for name in list_backbones() if not name.endswith("-r")}
    for key, row in listed.items():
        backbone, _, data = words(BackboneSpec(name=key).families)
        assert row == [backbone, data]


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CONTRIBUTING.md"])
def test_python_imports_from_doors(page):
    """A door is a package; modules within it may move. (What is added to lopsided is written inside it.)"""
    for module in re.findall(r"^ *(?:from|import) (lopsided[\w.]*)", "\n".join(blocks(page, "python")), re.MULTILINE):
        if not module.endswith("_plugin"):  # imported for what it registers
            assert ROOT.joinpath(*module.split(".")[1:], "__init__.py").is_file(), module
