"""The section on multimodal LLMs: which ones, how they are asked, and what they rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PrivateAttr, Tag, model_validator

from ...backbones import DeclaredFamilies
from ...common.errors import LopsidedError
from ...common.families import learnt_from, plain, with_declared
from ...common.fields import BATCH, COUNT, NUMBER, Settings, by_own_key
from ...common.identity import identity
from ...iqa.manifest import hash_file
from ...mllm import BenchmarkSettings, Preset, create_preset, list_presets
from ...mllm.align import Alignment
from .datasets import RatedSet

if TYPE_CHECKING:  # both import heavy libraries
    from ...mllm import Backend, ReplyJudge, ServerBackend

MODEL_FILES = (".safetensors", ".json", ".jinja", ".txt", ".model")
ALIGNED = "aligned:"  # followed by a name of the section `align`: the model that is trained there


class ReplyJudgeSettings(Settings):
    """Another model that reads the replies which the preset's parser cannot read; it rates nothing itself."""

    model: str = Field(min_length=1, description="Folder, name on the hub, or the server's name for it.")
    server: str | None = Field(default=None, description="Address of its server, which ends in /v1; default: run here.")
    api_key_env: str | None = Field(default=None, description="Environment variable that holds the server's key.")

    def judge(self, device: str) -> ReplyJudge:
        """Return the judge; its model is loaded when a reply needs it, or its identity is asked for."""
        from ...mllm import Meter, ReplyJudge, ServerBackend, TransformersBackend

        if self.server is None:
            return ReplyJudge(Meter(_folder_name(self.model), lambda: TransformersBackend(self.model, device=device)))
        return ReplyJudge(ServerBackend(self.server, self.model, api_key_env=self.api_key_env, logprobs="none"))

    def content(self) -> dict[str, Any]:
        """Return what determines what it reads, as far as it is known before it is loaded."""
        return {"files": model_files(self.model)} if self.server is None else {"server": self.model}

    @property
    def name(self) -> str:
        """Its name in tables."""
        return _folder_name(self.model)


def _folder_name(model: str) -> str:
    return Path(model).resolve().name if Path(model).is_dir() else model.rstrip("/").rsplit("/", 1)[-1]


def model_files(model: str) -> Any:
    """Return the hashes of a model's files; of one on the hub its name."""
    if not (folder := Path(model)).is_dir():
        return model
    return {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.suffix in MODEL_FILES}


def benchmark_content(benchmark: BenchmarkSettings) -> str:
    """Return the hash of a benchmark's questions, labels and images.

    Raises:
        MllmError: it is missing or does not verify.
    """
    found = benchmark.open()
    images = [[hash_file(path) for path in item.images] for item in found.items]
    return identity({"benchmark": found.identity, "images": images})


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

    reply_judge: ReplyJudgeSettings | None = Field(
        default=None, description="Another model that reads the replies which the preset cannot read; default: none."
    )

    @model_validator(mode="after")
    def _asks(self) -> _ScorerSettings:
        from ...mllm.scoring.reply_judge import require_replies

        try:
            if self.reply_judge is not None:
                require_replies(self.asked)
            if self.asked.dimensions or self.dimension:
                self.asked.question(self.dimension)
        except LopsidedError as error:
            raise ValueError(str(error)) from None
        return self

    @property
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
        judge = f"+judge:{self.reply_judge.name}" if self.reply_judge else ""
        return f"{self.model_name}/{self.asked.key}" + (f":{self.dimension}" if self.dimension else "") + judge

    @property
    def aligned(self) -> str | None:
        """Name of the alignment of the experiment that trains the model; None: the model is there."""
        return None

    @property
    def started_from(self) -> str:
        """The weights that the model has, or that its alignment starts from."""
        return self.model

    @property
    def taught(self) -> tuple[str, ...]:
        """Names of the data sets that the experiment itself trains it on."""
        return ()

    def judge(self, device: str) -> ReplyJudge | None:
        """Return the judge of replies, if there is one."""
        return self.reply_judge and self.reply_judge.judge(device)

    @property
    def _judged(self) -> dict[str, Any]:
        """What of the judge of replies determines the results."""
        return {"reply_judge": self.reply_judge.content()} if self.reply_judge else {}

    @property
    def all_families(self) -> frozenset[str]:
        """What a judge that uses this model is made of: the model itself as backbone, and what is declared.

        What it learnt from is that of published fine-tunings that are known here, or unknown; and what the experiment
        teaches it.
        """
        from ...mllm.published import trained_on

        known = {"form:mllm", f"backbone:{plain(_folder_name(self.started_from))}", *learnt_from(self.taught)}
        return with_declared(known, trained_on(self.started_from), self.families)


