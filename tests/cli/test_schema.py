"""``lopsided schema``: the JSON Schema, printed or written."""

import json

from support.command_line import invoke

from lopsided.experiments import Experiment


def test_it_is_printed_or_written(tmp_path):
    printed = invoke("schema")
    assert (printed.status, printed.err) == (0, "")
    assert json.loads(printed.out) == Experiment.model_json_schema()
    path = tmp_path / "schema.json"
    written = invoke("schema", "--to", path)
    assert (written.status, written.out, written.err) == (0, "", "")
    assert path.read_text(encoding="utf-8") == printed.out


def test_a_folder_that_cannot_be_written_is_named():
    shown = invoke("schema", "--to", "/dev/null/x.json")
    assert shown.status == 1
    assert shown.err.startswith("error: ")
    assert "/dev/null" in shown.err
    assert len(shown.err.splitlines()) == 1
