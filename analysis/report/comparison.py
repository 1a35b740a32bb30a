"""The report of several experiments beside one another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from .. import figures
from ..comparison import NOT_TESTED, Comparison, compare
from ..figures.comparison_forest import caption as comparison_forest_caption
from ..figures.style import count, interval, pretty, setting_name
from ..headline import headline
from ..statistics.frames import Row, grouped, records
from ..study import Study
from ..verdicts import ESTABLISHED, MIN_SEEDS, SUGGESTED, SUGGESTED_BELOW
from .asymmetry import PLACE
from .blocks import (
    Block,
    Cell,
    Section,
    Text,
    name,
    number,
    p_value,
    picture,
    sample,
    setting,
    table,
    text,
    with_interval,
)
from .render import render, verdict

QUESTION = "Do these experiments differ in what they found?"
HONEST = (
    "A difference between experiments is a finding only if the difference itself was tested, paired by seed and image,"
    " or by reference image. One experiment can establish what another leaves undecided without any difference between"
    " them."
)
REPRODUCE = Markup("""<p>The same from the result tables of each experiment; no image or network is needed:</p>
<pre>from lopsided.analysis import StudyTables, analyse, compare

studies = {name: analyse(StudyTables.load(f"TABLES/{name}")) for name in NAMES}
compared = compare(studies)  # compared.gains, compared.metrics</pre>""")


def write_comparison(
    studies: Mapping[str, Study],
    path: str | Path,
    *,
    settings: Mapping[str, Mapping[str, str]] | None = None,
    facts: Mapping[str, Mapping[str, str]] | None = None,
) -> Comparison:
    """Write the report of several studies beside one another as one HTML file, and return what it shows.

    Args:
        studies: Name of an experiment → its study.
        path: The file to write; replaced if it exists.
        settings: Name → setting → value in words; those that differ are shown.
        facts: Name → what identifies the run → value in words.

    Raises:
        AnalysisError: Fewer than two studies.
    """
    compared = compare(studies)
    sections = [
        Section("verdicts", "What each found", verdict_blocks(studies)),
        Section("settings", "Settings that differ", differing_blocks(settings or {}, "Settings that differ")),
        Section("objectives", "Measures as objectives", gain_blocks(compared)),
        Section("metrics", "Measures as metrics", metric_blocks(compared)),
        Section("asymmetry", "The asymmetry", asymmetry_blocks(studies)),
        Section("facts", "Provenance", differing_blocks(facts or {}, "What identifies each run", everything=True)),
    ]
    names = " and ".join(studies)
    render(
        path,
        sections,
        [[findings(compared), HONEST]],
        title=f"Comparison of {names}",
        description="",
        question=QUESTION,
        code=REPRODUCE,
    )
    return compared


def findings(compared: Comparison) -> str:
    """Say in words which differences between experiments are findings."""
    gains = records(compared.gains.loc[compared.gains["p_holm"].notna()])
    metrics = records(compared.metrics.loc[compared.metrics["p_holm"].notna()])
    if not gains and not metrics:
        statuses = pd.concat([compared.gains["status"], compared.metrics["status"]])
        why = statuses.mode().iloc[0] if len(statuses) else "they have nothing in common"
        return f"Not tested: no difference between these experiments can be tested. Most often, because: {why}."
    tested = [*gains, *metrics]
    looked = f"Tested were {len(gains)} differences in gain and {len(metrics)} in SRCC, all together corrected (Holm)."
    for word, intro in ((ESTABLISHED, "Established"), (SUGGESTED, "Suggested, not established")):
        of = [row for row in tested if row["verdict"] == word]
        if of:
            best = min(of, key=lambda row: row["p_holm"])
            many = f"{len(of)} of {count(len(tested), 'difference')} between these experiments"
            return f"{intro}: {many} {'is' if len(of) == 1 else 'are'} more than noise. {looked} {sentence(best)}"
    return f"Undecided: no difference between these experiments is more than noise. {looked}"


def sentence(row: Row) -> str:
    """Describe one difference."""
    if "dataset" in row:
        of, unit, digits = f"{pretty(row['measure'])} on {pretty(row['dataset'])}", "in SRCC", 3
    else:
        of = f"{pretty(row['fidelity'])} with {setting_name(row['discriminator'], row['gan_weight'])}"
        unit, digits = "judge SDs in gain", 2
    difference = interval(row["difference"], row["difference_low"], row["difference_high"], digits)
    return f"The clearest is {of}: {difference} {unit}, {row['b']} minus {row['a']} (Holm p = {row['p_holm']:.2g})."


def verdict_blocks(studies: Mapping[str, Study]) -> list[Block]:
    """Return the verdict of each experiment, with its size."""
    rows = [
        {
            "experiment": key,
            "verdict": " ".join(verdict(group[0])[0] for group in headline(study)),
            "measures": study.gains.table["fidelity"].nunique(),
            "seeds": study.tables.sr_scores["seed"].nunique(),
            "images": len(study.tables.sr_scores.loc[:, ["test_set", "image"]].drop_duplicates()),
            "judges": study.tables.sr_scores["judge"].nunique(),
            "labelled": study.tables.fr_scores["dataset"].nunique(),
        }
        for key, study in studies.items()
    ]
    columns: dict[str, Cell] = {
        "experiment": text("experiment"),
        "verdict": text("verdict"),
        **{column: text(column) for column in ("measures", "seeds", "images", "judges")},
        "labelled data sets": text("labelled"),
    }
    return [table(pd.DataFrame(rows), "The verdict of each experiment by itself", columns)]


