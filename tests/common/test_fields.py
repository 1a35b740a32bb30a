"""The idiom of settings: a key or a mapping, one or more, tagged by an own key; and the schema that says the same."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field, Tag, TypeAdapter, ValidationError

from lopsided.backbones import BackboneSpec
from lopsided.common.fields import ByKey, Keyed, OneOrMore, PathText, Settings, by_own_key
from lopsided.common.sources import ImageSource
from lopsided.discriminators import DiscriminatorSpec
from lopsided.losses import DistsSpec, LpipsSpec
from lopsided.losses.learn_weights import RECIPES, AnyRecipe

KINDS = ["gaussian", "motion"]


class Blur(Settings):
    kind: Literal["gaussian", "motion"]
    sigma: float = Field(default=1.0, gt=0)


class Network(Keyed):
    name: str
    width: int = 64


class Gaussian(Settings):
    kind: Literal["gaussian"] = "gaussian"


class Motion(Settings):
    kind: Literal["motion"] = "motion"
    length: int = 5


class Folder(Settings):
    folder: str


class Url(Settings):
    url: str


class Plain(Settings):
    seed: int = 0


class Task(Settings):
    """One field of every form."""

    blur: Annotated[Blur, ByKey(KINDS, "kind")] = Blur(kind="gaussian")
    network: Annotated[Network, ByKey(["edsr", "rcan"])] = Network(name="edsr")
    either: Annotated[Annotated[Gaussian | Motion, Field(discriminator="kind")], ByKey(KINDS, "kind")] = Gaussian()
    seeds: Annotated[list[int], OneOrMore()] = Field(default=[0])
    place: Annotated[
        Annotated[Folder, Tag("folder")] | Annotated[Url, Tag("url")] | Annotated[Plain, Tag("plain")],
        by_own_key("folder", "url", default="plain"),
    ] = Plain()
    strict: (
        Annotated[
            Annotated[Folder, Tag("folder")] | Annotated[Url, Tag("url")],
            by_own_key("folder", "url", error="place", message="a place is exactly one of `folder` and `url`"),
        ]
        | None
    ) = None


SCHEMA = Draft202012Validator(Task.model_json_schema())


def fits(value: dict[str, Any]) -> bool:
    return SCHEMA.is_valid(value)


def refused(value: dict[str, Any]) -> str:
    """The message for a value that the schema must refuse too."""
    assert not fits(value)
    with pytest.raises(ValidationError) as caught:
        Task.model_validate(value)
    return str(caught.value)


@given(kind=st.sampled_from(KINDS), name=st.sampled_from(["edsr", "rcan"]))
def test_a_key_and_its_mapping_are_one_thing_to_the_model_and_to_the_schema(kind, name):
    by_key = {"blur": kind, "either": kind, "network": name}
    by_mapping = {"blur": {"kind": kind}, "either": {"kind": kind}, "network": {"name": name}}
    assert fits(by_key)
    assert fits(by_mapping)
    assert Task.model_validate(by_key) == Task.model_validate(by_mapping)


@given(
    sigma=st.floats(0.1, 9.0),
    width=st.integers(1, 999),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=4),
    place=st.sampled_from([{"folder": "a"}, {"url": "b"}, {"seed": 3}, {}]),
)
def test_what_is_dumped_is_read_back_and_fits_the_schema(sigma, width, seeds, place):
    task = Task.model_validate(
        {
            "blur": {"kind": "motion", "sigma": sigma},
            "network": {"name": "x", "width": width},
            "seeds": seeds,
            "place": place,
        }
    )
    dumped = task.model_dump(mode="json")
    assert fits(dumped)
    assert Task.model_validate(dumped) == task


@given(seed=st.integers())
def test_one_stands_for_a_list_of_one(seed):
    assert Task.model_validate({"seeds": seed}) == Task.model_validate({"seeds": [seed]})
    assert fits({"seeds": seed})
    assert fits({"seeds": [seed]})


def test_unknown_keys_are_refused_at_every_depth():
    for value in (
        {"blurr": "motion"},
        {"blur": {"kind": "motion", "sigmas": 2}},
        {"network": {"name": "x", "depth": 1}},
    ):
        assert "Extra inputs are not permitted" in refused(value)
    for value in ({"blur": "box"}, {"either": "box"}, {"either": {"kind": "box"}}, {"blur": {"kind": "box"}}):
        assert "'gaussian'" in refused(value)
    assert "Field required" in refused({"blur": {}})


def test_members_are_told_apart_by_the_key_that_is_their_own():
    assert Task.model_validate({"place": {"folder": "a"}}).place == Folder(folder="a")
    assert Task.model_validate({"place": {"url": "b"}}).place == Url(url="b")
    assert Task.model_validate({"place": {}}).place == Plain()
    assert Task.model_validate({"place": Url(url="b")}).place == Url(url="b")
    assert "place.plain.seeds" in refused({"place": {"seeds": 1}}).replace("\n", " ")


def test_several_own_keys_are_refused_and_so_is_none_without_a_default():
    refused({"place": {"folder": "a", "url": "b"}})
    for value in ({"folder": "a", "url": "b"}, {}, {"seed": 1}, "a"):
        assert "a place is exactly one of `folder` and `url`" in refused({"strict": value})


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Task().seeds = [1]
    assert hash(Blur(kind="motion")) == hash(Blur(kind="motion"))


class Weights(BaseModel):
    weights: PathText = "official"


def test_a_path_is_kept_as_its_text(tmp_path):
    file = tmp_path / "weights.pth"
    assert Weights(weights=file) == Weights(weights=str(file))  # pyright: ignore[reportArgumentType]
    assert Weights(weights=Path("a/../b")).model_dump() == {"weights": "a/../b"}  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValidationError, match="valid string"):
        Weights(weights=3)  # pyright: ignore[reportArgumentType]
    assert Weights.model_json_schema()["properties"]["weights"]["type"] == "string"


@pytest.mark.parametrize(
    ("kind", "options", "field"),
    [
        (BackboneSpec, {"name": "vgg16"}, "weights"),
        (DiscriminatorSpec, {"form": "unet"}, "weights"),
        (DistsSpec, {"backbone": "vgg16-r"}, "alpha_beta"),
        (LpipsSpec, {"backbone": "vgg16-r"}, "linear"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_files_of_weights_are_given_as_text_or_as_a_path(kind, options, field):
    by_path, by_text = (kind(**options, **{field: path}) for path in (Path("a/b.pth"), "a/b.pth"))
    assert by_path == by_text
    assert by_path.model_dump(mode="json")[field] == "a/b.pth"


@pytest.mark.parametrize(
    ("kind", "key", "mapping"),
    [
        *((AnyRecipe, name, {"name": name}) for name in RECIPES),
        (BackboneSpec, "vgg16-r", {"name": "vgg16-r"}),
    ],
    ids=[*RECIPES, "backbone"],
)
def test_the_settings_of_the_library_follow_the_idiom(kind, key, mapping):
    adapter = TypeAdapter(kind)
    assert adapter.validate_python(key) == adapter.validate_python(mapping)
    assert Draft202012Validator(adapter.json_schema()).is_valid(mapping)


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ({"source": "skimage", "split": "test"}, True),
        ({"folder": "a", "pattern": "*.png"}, True),
        ({"manifest": "a.csv"}, True),
        ({"folder": "a", "manifest": "a.csv"}, False),
        ({}, False),
    ],
)
def test_image_sources_are_told_apart_in_the_schema_as_in_the_model(value, right):
    adapter = TypeAdapter(ImageSource)
    assert Draft202012Validator(adapter.json_schema()).is_valid(value) == right
    if right:
        adapter.validate_python(value)
    else:
        with pytest.raises(ValidationError, match="images come from exactly one of"):
            adapter.validate_python(value)
