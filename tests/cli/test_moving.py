"""``lopsided pack``, ``unpack`` and ``diff``: cells in other stores, and beside one another."""

from support.command_line import invoke
from support.smoke import SMOKE, cells


def test_results_move_to_another_store(base, tmp_path):
    store, _ = base
    archive, other = tmp_path / "a.tar", tmp_path / "other"
    packed = invoke("pack", store, archive, SMOKE, "--only", "assess_fr")
    assert (packed.status, packed.err) == (0, "")
    assert packed.out.startswith("3 cells, ")
    for added, there in ((3, 0), (0, 3)):
        shown = invoke("unpack", archive, other)
        assert shown.out == f"{added} cells added to '{other}', {there} were there already\n"
    assert "40 new, 3 cached of 43 cells" in invoke("plan", SMOKE, "--store", other).out
    small = invoke("unpack", archive, tmp_path / "third", "--most", "0")
    assert small.status == 1
    assert "raise it with --most" in small.err


def test_two_cells_side_by_side(base):
    store, _ = base
    first, second = [cell.id for cell in cells() if cell.stage == "assess_fr"][:2]
    shown = invoke("diff", first, second[:10], "--store", store)
    assert (shown.status, shown.err) == (0, "")
    words = [line.split() for line in shown.out.splitlines()]
    assert words[0] == ["settings", "assess_fr", first, "assess_fr", second]
    assert words[1][0] == "measure"
    assert "different: scores.parquet" in shown.out
