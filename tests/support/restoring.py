"""Generators, stores that hold them, and photographs, for tests of restoring."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.data import astronaut

from lopsided.sr import GeneratorSpec, LoadedGenerator, build_generator
from lopsided.sr.checkpoint import write_tensors


def lively(name: str, scale: int) -> LoadedGenerator:
    """A generator with random weights, changed until all its parts matter."""
    spec = GeneratorSpec(name=name)
    generator = build_generator(spec, scale, seed=0).eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=rng)
    return LoadedGenerator(generator, spec, scale)


def photograph(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(astronaut()[:height, 100 : 100 + width])


def save(path: Path, array: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def broken_set(folder: Path) -> Path:
    """Three images, one of them broken, and two files that are not images."""
    save(folder / "a.png", photograph(9, 12))
    save(folder / "sub" / "a.jpg", photograph(20, 17))
    (folder / "sub" / "broken.jpg").write_bytes((folder / "sub" / "a.jpg").read_bytes()[:300])
    (folder / "notes.txt").write_text("none")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def store_with(loaded: LoadedGenerator, root: Path) -> Path:
    """A store with a finished, a diverged and an unfinished cell, as a run leaves them."""
    for cell, state in (("c0ffee", "done"), ("d1e", "diverged"), ("beef", None)):
        folder = root / "cells" / "finetune" / cell
        about = {"generator": loaded.spec.name, "scale": loaded.scale}
        write_tensors(folder / "generator.safetensors", loaded.generator.state_dict(), about)
        if state:
            (folder / "status.json").write_text(json.dumps({"state": state, "reason": ""}))
    return root
