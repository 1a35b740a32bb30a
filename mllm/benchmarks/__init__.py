"""Readers of published benchmarks of multimodal LLMs: each lists items, whatever its files look like."""

from .answers import OpenAnswer, name_similarity, parse_open_answer, same_food
from .benchmark import Benchmark
from .opening import open_benchmark
from .reading import Count, Found
from .registry import BenchmarkInfo, benchmark_info, list_benchmarks, register_benchmark
from .settings import BenchmarkSettings

__all__ = [
    "Benchmark",
    "BenchmarkInfo",
    "BenchmarkSettings",
    "Count",
    "Found",
    "OpenAnswer",
    "benchmark_info",
    "list_benchmarks",
    "name_similarity",
    "open_benchmark",
    "parse_open_answer",
    "register_benchmark",
    "same_food",
]
