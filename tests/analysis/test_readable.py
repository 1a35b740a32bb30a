"""Tables of a notebook: names instead of keys, one column for a setting, nothing cut short, nothing taken for HTML."""

import pandas as pd
import pytest

from lopsided.analysis import AnalysisError, readable_table
from lopsided.analysis.figures.style import mark_style


def test_keys_settings_and_intervals_are_shown_as_people_write_them():
    table = pd.DataFrame(
        {
            "fidelity": ["none", "dists-vgg16-r@seed1"],
            "discriminator": ["none", "patch@share"],
            "gan_weight": [0.0, 0.06],
            "gain": [float("nan"), -0.5],
            "gain_low": [float("nan"), -0.75],
            "gain_high": [float("nan"), -0.25],
            "p": [float("nan"), 0.01234],
            "note": ["", "<b> & " + 80 * "long "],
        }
    )
    shown = readable_table(table)
    assert list(shown.data.columns) == ["fidelity", "adversarial setting", "gain", "p", "note"]
    assert shown.data.iloc[0].tolist() == ["pixel loss", "no discriminator", "–", "–", "–"]
    drawn = ["DISTS VGG-16-R (draw 1)", "patch (share 0.06)", "−0.50 [−0.75, −0.25]", "0.012"]
    assert shown.data.iloc[1].tolist()[:4] == drawn
    html = shown.to_html()
    assert "&lt;b&gt; &amp;" in html
    assert html.count("long ") == 80


def test_small_p_and_estimates_with_ends_are_no_bare_numbers():
    table = pd.DataFrame({"estimate": [0.5], "low": [0.1], "high": [0.9], "p_holm": [1e-6], "trend_p": [0.25]})
    assert readable_table(table).data.to_dict("records") == [
        {"estimate": "0.50 [0.10, 0.90]", "p holm": "< 0.001", "trend p": "0.250"}
    ]


def test_marks_tell_more_lines_apart_than_colours_do():
    looks = {(mark_style(index)["color"], mark_style(index)["marker"]) for index in range(42)}
    assert len(looks) == 42


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(AnalysisError, match="no column nope; it has fidelity, gain"):
        readable_table(pd.DataFrame({"fidelity": ["ssim"], "gain": [0.1]}), "fidelity", "nope")


@pytest.mark.parametrize(
    ("use", "measures", "beaten", "said"),
    [
        ("as an objective", "ssim", "", "SSIM"),
        ("as an objective", "ssim;nlpd", "gmsd", "SSIM; not shown to be worse: NLPD"),
        ("as an objective", "ssim;nlpd;fsim", "gmsd", "SSIM; not shown to be worse: all others but GMSD"),
        ("as an objective", "ssim;nlpd;fsim", "", "SSIM; not shown to be worse: all others"),
        ("avoid as an objective", "ssim;nlpd", "", "SSIM, NLPD"),
        ("choosing an objective", "", "", "–"),
    ],
)
def test_advice_names_the_fewer(use, measures, beaten, said):
    advice = pd.DataFrame([{"use": use, "measures": measures, "beaten": beaten}])
    assert readable_table(advice).data["measures"].tolist() == [said]
