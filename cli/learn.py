"""``lopsided learn-weights``: learn alpha and beta of a DISTS from labelled images, and test them on held-out ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ..common.errors import LopsidedError, did_you_mean

if TYPE_CHECKING:  # torch, which the command line's help is spared
    from ..iqa.learn import LearntWeights
    from ..iqa.manifest import FRDataset
    from ..losses.learn_weights import LearningSpec

LADDER = "ladder"
LADDER_SIZE = 96

out = Console()


def learn_weights(
    measure: Annotated[str, typer.Argument(metavar="MEASURE", help="A uniform DISTS, such as dists-vgg16-r.")],
    dataset: Annotated[str, typer.Option("--dataset", help="CSV manifest of an FR set; or ladder, the embedded one.")],
    to: Annotated[Path, typer.Option("--to", help="File to write, ending in .safetensors.")],
    recipe: Annotated[str, typer.Option("--recipe", help="mos or pairwise.")] = "pairwise",
    held_out: Annotated[float, typer.Option("--held-out", help="Share of references kept for the test.")] = 0.2,
    split_seed: Annotated[int, typer.Option("--split-seed", help="Seed of the choice of those references.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of learning.")] = 0,
    textures: Annotated[
        Path | None, typer.Option("--textures", help="Folder of textures for mos; default: three of scikit-image.")
    ] = None,
    set_: Annotated[
        list[str],
        typer.Option("--set", help="A number of the recipe: key=value, e.g. steps=2000, scale=learnt (repeatable)."),
    ] = [],  # noqa: B006  (typer reads the default)
    store: Annotated[Path, typer.Option("--store", help="Folder of results; the ladder is made in its cache.")] = Path(
        "runs"
    ),
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:N or mps.")] = "cpu",
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads of torch.")] = 1,
) -> None:
    """Learn alpha and beta of a DISTS; `alpha_beta: FILE` then uses them."""
    import torch

    from ..common.sources import FolderSource
    from ..iqa.learn import learn_from_dataset
    from ..losses import parse_measure
    from ..losses.learn_weights import learnable

    torch.set_num_threads(threads)
    spec = _spec({"recipe": _recipe(recipe, set_), "held_out": held_out, "split_seed": split_seed, "seed": seed})
    dists = learnable(parse_measure(measure))
    if to.suffix != ".safetensors":
        raise LopsidedError(f"--to {to}: the name must end in .safetensors")
    source = FolderSource(folder=textures) if textures else None
    images = _dataset(dataset, store)
    with _progress() as progress:
        learnt = learn_from_dataset(dists, images, spec, textures=source, device=device, progress=progress)
    learnt.save(to)
    for line in result_lines(learnt):
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    out.print(f"weights: {to}", highlight=False, markup=False, soft_wrap=True)


def result_lines(learnt: LearntWeights) -> list[str]:
    """Say in a few lines what the weights are worth."""
    found, data = learnt.results["held_out"], learnt.metadata
    kind = {"severity_grade": "severity grades, not opinions", "mos": "MOS", "dmos": "DMOS"}[data["label_kind"]]
    lines = [
        f"{data['key']} learnt from {len(learnt.train_references)} references of '{data['dataset']}'; "
        f"held out: {found['n']} images of {found['n_references']} references; labels: {kind}"
    ]
    if found["status"] != "ok":
        return [*lines, f"no correlation with the held-out labels: {found['status']}"]
    lines += [f"{name:8} SRCC {_ranged(found[name], 'srcc')}  PLCC {_ranged(found[name], 'plcc')}" for name in WEIGHTS]
    if found["difference"]:
        lines.append(f"gain     SRCC {_ranged(found['difference'], 'srcc', '+')}")
    if found["n_references"] < FEW_REFERENCES:
        lines.append(f"{found['n_references']} held-out reference(s) are few: the intervals are themselves uncertain")
    return lines


WEIGHTS = ("uniform", "learnt")
FEW_REFERENCES = 20


def _ranged(values: dict[str, Any], name: str, sign: str = "") -> str:
    low, high = values[f"{name}_low"], values[f"{name}_high"]
    interval = "no interval" if low is None else f"95 % interval {low:{sign}.3f} to {high:{sign}.3f}"
    return f"{values[name]:{sign}.3f} ({interval})"


def _dataset(value: str, store: Path) -> FRDataset:
    from ..common.sources import SkimageSource
    from ..experiments.store import Store
    from ..iqa.ladder import LadderSpec, build_ladder
    from ..iqa.manifest import FRDataset

    if value != LADDER:
        return FRDataset(Path(value))
    spec = LadderSpec(source=SkimageSource(split="all"), size=LADDER_SIZE)
    return FRDataset(build_ladder(spec, Store(store).cache), name=LADDER)


def _recipe(name: str, options: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": name}
    for option in options:
        key, separator, value = option.partition("=")
        if not separator:
            raise LopsidedError(f"--set {option}: write it as key=value, e.g. --set steps=2000")
        try:
            fields[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise LopsidedError(f"--set {option}: '{value}' is not a YAML value") from None
    return fields


def _spec(fields: dict[str, Any]) -> LearningSpec:
    from pydantic import ValidationError

    from ..losses.learn_weights import LearningSpec, MosRecipe, PairwiseRecipe

    try:
        return LearningSpec.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        key, text = str(problem["loc"][-1]), problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            recipe = MosRecipe if fields["recipe"]["name"] == "mos" else PairwiseRecipe
            known = [name for name in recipe.model_fields if name != "name"]
            text = f"unknown; {did_you_mean(key, known)}"
        elif problem["type"] != "value_error":
            text = f"{text}, got {problem['input']!r}"
        raise LopsidedError(f"{key}: {text}") from None


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """Show a bar on a terminal; a log gets the results only."""
    columns = (TextColumn("learning"), BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=None, note="preparing")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)
