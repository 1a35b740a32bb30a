"""Readers of multimodal benchmarks: official layouts in miniature, real label files, and a refusal for every damage."""

import csv
import gzip
import inspect
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from support.paths import ROOT, SHARED

from lopsided.common.errors import LopsidedError
from lopsided.mllm.benchmarks import benchmark_info, list_benchmarks, open_benchmark
from lopsided.mllm.benchmarks.cogip import LABELS, label_of
from lopsided.mllm.benchmarks.questions import STRATEGIES
from lopsided.mllm.benchmarks.unipercept import QUESTIONS, RATING_SETS, TAXONOMY, split_options

LABEL_FILES = SHARED / "mllm"
DOCUMENTATION = (ROOT / "docs" / "mllm_benchmarks.md").read_text(encoding="utf-8")
needs_labels = pytest.mark.skipif(not LABEL_FILES.is_dir(), reason="the benchmarks' label files are not here")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def write_image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def edit(path, change):
    """Change a JSON file's value in place."""
    value = json.loads(path.read_text())
    path.write_text(json.dumps(change(value) or value))


# ---------------------------------------------------------------------------------------------- miniature benchmarks
KADID = Path("benchmark/VR/IQA/KADID/KADID.json")
ISTA = Path("benchmark/VR/ISTA/ISTA-10K/ISTA-10K.json")
VQA = Path("benchmark/VQA/IQA/UniPercept-Bench-IQA.json")
AESTHETICS = Path("data/test_msg_file/Aesthetics/Aesthetics_messages.json")
QUESTION = "How severe is the blur?\nA. None\nB. Slight\nC. Obvious"


def unipercept_vr(folder):
    kadid = [{"image": f"I0{r}_01_0{n}.png", "gt_score": 5 - n - 0.3} for r in (3, 4) for n in (1, 2)]
    ista = [{"image": name, "gt_score": 8} for name in ("DTD_grid_0053.jpg", "LSDIR_1.png", "DTD_grid_0053.jpg")]
    for path, entries in ((KADID, kadid), (ISTA, ista)):
        write(folder / path, entries)
        for entry in entries:
            write_image(folder / path.parent / "image" / entry["image"])


def unipercept_vqa(folder):
    entries = [
        {
            "image": "a.png",
            "question": QUESTION,
            "answer": "C",
            "category": "Distortion Severity",
            "template": "Lv.Pred",
        },
        {"image": "a.png", "question": "Is it sharp? A. Yes B. No", "answer": "(b)", "category": "Distortion Type"},
    ]
    write(folder / VQA, entries)
    write_image(folder / VQA.parent / "images" / "a.png")


def cogip_chat(image, text):
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": text}]}]


def cogip(folder):
    for dimension, scores in (
        ("Aesthetics", ["low 4.105", "high 6.500"]),
        ("Emotional_Valence", ["neutral 0.000", "negative -3.000"]),
    ):
        place = folder / "data/test_msg_file" / dimension
        names = [f"{dimension}/{800 + n:06}.jpg" for n in range(len(scores))]
        write(place / f"{dimension}_messages.json", [cogip_chat(name, "<image>  \nHow is it?") for name in names])
        write(place / f"{dimension}_scores.json", scores)
        for name in names:
            write_image(folder / "data/cognition/cognition_images" / name)


def food(n, country, image, **more):
    return {"image_path": image, "food1_id": str(n), "food1_name": f"Dish {n}", "food1_country": country, **more}


def culturemix(folder):
    other = {"food2_id": "9", "food2_name": "Kimchi", "food2_country": "South Korea"}
    tables = {
        "sf": [
            food(1, "England", "sf/1_white.png"),
            food(2, "Japan", "sf/2_white.png"),
            food(2, "Japan", "sf/2_b.png"),
        ],
        "mf": [food(1, "United Kingdom", "mf/1_9.png", **other), food(2, "Japan", "mf/2_9.png", **other)],
        "sfb_street": [
            food(1, "England", "sfb/1.png", background_country="mexico1"),
            food(2, "Japan", "sfb/2.png", background_country="southkorea"),
        ],
        "sfb_landmark": [food(1, "England", "sfb/1l.png", background_country="unitedstates2")],
        "mfb_street": [food(2, "Japan", "mfb/2.png", **other, background_country="mexico2")],
    }
    for name, rows in tables.items():
        write_csv(folder / "metadata" / f"{name}.csv", rows)
        for row in rows:
            write_image(folder / row["image_path"])


def mixcube_folders(folder):
    for thing in ("Korean_Food_11", "UK_Clothes_2"):
        for ethnicity in ("original", "African", "EastAsian"):
            write_image(folder / thing / f"{ethnicity}.png")


