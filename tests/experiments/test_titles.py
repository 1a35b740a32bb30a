"""What tells cells apart in progress, plan and messages."""

import pytest
from support.paths import ROOT

from lopsided import experiments


@pytest.mark.parametrize("name", ["smoke", "learnt_weights", "discriminator_reuse"])
def test_no_two_cells_have_one_title(name):
    cells = experiments.plan(ROOT / "experiments" / f"{name}.yaml").cells
    assert len({cell.title for cell in cells}) == len(cells)


def test_titles_say_what_a_cell_is_about():
    titles = [cell.title for cell in experiments.plan(ROOT / "experiments" / "smoke.yaml").cells]
    for title in (
        "pretrain swinir-tiny seed 0",
        "finetune swinir-tiny none none seed 0",
        "restore none bicubic none seed 0 on photographs",
        "judge none bicubic none seed 0 on photographs by psnr_y",
        "assess_fr ssim on ladder",
    ):
        assert title in titles
