"""The commands on published tables: listing, showing and auditing them."""

import numpy as np
from support.accuracies import made
from support.command_line import invoke

from lopsided.mllm.published import list_tables


def command(*arguments):
    shown = invoke("published", *arguments)
    return shown.status, shown.text, shown.err


def test_command_audits_every_published_table():
    code, shown, _ = command("audit")
    assert code == 0
    assert "unipercept_vqa_iaa: 18 rows, 10 finding(s)" in shown


def test_command_audits_a_table_of_ones_own(tmp_path):
    table, sizes = made(np.random.default_rng(0))
    table.to_csv(tmp_path / "a.csv", index=False)
    sizes.to_csv(tmp_path / "s.csv", index=False)
    assert command("audit", tmp_path / "a.csv", "--sizes", tmp_path / "s.csv")[0] == 0
    table.assign(c1=table["c1"] + 0.05).to_csv(tmp_path / "a.csv", index=False)
    assert command("audit", tmp_path / "a.csv", "--sizes", tmp_path / "s.csv")[0] == 1
    code, _, error = command("audit", tmp_path / "a.csv")
    assert code == 1
    assert "--sizes" in error


def test_command_shows_a_table_as_csv():
    code, shown, _ = command("show", "unipercept_rewards")
    assert code == 0
    assert shown.startswith("reward,PickScore")


def test_what_cannot_be_audited_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)))
    for table, sizes, message in (
        ("a", "a", "accuracies: no column model; it has a, b"),
        ("a", "absent", "absent.csv' cannot be read as CSV: No such file or directory"),
        ("bytes", "a", "bytes.csv' cannot be read as CSV: 'utf-8' codec can't decode"),
    ):
        code, _, error = command("audit", tmp_path / f"{table}.csv", "--sizes", tmp_path / f"{sizes}.csv")
        assert code == 1
        assert message in error
        assert len(error.splitlines()) == 1


def test_every_table_is_listed_with_its_source():
    code, shown, _ = command("list")
    assert code == 0
    assert all(name in shown for name in list_tables())
    assert "arXiv 2512.21675, table 1" in shown
