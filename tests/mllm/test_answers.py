"""Free-text answers: names and countries read from replies, and compared as CultureMix does."""

import random
import string
from collections import Counter
from itertools import pairwise

import pytest

from lopsided.mllm.benchmarks.answers import name_similarity, parse_open_answer, same_food
from lopsided.mllm.benchmarks.countries import continent_of, countries_in, country_of

KIMCHI, KOREA = "Kimchi", "South Korea"

REPLIES = {
    # As asked for, and nearly so.
    "Food: Kimchi\nCountry: South Korea": (KIMCHI, KOREA),
    "food: Kimchi\ncountry: Korea": (KIMCHI, KOREA),
    "**Food:** Kimchi\n**Country:** South Korea.": (KIMCHI, KOREA),
    "Food: Kimchi, Country: South Korea": (KIMCHI, KOREA),
    "- Dish name: Kimchi\n- Country of origin: Republic of Korea": (KIMCHI, KOREA),
    '{"food": "Kimchi", "country": "South Korea"}': (KIMCHI, KOREA),
    '```json\n{"name": "Kimchi",\n "country": "South Korea"}\n```': (KIMCHI, KOREA),
    "Country: South Korea\nFood: Kimchi": (KIMCHI, KOREA),
    # Thinking aloud: the last lines hold.
    "It is red. Food: Sauerkraut? No.\n\nFood: Kimchi\nCountry: South Korea": (KIMCHI, KOREA),
    "Country: Germany? No, it is red.\nFood: Kimchi\nCountry: South Korea": (KIMCHI, KOREA),
    "<think>Country: Japan</think>\nFood: Kimchi\nCountry: South Korea": (KIMCHI, KOREA),
    # Unlabelled.
    "This is Kimchi, a fermented dish from South Korea.": (KIMCHI, KOREA),
    "The dish on the left is called Kimchi and comes from South Korea.": (KIMCHI, KOREA),
    "Kimchi, South Korea": (KIMCHI, KOREA),
    "Kimchi (South Korea)": (KIMCHI, KOREA),
    "Kimchi - South Korea": (KIMCHI, KOREA),
    "Kimchi is from South Korea": (KIMCHI, KOREA),
    "Kimchi": (KIMCHI, "unparsable"),
    "It is a Korean dish.": ("unparsable", KOREA),
    "The country is South Korea.": ("unparsable", KOREA),
    # Names that look like something else.
    "Food: Roast turkey\nCountry: the United States": ("Roast turkey", "United States"),
    "Food: French onion soup\nCountry: France": ("French onion soup", "France"),
    "Food: Som Tam (papaya salad)\nCountry: Thailand": ("Som Tam (papaya salad)", "Thailand"),
    "Food: 김치\nCountry: South Korea": ("김치", KOREA),
    # Several, none, or not a country.
    "Food: Sushi\nCountry: Japan or China": ("Sushi", "ambiguous"),
    "Food: Pierogi\nCountry: Atlantis": ("Pierogi", "unparsable"),
    "Food: <name of the dish>\nCountry: <country>": ("unparsable", "unparsable"),
    "Food: unknown\nCountry: unknown": ("refused", "refused"),
    "I'm sorry, but I cannot identify this dish.": ("refused", "refused"),
    "I can't determine the dish, but it may be from Peru.": ("refused", "Peru"),
    "A plate with rice and beans on a wooden table, photographed from above.": ("unparsable", "unparsable"),
    "": ("empty", "empty"),
    " \n": ("empty", "empty"),
    "<think>Food: Kimchi\nCountry: South": ("truncated", "truncated"),
}


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_gives_what_it_says_or_a_status(reply):
    food, country = REPLIES[reply]
    answer = parse_open_answer(reply)
    assert (answer.food or answer.food_status, answer.country or answer.country_status) == (food, country)
    assert (answer.food is None) == (answer.food_status != "ok")
    assert (answer.country is None) == (answer.country_status != "ok")
    assert (answer.status == "ok") == (answer.food is not None or answer.country is not None)


@pytest.mark.parametrize(
    ("reply", "food", "country"),
    [
        ("Food: Kimchi\nCountry: South", KIMCHI, "truncated"),
        ("Food: Kim", "truncated", "truncated"),
        ("Food: Kimchi\n", "truncated", "truncated"),
        ("The image shows a plate of", "truncated", "truncated"),
        ("Food: Kimchi\nCountry: South Korea\nI hope that", KIMCHI, KOREA),
        ("", "truncated", "truncated"),
    ],
)
def test_what_a_cut_reply_ends_with_is_not_an_answer(reply, food, country):
    answer = parse_open_answer(reply, finished=False)
    assert (answer.food or answer.food_status, answer.country or answer.country_status) == (food, country)