def confused_tourist(folder):
    write_csv(
        folder / "things.csv", [{"item": "soto_ayam", "country": "Indonesia"}, {"item": "kroj", "country": "Czechia"}]
    )
    for name in ("soto_ayam_japan.jpeg", "soto_ayam_new_zealand.jpeg", "kroj_argentina.jpeg", "kroj.jpeg"):
        write_image(folder / name)


def q_bench(folder):
    entry = {"img_path": "1.jpg", "question": "Is it blurred?", "candidates": ["Yes", "No"], "correct_ans": "No"}
    entries = [
        entry | {"type": 0, "concern": 2},
        entry | {"candidates": ["Noise", "Blur", "No"], "correct_ans": "Blur"},
    ]
    write(folder / "llvisionqa_dev.json", entries)
    write_image(folder / "images/1.jpg")


def q_bench_iqa(folder):
    write(folder / "kadid.json", [{"img_path": f"I01_0{n}_01.png", "gt_score": str(n / 2)} for n in (1, 2)])
    # As the outputs are published: objects without anything between them.
    outputs = [{"img_path": f"{n}.bmp", "gt_score": 50.5 + n, "logit_good": 1.0, "logit_poor": 0.5} for n in (1, 2)]
    write(folder / "livec.json", "".join(map(json.dumps, outputs)))
    for name in ("kadid/I01_01_01.png", "kadid/I01_02_01.png", "livec/1.bmp", "livec/2.bmp"):
        write_image(folder / name)


OWN = [
    {"id": "1", "task": "rate", "images": "a.png", "target": 3, "scale": [1, 5], "reference": "scene"},
    {"id": "2", "task": "answer", "images": ["a.png", "b.png"], "question": "Which?", "options": ["left", "right"]},
    {"id": "3", "task": "open", "images": "a.png", "question": "What?", "target": "a lamp", "groups": {"room": "hall"}},
]


def own(folder):
    write(folder / "own.jsonl", "".join(json.dumps(entry) + "\n\n" for entry in OWN))
    for name in ("a.png", "b.png"):
        write_image(folder / name)


# name -> writer, where below the folder it is read, options, items
MINIATURES = {
    "unipercept-vr": (unipercept_vr, "", {}, 7),
    "unipercept-vqa": (unipercept_vqa, "", {}, 2),
    "cogip": (cogip, "", {}, 4),
    "culturemix": (culturemix, "", {}, 9),
    "culturemix-real": (culturemix, "", {"files": {"SF": "metadata/sf.csv", "MF": "metadata/mf.csv"}}, 5),
    "mixcube": (mixcube_folders, "", {}, 6),
    "confused-tourist": (confused_tourist, "", {"table": "things.csv"}, 4),
    "q-bench": (q_bench, "", {}, 2),
    "q-bench-iqa": (q_bench_iqa, "", {}, 4),
    "jsonl": (own, "own.jsonl", {}, 3),
}


@pytest.fixture
def opened(tmp_path):
    def open_miniature(name, **options):
        writer, place, own_options, _ = MINIATURES[name]
        if not list(tmp_path.iterdir()):
            writer(tmp_path)
        return open_benchmark(name, tmp_path / place, **{"strict": False, **own_options, **options})

    return open_miniature


def test_every_reader_is_listed_described_and_tested_here():
    assert list_benchmarks() == list(MINIATURES)
    for name in list_benchmarks():
        info = benchmark_info(name)
        assert info.layout
        assert (info.source and info.licence) or name == "jsonl"


def test_the_documentation_names_every_benchmark_and_option_and_its_example_is_read(tmp_path):
    for name in list_benchmarks():
        assert f"`{name}`" in DOCUMENTATION
        options = [
            p.name for p in inspect.signature(benchmark_info(name).read).parameters.values() if p.kind == p.KEYWORD_ONLY
        ]
        assert all(f"`{option}`" in DOCUMENTATION for option in options)
    example = DOCUMENTATION.split("```json\n")[1].split("```")[0]
    items = open_benchmark("jsonl", write(tmp_path / "own.jsonl", example), images="absent").items
    assert [(item.task, item.target) for item in items] == [("rate", 3.5), ("answer", "B"), ("open", "a lamp")]


@pytest.mark.parametrize("name", MINIATURES)
def test_items_are_whole(name, opened):
    benchmark = opened(name)
    assert benchmark.name == name
    assert len(benchmark.items) == MINIATURES[name][3]
    assert len({(item.benchmark, item.dimension, item.id) for item in benchmark.items}) == len(benchmark.items)
    for item in benchmark.items:
        assert item.benchmark.startswith(name if name != "jsonl" else "own")
        assert all(path.is_file() for path in item.images)
        assert item.cluster
        assert all(isinstance(value, str) and value for value in item.groups.values())
        if item.task == "rate":
            assert isinstance(item.target, float)
            assert item.scale is None or item.scale[0] <= item.target <= item.scale[1]
        elif item.task == "answer":
            assert len(item.options) >= 2
            assert item.target is None or item.target in "ABC"[: len(item.options)]


