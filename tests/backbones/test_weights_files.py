"""Where weights come from: downloads that are whole or nothing, mirrors, known answers."""

import contextlib
import hashlib
import json
import socket
import sys
import time

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from support.paths import ROOT
from support.publisher import forget_weights, publishing

from lopsided.backbones import BackboneError, BackboneSpec, WeightsUnavailableError, build_extractor, list_backbones
from lopsided.backbones import files as weights_files
from lopsided.backbones.files import WeightsFile
from lopsided.backbones.known_answers import PROJECTIONS, STORED, check_known_answer, probe, stored
from lopsided.backbones.registry import architecture
from lopsided.backbones.weights import locate

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

WEIGHTS = ROOT.parent / "shared" / "data" / "weights"

TWINS = [name for name in list_backbones() if name.endswith("-r")]
FILES = [
    BackboneSpec(name="squeezenet1_1", weights="squeezenet1_1.safetensors"),
    BackboneSpec(name="vgg19_blocks3"),
    BackboneSpec(name="googlenet_bvlc"),
]
BODY = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def publisher():
    with publishing() as server:
        yield server


@pytest.fixture
def refusing():
    """A base URL whose connections are refused."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    forget_weights(monkeypatch, tmp_path)


def everything_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["net.pth", "folder/net.pth"])
@pytest.mark.parametrize("digits", [64, 8])
def test_a_file_is_downloaded_once_into_the_cache(publisher, tmp_path, name, digits):
    publisher.files["/any/net.pth"] = BODY
    file = WeightsFile(name, f"{publisher.url}/any/net.pth", DIGEST[:digits])
    assert file.on_disk() is None
    path = file.locate("nothing")
    assert path.read_bytes() == BODY
    assert file.locate("nothing") == path == file.on_disk()
    assert publisher.asked == ["/any/net.pth"]
    assert everything_in(tmp_path) == [f"torch/hub/checkpoints/{name}"]


@pytest.mark.parametrize(
    ("served", "name", "seen"),
    [
        ("/cut.pth", "net.pth", rf"the connection ended after {len(BODY)} of {2 * len(BODY)} bytes"),
        ("/wrong.pth", "net.pth", rf"another file: its SHA-256 starts with [0-9a-f]{{8}}, not {DIGEST[:8]}"),
        ("/empty.pth", "net.pth", "the connection ended after 0 of 0 bytes"),
        ("/absent.pth", "net.pth", "HTTP 404 Not Found"),
        ("/page", "net.safetensors", "not a safetensors file"),
    ],
)
def test_a_bad_download_leaves_nothing_and_says_what_was_seen(publisher, tmp_path, served, name, seen):
    publisher.files |= {"/cut.pth": BODY, "/wrong.pth": BODY[1:], "/empty.pth": b"", "/page": b"<html>log in</html>"}
    digest = "" if served == "/page" else DIGEST
    with pytest.raises(WeightsUnavailableError, match=seen) as caught:
        WeightsFile(name, publisher.url + served, digest).locate("'vgg16-r'")
    message = str(caught.value)
    for part in (name, publisher.url + served, digest, "LOPSIDED_WEIGHTS", "LOPSIDED_MIRROR", "'vgg16-r'"):
        assert part in message
    assert "\n" not in message
    assert everything_in(tmp_path) == []


def test_an_interrupt_leaves_nothing(publisher, tmp_path, monkeypatch):
    publisher.files["/net.pth"] = BODY

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(weights_files._Progress, "advance", interrupt)
    with pytest.raises(KeyboardInterrupt):
        WeightsFile("net.pth", f"{publisher.url}/net.pth", DIGEST).locate("nothing")
    assert everything_in(tmp_path) == []


def test_a_refused_connection_is_said_at_once(refusing):
    start = time.perf_counter()
    with pytest.raises(WeightsUnavailableError, match=r"net\.pth are not on this machine.*Connection refused"):
        WeightsFile("net.pth", f"{refusing}/net.pth", DIGEST).locate("nothing")
    assert time.perf_counter() - start < 1


def test_a_network_that_swallows_questions_is_said_within_a_second(monkeypatch):
    def swallow(*_, **__):
        time.sleep(2)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", swallow)
    start = time.perf_counter()
    with pytest.raises(WeightsUnavailableError, match=r"example\.org does not answer.*'lopsided weights fetch'"):
        WeightsFile("net.pth", "https://example.org/net.pth", DIGEST).locate("nothing")
    assert time.perf_counter() - start < 1


def test_a_folder_that_cannot_be_written_to_is_named(publisher, tmp_path):
    publisher.files["/net.pth"] = BODY
    (tmp_path / "torch").write_text("a file where the cache should be")
    with pytest.raises(WeightsUnavailableError, match="cannot be downloaded") as caught:
        WeightsFile("net.pth", f"{publisher.url}/net.pth", DIGEST).locate("nothing")
    assert str(tmp_path / "torch") in str(caught.value)


@pytest.mark.parametrize("name", ["net.pth", "folder/net.pth"])
def test_a_mirror_takes_the_place_of_the_host_and_is_trusted_no_more(publisher, refusing, monkeypatch, name):
    monkeypatch.setenv("LOPSIDED_MIRROR", f"{publisher.url}/mirror/")
    file = WeightsFile(name, f"{refusing}/net.pth", DIGEST)
    publisher.files[f"/mirror/{name}"] = BODY[1:]
    with pytest.raises(WeightsUnavailableError, match="another file") as caught:
        file.locate("nothing")
    assert publisher.url in str(caught.value)
    assert file.url in str(caught.value)
    publisher.files[f"/mirror/{name}"] = BODY
    assert file.locate("nothing").read_bytes() == BODY


def test_a_mirror_offers_what_no_address_does(publisher, monkeypatch):
    file = WeightsFile("net.pth", sha256=DIGEST)
    with pytest.raises(WeightsUnavailableError, match="no address offers them"):
        file.locate("nothing")
    monkeypatch.setenv("LOPSIDED_MIRROR", publisher.url)
    publisher.files["/net.pth"] = BODY
    assert file.locate("nothing").read_bytes() == BODY


def test_a_mirror_is_a_web_address(tmp_path, monkeypatch):
    (tmp_path / "net.pth").write_bytes(BODY)
    monkeypatch.setenv("LOPSIDED_MIRROR", tmp_path.as_uri())
    with pytest.raises(BackboneError, match=r"is not an http\(s\) address; for a folder use LOPSIDED_WEIGHTS"):
        WeightsFile("net.pth", sha256=DIGEST).locate("nothing")


def test_the_offline_folder_comes_first_and_is_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("LOPSIDED_WEIGHTS", str(tmp_path))
    (tmp_path / "net.pth").write_bytes(BODY)
    assert WeightsFile("net.pth", sha256=DIGEST).locate("nothing") == tmp_path / "net.pth"
    (tmp_path / "net.pth").write_bytes(BODY[:-1])
    with pytest.raises(BackboneError, match="damaged or not the official file"):
        WeightsFile("net.pth", sha256=DIGEST).locate("nothing")


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_a_bar_on_a_terminal_and_a_line_per_tenth_in_a_log(publisher, capsys, monkeypatch, terminal):
    monkeypatch.setattr(weights_files, "BLOCK", len(BODY) // 100)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    publisher.files["/net.pth"] = BODY
    WeightsFile("net.pth", f"{publisher.url}/net.pth", DIGEST).locate("nothing")
    shown = capsys.readouterr().err
    assert all(part in shown for part in ("net.pth", "MB/s", "left"))
    if terminal:
        assert shown.startswith("\r")
        assert shown.endswith("\r\x1b[K")  # nothing of it stays
        assert "\n" not in shown
    else:
        assert [line.split()[1] for line in shown.splitlines()] == [f"{tenth}0%" for tenth in range(1, 11)]


def test_hub_files_respect_offline_mode_unless_a_mirror_or_the_user_asks(publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(
        huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", publisher.url + "/{repo_id}/{revision}/{filename}"
    )
    save_file({"weight": torch.ones(3)}, tmp_path / "net")
    publisher.files["/some/net/main/model.safetensors"] = (tmp_path / "net").read_bytes()
    file = WeightsFile("net.safetensors", hub_id="some/net")
    with pytest.raises(WeightsUnavailableError, match="HF_HUB_OFFLINE=0"):
        file.locate("nothing")
    assert file.fetch(tmp_path / "here").parent == tmp_path / "here"
    monkeypatch.setenv("LOPSIDED_MIRROR", f"{publisher.url}/some/net/main")
    publisher.files["/some/net/main/net.safetensors"] = (tmp_path / "net").read_bytes()
    assert file.locate("nothing") == file.on_disk()


# Known answers


@pytest.fixture(scope="module")
def loaded():
    """Extractors by key, built once, each to be left as it was found."""
    found = {}

    def get(spec):
        key = spec.model_dump_json()
        if key not in found:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LOPSIDED_WEIGHTS", str(WEIGHTS))
                found[key] = (build_extractor(spec), locate(spec))
        return found[key]

    return get


def test_answers_are_stored_for_every_twin_and_for_the_known_files():
    answers = json.loads(STORED.read_text(encoding="utf-8"))
    digests = {
        "squeezenet1_1": dict(architecture("squeezenet1_1").known_files)["squeezenet1_1.safetensors"],
        "vgg19_blocks3": architecture("vgg19_blocks3").official_sha256,
        "googlenet_bvlc": architecture("googlenet_bvlc").official_sha256,
    }
    assert list(answers) == [name.removesuffix("-r") for name in TWINS]
    for name, known in answers.items():
        assert set(known) >= {"random-v1:0"} | ({f"sha256:{digests[name]}"} if name in digests else set())
        for stages in known.values():
            assert list(stages) == [stage.name for stage in architecture(name).stages]
            assert all(len(numbers) == 2 + PROJECTIONS for numbers in stages.values())


def test_the_probe_is_two_images_in_range_and_draws_nothing():
    before = torch.get_rng_state()
    images = probe(48)
    assert torch.equal(before, torch.get_rng_state())
    assert images.shape == (2, 3, 48, 48)
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0.1
    assert not torch.allclose(images[:, 0], images[:, 2], atol=0.1)


@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
@pytest.mark.parametrize("name", TWINS)
def test_twins_give_the_known_answer(name, loaded):
    """Also with kernels other than the ones that the answers were computed with."""
    spec = BackboneSpec(name=name)
    assert stored(spec, None)
    extractor, _ = loaded(spec)
    with torch.backends.mkldnn.flags(enabled=False):
        check_known_answer(spec, None, extractor)


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="no folder of pretrained weights beside the project")
@pytest.mark.parametrize("spec", FILES, ids=lambda spec: spec.name)
def test_real_files_give_the_known_answer(spec, loaded):
    extractor, path = loaded(spec)
    assert stored(spec, path)
    assert stored(spec, path) == stored(BackboneSpec(name=spec.name, weights=str(path)), path)
    check_known_answer(spec, path, extractor)


def reversed_colours(layers):
    layers[0].copy_(layers[0].flip(1))


def permuted_channels(layers):
    middle = layers[len(layers) // 2]
    middle.copy_(middle.roll(1, 0))


def perturbed_layer(layers):
    middle = layers[len(layers) // 2]
    middle.add_(0.1 * middle.std() * torch.randn(middle.shape, generator=torch.Generator().manual_seed(1)))


def swapped_layers(layers):
    one, other = next(
        (a, b) for i, a in enumerate(layers) for b in layers[i + 1 :] if a.shape == b.shape and not torch.equal(a, b)
    )
    kept = one.clone()
    one.copy_(other)
    other.copy_(kept)


def zeroed_layer(layers):
    layers[len(layers) // 2].zero_()


DAMAGES = [reversed_colours, permuted_channels, perturbed_layer, swapped_layers, zeroed_layer]


@pytest.mark.parametrize(
    ("name", "damage"),
    # No two layers of AlexNet have the same shape.
    [(name, damage) for name in TWINS for damage in DAMAGES if (name, damage) != ("alexnet-r", swapped_layers)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_network_that_computes_something_else_is_refused(name, damage, loaded):
    spec = BackboneSpec(name=name)
    extractor, _ = loaded(spec)
    layers = [m.weight for m in extractor.trunk.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    with altered(layers) as parameters:
        damage(parameters)
        with pytest.raises(BackboneError, match=r"at stage \w+ the .* is .*, expected .* ±|same for every image"):
            check_known_answer(spec, None, extractor)


@contextlib.contextmanager
def altered(parameters):
    kept = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        yield [parameter.data for parameter in parameters]
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "googlenet_bvlc"])
@pytest.mark.parametrize(("value", "problem"), [(0.0, "the same for every image"), (float("nan"), "not finite")])
def test_dead_weights_of_the_users_own_are_refused(name, value, problem, loaded, tmp_path):
    state = loaded(BackboneSpec(name=f"{name}-r"))[0].trunk.state_dict()
    dead = {key: torch.full_like(v, value) if v.is_floating_point() else v for key, v in state.items()}
    save_file(dead, tmp_path / "dead.safetensors")
    with pytest.raises(BackboneError, match=rf"dead\.safetensors'?\).*{problem}"):
        build_extractor(BackboneSpec(name=name, weights=str(tmp_path / "dead.safetensors")))


def test_other_random_numbers_than_the_known_ones_are_refused(monkeypatch):
    draw = torch.nn.init.kaiming_normal_

    def other_stream(tensor, generator, **options):
        torch.empty(16).normal_(generator=generator)
        return draw(tensor, generator=generator, **options)

    monkeypatch.setattr(torch.nn.init, "kaiming_normal_", other_stream)
    with pytest.raises(BackboneError, match=r"'squeezenet1_1-r', drawn from seed 0 by torch 2.*known-answer test"):
        build_extractor("squeezenet1_1-r")
    build_extractor(BackboneSpec(name="squeezenet1_1-r", seed=7))  # nobody knows what seed 7 should give


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": "l2"},
        {"stages": 1},
        {"trainable": True},
        {"precision": "bf16"},
        {"pooling": "l2", "trainable": True},
    ],
)
def test_options_are_applied_after_the_test_and_the_generator_is_left_alone(options):
    before = torch.get_rng_state()
    extractor = build_extractor("resnet18-r", **options)
    assert torch.equal(before, torch.get_rng_state())
    means = [value for key, value in extractor.named_buffers() if key.endswith("running_mean")]
    assert means
    assert not any(mean.any() for mean in means)  # the probe has not entered the statistics
    assert extractor.training is options.get("trainable", False)
    assert len(extractor(torch.rand(1, 3, 64, 64))) == options.get("stages", 5)


def test_answers_do_not_depend_on_autocast():
    """The known answer is compared at load; rounded to bfloat16 it would be refused."""
    with torch.autocast("cpu", torch.bfloat16):
        built = build_extractor("squeezenet1_1-r")
    plain = build_extractor("squeezenet1_1-r")
    images = torch.rand(1, 3, 64, 64)
    assert all(torch.equal(one, other) for one, other in zip(built(images), plain(images), strict=True))


def test_known_answers_are_part_of_the_package():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "*.json" in config["tool"]["setuptools"]["package-data"]["lopsided.backbones"]
