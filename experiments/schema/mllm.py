"""The section on multimodal LLMs: which ones, how they are asked, and what they rate."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, Tag, model_validator

from ...backbones import DeclaredFamilies
from ...common.errors import LopsidedError
from ...common.families import plain, with_declared
from ...common.fields import BATCH, COUNT, NUMBER, Settings, by_own_key
from ...iqa.manifest import hash_file
from ...mllm import BenchmarkSettings, Preset, create_preset, list_presets
from .datasets import RatedSet

if TYPE_CHECKING:  # both import heavy libraries
    from ...mllm import ServerBackend, TransformersBackend

MODEL_FILES = (".safetensors", ".json", ".jinja", ".txt", ".model")


class _ScorerSettings(Settings):
    """Settings of both kinds of scorer."""

    model: str = Field(min_length=1)
    preset: str = Field(
        description="What is asked and how replies are read.", json_schema_extra={"enum": [*list_presets()]}
    )
    options: dict[str, Any] = Field(default={}, description="Options of the preset, see docs/scorers.md.")
    families: DeclaredFamilies = Field(
        default=(), description="What it is made of and learnt from, such as [backbone:vit]; docs/judges.md."
    )
    dimension: str | None = Field(
        default=None, description="What restored images and data sets are rated for; default: the preset's first."
    )

    @model_validator(mode="after")
    def _asks(self) -> _ScorerSettings:
        try:
            if self.asked.dimensions or self.dimension:
                self.asked.question(self.dimension)
        except LopsidedError as error:
            raise ValueError(str(error)) from None
        return self

    @cached_property
    def asked(self) -> Preset:
        """The preset with its options."""
        return create_preset(self.preset, **self.options)

    @property
    def rated(self) -> str:
        """The dimension that restored images and data sets are rated for; empty if the preset does not rate."""
        return self.dimension or next(iter(self.asked.dimensions), "")

    @property
    def model_name(self) -> str:
        """The model's name in tables."""
        return self.model.rstrip("/").rsplit("/", 1)[-1]

    @property
    def key(self) -> str:
        """Name in tables: ``<model>/<preset>``, and the dimension where it is not the preset's first."""
        return f"{self.model_name}/{self.asked.key}" + (f":{self.dimension}" if self.dimension else "")

    @property
    def all_families(self) -> frozenset[str]:
        """What a judge that uses this model is made of: the model itself as backbone, and what is declared.

        What it learnt from is that of published fine-tunings that are known here, or unknown.
        """
        from ...mllm.published import trained_on

        known = {"form:mllm", f"backbone:{plain(self.model_name)}"}
        return with_declared(known, trained_on(self.model), self.families)


class LocalModel(_ScorerSettings):
    """A model that runs here, by transformers."""

    model: str = Field(min_length=1, description="Folder of the model, or its name on the hub.")
    revision: str | None = Field(default=None, description="Revision on the hub.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Type of weights and activations; auto: the checkpoint's."
    )
    max_pixels: int | None = Field(
        default=None, ge=1, le=10**9, description="Larger images are reduced to this many pixels."
    )
    batch: int = Field(default=16, ge=1, le=BATCH, description="Prompts computed together.")

    @property
    def model_name(self) -> str:
        """The model's name in tables."""
        return Path(self.model).resolve().name if Path(self.model).is_dir() else super().model_name

    def backend(self, device: str) -> TransformersBackend:
        """Load the model.

        Raises:
            MllmError: it cannot be loaded.
        """
        from ...mllm import TransformersBackend

        options = self.model_dump(include={"revision", "dtype", "max_pixels"})
        return TransformersBackend(self.model, device=device, batch_size=self.batch, **options)

    @property
    def chunk(self) -> int:
        """Items handed over at a time: two batches, so that prompts of similar length are computed together."""
        return 2 * self.batch

    def content(self) -> dict[str, Any]:
        """Return what determines the results; a folder by the hashes of its files."""
        files: Any = self.model
        if (folder := Path(self.model)).is_dir():
            files = {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.suffix in MODEL_FILES}
        model = {"files": files, **self.model_dump(include={"revision", "dtype", "max_pixels"})}
        return {"model": model, "preset": self.asked.identity}


class ServedModel(_ScorerSettings):
    """A model behind an OpenAI-compatible server."""

    server: str = Field(description="Address, which ends in /v1, such as http://127.0.0.1:8000/v1.")
    model: str = Field(min_length=1, description="Name under which the server knows the model.")
    api_key_env: str | None = Field(default=None, description="Environment variable that holds the key.")
    concurrency: int = Field(default=32, ge=1, le=COUNT, description="Most requests under way at the same time.")
    timeout: float = Field(default=120.0, gt=0, le=NUMBER, description="Most seconds for one request.")
    logprobs: Literal["auto", "chat", "decision", "none"] = Field(
        default="auto", description="How level probabilities are obtained, see docs/servers.md."
    )
    top_logprobs: int = Field(
        default=20, ge=1, le=COUNT, description="How many of the most probable tokens to ask for, with logprobs chat."
    )
    prefix: Literal["refuse", "continue"] = Field(
        default="refuse", description="Whether the server can continue an answer that has begun, see docs/servers.md."
    )
    fields: dict[str, Any] = Field(default={}, description="Further fields of every request.")

    def backend(self, device: str) -> ServerBackend:  # noqa: ARG002
        """Return the client of the server.

        Raises:
            MllmError: an invalid address.
        """
        from ...mllm import ServerBackend

        options = {"api_key_env", "concurrency", "timeout", "logprobs", "top_logprobs", "prefix", "fields"}
        return ServerBackend(self.server, self.model, **self.model_dump(include=options))

    @property
    def chunk(self) -> int:
        """Items handed over at a time: enough that waiting for the slowest one costs little."""
        return 4 * self.concurrency

    def content(self) -> dict[str, Any]:
        """Return what determines the results, as far as it is known without asking the server."""
        asked = self.model_dump(mode="json", include={"logprobs", "top_logprobs", "prefix", "fields"})
        return {"server": {"model": self.model_name, **asked}, "preset": self.asked.identity}


ScorerSettings = Annotated[
    Annotated[LocalModel, Tag("local")] | Annotated[ServedModel, Tag("server")], by_own_key("server", default="local")
]


class Mllm(Settings):
    """Multimodal LLMs as judges of restored images, as measures on rated images, and on benchmarks of their own."""

    scorers: list[ScorerSettings] = Field(min_length=1, description="Models and how they are asked.")
    restored: bool = Field(default=True, description="Whether they judge the restored images, if there are any.")
    repeats: int = Field(
        default=1, ge=1, le=1000, description="How often each restored image is rated; its score is the mean."
    )
    fr_sets: list[str] = Field(
        default=[],
        description="Names of FR sets in assessment.datasets whose distorted images are rated without references.",
    )
    datasets: dict[str, RatedSet] = Field(default={}, description="Rated sets by name, besides fr_sets.")
    benchmarks: dict[str, BenchmarkSettings] = Field(default={}, description="Benchmarks by name.")

    @model_validator(mode="after")
    def _distinct(self) -> Mllm:
        keys = [scorer.key for scorer in self.scorers]
        if twins := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"two scorers are called '{twins[0]}'; tables tell scorers by that name")
        names = [*self.fr_sets, *self.datasets, *self.benchmarks]
        if twins := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"'{twins[0]}' is named twice; tables tell data sets and benchmarks by their names")
        return self
