"""Multimodal LLMs as scorers of images: prompts and scales, backends, benchmarks and their metrics.

::

    from lopsided.mllm import Scorer, TransformersBackend, create_preset

    scorer = Scorer(TransformersBackend("Qwen/Qwen2.5-VL-7B-Instruct"), create_preset("q-align"))
    ratings = scorer.rate(images)  # value, distribution, mass, status and raw reply of each image

Names are imported when they are first used, so that importing this package loads neither torch nor transformers. The
single metrics are in ``lopsided.mllm.metrics``, published tables in ``lopsided.mllm.published``.
"""

from typing import TYPE_CHECKING

from ..common.doors import door

if TYPE_CHECKING:
    from .backends import (
        Backend,
        BatchRequests,
        BatchResults,
        Meter,
        ServerBackend,
        TransformersBackend,
        VllmBackend,
        decision_config,
    )
    from .benchmarks import Benchmark, BenchmarkSettings, benchmark_info, list_benchmarks, open_benchmark
    from .errors import MllmError
    from .item import Item
    from .leaderboard import Leaderboard, compare_runs
    from .metrics import summarise
    from .rating import Run, rate, write_questions
    from .rating_folder import folder_benchmark, rate_into, repeated
    from .reparsing import reparse_into
    from .scoring import (
        Choice,
        Comparison,
        Preset,
        Rating,
        ReplyJudge,
        Scorer,
        create_preset,
        list_presets,
        rate_against_anchors,
    )
    from .table import join_items, scores_table, storable

__all__ = [
    "Backend",
    "BatchRequests",
    "BatchResults",
    "Benchmark",
    "BenchmarkSettings",
    "Choice",
    "Comparison",
    "Item",
    "Leaderboard",
    "Meter",
    "MllmError",
    "Preset",
    "Rating",
    "ReplyJudge",
    "Run",
    "Scorer",
    "ServerBackend",
    "TransformersBackend",
    "VllmBackend",
    "benchmark_info",
    "compare_runs",
    "create_preset",
    "decision_config",
    "folder_benchmark",
    "join_items",
    "list_benchmarks",
    "list_presets",
    "open_benchmark",
    "rate",
    "rate_against_anchors",
    "rate_into",
    "reparse_into",
    "repeated",
    "scores_table",
    "storable",
    "summarise",
    "write_questions",
]

__getattr__, __dir__ = door(
    __name__,
    {
        ".backends": [
            *("Backend", "BatchRequests", "BatchResults", "Meter"),
            *("ServerBackend", "TransformersBackend", "VllmBackend", "decision_config"),
        ],
        ".benchmarks": ["Benchmark", "BenchmarkSettings", "benchmark_info", "list_benchmarks", "open_benchmark"],
        ".errors": ["MllmError"],
        ".item": ["Item"],
        ".leaderboard": ["Leaderboard", "compare_runs"],
        ".metrics": ["summarise"],
        ".rating": ["Run", "rate", "write_questions"],
        ".rating_folder": ["folder_benchmark", "rate_into", "repeated"],
        ".reparsing": ["reparse_into"],
        ".scoring": [
            *("Choice", "Comparison", "Preset", "Rating", "ReplyJudge", "Scorer"),
            *("create_preset", "list_presets", "rate_against_anchors"),
        ],
        ".table": ["join_items", "scores_table", "storable"],
    },
)
