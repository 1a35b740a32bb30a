"""Replies as models write them: the value and status each must get, and what the originals' parsers make of them."""

import time
from typing import get_args

import numpy as np
import pytest
from support.paths import ROOT

from lopsided.mllm.scoring import parse_letter, parse_number
from lopsided.mllm.scoring.compat import (
    LETTER_PARSERS,
    NUMBER_PARSERS,
    first_decimal,
    first_decimal_within_10,
    first_letter,
)
from lopsided.mllm.scoring.outcomes import Status

TEN, HUNDRED, FIVE, ONE, VALENCE = (0, 10), (0, 100), (1, 5), (0, 1), (-3, 3)

# (reply, range asked for, value or the status that stands for none)
NUMBERS = [
    # plain, with units and words
    ("7", TEN, 7),
    (" 7.5 \n", TEN, 7.5),
    ("85.", HUNDRED, 85),
    ("The quality score of this image is 72.", HUNDRED, 72),
    ("I would rate this image a 7.", TEN, 7),
    ("I'd give it a solid 8", TEN, 8),
    ("Approximately 75", HUNDRED, 75),
    ("7 points", TEN, 7),
    ("4 stars", FIVE, 4),
    ("4.5pts", FIVE, 4.5),
    ("medium 5.577", TEN, 5.577),
    ("very high 8.234", TEN, 8.234),
    ("neutral 0.0", VALENCE, 0),
    ("The colours are vivid and the focus is exact.\n\n82", HUNDRED, 82),
    # shares of a whole
    ("8/10", TEN, 8),
    ("**8 / 10**", TEN, 8),
    ("8/10", HUNDRED, 80),
    ("8 out of 10", TEN, 8),
    ("4/5", FIVE, 4),
    ("8/10", FIVE, "ambiguous"),
    ("Score: 7/10 for composition", TEN, "unparsable"),
    ("85%", HUNDRED, 85),
    ("85 %", TEN, 8.5),
    ("60%", FIVE, "ambiguous"),
    ("12/10", TEN, "out_of_range"),
    # several numbers
    ("I see 3 people and 2 dogs. Score: 7", TEN, 7),
    ("1. Composition is good.\n2. Focus is fine.\nOverall rating: 6.5", TEN, 6.5),
    ("Sharpness score: 7. Colour score: 8. Overall score: 7.5", TEN, 7.5),
    ("Sharpness: 7\nColour: 8", TEN, "unparsable"),
    ("7, 8", TEN, "ambiguous"),
    ("I'd rate it a 7 or an 8", TEN, "ambiguous"),
    (">90", HUNDRED, "ambiguous"),
    ("Je donnerais une note de 7 sur 10", TEN, 7),
    ("About 3/4 of the frame is empty sky, which looks dull", TEN, "unparsable"),
    ("The score is between 60 and 70", HUNDRED, "ambiguous"),
    ("10 (on a scale of 0 to 10)", TEN, 10),
    ("The year 2023 photo. Score: 1", TEN, 1),
    ("Score: 7 or 8", TEN, "ambiguous"),
    ("7. The image is sharp, so 7.", TEN, 7),
    ("The image, of 1920x1080 pixels, shows 3 people walking along a street in 1998", TEN, "unparsable"),
    ("8, confidence 90%", TEN, 8),
    ("8, and I am 90% sure of it", TEN, 8),
    # ranges
    ("7-8", TEN, "ambiguous"),
    ("between 3 and 4", FIVE, "ambiguous"),
    ("7 – 8, so I'd say 7.5", TEN, 7.5),
    ("Rating (0-100): 85", HUNDRED, 85),
    ("On a scale from 0 to 100, the score is 64", HUNDRED, 64),
    ("On a scale of 1 to 10, I would rate this image 7", HUNDRED, "ambiguous"),
    ("0-100", HUNDRED, "unparsable"),
    # signs, commas, exponents, other digits
    ("negative -1.5", VALENCE, -1.5),
    ("−2", VALENCE, -2),
    ("Score -1", TEN, "out_of_range"),
    ("7,5", TEN, 7.5),
    ("medium 5,577", TEN, 5.577),
    ("1,000", (0, 2000), "ambiguous"),
    ("1,234", (1000, 2000), 1234),
    ("7.5e1", HUNDRED, 75),
    ("7½", TEN, 7.5),
    ("٧", TEN, 7),
    ("得分：８５", HUNDRED, 85),
    ("我给这张图片打7分", TEN, 7),
    ("十分清晰", TEN, "unparsable"),
    ("seven", TEN, 7),
    ("Bewertung: 7,5", TEN, 7.5),
    ("Puntuación: 8", TEN, 8),
    ("оценка: 6 баллов", TEN, 6),
    # structure
    ('{"rating": 3.75}', FIVE, 3.75),
    ('```json\n{"rating": "4", "confidence": 0.9}\n```', FIVE, 4),
    ('{"rating": null}', FIVE, "unparsable"),
    ("<think>It is 3 or maybe 2.</think><answer>4.25</answer>", FIVE, 4.25),
    ("The focus is off, so 2.</think>\n\n3.5", FIVE, 3.5),
    ("<think>The focus is off. I would say 2", FIVE, "truncated"),
    ("<answer>3</answer> or rather <answer>4</answer>", FIVE, 4),
    ('<answer>{"rating": 2.31}</answer>', FIVE, 2.31),
    ("<answer></answer>", FIVE, "empty"),
    ("<think>Hm.</think>", FIVE, "empty"),
    ("The result is \\boxed{4.5}", FIVE, 4.5),
    ("**Rating:** `4`", FIVE, 4),
    # no answer
    ("", TEN, "empty"),
    (" \n", TEN, "empty"),
    ("I'm sorry, but I can't rate images.", HUNDRED, "refused"),
    ("I cannot rate this on a scale of 0-100.", HUNDRED, "refused"),
    ("As an AI, I can't see images; a typical score is 50.", HUNDRED, "refused"),
    ("抱歉，我无法评价这张图片。", HUNDRED, "refused"),
    ("Es tut mir leid, das kann ich nicht beurteilen.", HUNDRED, "refused"),
    ("Je ne peux pas évaluer cette image.", HUNDRED, "refused"),
    ("Lo siento, no puedo.", HUNDRED, "refused"),
    ("申し訳ありませんが、評価できません。", HUNDRED, "refused"),
    ("I am unable to view images.", HUNDRED, "refused"),
    ("I'm not able to provide a rating.", HUNDRED, "refused"),
    ("I can't see any noise. Score: 85", HUNDRED, 85),
    ("I am unable to find a flaw.\n95", HUNDRED, 95),
    ("-/-", HUNDRED, "refused"),
    ("N/A", HUNDRED, "refused"),
    ("Beautiful.", HUNDRED, "unparsable"),
    ("The image shows a dog.", TEN, "unparsable"),
    # out of range
    ("101", HUNDRED, "out_of_range"),
    ("Score: 8", FIVE, "out_of_range"),
    ("1.2", ONE, "out_of_range"),
    ("1e999", HUNDRED, "out_of_range"),
]

