"""Cells as one file: whole, checked, and kept where they belong, whatever an archive says."""

import io
import json
import tarfile
from hashlib import sha256

import pytest
from support.counting import cell, plan_of

from lopsided.experiments import ExperimentError, Reporter, Store, pack, unpack, verify
from lopsided.experiments.running.execute import execute

MOST = 1 << 20


@pytest.fixture
def store(tmp_path):
    """A store with three finished cells and one that has failed."""
    place = Store(tmp_path / "runs")
    plan = plan_of(*(cell(number) for number in range(3)), cell(9, does="fail"))
    execute(plan, place, plan.experiment.execution, Reporter())
    return place


@pytest.fixture
def elsewhere(tmp_path):
    return Store(tmp_path / "elsewhere")


def files(store):
    return {
        str(path.relative_to(store.root)): path.read_bytes()
        for path in store.root.glob("cells/*/*/*")
        if path.name != "log.txt"
    }


def test_cells_arrive_as_they_were_and_those_that_are_there_stay(store, elsewhere, tmp_path):
    packed = pack(store, tmp_path / "a.tar")
    assert (len(packed.cells), len(packed.unfinished)) == (3, 1)
    moved = unpack(tmp_path / "a.tar", elsewhere, MOST)
    assert moved.cells == packed.cells
    failed = cell(9, does="fail").id
    assert files(elsewhere) == {name: content for name, content in files(store).items() if failed not in name}
    assert not verify(elsewhere).faults
    plan = plan_of(*(cell(number) for number in range(3)))
    assert execute(plan, elsewhere, plan.experiment.execution, Reporter()).cached == 3
    again = unpack(tmp_path / "a.tar", elsewhere, MOST)
    assert (again.cells, len(again.there)) == ([], 3)


def test_looks_at_a_part_are_those_that_were_asked_for(store, elsewhere, tmp_path):
    for name in ("one", "two.five"):
        (store.root / "looks").mkdir(exist_ok=True)
        (store.root / "looks" / f"{name}.json").write_bytes(LOOKS)
    assert pack(store, tmp_path / "all.tar").looks == ["one", "two.five"]
    assert pack(store, tmp_path / "a.tar", [], looks=["two.five", "three"]).looks == ["two.five"]
    assert unpack(tmp_path / "a.tar", elsewhere, MOST).looks == ["two.five"]
    assert json.loads((elsewhere.root / "looks" / "two.five.json").read_text()) == json.loads(LOOKS)
    (store.root / "looks" / "one.json").write_text("{}")
    with pytest.raises(ExperimentError, match=r"one.json', which says how often .* is damaged"):
        pack(store, tmp_path / "no.tar")


def test_a_part_of_a_store(store, elsewhere, tmp_path):
    pack(store, tmp_path / "a.tar", [("count", cell(1).id)])
    assert unpack(tmp_path / "a.tar", elsewhere, MOST).cells == [("count", cell(1).id)]


def test_a_damaged_cell_is_not_packed(store, tmp_path):
    path = store.folder("count", cell(1).id) / "count.json"
    path.write_text('{"count": 3}')
    with pytest.raises(ExperimentError, match=r"count.json' is damaged"):
        pack(store, tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()


def members(path):
    with tarfile.open(path) as tar:
        return [(one, tar.extractfile(one).read()) for one in tar.getmembers()]  # pyright: ignore[reportOptionalMemberAccess]


def write(path, found):
    with tarfile.open(path, "w") as tar:
        for info, content in found:
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))


def relisted(found, change):
    """The archive with another list of files."""
    record = json.loads(found[0][1])
    change(record["cells"])
    return [(found[0][0], json.dumps(record).encode()), *found[1:]]


def names(found, old, new):
    """The archive in which a name is another one, in the list too."""
    swapped = [(info, content) for info, content in found]
    for info, _ in swapped:
        info.name = info.name.replace(old, new)
    return [(swapped[0][0], swapped[0][1].decode().replace(old, new).encode()), *swapped[1:]]


LOOKS = json.dumps({"names": ["decided"], "planned": 4, "first": [0], "seeds": [0], "looks": [], "end": ""}).encode()


def with_looks(found, name, stated, content=None):
    """The archive with a record of looks that the list names."""
    record = json.loads(found[0][1])
    record["looks"][name] = {"size": len(stated), "sha256": sha256(stated).hexdigest()}
    member = (tarfile.TarInfo(f"looks/{name}.json"), stated if content is None else content)
    return [(found[0][0], json.dumps(record).encode()), member, *found[1:]]


def as_link(found, kind, to):
    info = found[1][0]
    info.type, info.linkname = kind, to
    return found


