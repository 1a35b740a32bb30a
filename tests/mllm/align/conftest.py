"""A tiny real Qwen2.5-VL, rated images on disk, and alignments of both."""

import json

import pytest
from support import tiny_vlm


@pytest.fixture(scope="session")
def tiny():
    """Folder of a trained tiny model."""
    return tiny_vlm.trained()


@pytest.fixture(scope="session")
def rated(tmp_path_factory):
    """A function that writes images and a JSON-lines benchmark of their brightness."""
    folder = tmp_path_factory.mktemp("rated")

    def write(name, number, seed, score=tiny_vlm.brightness, **more):
        lines = []
        for n, picture in enumerate(tiny_vlm.images(number, seed)):
            picture.save(folder / f"{name}-{n}.png")
            label = round(100 * score(picture), 2)
            line = {"id": f"{n}", "task": "rate", "images": f"{name}-{n}.png", "target": label, "scale": [0, 100]}
            lines.append(json.dumps(line | more))
        path = folder / f"{name}.jsonl"
        path.write_text("\n".join(lines))
        return str(path)

    return write