# (reply cut off by the limit on tokens, range, value or status)
CUT_NUMBERS = [
    ("7", TEN, "truncated"),
    ("The score is 7", HUNDRED, "truncated"),
    ("The score is 72 because the", HUNDRED, 72),
    ("<answer>72</answer>", HUNDRED, 72),
    ("<answer>7", HUNDRED, "truncated"),
    ("<think>First, the com", FIVE, "truncated"),
    ("The image shows", TEN, "truncated"),
    ("", TEN, "truncated"),
    ("I'm sorry, I can't rate this image because", TEN, "refused"),
    ("8/10, since the", TEN, 8),
]

THREE, FOUR, YES = ("None", "Slight", "Obvious"), ("Low", "Medium", "High", "Very high"), ("Yes", "No")

# (reply, options, letter or status)
LETTERS = [
    ("B", FOUR, "B"),
    ("b", FOUR, "B"),
    ("(C)", FOUR, "C"),
    ("B.", FOUR, "B"),
    ("**D**", FOUR, "D"),
    ("B. Medium", FOUR, "B"),
    ("c) High", FOUR, "C"),
    ("The answer is B", FOUR, "B"),
    ("The correct answer is (C).", FOUR, "C"),
    ("Answer: D because the light is even", FOUR, "D"),
    ("D because the light is even", FOUR, "D"),
    ("A because it is dark", FOUR, "A"),
    ('{"answer": "B"}', FOUR, "B"),
    ("Based on the image, option C fits best.", FOUR, "C"),
    ("A. None B. Slight C. Obvious\nAnswer: C", THREE, "C"),
    ("<think>A or B? B.</think><answer>A</answer>", FOUR, "A"),
    ("\\boxed{C}", FOUR, "C"),
    ("答案是 B", FOUR, "B"),
    ("Ｂ", FOUR, "B"),
    ("Die Antwort ist C.", FOUR, "C"),
    ("It is not A. It is C.", FOUR, "C"),
    ("Final answer: B. I first thought of option C.", FOUR, "B"),
    ("Slight", THREE, "B"),
    ("slight.", THREE, "B"),
    ("Yes, it is.", YES, "A"),
    ("The answer is Yes", YES, "A"),
    ("There is no blur at all here", YES, "unparsable"),
    ("The answer is medium, since the light is low.", FOUR, "B"),
    ("D\n\nExplanation: option A is wrong", FOUR, "D"),
    ("D.The light is even", FOUR, "D"),
    ("B\nC", FOUR, "ambiguous"),
    ("No", YES, "B"),
    ("Very high", FOUR, "D"),
    ("A or B", FOUR, "ambiguous"),
    ("The answer is A or B", FOUR, "ambiguous"),
    ("A, B", FOUR, "ambiguous"),
    ("A. None B. Slight C. Obvious", THREE, "ambiguous"),
    ("Slight or obvious", THREE, "ambiguous"),
    ("B. Obvious", THREE, "ambiguous"),
    ("Same", ("Same", "Same"), "ambiguous"),
    ("E", FOUR, "out_of_range"),
    ("Answer: C", YES, "out_of_range"),
    ("", FOUR, "empty"),
    ("I'm sorry, I cannot see the image.", FOUR, "refused"),
    ("无法判断", FOUR, "refused"),
    ("A photograph of a street at night.", FOUR, "unparsable"),
    ("I think this image is underexposed.", FOUR, "unparsable"),
    ("The answer is a blurry edge", FOUR, "unparsable"),
    ("<think>It could be B", FOUR, "truncated"),
]

