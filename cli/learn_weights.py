"""``lopsided learn-weights``: learn alpha and beta of a DISTS from rated images, and test them on held-out ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.errors import LopsidedError
from . import console
from .options import Device, Threads, key_values, settings_from

if TYPE_CHECKING:
    from ..iqa.learn import LearntWeights
    from ..iqa.manifest import FRDataset

LADDER, LADDER_SIZE = "ladder", 96
WEIGHTS = ("uniform", "learnt")
FEW_REFERENCES = 20


def learn_weights(
    measure: Annotated[
        str, typer.Argument(metavar="MEASURE", help="A DISTS with uniform weights, such as dists-vgg16.")
    ],
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset", metavar="MANIFEST.csv", help="Rated images with references; or the word ladder, to try it out."
        ),
    ],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="File to write; its name must end in .safetensors.")],
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="NAME", help="How to learn: mos or pairwise.")
    ] = "pairwise",
    held_out: Annotated[
        float, typer.Option("--held-out", metavar="SHARE", help="Share of the references kept for the test.")
    ] = 0.2,
    split_seed: Annotated[
        int, typer.Option("--split-seed", metavar="N", help="Seed that chooses those references.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the learning.")] = 0,
    textures: Annotated[
        Path | None,
        typer.Option(
            "--textures", metavar="FOLDER", help="Textures for recipe mos; default: three that come with scikit-image."
        ),
    ] = None,
    set_: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Number of the recipe, such as steps=2000 (repeatable)."),
    ] = [],  # noqa: B006 - typer reads the default
    store: Annotated[
        Path,
        typer.Option(
            "--store", metavar="FOLDER", file_okay=False, help="Folder of results; the ladder is made in its cache."
        ),
    ] = Path("runs"),
    device: Device = "cpu",
    threads: Threads = 1,
) -> None:
    """Learn the weights alpha and beta of a DISTS from rated images, and say how much better they are on others.

    In an experiment, {measure: dists, backbone: vgg16, alpha_beta: FILE} is then the measure that uses them.

    Example: lopsided learn-weights dists-vgg16 --dataset mine.csv --to alpha_beta.safetensors
    """
    import torch

    from ..common.devices import check_device
    from ..common.sources import FolderSource
    from ..iqa.learn import learn_from_dataset
    from ..losses import parse_measure
    from ..losses.learn_weights import LearningSpec, MosRecipe, PairwiseRecipe, learnable

    torch.set_num_threads(threads)
    check_device(device)
    numbers = [name for name in (MosRecipe if recipe == "mos" else PairwiseRecipe).model_fields if name != "name"]
    chosen = {"name": recipe, **key_values("--set", set_)}
    spec = settings_from(LearningSpec, numbers, recipe=chosen, held_out=held_out, split_seed=split_seed, seed=seed)
    dists = learnable(parse_measure(measure))
    if to.suffix != ".safetensors":
        raise LopsidedError(f"--to {to}: the name must end in .safetensors")
    source = FolderSource(folder=textures) if textures else None
    images = _dataset(dataset, store)
    with console.progress("learning", "steps", "preparing") as progress:
        learnt = learn_from_dataset(dists, images, spec, textures=source, device=device, progress=progress)
    learnt.save(to)
    for line in result_lines(learnt):
        console.say(line)
    console.say(f"weights: {to}")


def result_lines(learnt: LearntWeights) -> list[str]:
    """Say in a few lines how good the weights are."""
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


def _ranged(values: dict[str, Any], name: str, sign: str = "") -> str:
    low, high = values[f"{name}_low"], values[f"{name}_high"]
    interval = "no interval" if low is None else f"95 % interval {low:{sign}.3f} to {high:{sign}.3f}"
    return f"{values[name]:{sign}.3f} ({interval})"


def _dataset(value: str, store: Path) -> FRDataset:
    from ..common.sources import SkimageSource
    from ..experiments import Store
    from ..iqa.datasets import list_datasets
    from ..iqa.ladder import LadderSpec, build_ladder
    from ..iqa.manifest import FRDataset

    if value != LADDER:
        published, path = value in list_datasets(), Path(value)
        if path.is_dir() or (published and not path.exists()):
            name, folder = value if published else "NAME", value if path.is_dir() else "FOLDER"
            raise LopsidedError(
                f"--dataset {value}: give a manifest; of a published set, 'lopsided data check {name} {folder} --to "
                "manifest.csv' writes it"
            )
        return FRDataset(path)
    spec = LadderSpec(source=SkimageSource(split="all"), size=LADDER_SIZE)
    return FRDataset(build_ladder(spec, Store(store).cache), name=LADDER)
