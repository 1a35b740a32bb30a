"""Presets and the scorer: what is asked, how it is read, one result per input, and failures that stay visible."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.special import log_expit, log_ndtr
from support.paths import ROOT

from lopsided.mllm import MllmError
from lopsided.mllm.backends.backend import Backend, LevelLogits, Reply
from lopsided.mllm.scoring.anchors import rate_against_anchors, thurstone_scores
from lopsided.mllm.scoring.preset import PREPROCESSING, WrittenNumber
from lopsided.mllm.scoring.presets import create_preset, list_presets
from lopsided.mllm.scoring.scale import ScoreScale
from lopsided.mllm.scoring.scorer import Scorer

RATING = [key for key in list_presets() if create_preset(key).ratings]
LEVELS = [key for key in RATING if isinstance(create_preset(key).scale(), ScoreScale)]
NUMBERS = [key for key in RATING if isinstance(create_preset(key).scale(), WrittenNumber)]


def gray(level, size=(24, 16)):
    return Image.new("RGB", size, (level,) * 3)


IMAGES = [gray(level) for level in (250, 10, 128, 60, 200)]


def known(value: Any) -> Any:
    """A value that must be there."""
    assert value is not None
    return value


def brightness(image):
    return float(np.asarray(image, dtype=np.float64).mean() / 255)


class BrightnessBackend(Backend):
    """A deterministic scorer of brightness: its next token and its words follow from the pixels of the last image.

    ``write`` makes the reply of a prompt; by default the brightness as a percentage.
    """

    def __init__(self, write=None, multi_token=(), limit=None):
        self.write = write or (lambda prompt: Reply(f"Score: {100 * brightness(prompt.images[-1]):.2f}/100"))
        self.multi_token = multi_token
        self.limit = limit  # results per call, to break the contract with
        self.prompts = []
        self.checked = []

    @property
    def name(self):
        return "brightness"

    def definition(self):
        return {"model": "brightness"}

    def check_candidates(self, candidates):
        self.checked.append(tuple(candidates))
        wrong = [candidate for candidate in candidates if candidate in self.multi_token]
        if wrong:
            raise MllmError(f"{wrong} are not single tokens")

    def level_logits(self, prompts, candidates):
        self.prompts += prompts
        words = {"excellent": 4, "good": 3, "fair": 2, "poor": 1, "bad": 0}
        words |= {"superior": 4, "better": 3, "similar": 2, "worse": 1, "inferior": 0}
        results = []
        for prompt in prompts:
            level = brightness(prompt.images[-1])
            if len(prompt.images) == 2:
                level = (1 + level - brightness(prompt.images[0])) / 2
            places = [
                words[word.strip()] / 4 if word.strip() in words else index / max(len(candidates) - 1, 1)
                for index, word in enumerate(candidates)
            ]
            logits = -40 * (np.array(places) - level) ** 2
            results.append(LevelLogits(logits - np.log(np.exp(logits).sum()) + np.log(0.9)))
        return results[: self.limit]

    def generate(self, prompts, *, max_tokens, temperature=0.0, seed=0):
        self.prompts += prompts
        return [self.write(prompt) for prompt in prompts][: self.limit]


def says(*replies):
    """A backend that writes the given replies in turn."""
    queue = iter(replies)
    return BrightnessBackend(lambda _: next(queue))


# ----------------------------------------------------------------------------------------------------------- presets
def test_presets_differ_in_identity():
    identities = {create_preset(key).identity for key in list_presets()}
    # DeQA-Score asks Q-Align's question of quality alone; q-align asks of aesthetics too.
    assert len(identities) == len(list_presets())


@pytest.mark.parametrize("key", list_presets())
def test_identity_is_the_content_and_not_the_words_about_it(key):
    preset = create_preset(key)
    assert replace(preset, key="other", reproduces="all of it", unknown="").identity == preset.identity
    assert replace(preset, preprocessing=("resize-448x448-bicubic", "pad-square-clip-mean")).identity != preset.identity
    assert replace(preset, max_tokens=7).identity != preset.identity
    for dimension, question in preset.ratings.items():
        other = {**preset.ratings, dimension: replace(question, text=question.text + " ")}
        assert replace(preset, ratings=other).identity != preset.identity


@pytest.mark.parametrize("key", list_presets())
def test_every_preset_says_what_it_reproduces_and_asks_something(key):
    preset = create_preset(key)
    assert preset.reproduces
    assert preset.ratings or preset.multiple_choice or preset.comparison
    assert set(preset.preprocessing) <= set(PREPROCESSING)
    for dimension, question in preset.ratings.items():
        assert "{" not in question.text.replace('{"rating": number}', "")
        assert preset.scale(dimension).range[0] < preset.scale(dimension).range[1]


def test_the_guide_lists_every_preset_and_nothing_else():
    guide = (ROOT / "docs" / "scorers.md").read_text(encoding="utf-8")
    table = guide.split("## Presets")[1].split("###")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(key for cell in first_cells for key in re.findall("`(.+?)`", cell)) == sorted(list_presets())


def test_unipercepts_prompt_keeps_its_slip():
    text = create_preset("unipercept").question("IQA").text
    assert text.startswith(
        "Rate the quality score of the image in 0-100. In the output format, numbers are replaced by "
    )
    assert "76-ea, 77-eb, 73-ec, 74-ed" in text
    assert text.endswith("\nThe answer only outputs 2 corresponding letters.")
    assert text.count("\n") == 4
    assert create_preset("unipercept").question("ISTA").text.startswith("Rate the structure and texture richness score")


def test_general_models_get_the_papers_prompt():
    assert create_preset("unipercept-general").question("IAA").text == (
        "Please rate the aesthetics of this image and provide a score between 0 and 100, where 0 represents the lowest "
        "quality and 100 represents the highest. Your response should contain only an integer value."
    )


def test_dimensions_go_by_their_name_or_the_benchmarks():
    preset = create_preset("unipercept")
    assert preset.question("IQA") is preset.question("quality")
    assert preset.question() is preset.question("Aesthetics")
    assert create_preset("cogip").scale("Emotional_Valence").range == (-3, 3)
    with pytest.raises(MllmError, match="preset deqa does not rate 'IAA', only quality"):
        create_preset("deqa").question("IAA")
    with pytest.raises(MllmError, match="letters does not rate"):
        create_preset("letters").question()


def test_options_change_the_reading_its_identity_and_the_key():
    plain, rounded = create_preset("unipercept"), create_preset("unipercept", bf16_compatible=True)
    assert known(rounded.scale()).bf16_compatible
    assert rounded.identity != plain.identity
    assert rounded.key == "unipercept[bf16_compatible=True]"
    assert known(create_preset("q-bench", softmax_temperature=100).scale()).temperature == 100
    assert known(create_preset("cogip", parser="cogip").scale("Funniness")).parser == "cogip"
    assert known(create_preset("unipercept", parser="first-letter").multiple_choice).reading.parser == "first-letter"
    fives = create_preset("numeric", low=1, high=5, dimensions={"creepiness": "creepiness"})
    assert fives.scale().range == (1, 5)
    assert "Rate the creepiness of this image with one number from 1 (lowest) to 5" in fives.question("creepiness").text


@pytest.mark.parametrize(
    ("key", "options", "words"),
    [
        ("q-alin", {}, "did you mean 'q-align'"),
        ("q-align", {"parser": "robust"}, "cannot take parser"),
        ("numeric", {"bf16_compatible": True}, "cannot take bf16_compatible"),
        ("unipercept", {"parser": "cogip"}, "cannot take parser"),
        ("deqa", {"low": 0}, "cannot take low"),
        ("numeric", {"low": 5, "high": 5}, "low must be below high"),
        ("cogip", {"max_tokens": 0}, "max_tokens must be a whole number of at least 1, got 0"),
        ("cogip", {"max_tokens": 1.5}, "max_tokens must be a whole number"),
        ("cogip", {"temperature": math.inf}, "temperature must be a number of at least 0, got inf"),
        ("numeric", {"high": "10"}, "high must be a finite number, got '10'"),
        ("numeric", {"low": True}, "low must be a finite number, got True"),
        ("numeric", {"dimensions": ["a"]}, "dimensions must be a mapping of names to the words"),
        ("numeric", {"parser": ["x"]}, "parser must be the name of a parser"),
        ("q-align", {"bf16_compatible": "no"}, "bf16_compatible must be true or false, got 'no'"),
        ("q-bench", {"softmax_temperature": 0}, "softmax_temperature must be a number above 0, got 0"),
    ],
)
def test_what_a_preset_cannot_do_is_refused(key, options, words):
    with pytest.raises(MllmError, match=words):
        create_preset(key, **options)


def test_preprocessing_is_the_originals():
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (100, 1, 3)))
    assert PREPROCESSING["resize-448x448-bicubic"](ramp).size == (448, 448)
    square = np.asarray(PREPROCESSING["pad-square-clip-mean"](ramp))
    assert square.shape == (200, 200, 3)
    assert (square[50:150] == np.asarray(ramp)).all()
    assert (square[[0, 49, 150, 199]] == (122, 116, 104)).all()  # ⌊255 · CLIP's mean⌋
    reduced = PREPROCESSING["long-side-448-bicubic"]
    assert reduced(ramp) is ramp
    assert [reduced(ramp.resize(size)).size for size in ((1000, 501), (300, 449))] == [(448, 224), (299, 448)]


# -------------------------------------------------------------------------------------------------------- the scorer
@pytest.mark.parametrize("key", LEVELS)
def test_levels_are_read_as_the_expectation_of_the_next_token(key):
    backend = BrightnessBackend()
    preset = create_preset(key)
    ratings = Scorer(backend, preset).rate(IMAGES)
    scale = known(preset.scale())
    assert [rating.status for rating in ratings] == ["ok"] * len(IMAGES)
    order = np.argsort([known(rating.value) for rating in ratings])
    assert order.tolist() == np.argsort([brightness(image) for image in IMAGES]).tolist()
    for rating in ratings:
        assert scale.range[0] <= known(rating.value) <= scale.range[1]
        assert rating.mass == pytest.approx(0.9)
        p = np.array([known(rating.distribution)[level] for level in scale.levels])
        assert rating.value == pytest.approx(p @ np.array(scale.values))


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_are_read_on_the_scale_asked_for(key):
    low, high = create_preset(key).scale().range
    backend = BrightnessBackend(
        lambda prompt: Reply(f"<answer>{low + (high - low) * brightness(prompt.images[0]):.3f}</answer>")
    )
    ratings = Scorer(backend, create_preset(key)).rate(IMAGES)
    expected = [low + (high - low) * brightness(image) for image in IMAGES]
    assert [rating.value for rating in ratings] == pytest.approx(expected, abs=1e-3)
    assert ratings[0].distribution is None
    assert ratings[0].raw.startswith("<answer>")


@pytest.mark.parametrize("key", RATING)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_there_are_as_many_results_as_inputs(key, count):
    assert len(Scorer(BrightnessBackend(), create_preset(key)).rate(IMAGES[:count])) == count


def test_results_do_not_depend_on_the_batch():
    scorer = Scorer(BrightnessBackend(), create_preset("q-align"))
    assert scorer.rate(IMAGES) == [scorer.rate([image])[0] for image in IMAGES]


def test_images_are_shown_as_the_original_shows_them():
    backend = BrightnessBackend()
    Scorer(backend, create_preset("unipercept")).rate([gray(9).convert("L")], dimension="IQA")
    (prompt,) = backend.prompts
    assert (prompt.images[0].size, prompt.images[0].mode, prompt.prefix) == ((448, 448), "RGB", "")
    backend = BrightnessBackend()
    Scorer(backend, create_preset("q-align")).rate([gray(9)], dimension="IAA")
    (prompt,) = backend.prompts
    assert prompt.images[0].size == (24, 24)
    assert prompt.text == "How would you rate the aesthetics of this image?"
    assert prompt.prefix == "The aesthetics of the image is"


def test_a_benchmarks_own_question_takes_the_place_of_the_presets():
    backend = BrightnessBackend()
    scorer = Scorer(backend, create_preset("numeric"))
    scorer.rate(IMAGES[:2], questions=["How bright? 0-100.", ""])
    assert backend.prompts[0].text == "How bright? 0-100."
    assert backend.prompts[1].text == create_preset("numeric").question().text
    with pytest.raises(MllmError, match="2 inputs need as many questions, got 1"):
        scorer.rate(IMAGES[:2], questions=["How bright?"])


def test_a_preset_with_words_for_levels_keeps_its_own_question():
    backend = BrightnessBackend()
    preset = create_preset("q-align")
    Scorer(backend, preset).rate(IMAGES[:1], questions=["Reply with a number from 0 to 10."])
    assert backend.prompts[0].text == preset.question().text


def test_levels_are_checked_to_be_single_tokens_once():
    backend = BrightnessBackend()
    scorer = Scorer(backend, create_preset("q-align"))
    scorer.rate(IMAGES)
    scorer.rate(IMAGES)
    assert backend.checked == [(" excellent", " good", " fair", " poor", " bad")]
    with pytest.raises(MllmError, match="not single tokens"):
        Scorer(BrightnessBackend(multi_token=("ey",)), create_preset("unipercept")).rate(IMAGES)


def test_every_reply_without_a_number_keeps_its_place_and_its_reason():
    backend = says(
        Reply("Score: 71"),
        Reply(""),
        Reply("I'm sorry, I can't rate images."),
        Reply("60 to 70"),
        Reply("120"),
        Reply("The score is 8", finished=False),
        Reply("A fine picture."),
        Reply("", failure="HTTP 503 after 6 attempts"),
    )
    ratings = Scorer(backend, create_preset("unipercept-general")).rate([IMAGES[0]] * 8)
    assert [rating.status for rating in ratings] == [
        *("ok", "empty", "refused", "ambiguous", "out_of_range", "truncated", "unparsable", "failed")
    ]
    assert [rating.value for rating in ratings] == [71, *[None] * 7]
    assert ratings[2].raw == "I'm sorry, I can't rate images."
    assert ratings[7].raw == "HTTP 503 after 6 attempts"


def test_levels_that_cannot_be_read_fail_with_the_reason():
    class Server(BrightnessBackend):
        def level_logits(self, prompts, candidates):
            good = super().level_logits(prompts, candidates)[0]
            return [
                LevelLogits(np.full(5, np.nan), failure="HTTP 500"),
                LevelLogits(np.array([-0.5, np.nan, np.nan, np.nan, np.nan])),
                replace(good, over_vocabulary=False),
            ]

    ratings = Scorer(Server(), create_preset("q-align")).rate(IMAGES[:3])
    assert [rating.status for rating in ratings] == ["failed", "failed", "ok"]
    assert [rating.value is None for rating in ratings] == [True, True, False]
    assert ratings[0].raw == "HTTP 500"
    assert "are not known" in ratings[1].raw
    assert ratings[2].mass is None  # a server that looks at the candidates alone cannot tell their share


def test_a_backend_that_loses_results_is_caught():
    with pytest.raises(MllmError, match="returned 4 results for 5 prompts"):
        Scorer(BrightnessBackend(limit=4), create_preset("q-align")).rate(IMAGES)
    with pytest.raises(MllmError, match="returned 4 results for 5 prompts"):
        Scorer(BrightnessBackend(limit=4), create_preset("numeric")).rate(IMAGES)


# --------------------------------------------------------------------------------------------------- multiple choice
def test_written_letters_are_parsed_and_questions_list_their_options():
    backend = says(Reply("The answer is B."), Reply("Based on the image, C"), Reply("", failure="time-out"))
    choices = Scorer(backend, create_preset("unipercept")).answers(
        IMAGES[:3],
        ["How blurred?", "How blurred?\nA. None\nB. Slight\nC. Obvious", "Sharp?"],
        [["None", "Slight", "Obvious"], ["None", "Slight", "Obvious"], ["Yes", "No"]],
    )
    assert [(choice.choice, choice.status) for choice in choices] == [("B", "ok"), ("C", "ok"), (None, "failed")]
    first, second, _ = (prompt.text for prompt in backend.prompts)
    assert first == second  # listed once, by the scorer or by the question itself
    assert first.endswith("Question:\n\nHow blurred?\nA. None\nB. Slight\nC. Obvious")


def test_the_originals_reading_of_letters_can_be_replayed():
    replies = [Reply("The answer is B."), Reply("Based on the image, C"), Reply("c")]
    compat = Scorer(says(*replies), create_preset("unipercept", parser="first-letter"))
    options = [["w", "x", "y", "z"]] * 3
    choices = compat.answers(IMAGES[:3], ["?"] * 3, options)
    assert [(choice.choice, choice.status) for choice in choices] == [
        (None, "out_of_range"),
        ("B", "ok"),
        ("C", "ok"),
    ]


def test_letters_as_next_token_are_chosen_among_the_options_of_each_question():
    backend = BrightnessBackend()
    options = [["w", "x", "y", "z"], ["w", "x"], ["w", "x", "y"]]
    choices = Scorer(backend, create_preset("letters")).answers([gray(255)] * 3, ["?"] * 3, options)
    assert [choice.choice for choice in choices] == ["D", "B", "C"]
    assert [list(known(choice.distribution)) for choice in choices] == [list("ABCD"), list("AB"), list("ABC")]
    assert [sum(known(choice.distribution).values()) for choice in choices] == pytest.approx([1, 1, 1])
    assert known(choices[0].mass) > known(choices[2].mass) > known(choices[1].mass)
    assert Scorer(backend, create_preset("letters")).answer(gray(0), "?", ["w", "x"]).choice == "A"


def test_equally_probable_letters_are_ambiguous():
    class Undecided(BrightnessBackend):
        def level_logits(self, prompts, candidates):
            return [LevelLogits(np.log(np.full(len(candidates), 0.1))) for _ in prompts]

    choice = Scorer(Undecided(), create_preset("letters")).answer(IMAGES[0], "?", ["w", "x"])
    assert (choice.choice, choice.status) == (None, "ambiguous")


def test_questions_that_cannot_be_answered_are_refused():
    scorer = Scorer(BrightnessBackend(), create_preset("letters"))
    with pytest.raises(MllmError, match="has 1 options"):
        scorer.answer(IMAGES[0], "?", ["w"])
    with pytest.raises(MllmError, match="as many lists of options"):
        scorer.answers(IMAGES[:2], ["?", "?"], [["w", "x"]])
    with pytest.raises(MllmError, match="answers no multiple-choice questions"):
        Scorer(BrightnessBackend(), create_preset("q-align")).answer(IMAGES[0], "?", ["w", "x"])


def test_open_questions_are_put_as_they_are():
    backend = says(Reply("Karaage"), Reply("", failure="time-out"))
    replies = Scorer(backend, create_preset("numeric")).reply([IMAGES[0], IMAGES[1:3]], ["Which dish?", "Which?"])
    assert [reply.text for reply in replies] == ["Karaage", ""]
    assert [len(prompt.images) for prompt in backend.prompts] == [1, 2]


# -------------------------------------------------------------------------------------------------------- comparison
def test_the_brighter_image_wins_in_both_orders():
    scorer = Scorer(BrightnessBackend(), create_preset("compare2score"))
    bright, dark, same = scorer.compare([(gray(230), gray(20)), (gray(20), gray(230)), (gray(90), gray(90))])
    assert known(bright.first_is_better) > 0.7
    assert dark.first_is_better == pytest.approx(1 - known(bright.first_is_better))
    assert same.first_is_better == pytest.approx(0.5)
    assert sum(known(bright.distribution).values()) == pytest.approx(1)
    assert bright.mass == pytest.approx(0.9)
    with pytest.raises(MllmError, match="does not compare"):
        Scorer(BrightnessBackend(), create_preset("q-align")).compare([(gray(1), gray(2))])


@pytest.mark.parametrize("link", ["logistic", "normal"])
def test_thurstone_scores_are_the_maximum_of_the_posterior(link):
    generator = np.random.default_rng(0)
    for size in (2, 5, 8):
        wins = generator.uniform(0, 3, (size, size))
        best = thurstone_scores(wins, link=link)
        assert best.sum() == pytest.approx(0, abs=1e-9)

        def posterior(scores, wins=wins):
            f = log_expit if link == "logistic" else log_ndtr
            difference = scores[:, None] - scores
            return (wins * f(difference))[~np.eye(len(wins), dtype=bool)].sum() - (scores**2).sum() / 2

        for _ in range(30):
            assert posterior(best) > posterior(best + generator.normal(0, 1e-3, size))


def test_thurstone_scores_follow_the_wins():
    order = np.arange(5)
    wins = 1 / (1 + np.exp(-(order[:, None] - order) * 2.0))
    assert (np.diff(thurstone_scores(wins)) > 0).all()
    assert thurstone_scores(np.full((4, 4), 0.5)) == pytest.approx(np.zeros(4), abs=1e-12)
    permuted = [3, 1, 4, 0, 2]
    assert thurstone_scores(wins[np.ix_(permuted, permuted)]) == pytest.approx(thurstone_scores(wins)[permuted])
    # Certain wins, many times over: the prior keeps the scores finite.
    assert np.isfinite(thurstone_scores(np.triu(np.full((6, 6), 1e6), 1).T)).all()


def test_images_are_rated_against_anchors_from_0_to_100():
    scorer = Scorer(BrightnessBackend(), create_preset("compare2score"))
    anchors = [gray(level) for level in (20, 80, 140, 200)]
    levels = [1, 60, 110, 170, 255]
    ratings = rate_against_anchors(scorer, [gray(level) for level in levels], anchors)
    values = [known(rating.value) for rating in ratings]
    assert (values[0], values[-1]) == (0, 100)
    assert (np.diff(values) > 0).all()
    again = rate_against_anchors(scorer, [gray(110)], anchors)
    assert again[0].value == pytest.approx(values[2])


def test_an_image_that_cannot_be_compared_fails_alone():
    class Dropping(BrightnessBackend):
        def level_logits(self, prompts, candidates):
            return [
                LevelLogits(np.full(5, np.nan), failure="HTTP 500") if brightness(prompt.images[1]) == 1 else logits
                for prompt, logits in zip(prompts, super().level_logits(prompts, candidates), strict=True)
            ]

    scorer = Scorer(Dropping(), create_preset("compare2score"))
    white = gray(255, size=(16, 16))  # a square, so that padding leaves it white
    ratings = rate_against_anchors(scorer, [gray(90), white, gray(30)], [gray(20), gray(200)])
    assert [rating.status for rating in ratings] == ["ok", "failed", "ok"]
    assert ratings[1].raw == "HTTP 500"
    with pytest.raises(MllmError, match="cannot be compared: HTTP 500"):
        rate_against_anchors(scorer, [gray(90)], [gray(20), white])


@pytest.mark.parametrize("wins", [np.zeros((2, 3)), [[0.0]], [[0, -1], [1, 0]], [[0, np.nan], [1, 0]]])
def test_wins_that_make_no_sense_are_refused(wins):
    with pytest.raises(MllmError):
        thurstone_scores(wins)


# ---------------------------------------------------------------------------------------------------------- identity
def test_a_scorers_identity_is_its_backend_and_preset():
    backend = BrightnessBackend()
    scorer = Scorer(backend, create_preset("q-align"))
    assert scorer.key == "brightness/q-align"
    assert scorer.identity == Scorer(backend, create_preset("q-align")).identity
    assert scorer.identity != Scorer(backend, create_preset("q-bench")).identity