ATTACKS = {
    "a path that leads up": lambda found: names(found, "count.json", "../../../../escaped"),
    "an absolute path": lambda found: names(found, "count.json", "/tmp/escaped"),
    "a hidden file": lambda found: names(found, "count.json", ".escaped"),
    "a stage that leads up": lambda found: names(found, "count/", "../"),
    "a symbolic link": lambda found: as_link(found, tarfile.SYMTYPE, "/etc/passwd"),
    "a hard link": lambda found: as_link(found, tarfile.LNKTYPE, "manifest.json"),
    "a device": lambda found: as_link(found, tarfile.CHRTYPE, ""),
    "a flipped bit": lambda found: [
        *found[:1],
        (found[1][0], bytes([found[1][1][0] ^ 1]) + found[1][1][1:]),
        *found[2:],
    ],
    "a file that is longer than stated": lambda found: [*found[:1], (found[1][0], found[1][1] + b"x"), *found[2:]],
    "a file that is missing": lambda found: [*found[:1], *found[2:]],
    "a file that the list does not name": lambda found: [*found, (tarfile.TarInfo("cells/count/x/more"), b"more")],
    "no list": lambda found: found[1:],
    "a list that is no JSON": lambda found: [(found[0][0], b"{"), *found[1:]],
    "a list of another form": lambda found: [(found[0][0], b'{"format": 1, "cells": [1]}'), *found[1:]],
    "a size below zero": lambda found: relisted(
        found, lambda cells: next(iter(next(iter(cells.values())).values())).update(size=-1)
    ),
    "a newer format": lambda found: [(found[0][0], b'{"format": 99, "cells": {}}'), *found[1:]],
    "looks at what leads up": lambda found: with_looks(found, "../../escaped", LOOKS),
    "looks that are no record": lambda found: with_looks(found, "study", b'{"names": ["decided"]}'),
    "looks of other kinds": lambda found: with_looks(found, "study", LOOKS.replace(b"[0]", b'["0"]')),
    "looks that the list does not name": lambda found: [
        found[0],
        (tarfile.TarInfo("looks/study.json"), LOOKS),
        *found[1:],
    ],
    "looks that are not as stated": lambda found: with_looks(found, "study", LOOKS, LOOKS.replace(b"4", b"1")),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_pack_did_not_write_is_refused_and_nothing_is_written_outside(store, elsewhere, tmp_path, attack):
    pack(store, tmp_path / "good.tar", [("count", cell(1).id)])
    write(tmp_path / "bad.tar", ATTACKS[attack](members(tmp_path / "good.tar")))
    before = sorted(str(path) for path in tmp_path.rglob("*") if "elsewhere" not in str(path))
    with pytest.raises(ExperimentError) as caught:
        unpack(tmp_path / "bad.tar", elsewhere, MOST)
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(str(path) for path in tmp_path.rglob("*") if "elsewhere" not in str(path)) == before
    if attack != "a file that the list does not name":
        assert not list(elsewhere.root.glob("cells/*/*"))
        assert not list(elsewhere.root.glob("looks/*"))
    assert not list(elsewhere.root.rglob("escaped*"))


def test_sizes_are_bounded_and_damage_is_one_line(store, elsewhere, tmp_path):
    pack(store, tmp_path / "a.tar")
    with pytest.raises(ExperimentError, match=r"GiB, and the limit is 0.0 GiB; raise it with --most"):
        unpack(tmp_path / "a.tar", elsewhere, 10)
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "short.tar").write_bytes(data[: len(data) // 2])
    (tmp_path / "none.tar").write_bytes(b"no archive")
    for name in ("short.tar", "none.tar", "missing.tar"):
        with pytest.raises(ExperimentError, match=name):
            unpack(tmp_path / name, elsewhere, MOST)
    assert all(not list(folder.glob(".*")) for folder in elsewhere.root.glob("cells/*"))


def test_what_the_status_says_has_to_fit_what_the_list_says(store, elsewhere, tmp_path):
    """An archive whose list is right and whose cell is not: its status records other bytes."""
    pack(store, tmp_path / "good.tar", [("count", cell(1).id)])
    found = members(tmp_path / "good.tar")
    place = next(index for index, (info, _) in enumerate(found) if info.name.endswith("count.json"))
    forged = b'{"count": 5}'
    found[place] = (found[place][0], forged)
    key = f"count/{cell(1).id}"
    found = relisted(
        found, lambda cells: cells[key]["count.json"].update(size=len(forged), sha256=sha256(forged).hexdigest())
    )
    write(tmp_path / "bad.tar", found)
    with pytest.raises(ExperimentError, match=r"count.json' is damaged"):
        unpack(tmp_path / "bad.tar", elsewhere, MOST)
    assert not list(elsewhere.root.glob("cells/*/*"))
