"""``lopsided compare``: experiments of one store beside one another."""

import pytest
from support.command_line import invoke
from support.smoke import SMOKE


@pytest.fixture
def renamed(tmp_path):
    """The smoke test under another name, with other judges: everything is in its store."""
    text = SMOKE.read_text(encoding="utf-8")
    path = tmp_path / "renamed.yaml"
    path.write_text(
        text.replace("name: smoke", "name: renamed").replace("[psnr_y, gmsd, nlpd]", "[psnr_y, gmsd]"), encoding="utf-8"
    )
    return path


def test_two_experiments_beside_one_another(store, renamed):
    shown = invoke("compare", SMOKE, renamed, "--store", store)
    folder = store / "experiments" / "smoke-and-renamed"
    assert (shown.status, shown.err, shown.out) == (0, "", f"comparison: {folder / 'comparison.html'}\n")
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    assert "Not tested" in page
    assert "the same trainings" in page
    assert "Settings that differ" in page
    assert {path.name for path in (folder / "derived").iterdir()} == {
        f"{name}.{kind}" for name in ("gains", "metrics") for kind in ("csv", "parquet")
    }


def test_one_experiment_is_no_comparison(store, tmp_path):
    for sources in ([SMOKE], [SMOKE, SMOKE]):
        shown = invoke("compare", *sources, "--store", store, "--to", tmp_path / "new")
        assert shown.status == 1
        assert "a comparison needs two or more experiments of different names, got 'smoke'" in shown.text
    assert not (tmp_path / "new").exists()
