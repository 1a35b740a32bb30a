"""A benchmark as settings: what a YAML file says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from ...common.fields import Settings
from .benchmark import Benchmark
from .opening import open_benchmark
from .registry import list_benchmarks


class BenchmarkSettings(Settings):
    """A benchmark in its official layout."""

    benchmark: str = Field(
        description="Which benchmark, see docs/mllm_benchmarks.md.", json_schema_extra={"enum": [*list_benchmarks()]}
    )
    path: Path = Field(description="Its folder; for jsonl, the file.")
    options: dict[str, Any] = Field(default={}, description="Options of its reader.")
    strict: bool = Field(default=True, description="Refuse it unless it has its official number of items.")

    @field_validator("benchmark")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in list_benchmarks():
            raise ValueError(f"unknown benchmark '{value}'; known: {', '.join(list_benchmarks())}")
        return value

    @field_validator("options")
    @classmethod
    def _are_the_readers(cls, value: dict[str, Any]) -> dict[str, Any]:
        if beside := sorted(set(value) & {"name", "path", "images", "strict"}):
            raise ValueError(f"{beside[0]} is no option of a reader: it stands beside options, or nowhere")
        return value

    def open(self) -> Benchmark:
        """Read and check the benchmark.

        Raises:
            MllmError: what is wrong with it.
        """
        return open_benchmark(self.benchmark, self.path, strict=self.strict, **self.options)
