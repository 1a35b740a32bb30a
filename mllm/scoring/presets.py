"""Presets: what published scorers ask a multimodal LLM, and how they read the answer, by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from ...common.errors import did_you_mean
from ...common.fields import NUMBER
from ...common.registry import Registry
from ..errors import MllmError
from .compat import LETTER_PARSERS, NUMBER_PARSERS
from .preset import CONSTRAINED, LetterTokens, Preset, Question, WrittenLetter, WrittenNumber
from .scale import SCALES, LabelBins, ScoreScale

_NOUNS = MappingProxyType(
    {"quality": "quality", "aesthetics": "aesthetics", "structure": "structure and texture richness"}
)

# The four dimensions of CogIP-Bench: what its labels mean (data files: half-open intervals).
_FIVE = ("very low", "low", "medium", "high", "very high")
COGIP_LABELS: Mapping[str, LabelBins] = MappingProxyType(
    {
        "aesthetics": LabelBins(_FIVE, ((0, 3.5), (3.5, 5), (5, 6.5), (6.5, 8), (8, 10.1))),
        "funniness": LabelBins(_FIVE, ((0, 3.5), (3.5, 5), (5, 6.5), (6.5, 8), (8, 10.1))),
        "emotional_valence": LabelBins(("negative", "neutral", "positive"), ((-3, -0.1), (0, 0.1), (1, 3.1))),
        "memorability": LabelBins(_FIVE, ((0, 0.35), (0.35, 0.5), (0.5, 0.65), (0.65, 0.8), (0.8, 1.0))),
    }
)
_COGIP_RANGE = {
    "aesthetics": (0.0, 10.0),
    "funniness": (0.0, 10.0),
    "emotional_valence": (-3.0, 3.0),
    "memorability": (0.0, 1.0),
}
_COGIP_MEANING = {
    "aesthetics": "how pleasing the image is to look at: composition, colour, light, mood",
    "funniness": "how funny the image is to people who see it for the first time",
    "emotional_valence": "the feeling the image conveys, from very unpleasant to very pleasant",
    "memorability": "how likely people are to recognise the image after having seen it once",
}

_LETTER_PROMPT = (
    "Given the image and the following multiple-choice question, choose the best answer. "
    "Only reply with the letter (A, B, C, or D).\n\nQuestion:\n\n{question}"
)
# 73-ec and 74-ed should be 78 and 79: the original has this mistake, and its weights were trained with it.
_UNIPERCEPT_PROMPT = (
    "Rate the {noun} score of the image in 0-100. In the output format, numbers are replaced by 2 corresponding "
    "letters, and the mapping relationship is: score 0 to 25: 0-aa, 1-ab, 2-ac, 3-ad, ... , 25-az, \n"
    "score 26 to 50: 26-ca, 27-cb, 28-cc, 29-cd, ..., 50-cy, \n"
    "score 51 to 75: 51-da, 52-db, 53-dc, 54-dd, ..., 75-dy, \n"
    "score 76 to 100: 76-ea, 77-eb, 73-ec, 74-ed, ..., 100-ey. \n"
    "The answer only outputs 2 corresponding letters."
)
_GENERAL_PROMPT = (
    "Please rate the {noun} of this image and provide a score between 0 and 100, where 0 represents the lowest quality "
    "and 100 represents the highest. Your response should contain only an integer value."
)


def _questions(
    nouns: Mapping[str, str], text: str, reading: ScoreScale | WrittenNumber, prefix: str = ""
) -> Mapping[str, Question]:
    """Return one question per dimension, worded with its noun."""
    return MappingProxyType(
        {
            name: Question(text=text.replace("{noun}", noun), prefix=prefix.replace("{noun}", noun), reading=reading)
            for name, noun in nouns.items()
        }
    )


def _subset(*names: str) -> Mapping[str, str]:
    return {name: _NOUNS[name] for name in names}


def _q_align(key: str, scale: str, *dimensions: str) -> Preset:
    return Preset(
        key=key,
        ratings=_questions(
            _subset(*dimensions),
            "How would you rate the {noun} of this image?",
            SCALES[scale],
            "The {noun} of the image is",
        ),
        preprocessing=("pad-square-clip-mean",),
        reproduces="Q-Align / OneAlign: question, answer prefix, the five words, their weights, padding to a square. "
        "Not: the chat template is the model's own, and the image comes before the question, not after it.",
    )


def _q_realign(key: str, *steps: str) -> Preset:
    return Preset(
        key=key,
        ratings=_questions(
            _subset("quality", "aesthetics"),
            "How would you rate the {noun} of this image?",
            SCALES["q-align-unit"],
            "The {noun} of the image is",
        ),
        preprocessing=steps,
        reproduces="Q-ReAlign, authors' repository: question, answer prefix, the five words, weights 1 … 0, no padding,"
        " chat template and image sizes of the model. A long side of at most 448 is that of its frames of videos. "
        "Not: the other wordings of the question that training draws from.",
    )


def _q_bench() -> Preset:
    return Preset(
        key="q-bench",
        ratings=_questions(
            _subset("quality", "aesthetics"),
            "Rate the {noun} of the image.",
            SCALES["q-bench"],
            "The {noun} of the image is",
        ),
        reproduces="Q-Bench (A3), Q-Instruct: question, answer prefix, p(good) against poor. Ranks are the same at any "
        "softmax temperature; softmax_temperature=100 replays the values of the authors' code.",
    )


def _deqa() -> Preset:
    return Preset(
        key="deqa",
        ratings=_questions(
            _subset("quality"),
            "How would you rate the quality of this image?",
            SCALES["deqa"],
            "The quality of the image is",
        ),
        preprocessing=("pad-square-clip-mean",),
        reproduces="DeQA-Score: the five words and their weights 5 … 1. The wording is Q-Align's.",
        unknown="[?] the exact question; [?] whether images are padded to a square, as in Q-Align.",
    )


def _unipercept() -> Preset:
    return Preset(
        key="unipercept",
        ratings=_questions(_subset("aesthetics", "quality", "structure"), _UNIPERCEPT_PROMPT, SCALES["letter-pairs"]),
        multiple_choice=Question(text=_LETTER_PROMPT, reading=WrittenLetter()),
        preprocessing=("resize-448x448-bicubic",),
        reproduces="UniPercept, rating: the prompt with its mistake (73-ec, 74-ed), 101 letter pairs, expectation, "
        "448×448 bicubic; bf16_compatible=True replays the rounding of the authors' code. Multiple choice: the prompt; "
        "parser='first-letter' replays the reading.",
        unknown="[?] the words and line breaks between the quoted parts of the prompt are those of two independent "
        "copies of the code, which agree; the image marker is the chat template's; [?] its limit of new tokens.",
    )


def _unipercept_general() -> Preset:
    return Preset(
        key="unipercept-general",
        ratings=_questions(
            _subset("aesthetics", "quality", "structure"), _GENERAL_PROMPT, WrittenNumber(low=0.0, high=100.0)
        ),
        multiple_choice=Question(text=_LETTER_PROMPT, reading=WrittenLetter()),
        reproduces="UniPercept-Bench as it asks general models: both prompts; parser='first-letter' replays the "
        "reading of multiple choice.",
        unknown="[?] how the authors read integers out of the replies, their limit of new tokens and sampling.",
    )


def _visualquality_r1() -> Preset:
    text = (
        "Judge the quality of this image. First think about it between <think> and </think>. Then write the rating "
        "between <answer> and </answer>: one number from 1 (very poor) to 5 (excellent) with two decimals."
    )
    return Preset(
        key="visualquality-r1",
        ratings=_questions(_subset("quality"), text, WrittenNumber(low=1.0, high=5.0)),
        max_tokens=2048,
        reproduces="VisualQuality-R1: the form of the reply (think, answer) and its range 1 … 5. The wording is our "
        "own, and one greedy reply is read. Not, on purpose: a random number for a reply without one.",
        unknown="[?] the exact prompt and the sampling of the published results.",
    )


def _q_insight() -> Preset:
    text = (
        "Judge the overall quality of this image. First think about it between <think> and </think>. Then write the "
        'rating between <answer> and </answer> as JSON, {"rating": number}: from 1 (very poor) to 5 (excellent).'
    )
    return Preset(
        key="q-insight",
        ratings=_questions(_subset("quality"), text, WrittenNumber(low=1.0, high=5.0)),
        max_tokens=2048,
        reproduces='Q-Insight: JSON {"rating": …} on a scale of 1 … 5. The wording is our own.',
        unknown="[?] the exact prompt, and the parser of the published results.",
    )


def _compare2score() -> Preset:
    return Preset(
        key="compare2score",
        comparison=Question(
            text="Look at both images. How good is the quality of the second image, compared with the first?",
            prefix="The quality of the second image is",
            reading=SCALES["compare2score"],
        ),
        preprocessing=("pad-square-clip-mean",),
        reproduces="Compare2Score: the five comparative words and their weights, the first image being the anchor, "
        "padding to a square; softmax_temperature=100 replays the division of logits. rate_against_anchors gives its "
        "MAP scores. The wording of the question is our own, and the anchor images are the user's.",
    )


def _cogip() -> Preset:
    ratings = {}
    for name, bins in COGIP_LABELS.items():
        decimals = "one decimal" if name == "emotional_valence" else "exactly three decimals"
        intervals = "; ".join(
            f"{label} from {low:g} to {high:g}" for label, (low, high) in zip(bins.labels, bins.bounds, strict=True)
        )
        low, high = _COGIP_RANGE[name]
        ratings[name] = Question(
            text=f"Judge {_COGIP_MEANING[name]}. Choose the label, then the number: {intervals}. Reply with the label "
            f"and the number, with {decimals}, and nothing else.",
            reading=WrittenNumber(low=low, high=high),
        )
    return Preset(
        key="cogip",
        ratings=MappingProxyType(ratings),
        max_tokens=100,
        takes_wording=True,
        reproduces="CogIP-Bench: label and number, the intervals and ranges, greedy decoding and 100 new tokens as in "
        "the Qwen script; parser='cogip' (or 'cogip-llama') replays the reading. The wording is our own; the "
        "benchmark's items bring the exact one, which is used then.",
        unknown="[?] Gemma's script leaves sampling to the model's defaults; Llama's allows 1500 new tokens.",
    )


def _numeric(low: float = 0.0, high: float = 100.0, dimensions: Mapping[str, str] | None = None) -> Preset:
    if not low < high:
        raise MllmError(f"preset numeric: low must be below high, got {low} and {high}")
    nouns = dimensions or {
        **_NOUNS,
        "funniness": "funniness",
        "emotional_valence": "emotional valence",
        "memorability": "memorability",
    }
    text = (
        f"Rate the {{noun}} of this image with one number from {low:g} (lowest) to {high:g} (highest). "
        "Reply with the number only."
    )
    return Preset(
        key="numeric",
        ratings=_questions(
            {name.lower(): noun for name, noun in nouns.items()}, text, WrittenNumber(low=float(low), high=float(high))
        ),
        multiple_choice=Question(text=_LETTER_PROMPT, reading=WrittenLetter()),
        takes_wording=True,
        reproduces="Nothing published: a plain question for any model. Multiple choice is asked as UniPercept-Bench "
        "does.",
    )


def _letters() -> Preset:
    return Preset(
        key="letters",
        multiple_choice=Question(text=_LETTER_PROMPT, reading=LetterTokens()),
        reproduces="UniPercept-Bench's multiple-choice prompt. The reading is our own: the most probable letter as "
        "next token, with its distribution; nothing is written, so nothing can fail to parse.",
    )


_PRESETS = Registry[Callable[..., Preset]]("preset")


def register_preset(key: str, create: Callable[..., Preset]) -> None:
    """Make a preset known to ``create_preset`` in this process.

    Args:
        key: its name.
        create: makes it; keyword arguments are options of its own.

    Raises:
        LopsidedError: the key is taken.
    """
    _PRESETS.register(key, create)


def list_presets() -> list[str]:
    """Return the keys that ``create_preset`` knows.

    Examples:
        >>> "q-align" in list_presets()
        True
    """
    return list(_PRESETS)


def _reread(question: Question, option: str, value: Any) -> Question:
    """Return a question that is read another way; the same question if the option does not concern it."""
    reading = question.reading
    if isinstance(reading, ScoreScale) and option == "softmax_temperature":
        return replace(question, reading=replace(reading, temperature=float(value)))
    if isinstance(reading, ScoreScale) and option == "bf16_compatible":
        return replace(question, reading=replace(reading, bf16_compatible=bool(value)))
    if isinstance(reading, WrittenNumber | WrittenLetter) and option == "parser":
        known: Mapping[str, Any] = NUMBER_PARSERS if isinstance(reading, WrittenNumber) else LETTER_PARSERS
        if value in known:
            form = f"\n{reading.form}" if value == CONSTRAINED else ""
            return replace(question, text=question.text + form, reading=replace(reading, parser=value))
    return question


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= NUMBER


def _are_words(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(word, str) and word for each in value.items() for word in each)


_VALUES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {  # what an option must be
    "max_tokens": ("a whole number of at least 1", lambda value: _is_number(value) and value >= 1 and value % 1 == 0),
    "temperature": ("a number of at least 0", lambda value: _is_number(value) and value >= 0),
    "softmax_temperature": ("a number above 0", lambda value: _is_number(value) and value > 0),
    "bf16_compatible": ("true or false", lambda value: isinstance(value, bool)),
    "parser": ("the name of a parser", lambda value: isinstance(value, str)),
    "low": ("a finite number", _is_number),
    "high": ("a finite number", _is_number),
    "dimensions": ("a mapping of names to the words of the prompt", lambda value: value is None or _are_words(value)),
}


def create_preset(key: str, /, **options: Any) -> Preset:
    """Return a preset, with options.

    Args:
        key: one of ``list_presets()``.
        options: ``max_tokens`` and ``temperature`` of written replies; where levels are read,
            ``softmax_temperature`` (100 replays the code of Q-Bench and Compare2Score) and ``bf16_compatible`` (True
            replays UniPercept's rounding); where numbers or letters are written, ``parser`` (``robust``;
            ``constrained``: the backend lets the model write JSON of a schema only; or an original's, see ``compat``);
            of ``numeric`` alone, ``low``, ``high`` and ``dimensions`` (name → how the prompt words it).

    Raises:
        MllmError: an unknown key, an option that the preset does not have, or a value it cannot take.

    Examples:
        >>> preset = create_preset("q-align")
        >>> preset.dimensions, preset.scale("IQA").range
        (('quality', 'aesthetics'), (1.0, 5.0))
        >>> create_preset("numeric", high=10).question().text
        'Rate the quality of this image with one number from 0 (lowest) to 10 (highest). Reply with the number only.'
    """
    if key not in _PRESETS:
        raise MllmError(f"unknown preset '{key}'; {did_you_mean(key, _PRESETS)}")
    for name, value in options.items():
        if name in _VALUES and not _VALUES[name][1](value):
            raise MllmError(f"preset {key}: {name} must be {_VALUES[name][0]}, got {value!r}")
    numeric = {name: options[name] for name in ("low", "high", "dimensions") if key == "numeric" and name in options}
    preset = _PRESETS[key](**numeric)
    for name, value in options.items():
        if name in numeric:
            continue
        if name in ("max_tokens", "temperature"):
            valid, changed = True, replace(preset, **{name: value})
        else:
            changed = replace(
                preset,
                ratings=MappingProxyType({d: _reread(q, name, value) for d, q in preset.ratings.items()}),
                multiple_choice=preset.multiple_choice and _reread(preset.multiple_choice, name, value),
                comparison=preset.comparison and _reread(preset.comparison, name, value),
            )
            valid = any(new is not old for new, old in zip(_asked(changed), _asked(preset), strict=True))
        if not valid:
            raise MllmError(
                f"preset {key} cannot take {name}={value!r}: softmax_temperature and bf16_compatible are for levels, "
                f"parser for numbers ({', '.join(NUMBER_PARSERS)}) and letters ({', '.join(LETTER_PARSERS)}), "
                "max_tokens and temperature for replies, low, high and dimensions for numeric"
            )
        preset = changed
    if not options:
        return preset
    return replace(preset, key=f"{key}[{','.join(f'{name}={value}' for name, value in sorted(options.items()))}]")


def _asked(preset: Preset) -> list[Question | None]:
    """Return all questions of a preset, in a fixed order."""
    return [*preset.ratings.values(), preset.multiple_choice, preset.comparison]


for _key, _create in (
    ("q-align", partial(_q_align, "q-align", "q-align", "quality", "aesthetics")),
    ("q-align-aesthetics", partial(_q_align, "q-align-aesthetics", "q-align", "aesthetics")),
    ("q-align-unit", partial(_q_align, "q-align-unit", "q-align-unit", "quality", "aesthetics")),
    ("q-realign", partial(_q_realign, "q-realign")),
    ("q-realign-448", partial(_q_realign, "q-realign-448", "long-side-448-bicubic")),
    ("q-bench", _q_bench),
    ("deqa", _deqa),
    ("unipercept", _unipercept),
    ("unipercept-general", _unipercept_general),
    ("visualquality-r1", _visualquality_r1),
    ("q-insight", _q_insight),
    ("compare2score", _compare2score),
    ("cogip", _cogip),
    ("numeric", _numeric),
    ("letters", _letters),
):
    register_preset(_key, _create)