def test_similarity_by_hand():
    # kimchi: ki im mc ch hi; kimchee: ki im mc ch he ee -> 4 of 7. Letters: k i m c h of k i i m c h e e -> 5 of 8.
    assert name_similarity("kimchi", "kimchee") == pytest.approx(0.7 * 4 / 7 + 0.3 * 5 / 8)
    # As sets: k i m c h of k i m c h e.
    assert name_similarity("kimchi", "kimchee", counted=False) == pytest.approx(0.7 * 4 / 7 + 0.3 * 5 / 6)
    assert name_similarity("Phở bò", "pho-BO") == 1
    assert name_similarity("pho", "sushi") == pytest.approx(0.3 * 1 / 7)
    assert (name_similarity("a", "a"), name_similarity("a", "b"), name_similarity("", "")) == (1, 0, 0)


def test_four_tenths_is_enough():
    # ab bc | ab bd: 1 of 3; a b c | a b d: 2 of 4 -> 0.3833. abc | abcd: 2 of 3, 3 of 4 -> 0.6917.
    assert not same_food("abc", "abd")
    assert same_food("abc", "abcd")
    # ab bc | ab bd dc: 1 of 4; a b c | a b d c: 3 of 4 -> 0.4 but for rounding.
    assert name_similarity("abc", "abdc") == pytest.approx(0.4)
    assert same_food("abc", "abdc")
    assert same_food("Tom yum goong", "Tom Yum")
    assert not same_food("Tom yum goong", "Pad thai")


def test_similarity_is_a_symmetric_share_and_agrees_with_another_formula():
    rng = random.Random(0)

    def reference(a, b, n):
        x, y = ([t[i : i + n] for i in range(len(t) - n + 1)] for t in (a, b))
        # Of multisets: |x| + |y| - |both| with both counted by removing matches one by one.
        left, both = list(y), 0
        for gram in x:
            if gram in left:
                left.remove(gram)
                both += 1
        return both / (len(x) + len(y) - both) if x or y else 0

    for _ in range(300):
        a, b = ("".join(rng.choices("abcd", k=rng.randrange(2, 9))) for _ in range(2))
        value = name_similarity(a, b)
        assert value == pytest.approx(0.7 * reference(a, b, 2) + 0.3 * reference(a, b, 1))
        assert value == name_similarity(b, a)
        assert 0 <= value <= 1
        assert (value == 1) == (Counter(a) == Counter(b) and sorted(pairwise(a)) == sorted(pairwise(b)))


@pytest.mark.parametrize(
    ("written", "country"),
    [
        ("England", "United Kingdom"),
        ("United Kingdom", "United Kingdom"),
        ("United States Of America (Usa)", "United States"),
        ("unitedstates2", "United States"),
        ("southkorea", "South Korea"),
        ("mexico1", "Mexico"),
        ("Azerbaijani", "Azerbaijan"),
        ("Türkiye", "Turkey"),
        ("côte d’ivoire", "Cote d'Ivoire"),
        ("dr_congo", "Democratic Republic of the Congo"),
        ("Atlantis", None),
        ("South", None),
        ("", None),
        ("12", None),
    ],
)
def test_labels_name_countries_or_nothing(written, country):
    assert country_of(written) == country


@pytest.mark.parametrize(
    ("text", "countries"),
    [
        ("a Chinese dish, popular in Peru", ["Peru"]),
        ("South Sudan and Guinea-Bissau", ["South Sudan", "Guinea-Bissau"]),
        ("Roast turkey, let us eat", []),
        ("from the US, the U.S. or the UK", ["United States", "United Kingdom"]),
        ("north korea", ["North Korea"]),
        ("Mexican", ["Mexico"]),
        ("Nigeria, Nigerian, Niger", ["Nigeria", "Niger"]),
        ("Chilean wine and Romanian bread", ["Chile", "Romania"]),
    ],
)
def test_running_text_names_countries(text, countries):
    assert countries_in(text) == countries


def test_every_country_has_one_name_and_a_continent():
    from lopsided.mllm.benchmarks.countries import _names

    names = _names()
    assert len(names.continents) == 200
    assert set(map(continent_of, names.continents)) == {
        *("Africa", "Asia", "Europe", "North America", "Oceania", "South America")
    }
    assert all(country_of(name) == name for name in names.continents)
    assert all(countries_in(f"It is from {name}.") == [name] for name in names.continents)
    assert not set(names.countries) & set(names.people)
    assert not set(string.digits) & set("".join(names.countries))
