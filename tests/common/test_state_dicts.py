"""Weights as people really have them: every reader says what a file is, and none runs code or fills the memory."""

import json
import subprocess
import sys
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from lopsided.backbones import BackboneSpec, build_extractor
from lopsided.common.errors import LopsidedError, one_line
from lopsided.common.state_dicts import read_metadata, read_state_dict
from lopsided.discriminators import build_discriminator
from lopsided.iqa.nr import load_nr
from lopsided.losses import create_measure
from lopsided.sr import GeneratorSpec, build_generator, load_exported

# What every part does with a file of weights.
READERS = {
    "backbone": lambda path: build_extractor(BackboneSpec(name="squeezenet1_1", weights=str(path))),
    "generator": lambda path: build_generator(GeneratorSpec(name="swinir-tiny", weights=str(path)), 4),
    "exported": lambda path: load_exported(path, "swinir-tiny", 4),
    "discriminator": lambda path: build_discriminator({"form": "unet", "weights": str(path)}),
    "dists": lambda path: create_measure({"measure": "dists", "backbone": "squeezenet1_1-r", "alpha_beta": str(path)}),
    "no-reference": load_nr,
}
NO_WEIGHTS = {
    "empty": (b"", "empty"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n", "git lfs pull"),
    "page": (b"<!DOCTYPE html>\n<html><title>Log in</title></html>", "web page"),
    "lower": (b"\n <html>", "web page"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_what_is_no_weights_file_is_called_what_it_is(tmp_path, kind, reader, suffix):
    content, word = NO_WEIGHTS[kind]
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(LopsidedError) as caught:
        READERS[reader](path)
    text = str(caught.value)
    assert word in text
    assert str(path) in text
    assert "\n" not in text
    assert "weights_only" not in text


class Code:
    """A class of the author's own."""


@pytest.mark.parametrize("value", [Code, [Code()], b"no pickle"], ids=["class", "object", "bytes"])
def test_the_advice_to_allow_code_is_not_passed_on(tmp_path, value):
    path = tmp_path / "weights.pth"
    path.write_bytes(value) if isinstance(value, bytes) else torch.save({"model": value}, path)
    with pytest.raises(LopsidedError) as caught:
        read_state_dict(path, LopsidedError)
    assert "weights_only" not in str(caught.value)
    assert "safe_globals" not in str(caught.value)
    assert "Code" in str(caught.value) or "no pickl" in str(caught.value)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_prefixes_of_wrappers_are_left_out(tmp_path, prefix, suffix):
    generator = build_generator(GeneratorSpec(name="swinir-tiny"), 4, seed=3)
    state = {f"{prefix}{name}": tensor.clone() for name, tensor in generator.state_dict().items()}
    path = tmp_path / f"x4{suffix}"
    torch.save({"params_ema": state}, path) if suffix == ".pth" else save_file(state, path)
    loaded = build_generator(GeneratorSpec(name="swinir-tiny", weights=str(path)), 4)
    assert all(torch.equal(a, b) for a, b in zip(generator.parameters(), loaded.parameters(), strict=True))


def test_a_name_that_only_some_tensors_begin_with_stays(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, path)
    assert set(read_state_dict(path, LopsidedError)) == {"module.a", "b"}


def test_a_compressed_file_that_would_fill_the_memory_is_refused_before_it_does(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"")
        with archive.open("bomb/data/0", "w", force_zip64=True) as entry:
            for _ in range(1024):
                entry.write(bytes(1 << 20))
    script = (
        "import resource, sys\n"
        "from lopsided.common.errors import LopsidedError\n"
        "from lopsided.common.state_dicts import read_state_dict\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    read_state_dict(sys.argv[1], LopsidedError)\n"
        "except LopsidedError as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    message, grown = done.stdout.splitlines()
    assert "1,073,741,824 bytes" in message
    assert f"{path.stat().st_size:,}" in message
    assert int(grown) < 100_000  # KiB


METADATA = {
    "deep": "[" * 100_000,
    "list": "[1, 2]",
    "number": "7",
    "not JSON": "{",
    "scale": json.dumps({"generator": "swinir-tiny", "scale": 10**9}),
    "nested scale": json.dumps({"generator": "swinir-tiny", "scale": [[4]]}),
    "generator": json.dumps({"generator": {"name": 3}, "scale": 4}),
    "no-reference": json.dumps({"kind": "no-reference model"}),
    "no-reference spec": json.dumps({"kind": "no-reference model", "spec": [3], "answer": 7, "training": []}),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", METADATA.values(), ids=METADATA)
def test_absurd_metadata_are_an_error_of_ours(tmp_path, text, reader):
    path = tmp_path / "weights.safetensors"
    save_file({"alpha": torch.ones(3), "beta": torch.ones(3)}, path, metadata={"lopsided": text})
    with pytest.raises(LopsidedError, match=r"weights\.safetensors"):
        READERS[reader](path)


def test_metadata_of_others_are_none_of_ours(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    assert read_metadata(tmp_path / "a.safetensors") == {}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (IndexError(), "IndexError without a message"),
        (ValueError(" \n"), "ValueError without a message"),
        (KeyError("scale"), "KeyError 'scale'"),
        (RuntimeError("first\n  second"), "first second"),
        (FileNotFoundError(2, "No such file", "a.pth"), "No such file: 'a.pth'"),
        (OSError("no number"), "no number"),
        (ValueError("x" * 999), "x" * 199 + "…"),
    ],
)
def test_a_foreign_error_becomes_one_line_that_is_never_empty(error, text):
    assert one_line(error) == text