CUT_LETTERS = [
    ("B", "truncated"),
    ("B.", "truncated"),
    ("B. Medium", "B"),
    ("The answer is B", "truncated"),
    ("The answer is B, since", "B"),
    ("Based on the", "truncated"),
]


STATUSES = get_args(Status)


def got(parsed):
    """The value or letter where there is one, else the status; never both."""
    answer = parsed.value if hasattr(parsed, "value") else parsed.letter
    assert (answer is None) == (parsed.status != "ok")
    return parsed.status if answer is None else answer


@pytest.mark.parametrize(("reply", "asked", "expected"), NUMBERS)
def test_number(reply, asked, expected):
    assert got(parse_number(reply, *asked)) == expected


@pytest.mark.parametrize(("reply", "asked", "expected"), CUT_NUMBERS)
def test_number_of_a_reply_cut_off_holds_only_if_more_words_cannot_change_it(reply, asked, expected):
    assert got(parse_number(reply, *asked, finished=False)) == expected


@pytest.mark.parametrize(("reply", "options", "expected"), LETTERS)
def test_letter(reply, options, expected):
    assert got(parse_letter(reply, options)) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Respuesta correcta: D", "D"),  # the word's last letter is no answer
        ("Réponse correcte : B", "B"),
        ("I lean towards D.", "D"),
        ("Not A, not B. C is plausible but the texture rules it out, leaving D.", "D"),
        ("- A: plausible\n- B: unlikely\n- C: impossible\n- D: unlikely\n\nSo A it is.", "A"),
        ("B is incorrect since the picture is sharp; D is incorrect too. Between A and C, A fits better.", "A"),
        ('{"A": 0.1, "B": 0.7, "C": 0.1, "D": 0.1}', "B"),
        ('{"A": false, "B": false, "C": true, "D": false}', "C"),
        ('{"A": 0.4, "B": 0.4, "C": 0.1, "D": 0.1}', None),
        ("The options are A, B, C and D.", None),
        ("Anything but B.", None),
        ("It could be A, but I'm more confident in C.", "C"),
    ],
)
def test_letters_of_a_blind_trial(reply, expected):
    assert parse_letter(reply, [""] * 4).letter == expected


@pytest.mark.parametrize(("reply", "expected"), CUT_LETTERS)
def test_letter_of_a_reply_cut_off_holds_only_if_more_words_cannot_change_it(reply, expected):
    assert got(parse_letter(reply, FOUR, finished=False)) == expected


# ------------------------------------------------------------------------------------------------- the originals' ways
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("medium 5.577", 5.577),
        ("7", "unparsable"),  # integers are missed
        ("7, confidence 0.9", 0.9),
        ("Score: 72.5", 72.5),
        ("low .423", 0.423),
        ("-1.5e0", -1.5),
        ("7,5", "unparsable"),
        ("", "unparsable"),
    ],
)
def test_first_decimal_has_the_originals_faults(reply, expected):
    assert got(first_decimal(reply, 0, 10)) == expected


