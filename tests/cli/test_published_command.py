"""The commands on published tables: listing, showing and auditing them."""

import numpy as np
from support.accuracies import made
from typer.testing import CliRunner

from lopsided.cli import main as cli


def command(*arguments):
    result = CliRunner().invoke(cli.app, ["published", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.split()), str(result.exception or "")


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
