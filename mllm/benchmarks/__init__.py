"""Readers of published benchmarks of multimodal LLMs: each lists items, whatever its files look like."""

from .benchmark import Benchmark
from .opening import open_benchmark
from .registry import BenchmarkInfo, benchmark_info, list_benchmarks

__all__ = ["Benchmark", "BenchmarkInfo", "benchmark_info", "list_benchmarks", "open_benchmark"]