def differing_blocks(values: Mapping[str, Mapping[str, str]], title: str, *, everything: bool = False) -> list[Block]:
    """Return a table with one row per entry and one column per experiment; only rows that differ, unless told so."""
    rows = []
    for key in dict.fromkeys(key for of in values.values() for key in of):
        of = [of.get(key, "–") for of in values.values()]
        if everything or len(set(of)) > 1:
            rows.append({"what": key, **dict(zip(values, of, strict=True))})
    if not rows:
        return [Text("None.")] if values else []
    columns = {"what": text("what"), **{column: text(column) for column in values}}
    return [table(pd.DataFrame(rows), title, columns)]


DIFFERENCE: dict[str, Cell] = {
    "p": p_value("p"),
    "p, Holm": p_value("p_holm"),
    "verdict": text("verdict"),
}
VERDICTS = (
    f"Established: Holm p below 0.05, from {MIN_SEEDS} seeds or more where trainings are compared. Suggested: below"
    f" {SUGGESTED_BELOW:g}. Undecided: neither. Not tested: the last column says why. Holm: over all"
    " differences that were tested, in gain and in SRCC."
)


def gain_blocks(compared: Comparison) -> list[Block]:
    """Return the gains of all experiments, and their differences."""
    if compared.gains.empty:
        return []
    columns: dict[str, Cell] = {
        **pair_of(compared),
        "generator": name("generator"),
        "trained with": name("fidelity"),
        "adversarial setting": setting,
        "gain in a": number("gain_a"),
        "gain in b": number("gain_b"),
        "b − a (judge SDs)": with_interval("difference"),
        **DIFFERENCE,
        "seeds × images": sample,
        "judges": lambda row: str(len(row["judges"].split(";"))) if row["judges"] else "–",
        "status": text("status"),
    }
    note = (
        f"{legend(compared)} The gains are those of each experiment by its own judges, seeds and images. The difference"
        " is over the judges, seeds and images that both have, in judge SDs of a, so it need not equal b − a of the two"
        " columns. Row “pixel loss, no discriminator”: the difference of the scores of the two baselines. Images count"
        f" as the same if all common judges give them the same scores before any training. {VERDICTS}"
    )
    blocks: list[Block] = [
        picture(
            figures.comparison_forest(pair),
            f"Forest plot of the differences in gain between {a} and {b}: values as below.",
            comparison_forest_caption(pair),
        )
        for (a, b), pair in grouped(compared.gains.loc[compared.gains["p"].notna()], "a", "b")
    ]
    ordered = compared.gains.sort_values(["p_holm", "p"], kind="stable")
    return [*blocks, table(ordered, "Gains beside one another, the clearest difference first", columns, note=note)]


def metric_blocks(compared: Comparison) -> list[Block]:
    """Return the SRCC of all experiments, and their differences."""
    if compared.metrics.empty:
        return []
    columns: dict[str, Cell] = {
        **pair_of(compared),
        "data set": name("dataset"),
        "measure": name("measure"),
        "SRCC in a": number("srcc_a", 3),
        "SRCC in b": number("srcc_b", 3),
        "b − a": with_interval("difference", 3),
        **DIFFERENCE,
        "status": text("status"),
    }
    note = (
        f"{legend(compared)} Only measures of one name with two definitions, on the same images, can be tested."
        f" {VERDICTS}"
    )
    ordered = compared.metrics.sort_values(["p_holm", "p"], kind="stable")
    return [table(ordered, "SRCC beside one another, the clearest difference first", columns, note=note)]


def pair_of(compared: Comparison) -> dict[str, Cell]:
    """Return the columns that say which experiments a row compares, where there are several pairs."""
    return {"a": text("a"), "b": text("b")} if len(compared.studies) > 2 else {}


def legend(compared: Comparison) -> str:
    """Say what a and b are, where that is the same in all rows."""
    first, second, *more = compared.studies
    return "a and b: the experiments of the row." if more else f"a: {first}; b: {second}."


def asymmetry_blocks(studies: Mapping[str, Study]) -> list[Block]:
    """Return trends and rank correlations of all experiments, those of one setting beside one another."""
    found = [study.asymmetry.settings.assign(experiment=key) for key, study in studies.items()]
    settings = pd.concat(found, ignore_index=True)
    if settings.empty:
        return []
    order = ["generator", "dataset", "discriminator", "gan_weight"]
    columns: dict[str, Cell] = {
        **PLACE,
        "experiment": text("experiment"),
        "trend (judge SDs)": with_interval("trend"),
        "p, Holm": p_value("trend_p_holm"),
        "verdict": text("trend_verdict"),
        "ρ(SRCC, gain)": with_interval("rho"),
        "measures": text("n"),
        "difference": lambda _: NOT_TESTED,
    }
    note = (
        "Trend, ρ and verdict are those of each experiment by itself, corrected within it. Their differences between"
        " experiments are not tested: the experiments may have other measures, judges or images."
    )
    shown = settings.sort_values(order, kind="stable")
    return [table(shown, "Trend and agreement of the two rankings", columns, note=note)]
