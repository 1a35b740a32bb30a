"""Replies as a person reads them, and properties of the parsers: no error, no value off the scale, linear time."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import ROOT

from lopsided.mllm.benchmarks import answers
from lopsided.mllm.scoring import (
    answer_text,
    answer_words,
    number_candidates,
    number_tokens,
    option_texts,
    written_letter,
    written_number,
)
from lopsided.mllm.scoring.answer_text import answer_text as read_answer_text
from lopsided.mllm.scoring.compat import NUMBER_PARSERS

ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (ROOT / "tests/mllm/replies.jsonl").read_text(encoding="utf-8").splitlines()
]
KINDS = sorted({(row["form"], row["kind"]) for row in ROWS})
# A person reads these, and the grammar has a status for them: the words around them are not about the answer.
MISSED = 16


def read(row: dict[str, Any]) -> Any:
    finished = row.get("finished", True)
    if row["form"] == "number":
        return written_number.parse_number(row["reply"], row["low"], row["high"], finished=finished).value
    if row["form"] == "letter":
        return written_letter.parse_letter(row["reply"], row["options"], finished=finished).letter
    answer = answers.parse_open_answer(row["reply"], finished=finished)
    return {"food": answer.food, "country": answer.country}


def same(found: Any, expected: Any) -> bool:
    return found == pytest.approx(expected) if isinstance(expected, float | int) else found == expected


@pytest.mark.parametrize(("form", "kind"), KINDS)
def test_no_reply_of_a_kind_is_read_as_what_a_person_would_not_read(form: str, kind: str) -> None:
    for row in (row for row in ROWS if (row["form"], row["kind"]) == (form, kind)):
        found = read(row)
        if form == "open":
            assert all(found[part] in (None, row["expected"][part]) for part in found), row
        else:
            assert found is None or same(found, row["expected"]), (row, found)


def test_few_replies_that_a_person_can_read_are_missed() -> None:
    missed = [row["reply"] for row in ROWS if not same(read(row), row["expected"])]
    assert len(missed) <= MISSED, missed
    assert Counter(row["form"] for row in ROWS) >= Counter(number=150, letter=100, open=10)


@pytest.mark.parametrize(
    ("reply", "asked", "expected"),
    [("Sharpness: 7", "", None), ("Sharpness: 7", "sharpness", 7), ("Colour score: 8", "colour", 8)],
)
def test_what_is_asked_for_is_no_aspect(reply: str, asked: str, expected: float | None) -> None:
    assert written_number.parse_number(reply, 0, 10, asked=asked).value == expected


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ("at most 5", "ambiguous"),
        ("5+", "ambiguous"),
        ("[THINK]it may be 5", "truncated"),
        ("<|channel|>analysis<|message|>5", "truncated"),
        ("<reasoning>5</reasoning>", "empty"),
        ("not a 5", "unparsable"),
        ("3 people", "unparsable"),
        ("5/7", "ambiguous"),
        ("Score: 50", "out_of_range"),
    ],
)
def test_a_reply_without_a_value_has_the_status_that_says_why(reply: str, status: str) -> None:
    parsed = written_number.parse_number(reply, 0, 10)
    assert (parsed.value, parsed.status) == (None, status)


@pytest.mark.parametrize("name", sorted(answer_text.THINKING - {"seed:think"}))
@pytest.mark.parametrize("dress", ["<{}>3</{}>", "[{}]3[/{}]", "◁{}▷3◁/{}▷", "<|begin_of_{}|>3<|end_of_{}|>", "3</{}>"])
def test_thinking_is_not_read_in_any_dress(name: str, dress: str) -> None:
    thought = dress.replace("{}", name)
    assert written_number.parse_number(thought + "\n4", 1, 5).value == 4
    if not dress.startswith("3"):
        opened = thought[: thought.index("3") + 1]
        assert written_number.parse_number(opened, 1, 5).status == "truncated"
        assert written_letter.parse_letter(opened.replace("3", "B"), ["a", "b"]).status == "truncated"


# ----------------------------------------------------------------------------------------------------------- properties
WORDS = [
    *(
        "7",
        "10",
        "0.5",
        "1e999",
        "-",
        "–",
        "+",
        ",",
        ".",
        "/",
        "%",
        " ",
        "\n",
        "½",
        "٧",
        "８",
        "分",
        "=",
        ":",
        "(",
        ")",
    ),
    *(
        "to",
        "or",
        "between",
        "scale",
        "out of",
        "score",
        "Rating:",
        "is",
        "not",
        "at most",
        "people",
        "Sharpness",
        "overall",
    ),
    *(
        "<think>",
        "</think>",
        "[THINK]",
        "<answer>",
        "</answer>",
        "\\boxed{",
        "{",
        "}",
        '"',
        "{'a': 7}",
        '{"rating": 7}',
    ),
    *(
        "A",
        "B",
        "b.",
        "(C)",
        "answer",
        "option",
        "Slight",
        "None",
        "I",
        "sorry",
        "Wait,",
        "no,",
        "\ud800",
        "\x1b",
        "★",
        "_",
    ),
]
replies = st.lists(st.sampled_from(WORDS), max_size=25).flatmap(
    lambda parts: st.sampled_from(["", " "]).map(lambda joint: joint.join(parts))
)


@settings(max_examples=400, deadline=None)
@given(replies | st.text(max_size=60), st.sampled_from([(0, 10), (1, 5), (-3, 3), (0, 1), (0, 100)]), st.booleans())
def test_a_number_is_on_the_scale_or_there_is_a_status(reply: str, scale: tuple[int, int], finished: bool) -> None:
    for name in ("robust", "constrained"):
        parsed = NUMBER_PARSERS[name](reply, *scale, finished=finished)
        assert (parsed.value is None) == (parsed.status != "ok")
        assert parsed.value is None or scale[0] <= parsed.value <= scale[1]


@settings(max_examples=400, deadline=None)
@given(replies | st.text(max_size=60), st.integers(2, 6), st.booleans())
def test_a_letter_names_an_option_or_there_is_a_status(reply: str, count: int, finished: bool) -> None:
    options = ["None", "Slight", "Obvious", "", "very high", "A red car"][:count]
    parsed = written_letter.parse_letter(reply, options, finished=finished)
    assert (parsed.letter is None) == (parsed.status != "ok")
    assert parsed.letter is None or parsed.letter in "ABCDEF"[:count]
    answers.parse_open_answer(reply, finished=finished)


def steps(work: Callable[[], object]) -> int:
    """Count the lines that Python executes."""
    count = 0

    def trace(_frame: object, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


UNITS = [
    *(
        "the score of 3 patches is 40% of a scale, i.e. 7 ",
        "7 ",
        "1+",
        "0-10 ",
        "wait 7 ",
        "(7",
        "7) ",
        "a ",
        "I it I ",
    ),
    *(
        "<think>",
        "</think>",
        "[[",
        "\\boxed{",
        "{",
        '{"rating":',
        '"',
        "_",
        "a_",
        "*",
        "~~a",
        "$",
        "= 7",
        "not A, ",
        "B or ",
    ),
    *(
        "A is wrong. ",
        "The answer is option A ",
        "None ",
        "\n",
        "5-",
        "★",
        "1.1",
        "1,1,",
        "no, ",
        "1. 7\n",
        "第7分",
        "-",
    ),
]


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_twice_the_reply_takes_twice_the_steps(unit: str) -> None:
    def parse(times: int) -> Callable[[], object]:
        reply = unit * times
        options = ["None", "Slight", "Obvious"]
        return lambda: (written_number.parse_number(reply, 0, 10), written_letter.parse_letter(reply, options))

    parse(2)()
    once, twice = steps(parse(150)), steps(parse(300))
    assert twice < 2.4 * once + 500


def _repeats(tree: Any, inside: bool = False) -> bool:
    """Return whether a repetition without a limit holds another one, which can take exponential time."""
    for operation, argument in tree:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            _, most, inner = argument
            endless = most == re._constants.MAXREPEAT if hasattr(re, "_constants") else most > 10**6  # type: ignore
            if (endless and inside) or _repeats(inner, inside or endless):
                return True
        elif name == "SUBPATTERN":
            if _repeats(argument[-1], inside):
                return True
        elif name == "BRANCH" and any(_repeats(branch, inside) for branch in argument[1]):
            return True
    return False


@pytest.mark.parametrize(
    "module",
    [answer_text, answer_words, number_tokens, number_candidates, written_number, option_texts, written_letter],
)
def test_no_pattern_repeats_a_repetition_without_a_limit(module: ModuleType) -> None:
    parser = getattr(re, "_parser", None) or __import__("sre_parse")
    patterns = [value for value in vars(module).values() if isinstance(value, re.Pattern)]
    assert _repeats(parser.parse("(a+b?)*"))
    for pattern in patterns:
        assert not _repeats(parser.parse(pattern.pattern, pattern.flags)), pattern.pattern


def test_the_part_that_holds_the_answer_says_whether_it_can_change() -> None:
    for reply, closed in (("<answer>7</answer>", True), ("<answer>7", False), ("\\boxed{7}", True), ("7", False)):
        part = read_answer_text(reply, finished=False)
        assert not isinstance(part, str)
        assert part.closed == closed