def test_first_decimal_of_llama_drops_what_is_above_ten():
    assert got(first_decimal_within_10("Score: 72.5", 0, 100)) == "out_of_range"
    assert got(first_decimal_within_10("-10.0", 0, 10)) == -10


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("B", "B"),
        (" b)", "B"),
        ("Based on the image, C", "B"),
        ("Answer: D", "A"),
        ("The answer is B", "out_of_range"),
        ("(C)", "out_of_range"),
        ("I'm sorry", "out_of_range"),
        (" ", "empty"),
    ],
)
def test_first_letter_has_the_originals_faults(reply, expected):
    assert got(first_letter(reply, FOUR)) == expected


def gap(originals, robusts):
    """How an original reads: as the robust parser does, another answer, one where there is none, none where one is."""
    kinds = {(True, True): "other", (True, False): "invented", (False, True): "missed", (False, False): "same"}
    counts = {"same": 0, "other": 0, "invented": 0, "missed": 0}
    for original, robust in zip(originals, robusts, strict=True):
        answered = original not in STATUSES, robust not in STATUSES
        counts["same" if original == robust else kinds[answered]] += 1
    return counts


def test_gap_to_the_originals_is_what_the_guide_says():
    numbers = [(reply, asked) for reply, asked, _ in NUMBERS]
    letters = [(reply, options) for reply, options, _ in LETTERS]
    rows = {
        name: gap(
            [got(NUMBER_PARSERS[name](reply, *asked)) for reply, asked in numbers],
            [got(NUMBER_PARSERS["robust"](reply, *asked)) for reply, asked in numbers],
        )
        for name in ("cogip", "cogip-llama")
    }
    rows["first-letter"] = gap(
        [got(LETTER_PARSERS["first-letter"](reply, options)) for reply, options in letters],
        [got(LETTER_PARSERS["robust"](reply, options)) for reply, options in letters],
    )
    guide = (ROOT / "docs" / "scorers.md").read_text(encoding="utf-8")
    for name, counts in rows.items():
        row = f"| `{name}` | {sum(counts.values())} | " + " | ".join(map(str, counts.values())) + " |"
        assert row in guide, row


def test_there_are_forty_awkward_replies_and_more():
    assert len({reply for reply, *_ in [*NUMBERS, *CUT_NUMBERS]}) >= 40
    assert len({reply for reply, *_ in [*LETTERS, *CUT_LETTERS]}) >= 40


@pytest.mark.parametrize("name", ["robust", "cogip", "cogip-llama"])
def test_a_long_reply_is_read_in_time_that_grows_with_its_length(name):
    reply = "In region 17 the score of 3-4 patches is between 5 and 6, i.e. 40% of a scale; " * 600
    start = time.process_time()
    got(NUMBER_PARSERS[name](reply, *TEN))
    assert time.process_time() - start < 5
    start = time.process_time()
    got(LETTER_PARSERS["robust"]("The answer is option a or b as in A. or (B) " * 600, FOUR))
    assert time.process_time() - start < 5


PIECES = [
    *(
        "7",
        "10",
        "0.5",
        "-",
        "+",
        ",",
        ".",
        "/",
        "%",
        " ",
        "\n",
        "e",
        "E5",
        "½",
        "٧",
        "８",
        "分",
        "to",
        "or",
        "between",
        "scale",
    ),
    *(
        "score",
        "Rating:",
        "is",
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "\\boxed{",
        "{",
        "}",
        '"',
        "(",
        ")",
        "*",
        "_",
    ),
    *(
        "A",
        "B",
        "b.",
        "(C)",
        "answer",
        "option",
        "not",
        "Slight",
        "None",
        "I",
        "sorry",
        "I'm sorry",
        "—",
        "−",
        "1e999",
        "\ud800",
    ),
]


def test_whatever_is_written_gets_a_value_on_the_scale_or_a_status():
    generator = np.random.default_rng(0)
    for _ in range(6000):
        reply = "".join(generator.choice(PIECES, generator.integers(0, 12)))
        finished = bool(generator.integers(2))
        number, letter = parse_number(reply, *TEN, finished=finished), parse_letter(reply, THREE, finished=finished)
        assert got(number) in STATUSES or 0 <= float(got(number)) <= 10, reply
        assert got(letter) in STATUSES or got(letter) in ["A", "B", "C"], reply
        for parse in NUMBER_PARSERS.values():
            got(parse(reply, *TEN, finished=finished))
        got(first_letter(reply, THREE, finished=finished))