class LocalModel(_ScorerSettings):
    """A model that runs here, by transformers or vLLM."""

    model: str = Field(
        min_length=1, description="Folder of the model, its name on the hub, or aligned:<name of the section align>."
    )
    revision: str | None = Field(default=None, description="Revision on the hub.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Type of weights and activations; auto: the checkpoint's."
    )
    max_pixels: int | None = Field(
        default=None, ge=1, le=10**9, description="Larger images are reduced to this many pixels."
    )
    batch: int = Field(default=16, ge=1, le=BATCH, description="Prompts computed together.")
    engine: Literal["transformers", "vllm"] = Field(
        default="transformers", description="What runs it; vllm needs the extra vllm and a GPU, see docs/servers.md."
    )

    _alignment: Alignment | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _has_one_origin(self) -> LocalModel:
        if self.aligned is not None and self.revision is not None:
            raise ValueError(f"'{self.model}' is trained by the experiment and has no revision; leave it out")
        return self

    @property
    def aligned(self) -> str | None:
        """Name of the alignment of the experiment that trains the model; None: the model is there."""
        return self.model.removeprefix(ALIGNED) if self.model.startswith(ALIGNED) else None

    def trained_by(self, alignment: Alignment) -> LocalModel:
        """Return the same settings, which know the alignment that trains the model."""
        copy = self.model_copy()
        copy._alignment = alignment
        return copy

    @property
    def started_from(self) -> str:
        """The weights that the model has, or that its alignment starts from."""
        return self._alignment.model.path if self._alignment else self.model

    @property
    def taught(self) -> tuple[str, ...]:
        """Names of the data sets that the experiment itself trains it on."""
        return tuple(data.known_as for data in self._alignment.data) if self._alignment else ()

    @property
    def model_name(self) -> str:
        """The model's name in tables."""
        return self.aligned or _folder_name(self.model)

    def backend(self, device: str) -> Backend:
        """Load the model.

        Raises:
            MllmError: it cannot be loaded.
        """
        from ...mllm import TransformersBackend, VllmBackend

        load = VllmBackend if self.engine == "vllm" else TransformersBackend
        options = self.model_dump(include={"revision", "dtype", "max_pixels"})
        return load(self.model, device=device, batch_size=self.batch, **options)

    @property
    def chunk(self) -> int:
        """Items handed over at a time: two batches, so that prompts of similar length are computed together."""
        return 2 * self.batch

    def content(self) -> dict[str, Any]:
        """Return what determines the results; a folder by the hashes of its files, an aligned model by its cell."""
        files = "aligned" if self.aligned else model_files(self.model)
        model = {"files": files, **self.model_dump(include={"revision", "dtype", "max_pixels"})}
        model |= self.model_dump(include={"engine"}, exclude_defaults=True)
        return {"model": model, "preset": self.asked.identity, **self._judged}


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
        return {"server": {"model": self.model_name, **asked}, "preset": self.asked.identity, **self._judged}


class BatchModel(_ScorerSettings):
    """A model that answers batch files; not in an experiment, which cannot wait for a service."""

    top_logprobs: int = Field(default=20, ge=1, le=COUNT)
    fields: dict[str, Any] = Field(default={})

    def content(self) -> dict[str, Any]:
        """Return what determines the results, as far as it is known before they are read."""
        asked = self.model_dump(mode="json", include={"model", "top_logprobs", "fields"})
        return {"batch": asked, "preset": self.asked.identity, **self._judged}


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
    least_valid: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of an image's replies that must have a value for their mean to be compared; 1: all of them.",
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
