"""Published tables say what the papers print, and the audit finds what cannot be."""

import numpy as np
import pytest
from support.accuracies import made

from lopsided.mllm import MllmError
from lopsided.mllm.published import audit_accuracies, domain_averages, list_tables, published_table, trained_on
from lopsided.mllm.published.audit import hits


def audited(domain):
    sizes = published_table("unipercept_vqa_sizes").read()
    table = published_table(f"unipercept_vqa_{domain.lower()}").read()
    return audit_accuracies(table, sizes.query("domain == @domain"))


@pytest.mark.parametrize("name", list_tables())
def test_every_table_reads_and_names_its_source(name):
    table = published_table(name)
    assert len(table.read()) > 4
    assert "arXiv" in table.source


def test_unknown_table_names_the_nearest():
    with pytest.raises(MllmError, match="did you mean 'unipercept_vr'"):
        published_table("unipercept_rv")


def test_printed_averages_are_means_over_the_data_sets_with_a_value():
    found = domain_averages(published_table("unipercept_vr").read())
    assert len(found) == 21 * 2
    for value in ("srcc", "plcc"):
        assert (found[value].isna() == found[f"{value}_printed"].isna()).all()
        assert np.nanmax((found[value] - found[f"{value}_printed"]).abs()) <= 0.001
    # DeQA has no aesthetics; a sixth of the quality averages is over fewer than four sets.
    assert found.set_index(["model", "domain"]).loc[("DeQA", "IAA"), "n"] == 0


def test_sizes_of_categories_and_templates_add_up():
    sizes = published_table("unipercept_vqa_sizes").read()
    for domain, total in (("IAA", 1015), ("IQA", 1088), ("ISTA", 970)):
        of = sizes.loc[(sizes["domain"] == domain).to_numpy()]
        assert all(of.loc[(of["grouping"] == g).to_numpy(), "items"].sum() == total for g in set(of["grouping"]))


def test_ista_headings_are_permuted_and_one_row_is_a_copy():
    found = audited("ISTA")
    assert {f.subject for f in found if f.kind == "headings"} == {
        ("Scene Decomposition", "Geometric Composition"),
        ("Physical Structure", "Material Representation"),
        ("Material Representation", "Physical Structure"),
        ("Geometric Composition", "Scene Decomposition"),
    }
    assert [f.subject for f in found if f.kind == "repeated rows"] == [("GPT-4o", "InternVL3-8B")]
    assert len(found) == 5  # with the sizes set right every row adds up to 970


def test_iaa_has_three_snapshots_and_one_row_that_does_not_add_up():
    found = audited("IAA")
    totals = {f.subject[0]: f.detail.split()[1] for f in found if f.kind == "other total"}
    older, newer = "1013", "1016"
    assert totals == {
        **dict.fromkeys(("Random Guess", "Llama-4-Scout", "Gemini-2.5-pro", "Claude-Sonnet-4.5", "GLM-4.5-V"), older),
        **dict.fromkeys(("GPT-4o", "LLaVA-OneVision-1.5-8B", "InternVL3-8B", "Qwen2.5-VL-7B"), newer),
    }
    (odd,) = [f for f in found if f.kind == "does not add up"]
    assert odd.subject == ("UniPercept",)
    assert "777 hits by category, 781 hits by template" in odd.detail


def test_iqa_has_one_column_twice():
    (found,) = audited("IQA")
    assert (found.kind, found.subject) == ("identical columns", ("Distortion Severity", "Lv.Pred"))


@pytest.mark.parametrize(
    ("model", "some"),
    [
        ("q-future/one-align", {"AVA", "KADID-10k"}),
        ("zhiyuanyou/DeQA-Score-Mix3", {"KonIQ-10k", "SPAQ"}),
        ("Thunderbolt215215/UniPercept", {"PIPAL", "ISTA-10K"}),
        ("foolen/qwen2.5-vl-7b-cognition-full-sft", {"CogIP-Bench"}),
    ],
)
def test_training_sets_are_known_by_the_name_of_the_weights(model, some):
    assert some <= set(trained_on(model) or ())


def test_nothing_is_claimed_of_general_models():
    assert trained_on("Qwen/Qwen2.5-VL-7B-Instruct") is None


# --- the solver on tables made here ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_true_table_has_no_findings(seed):
    assert audit_accuracies(*made(np.random.default_rng(seed))) == []


@pytest.mark.parametrize("seed", range(3))
def test_swapped_headings_are_found(seed):
    found = audit_accuracies(*made(np.random.default_rng(seed), swap=True))
    assert {f.subject for f in found} == {("c0", "c1"), ("c1", "c0")}


def test_a_slip_of_one_digit_is_found():
    table, sizes = made(np.random.default_rng(0))
    table.loc[2, "c1"] += 0.05
    (found,) = audit_accuracies(table, sizes)
    assert (found.kind, found.subject) == ("does not add up", ("m2",))


@pytest.mark.parametrize("items", [7, 43, 299, 1015])
def test_every_count_is_recovered_from_its_percentage(items):
    assert [hits(round(100 * h / items, 2), items) for h in range(items + 1)] == list(range(items + 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="t1"), "lacks the column"),
        (lambda table: table.assign(t1=101.0), "from 0 to 100"),
        (lambda table: table.assign(t1=float("nan")), "from 0 to 100"),
    ],
)
def test_what_cannot_be_audited_is_refused(change, message):
    table, sizes = made(np.random.default_rng(0))
    with pytest.raises(MllmError, match=message):
        audit_accuracies(change(table), sizes)
