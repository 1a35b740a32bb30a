"""What is known about each benchmark: layout, licence, source, and the function that reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...common.errors import did_you_mean
from ...common.registry import Registry
from ..errors import MllmError
from .cogip import read_cogip
from .culturemix import read_culturemix, read_culturemix_real
from .jsonl import read_jsonl
from .paired import read_confused_tourist, read_mixcube
from .qbench import read_qbench, read_qbench_iqa
from .reading import Found
from .unipercept import read_questions, read_ratings

UNSTATED = "not confirmed"


@dataclass(frozen=True)
class BenchmarkInfo:
    """One benchmark.

    Attributes:
        name: its name in commands and experiments.
        title: its name in papers.
        layout: the files that are read.
        licence: of the labels, as their authors state it.
        source: paper.
        unknown: what could not be confirmed; empty if nothing.
        read: its reader: takes the folder, and its options as keyword arguments.
    """

    name: str
    title: str
    layout: str
    licence: str
    source: str
    unknown: str
    read: Callable[..., Found]


_BENCHMARKS = Registry["BenchmarkInfo"]("benchmark")


def register_benchmark(info: BenchmarkInfo) -> None:
    """Make a benchmark known to ``open_benchmark`` in this process.

    Raises:
        LopsidedError: the name is taken.
    """
    _BENCHMARKS.register(info.name, info)


def list_benchmarks() -> list[str]:
    """Return the names that ``open_benchmark`` knows.

    Examples:
        >>> "cogip" in list_benchmarks()
        True
    """
    return list(_BENCHMARKS)


def benchmark_info(name: str) -> BenchmarkInfo:
    """Return what is known about a benchmark.

    Raises:
        MllmError: unknown name; the message suggests the nearest.
    """
    if name not in _BENCHMARKS:
        raise MllmError(f"no benchmark called {name!r}; {did_you_mean(name.lower(), _BENCHMARKS)}")
    return _BENCHMARKS[name]


for _info in (
    BenchmarkInfo(
        "unipercept-vr",
        "UniPercept-Bench, visual rating",
        "VR/<domain>/<set>/<set>.json, image/",
        "Apache-2.0 (labels); images under their own",
        "arXiv 2512.21675",
        "scales of ArtiMuse-10K, TAD66K, FLICKR-AES and PIPAL",
        read_ratings,
    ),
    BenchmarkInfo(
        "unipercept-vqa",
        "UniPercept-Bench, questions",
        "VQA/<domain>/UniPercept-Bench-<domain>.json",
        "Apache-2.0",
        "arXiv 2512.21675",
        "fields beyond image, question and answer; where the images are; form of the options",
        read_questions,
    ),
    BenchmarkInfo(
        "cogip",
        "CogIP-Bench",
        "data/test_msg_file/… of the repository, or metadata_<split>.jsonl or data/<split>-*.parquet of the data set",
        "CC BY 4.0",
        "arXiv 2511.22805",
        "sources of images and scores; name of the image field in metadata_*.jsonl",
        read_cogip,
    ),
    BenchmarkInfo(
        "culturemix",
        "CultureMix",
        "metadata/{sf,mf,sfb_street,sfb_landmark,mfb_street}.csv",
        UNSTATED,
        "arXiv 2511.22787",
        "wording of the questions; further columns; exact number of items; which food is on the left",
        read_culturemix,
    ),
    BenchmarkInfo(
        "culturemix-real",
        "CultureMix-Real",
        "CSV files with CultureMix's columns, named by the option files",
        UNSTATED,
        "arXiv 2511.22787",
        "layout and columns",
        read_culturemix_real,
    ),
    BenchmarkInfo(
        "mixcube",
        "MixCuBe",
        "*.parquet, or <culture>_<category>_<number>/<ethnicity>.png",
        "CC BY-NC-SA 4.0",
        "arXiv 2503.16826",
        "wording of the questions; the parquet rows do not name the thing they show",
        read_mixcube,
    ),
    BenchmarkInfo(
        "confused-tourist",
        "ConfusedTourist",
        "<thing>_<country of the cue>.jpeg, and a table of things and countries named by the option table",
        UNSTATED,
        "repository patrickamadeus/vlms-are-confused-tourists",
        "label files, questions, names of images without a cue",
        read_confused_tourist,
    ),
    BenchmarkInfo(
        "q-bench",
        "Q-Bench, perception (LLVisionQA)",
        "llvisionqa_<split>.json, images/",
        "CC BY-NC-SA 4.0",
        "arXiv 2309.14181",
        "meaning of the numbers in type and concern",
        read_qbench,
    ),
    BenchmarkInfo(
        "q-bench-iqa",
        "Q-Bench, assessment",
        "<set>.json with img_path and gt_score, <set>/",
        "S-Lab 1.0, non-commercial; images under their own",
        "arXiv 2309.14181",
        "scales, which differ from the databases' own",
        read_qbench_iqa,
    ),
    BenchmarkInfo("jsonl", "anyone's own", "one JSON object per line", "", "", "", read_jsonl),
):
    register_benchmark(_info)