@pytest.mark.parametrize("name", MINIATURES)
def test_identity_is_the_content_of_the_labels(name, opened, tmp_path):
    first = opened(name)
    assert opened(name).identity == first.identity
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    for path in tmp_path.rglob("*.jp*g"):
        if name not in ("mixcube", "confused-tourist"):  # where the images' names are the labels
            path.unlink()
    if name != "mixcube":
        labels = opened(name, images="absent")
        assert labels.identity == first.identity
        assert "images were not looked for: labels only" in labels.notes
        assert "images were not looked for: labels only" not in first.notes


# ------------------------------------------------------------------------------------------------ what each reader says
def test_unipercept_ratings(opened):
    benchmark = opened("unipercept-vr")
    assert [item.cluster for item in benchmark.items[:4]] == ["I03", "I03", "I04", "I04"]
    assert [item.id for item in benchmark.items[4:]] == ["DTD_grid_0053.jpg", "LSDIR_1.png", "DTD_grid_0053.jpg#2"]
    assert benchmark.items[6].cluster == benchmark.items[4].cluster == "DTD_grid_0053.jpg"
    assert {item.dimension for item in benchmark.items} == {"IQA", "ISTA"}
    assert benchmark.items[0].target == pytest.approx(3.7)
    assert any("1 of 3 items repeat an image" in note for note in benchmark.notes)
    assert any("KADID has 4 items, officially 2000" in note for note in benchmark.notes)
    only = opened("unipercept-vr", sets=["KADID"])
    assert {item.benchmark for item in only.items} == {"unipercept-vr/KADID"}


def test_unipercept_questions_keep_their_text_and_know_their_options(opened):
    first, second = opened("unipercept-vqa").items
    assert (first.question.startswith("How severe"), first.options, first.target) == (
        True,
        ("None", "Slight", "Obvious"),
        "C",
    )
    assert (second.options, second.target) == (("Yes", "No"), "B")
    assert first.cluster == second.cluster == "a.png"
    assert dict(first.groups) == {"domain": "IQA", "category": "Distortion Severity", "template": "Lv.Pred"}
    assert "template" not in second.groups
    assert any("no criterion, template for every question" in note for note in opened("unipercept-vqa").notes)


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Q?\nA. x\nB. y\nC. z\nD. w", ("x", "y", "z", "w")),
        ("Q? (A) x (B) y", ("x", "y")),
        ("Q?\nA) x\nB) y\n", ("x", "y")),
        ("Q?\nA: Plan B. is good\nB: y", ("Plan B. is good", "y")),
        ("Vitamin A. or what?\nA. yes\nB. no", ("yes", "no")),
        ("Who is Mr. A. Smith?", ()),
        ("Q?\nB. x\nC. y", ()),
    ],
)
def test_options_are_found_in_questions(question, options):
    assert split_options(question)[1] == options


def test_taxonomy_adds_up_to_the_published_counts():
    totals = {domain: sum(sum(c.values()) for c in categories.values()) for domain, categories in TAXONOMY.items()}
    assert totals == QUESTIONS == {"IAA": 1015, "IQA": 1088, "ISTA": 970}
    sizes = {name: sum(c.values()) for categories in TAXONOMY.values() for name, c in categories.items()}
    assert (sizes["Composition & Design"], sizes["Distortion Location"], sizes["Geometric Composition"]) == (
        195,
        545,
        234,
    )
    assert (len(sizes), sum(len(c) for categories in TAXONOMY.values() for c in categories.values())) == (16, 44)


def test_cogip_reads_chats_and_scores_by_index(opened):
    items = opened("cogip").items
    assert [(item.dimension, item.id, item.target) for item in items] == [
        ("Aesthetics", "000800", 4.105),
        ("Aesthetics", "000801", 6.5),
        ("Emotional_Valence", "000800", 0.0),
        ("Emotional_Valence", "000801", -3.0),
    ]
    assert [item.groups["label"] for item in items] == ["low", "high", "neutral", "negative"]
    assert items[0].question == "How is it?"
    assert opened("cogip", image_marker=True).items[0].question == "<image>  \nHow is it?"
    assert any("not reproduced" in note for note in opened("cogip").notes)


def hub_rows(**changes):
    row = {"id": "x1", "dimension": "Memorability", "prompt": "<image>\nHow?", "score": 0.35}
    return [row, row | {"id": "x2", "score": 0.5} | changes]


def test_cogip_metadata_of_the_hub(tmp_path):
    rows = [row | {"image": f"images/Memorability/{row['id']}.jpg"} for row in hub_rows()]
    write(tmp_path / "metadata_test.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    for row in rows:
        write_image(tmp_path / row["image"])
    benchmark = open_benchmark("cogip", tmp_path, strict=False)
    assert [(item.id, item.target, item.groups["label"]) for item in benchmark.items] == [
        ("x1", 0.35, "low"),
        ("x2", 0.5, "medium"),
    ]
    with pytest.raises(LopsidedError, match=r"metadata_train\.jsonl or data is not there"):
        open_benchmark("cogip", tmp_path, strict=False, split="train")


def write_parquet(path, rows, score=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    if score is not None:
        column = pa.array([row["score"] for row in rows], pa.float32())
        table = table.set_column(table.column_names.index("score"), "score", column)
    parquet.write_table(table, path)


def test_cogip_parquet_writes_its_images_where_told_and_reads_float32_as_written(tmp_path):
    data = write_image(tmp_path / "one.png").read_bytes()
    rows = [row | {"image": {"bytes": data, "path": None}} for row in hub_rows()]
    write_parquet(tmp_path / "hub/data/test-00000-of-00001.parquet", rows, score=pa.float32())
    opening = {"name": "cogip", "path": tmp_path / "hub", "strict": False}
    benchmark = open_benchmark(**opening, extract=str(tmp_path / "out"))
    # 0.35 as float32 lies below 0.35, in the label beneath.
    assert [(item.target, item.groups["label"]) for item in benchmark.items] == [(0.35, "low"), (0.5, "medium")]
    assert [path.read_bytes() for item in benchmark.items for path in item.images] == [data, data]
    assert benchmark.items[0].images[0] == tmp_path / "out/Memorability/x1.png"
    with pytest.raises(LopsidedError, match="2 images are inside the parquet files; give extract"):
        open_benchmark(**opening)
    assert open_benchmark(**opening, images="absent").identity != ""


@pytest.mark.parametrize("dimension", LABELS)
def test_labels_are_half_open(dimension):
    for low, high, label in LABELS[dimension]:
        assert label_of(dimension, low) == label
        assert label_of(dimension, np.nextafter(high, low)) == label
        assert label_of(dimension, high) != label or high == 1.0
    assert label_of(dimension, 10.2) == label_of(dimension, -3.5) == ""
    assert label_of("Emotional_Valence", 0.5) == ""


def test_culturemix_normalises_countries_and_says_how_far_contexts_are(opened):
    items = {item.id: item for item in opened("culturemix").items}
    assert items["sf/1_white.png"].groups["country"] == items["mf/1_9.png"].groups["country"] == "United Kingdom"
    assert items["sf/1_white.png"].target == "Food: Dish 1\nCountry: United Kingdom"
    background = items["sfb/1l.png"].groups
    assert (background["background"], background["background_country"]) == ("unitedstates2", "United States")
    assert background["background_kind"] == "landmark"
    distances = {name: item.groups.get("distance") for name, item in items.items()}
    assert distances["sf/1_white.png"] is None
    assert distances["mf/2_9.png"] == distances["sfb/2.png"] == "same continent"
    assert distances["mf/1_9.png"] == distances["sfb/1.png"] == distances["mfb/2.png"] == "different continents"
    contexts = {name: item.groups["context"] for name, item in items.items()}
    assert contexts["sf/2_white.png"] == contexts["sf/2_b.png"] == "alone"
    assert (contexts["mf/2_9.png"], contexts["mfb/2.png"]) == ("9", "9 + mexico2 street")
    assert [item.cluster for item in items.values()] == [item.groups["dish"] for item in items.values()]
    assert any("2 of 3 images are on white" in note for note in opened("culturemix").notes)
    assert any("not settled" in note for note in opened("culturemix").notes)
    assert "left" in items["mf/1_9.png"].question
    assert "left" not in items["sf/1_white.png"].question


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_ask_the_same_in_other_words(strategy, opened):
    direct, other = opened("culturemix"), opened("culturemix", strategy=strategy)
    assert [replace(item, question="", benchmark="", groups={}) for item in direct.items] == [
        replace(item, question="", benchmark="", groups={}) for item in other.items
    ]
    assert all(item.groups["strategy"] == strategy for item in other.items)
    assert ({item.benchmark for item in other.items} == {"culturemix"}) == (strategy == "direct")
    mixed = next(item.question for item in other.items if item.dimension == "MFB")
    assert ("Ignore the other dish and the background" in mixed) == (strategy != "direct")
    assert ("step by step" in mixed) == (strategy == "PromptCoT")
    assert all("Food: <" in item.question and "Country: <" in item.question for item in other.items)


def test_mixcube_rows_are_grouped_from_original_to_original(tmp_path):
    data = write_image(tmp_path / "one.png").read_bytes()
    row = {"country": "Azerbaijani", "category": "Food", "image": {"bytes": data, "path": "x.png"}}
    rows = [row | {"ethnicity": name} for name in ("original", "African", "Caucasian", "original", "African")]
    write_parquet(tmp_path / "hub/data/train-0.parquet", rows)
    benchmark = open_benchmark("mixcube", tmp_path / "hub", strict=False, extract=str(tmp_path / "out"))
    assert [item.id for item in benchmark.items] == [
        *("Azerbaijani_Food_1/original", "Azerbaijani_Food_1/African", "Azerbaijani_Food_1/Caucasian"),
        *("Azerbaijani_Food_2/original", "Azerbaijani_Food_2/African"),
    ]
    assert benchmark.items[0].target == "Country: Azerbaijan"
    assert [item.cluster for item in benchmark.items[2:4]] == ["Azerbaijani_Food_1", "Azerbaijani_Food_2"]
    write_parquet(tmp_path / "hub/data/train-0.parquet", [rows[0], rows[1], rows[1]])
    with pytest.raises(LopsidedError, match="row 3: Azerbaijani_Food African follows Azerbaijani_Food_1"):
        open_benchmark("mixcube", tmp_path / "hub", strict=False)
    write_parquet(tmp_path / "hub/data/train-0.parquet", [rows[1]])
    with pytest.raises(LopsidedError, match="row 1: Azerbaijani_Food African follows nothing"):
        open_benchmark("mixcube", tmp_path / "hub", strict=False)


def test_confused_tourist_takes_things_from_the_table_and_cues_from_the_names(opened):
    items = {item.id: item for item in opened("confused-tourist").items}
    assert items["soto_ayam_new_zealand.jpeg"].groups["background_country"] == "New Zealand"
    assert items["soto_ayam_japan.jpeg"].groups["distance"] == "same continent"
    assert items["kroj.jpeg"].groups["context"] == "original"
    assert items["kroj_argentina.jpeg"].target == "Country: Czechia"


def test_q_bench_finds_letters_and_keeps_back_test_answers(opened, tmp_path):
    first, second = opened("q-bench").items
    assert (first.target, second.target, first.cluster) == ("B", "B", "1.jpg")
    assert first.question == "Is it blurred?\nChoose between one of the options as follows:\nA. Yes\nB. No"
    assert dict(first.groups) == {"type": "0", "concern": "2"}
    entries = [
        {k: v for k, v in e.items() if k != "correct_ans"}
        for e in json.loads((tmp_path / "llvisionqa_dev.json").read_text())
    ]
    write(tmp_path / "llvisionqa_test.json", entries)
    test = opened("q-bench", split="test")
    assert [item.target for item in test.items] == [None, None]
    assert "2 of 2 answers are not published by the authors" in test.notes


def test_q_bench_lists_of_rated_images(opened):
    items = opened("q-bench-iqa").items
    assert [(item.benchmark, item.target, item.cluster) for item in items] == [
        ("q-bench-iqa/livec", 51.5, "1.bmp"),
        ("q-bench-iqa/livec", 52.5, "2.bmp"),
        ("q-bench-iqa/kadid", 0.5, "I01"),
        ("q-bench-iqa/kadid", 1.0, "I01"),
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"target": 4},
        {"scale": [0, 5]},
        {"reference": "other"},
        {"question": "How good?"},
        {"dimension": "aesthetics"},
        {"higher_is_better": False},
        {"groups": {"room": "hall"}},
    ],
)
def test_any_change_of_an_item_is_another_identity(changed, opened, tmp_path):
    before = opened("jsonl")
    own_line(0, **changed)(tmp_path)
    assert opened("jsonl").identity != before.identity


def test_own_items(opened):
    first, second, third = opened("jsonl").items
    assert (first.target, first.scale, first.cluster, first.dimension) == (3.0, (1.0, 5.0), "scene", "quality")
    assert (len(second.images), second.options, second.target) == (2, ("left", "right"), None)
    assert (third.target, dict(third.groups), third.cluster) == ("a lamp", {"room": "hall"}, "3")
    assert opened("jsonl", benchmark="mine").items[0].benchmark == "mine"


# ------------------------------------------------------------------------------------------------------------ refusals
def set_field(path, entry, **fields):
    return lambda folder: edit(folder / path, lambda value: value[entry].update(fields))


def drop_field(path, entry, name):
    return lambda folder: edit(folder / path, lambda value: value[entry].pop(name) and None)


def rewrite(path, change):
    return lambda folder: (folder / path).write_bytes(change((folder / path).read_bytes()))


def own_line(line, **fields):
    def change(folder):
        lines = [json.loads(text) for text in (folder / "own.jsonl").read_text().splitlines() if text]
        lines[line] |= fields
        write(folder / "own.jsonl", "\n".join(json.dumps(entry) for entry in lines))

    return change


SF, SFB = "metadata/sf.csv", "metadata/sfb_street.csv"
KADID_IMAGE = KADID.parent / "image/I03_01_01.png"
DAMAGES = {
    "image not there": (
        "unipercept-vr",
        lambda f: (f / KADID_IMAGE).unlink(),
        r"1 of 6 images are not there: .*I03_01_01",
    ),
    "image empty": ("unipercept-vr", rewrite(KADID_IMAGE, lambda _: b""), "1 of 6 images are empty files"),
    "label file not there": (
        "q-bench",
        lambda f: (f / "llvisionqa_dev.json").unlink(),
        "llvisionqa_dev.json is not there",
    ),
    "item twice": (
        "unipercept-vr",
        set_field(KADID, 1, image="I03_01_01.png", gt_score=3.7),
        "1 items are listed twice",
    ),
    "image with two scores": (
        "unipercept-vr",
        set_field(ISTA, 2, gt_score=9),
        "entry 3: .* gt_score 9 here and 8 before",
    ),
    "score out of range": (
        "unipercept-vr",
        set_field(KADID, 1, gt_score=93.0),
        r"entry 2: gt_score 93 is outside 1.02",
    ),
    "score not a number": (
        "unipercept-vr",
        set_field(KADID, 1, gt_score="good"),
        "gt_score must be a number, got 'good'",
    ),
    "score NaN": ("unipercept-vr", rewrite(KADID, lambda b: b.replace(b"3.7", b"NaN", 1)), "must be a number, got nan"),
    "score a truth value": ("unipercept-vr", set_field(KADID, 0, gt_score=True), "must be a number, got True"),
    "field missing": ("unipercept-vr", drop_field(KADID, 0, "gt_score"), "entry 1: lacks 'gt_score'; it has 'image'"),
    "file cut off": ("unipercept-vr", rewrite(KADID, lambda b: b[: len(b) // 2]), r"KADID.json: not JSON .*cut off"),
    "file empty": ("unipercept-vr", rewrite(KADID, lambda _: b""), "KADID.json: not JSON"),
    "file of nothing": (
        "unipercept-vr",
        rewrite(KADID, lambda _: b"[]"),
        "a list with entries, got an empty list",
    ),
    "file of another kind": (
        "unipercept-vr",
        rewrite(KADID, lambda _: b'{"a": 1}'),
        "a list with entries, got an object",
    ),
    "entry of another kind": (
        "unipercept-vr",
        rewrite(KADID, lambda _: b'["a"]'),
        "entry 1: must be an object",
    ),
    "file in UTF-16": ("unipercept-vr", rewrite(KADID, lambda b: b.decode().encode("utf-16")), "not UTF-8 text"),
    "path out of the folder": ("unipercept-vr", set_field(ISTA, 1, image="../../x.png"), "is not a path within"),
    "name of no reference": ("unipercept-vr", set_field(KADID, 0, image="i3.png"), "does not say its reference"),
    "question without options": ("unipercept-vqa", set_field(VQA, 0, question="How?"), "lists no options"),
    "answer of no option": ("unipercept-vqa", set_field(VQA, 1, answer="C"), "answer 'C' is not one of the 2 options"),
    "answer of words": ("unipercept-vqa", set_field(VQA, 1, answer="Yes"), "answer 'Yes' is not one of"),
    "scores fewer than chats": (
        "cogip",
        lambda f: edit(f / AESTHETICS.with_name("Aesthetics_scores.json"), lambda v: v[:1]),
        "2 chats but 1 scores",
    ),
    "label against score": (
        "cogip",
        lambda f: edit(f / AESTHETICS.with_name("Aesthetics_scores.json"), lambda v: ["high 4.105", v[1]]),
        "label 'high', but 4.105 is 'low'",
    ),
    "chat of two turns": ("cogip", lambda f: edit(f / AESTHETICS, lambda v: [v[0] + v[0], v[1]]), "a chat of one turn"),
    "unknown countries": (
        "culturemix",
        rewrite(SF, lambda b: b.replace(b"England", b"Narnia").replace(b"Japan", b"Nippon")),
        "sf.csv: 2 unknown countries: 'Narnia', 'Nippon'",
    ),
    "unknown background": ("culturemix", rewrite(SFB, lambda b: b.replace(b"mexico1", b"aztlan1")), "'aztlan1'"),
    "column missing": (
        "culturemix",
        rewrite(SFB, lambda b: b.replace(b"background_country", b"bg")),
        "background_country",
    ),
    "row cut off": ("culturemix", rewrite(SF, lambda b: b[: b.rindex(b",")]), "cells, but the header has"),
    "no metadata": ("culturemix", lambda f: (f / "metadata").rename(f / "meta"), "no metadata/"),
    "image of no thing": (
        "confused-tourist",
        lambda f: write_image(f / "pho_japan.jpeg"),
        "1 images are not named .*pho_japan",
    ),
    "folder of no name": ("mixcube", lambda f: write_image(f / "odd/original.png"), "odd: is not named"),
    "answer of no candidate": (
        "q-bench",
        set_field("llvisionqa_dev.json", 0, correct_ans="no"),
        "is not exactly one of",
    ),
    "candidates not a list": (
        "q-bench",
        set_field("llvisionqa_dev.json", 0, candidates="Yes"),
        "candidates must be a list",
    ),
    "objects cut off": ("q-bench-iqa", rewrite("livec.json", lambda b: b[:-9]), "livec.json, entry 2: not JSON"),
    "own: unknown field": ("jsonl", own_line(0, mos=3), "unknown field 'mos'"),
    "own: unknown task": ("jsonl", own_line(0, task="judge"), "task must be one of rate, answer, open, got 'judge'"),
    "own: target out of scale": ("jsonl", own_line(0, target=6), "target 6 is outside 1 … 5"),
    "own: scale upside down": ("jsonl", own_line(0, scale=[5, 1]), "scale must be"),
    "own: no options": ("jsonl", own_line(1, options=[]), "needs two options or more"),
    "own: no question": ("jsonl", own_line(2, question=" "), "needs a question"),
    "own: id twice": ("jsonl", own_line(2, id="1"), "listed twice"),
    "own: groups of numbers": ("jsonl", own_line(2, groups={"room": 3}), "groups must be"),
    "own: line cut off": ("jsonl", rewrite("own.jsonl", lambda b: b.rstrip()[:-5]), "line 5: not JSON"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_benchmark_is_refused_in_one_line(damage, opened, tmp_path):
    name, spoil, message = DAMAGES[damage]
    opened(name)
    spoil(tmp_path)
    with pytest.raises(LopsidedError, match=message) as refused:
        opened(name)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_a_byte_order_mark_is_taken_off(opened, tmp_path):
    for name, path in (("unipercept-vr", KADID), ("culturemix", SF)):
        folder = tmp_path / name
        folder.mkdir()
        MINIATURES[name][0](folder)
        before = open_benchmark(name, folder, strict=False)
        (folder / path).write_bytes(b"\xef\xbb\xbf" + (folder / path).read_bytes())
        assert open_benchmark(name, folder, strict=False).identity == before.identity


def test_wrong_counts_are_refused_where_the_official_one_is_certain(opened):
    with pytest.raises(LopsidedError, match=r"KADID has 4 items, officially 2000; .* strict=False"):
        opened("unipercept-vr", strict=True)


def test_wrong_counts_are_noted_where_the_official_one_is_not_certain(opened):
    notes = opened("culturemix", strict=True).notes
    assert "SF has 3 items, officially 988 (not certain)" in notes


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unipercept", {}, "did you mean 'unipercept-v"),
        ("cogip", {"sets": []}, "has no option 'sets'; it has split, extract, image_marker"),
        ("cogip", {"split": "dev"}, "splits test, train"),
        ("unipercept-vr", {"sets": ["TID2013"]}, "no set 'TID2013'"),
        ("unipercept-vr", {"sets": ["AVA"]}, "AVA.json: cannot be read"),
        ("unipercept-vqa", {"domains": ["VQA"]}, "no domain 'VQA'"),
        ("culturemix", {"strategy": "CoT"}, "no strategy 'CoT'"),
        ("culturemix", {"subtasks": ["FF"]}, "no sub-task 'FF'"),
        ("culturemix-real", {}, "needs the option 'files'"),
        ("confused-tourist", {}, "needs the option 'table'"),
        ("q-bench-iqa", {"images": "none"}, "images must be 'present' or 'absent'"),
    ],
)
def test_wrong_options_are_refused(name, options, message, tmp_path):
    MINIATURES.get(name, MINIATURES["unipercept-vr"])[0](tmp_path)
    with pytest.raises(LopsidedError, match=message):
        open_benchmark(name, tmp_path, **{"strict": False, **options})


def test_a_folder_that_is_not_there_is_refused_with_the_layout():
    with pytest.raises(LopsidedError, match=r"is not there; cogip reads data/test_msg_file"):
        open_benchmark("cogip", "nowhere")


# ----------------------------------------------------------------------------------------------------- real label files
def unpack(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.decompress(source.read_bytes()))


@needs_labels
def test_the_real_rating_files_are_read_whole(tmp_path):
    for source in (LABEL_FILES / "unipercept_vr").glob("*.json.gz"):
        name = source.name.removesuffix(".json.gz")
        unpack(source, tmp_path / "VR" / RATING_SETS[name].domain / name / f"{name}.json")
    benchmark = open_benchmark("unipercept-vr", tmp_path, images="absent")
    sizes = {"ArtiMuse-10K": 1002, "KonIQ-10K": 2015, "SPAQ": 2224, "KADID": 2000, "PIPAL": 4640, "ISTA-10K": 970}
    clusters = sizes | {"KADID": 16, "PIPAL": 40, "ISTA-10K": 957}
    for name, size in sizes.items():
        items = [item for item in benchmark.items if item.groups["dataset"] == name]
        assert (len(items), len({item.cluster for item in items})) == (size, clusters[name]), name
    ista = np.array([item.target for item in benchmark.items if item.dimension == "ISTA"], dtype=float)
    assert (np.mean(ista), np.std(ista, ddof=1)) == (pytest.approx(39.0, abs=0.05), pytest.approx(19.8, abs=0.05))
    with pytest.raises(LopsidedError, match="12838 of 12838 images are not there"):
        open_benchmark("unipercept-vr", tmp_path)


@needs_labels
def test_the_real_cogip_files_are_read_whole(tmp_path):
    for source in (LABEL_FILES / "cogip").glob("*.json.gz"):
        dimension = source.name.rsplit("_", 1)[0]
        unpack(source, tmp_path / "data/test_msg_file" / dimension / source.name.removesuffix(".gz"))
    items = open_benchmark("cogip", tmp_path, images="absent").items
    sizes = {"Aesthetics": 120, "Funniness": 199, "Emotional_Valence": 700, "Memorability": 700}
    assert {name: sum(item.dimension == name for item in items) for name in sizes} == sizes
    # Paraphrases of the prompt in the test set, and the label of every score, which the reader has checked.
    assert [len({item.question for item in items if item.dimension == name}) for name in sizes] == [29, 1, 22, 2]
    assert not any(item.question.startswith("<image>") for item in items)
    assert all(item.groups["label"] for item in items)


@needs_labels
def test_the_real_q_bench_files_are_read_whole(tmp_path):
    for source in (LABEL_FILES / "qbench_iqa_outputs/llava_v1.5").glob("*.jsonl.gz"):
        unpack(source, tmp_path / source.name.replace(".jsonl.gz", ".json"))
    benchmark = open_benchmark("q-bench-iqa", tmp_path, images="absent", sets=["kadid", "livec"])
    assert benchmark.notes == ("images were not looked for: labels only",)
    sizes = [sum(item.groups["dataset"] == name for item in benchmark.items) for name in ("kadid", "livec")]
    assert sizes == [10_125, 1_169]
    assert len({item.cluster for item in benchmark.items if item.groups["dataset"] == "kadid"}) == 81


@needs_labels
def test_the_real_gallery_images_are_read(tmp_path):
    gallery = LABEL_FILES / "culturemix_gallery"
    for path in gallery.glob("*_*_*/*.png"):
        target = tmp_path / "mixcube" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    benchmark = open_benchmark("mixcube", tmp_path / "mixcube", strict=False)
    assert {(item.cluster, item.groups["country"]) for item in benchmark.items} == {
        ("Azerbaijani_Clothes_7", "Azerbaijan"),
        ("Korean_Festival_13", "South Korea"),
    }
    assert len(benchmark.items) == 6
    tourist = tmp_path / "tourist"
    tourist.mkdir()
    for path in (gallery / "vlm_tourist").glob("*.jpeg"):
        (tourist / path.name).symlink_to(path)
    origins = {"vihuela": "Mexico", "soto": "Indonesia", "borscht": "Ukraine", "kroj": "Czechia", "goulash": "Hungary"}
    rows = [{"item": item, "country": country} for item, country in (origins | {"janggu": "South Korea"}).items()]
    write_csv(tourist / "things.csv", rows)
    items = open_benchmark("confused-tourist", tourist, table="things.csv").items
    assert {item.groups["dish"]: item.groups["background_country"] for item in items} == {
        "vihuela": "Venezuela",
        "soto": "Japan",
        "borscht": "Spain",
        "kroj": "Argentina",
        "goulash": "New Zealand",
        "janggu": "Argentina",
    }
