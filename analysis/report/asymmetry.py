"""The report's sections on the asymmetry: at a glance, and in full."""

from __future__ import annotations

import pandas as pd

from .. import figures
from ..asymmetry import TOO_FEW, WHERE
from ..figures.judge_scatter import caption as judge_scatter_caption
from ..figures.scatter import caption as scatter_caption
from ..figures.slope_chart import caption as slope_chart_caption
from ..figures.style import pretty, setting_name
from ..independence import KINDS
from ..statistics.frames import Row, grouped, records, where
from ..statistics.multiplicity import ALPHA
from ..study import Study
from ..trained import CellKey
from ..verdicts import FAMILIES, MIN_RANKED, MIN_SEEDS, SUGGESTED_BELOW
from .blocks import (
    Block,
    Cell,
    Text,
    jackknifed,
    named_list,
    number,
    p_value,
    picture,
    readable,
    sample,
    setting,
    table,
    tested,
    text,
    with_interval,
)
from .blocks import name as named

PLACE: dict[str, Cell] = {
    "generator": named("generator"),
    "data set": named("dataset"),
    "adversarial setting": setting,
}
VERDICTS = (
    f"Established: corrected p below {ALPHA / FAMILIES:g} (trends and pairs share a level of {ALPHA:g}), from"
    f" {MIN_SEEDS} seeds or more. Suggested: below {SUGGESTED_BELOW / FAMILIES:g}. Undecided: neither."
)
TREND = (
    "Trend: the gain with the best metric minus that with the worst, on a straight line through ranks by SRCC, so"
    " positive if better metrics are better objectives. Noise of the gains does not weaken it."
)


def at_a_glance(study: Study) -> list[Block]:
    """Return, per generator, data set and adversarial setting, the trend, ρ, the judges and the pairs."""
    settings = study.asymmetry.settings
    if settings.empty:
        return []
    found = study.asymmetry.points
    few = settings["status"].eq(TOO_FEW)
    unranked = "" if few.all() else ", ".join(map(pretty, settings.loc[few, "dataset"].unique()))
    settings = settings if few.all() else settings.loc[~few]
    unranked = f" Not shown, since too few measures have scores to rank: {unranked}." if unranked else ""

    def best(column: str) -> Cell:
        def cell(row: Row) -> str:
            points = records(where(found, **{key: row[key] for key in WHERE}).dropna(subset=[column]))
            return pretty(max(points, key=lambda point: point[column])["measure"]) if points else "–"

        return cell

    trend = {
        **PLACE,
        "trend (judge SDs)": with_interval("trend"),
        "p, Holm": p_value("trend_p_holm"),
        "verdict": text("trend_verdict"),
        "measures": text("n"),
        "seeds × images": sample,
        "status": text("status"),
    }
    judges = {"judges": named_list("judges"), "judges left out": left_out(study)}
    told = {title: said for title, cell in judges.items() if (said := by_setting(settings, title, cell))}
    trend |= {title: cell for title, cell in judges.items() if title not in told}
    note = (
        f"{TREND} Judges: those that are independent of every measure of the row and have all scores, the same for all"
        f" its measures. {''.join(told.values())}Holm: over all rows. {VERDICTS}{unranked}"
    )
    ranks = {
        **PLACE,
        "ρ(SRCC, gain)": with_interval("rho"),
        "p": p_value("p"),
        "|ρ| needed for p < 0.05": number("critical_rho", 3),
        "true |ρ| found in 80 %": number("detectable_rho", 3),
        "lost measures": text("n_lost"),
        "ρ with these worst": number("rho_lost_worst"),
        "best metric": best("srcc"),
        "best objective": best("gain"),
        "pairs in opposite order": lambda row: f"{row['n_discordant']} of {row['n_pairs']}",
        "of these established": text("n_established"),
        "measures left out": readable("excluded"),
        "status": text("status"),
    }
    about_rho = (
        "ρ is Spearman's over the measures: at +1 the better metric is always the better objective, at −1 always the"
        f" worse one. Brackets: {study.level:.0%} interval of the ρ that would be found without noise. p: exact"
        " permutation test, drawn above 14 measures. “–”: with so few measures no |ρ| reaches p < 0.05, or no true ρ"
        " is found so often. Each pair is compared by the judges independent of both, so by other judges than ρ."
    )
    optional = ("lost measures", "ρ with these worst", "measures left out", "status")
    return [
        Text(independence(study)),
        table(settings, "Does the gain rise with the rank as a metric?", trend, note=note, optional=["status"]),
        table(settings, "Agreement of the two rankings", ranks, note=about_rho + unranked, optional=optional),
    ]


def independence(study: Study) -> str:
    """Say which kinds of independence were asked for."""
    if not study.independence:
        return (
            "No independence was asked for: a judge counts even if it resembles what it judges, unless it is the very"
            " measure that a cell was trained with."
        )
    kinds = {"backbone": "a backbone", "form": "a form, such as DISTS or SSIM", "data": "data it learnt from"}
    chosen = [kinds[kind] for kind in KINDS if kind in study.independence]
    return (
        "Independence asked for: a judge of a comparison must not be what one of the compared cells was trained with,"
        f" nor share {' or '.join(chosen)} with it."
    )


def by_setting(rows: pd.DataFrame, title: str, cell: Cell) -> str:
    """Return what a cell shows at each adversarial setting, in sentences; "" if rows of a setting differ."""
    shown: dict[str, set[str]] = {}
    for row in records(rows):
        shown.setdefault(setting(row), set()).add(str(cell(row)))
    if any(len(texts) > 1 for texts in shown.values()):
        return ""
    settings_of: dict[str, list[str]] = {}
    for name, (said,) in shown.items():
        settings_of.setdefault(said, []).append(name)
    title = title.capitalize()
    if len(settings_of) == 1:
        return f"{title}: {next(iter(settings_of))}. "
    return "".join(f"{title}, {' and '.join(names)}: {said}. " for said, names in settings_of.items())


def left_out(study: Study) -> Cell:
    """Show the judges that the common panel of a setting leaves out, with the reason."""

    def cell(row: Row) -> str:
        trained = study.asymmetry.gains.trained.get(row["generator"])
        points = where(study.asymmetry.points, **{key: row[key] for key in WHERE})
        if trained is None or points.empty:
            return "–"
        key = row["generator"], row["discriminator"], float(row["gan_weight"])
        panel = trained.panel([trained.index(CellKey(key[0], measure, *key[1:])) for measure in points["measure"]])
        reasons = {"related": panel.related, "incomplete": panel.incomplete, "no unit": panel.no_unit}
        return (
            "; ".join(f"{why}: {', '.join(map(pretty, judges))}" for why, judges in reasons.items() if judges) or "none"
        )

    return cell


def asymmetry_blocks(study: Study) -> list[Block]:
    """Return slope chart, scatters and tables of the asymmetry."""
    blocks: list[Block] = []
    how = f"SRCC: {jackknifed(study)}; gain: {tested(study)}"
    several = study.asymmetry.settings.groupby(["generator", "dataset"]).ngroups > 1
    drawn = study.asymmetry.points.dropna(subset=["gain", "rank_gain"])
    for (generator, dataset), points in grouped(drawn, "generator", "dataset"):
        settings = where(study.asymmetry.settings, generator=generator, dataset=dataset)
        if several and settings["n"].max() < MIN_RANKED:
            continue
        of = f"{pretty(generator)} on {pretty(dataset)}"
        prefix = f"{of}. " if several else ""
        pairs, ranks = (
            where(table, generator=generator, dataset=dataset)
            for table in (study.asymmetry.pairs, study.parts["rank_probabilities"])
        )
        chart = figures.slope_chart(points, settings, pairs, ranks)
        shown = prefix + slope_chart_caption(points, how)
        blocks.append(picture(chart, f"Slope chart, {of}: ranks as in the tables below.", shown))
        cross = figures.scatter(points, settings)
        shown = prefix + scatter_caption(points, how)
        blocks.append(picture(cross, f"Scatter of gain against SRCC, {of}: values as below.", shown))
    blocks += by_judge_blocks(study, several)
    blocks += change_blocks(study.asymmetry.changes)
    pairs = study.asymmetry.pairs
    discordant = where(pairs, discordant=True).sort_values(["p_corrected", "p"], kind="stable")
    if len(discordant):
        columns = {
            **PLACE,
            "better metric": named("better_metric"),
            "better objective": named("worse_metric"),
            "SRCC difference": with_interval("srcc_difference", 3),
            "gain difference (judge SDs)": with_interval("gain_difference"),
            "p": p_value("p"),
            "p, corrected": p_value("p_corrected"),
            "verdict": text("verdict"),
            "seeds × images": sample,
            "judges": text("n_judges"),
            "status": text("status"),
        }
        note = (
            "Differences: better metric minus better objective. p: that one of the two is both the better metric and"
            f" the worse objective (intersection-union test); corrected by {pairs['correction'].iloc[0]} over all"
            f" {len(pairs)} pairs of the study; intervals are not corrected. {VERDICTS}"
        )
        shown = table(discordant, "Pairs in opposite order", columns, note=note, folded=True, optional=["status"])
        blocks.append(shown)
    return blocks


def by_judge_blocks(study: Study, several: bool) -> list[Block]:
    """Return the gain by each judge against SRCC, one figure per setting, and the same as a table."""
    by_judge = study.asymmetry.by_judge
    blocks: list[Block] = []
    for (generator, dataset), found in grouped(by_judge, "generator", "dataset"):
        if several and found["n"].max() < MIN_RANKED:
            continue
        assessed = where(study.asymmetry.assessment.table, dataset=dataset, status="ok")
        for of_setting in figures.settings_of(found):
            at = {"discriminator": of_setting[0], "gan_weight": of_setting[1]}
            rows = where(study.asymmetry.gains.by_judge, generator=generator, **at)
            rows = rows.loc[rows["fidelity"].isin(assessed["measure"]) & rows["gain"].notna()]
            if rows.empty:
                continue
            of = setting_name(*of_setting)
            of = f"{pretty(generator)} on {pretty(dataset)}, {of}" if several else of[0].upper() + of[1:]
            drawn = figures.judge_scatter(rows, assessed, where(found, **at))
            caption = judge_scatter_caption(rows, f"across: {jackknifed(study)}; up and down: {tested(study)}")
            alt = f"Gain by each judge against SRCC, {of}: values in the tables."
            blocks.append(picture(drawn, alt, f"{of}. {'As above.' if blocks else caption}"))
    if len(by_judge):
        columns = {
            **PLACE,
            "judge": named("judge"),
            "measures": text("n"),
            "trend (judge SDs)": with_interval("trend"),
            "p, Holm": p_value("trend_p_holm"),
            "verdict": text("trend_verdict"),
            "ρ(SRCC, gain)": with_interval("rho"),
            "p of ρ": p_value("p"),
            "measures left out": named_list("excluded"),
            "status": text("status"),
        }
        note = f"Each judge alone, over the measures that are independent of it. {TREND} Holm: over all rows."
        optional = ("measures left out", "status")
        blocks.append(table(by_judge, "By each judge alone", columns, note=note, folded=True, optional=optional))
    return blocks


def change_blocks(changes: pd.DataFrame) -> list[Block]:
    """Return what each discriminator changes."""
    if changes.empty:
        return []
    columns = {
        **PLACE,
        "measures": text("n"),
        "ρ without": with_interval("rho_without"),
        "ρ with": with_interval("rho_with"),
        "the rankings": text("verdict"),
        "change of the trend (judge SDs)": with_interval("trend_change"),
        "p, Holm": p_value("trend_change_p_holm"),
        "seeds": text("n_seeds"),
        "status": text("status"),
    }
    note = (
        "Over the measures that both have, by the judges independent of all of them; without: no discriminator."
        f" Brackets of ρ: intervals of the noise-free ρ at 1 − 0.05/{len(changes)}. The rankings “agree less” with the"
        " discriminator if its interval lies wholly below the other, “agree more” if above. Change of the trend: with"
        " minus without; negative if better metrics lose some of their lead as objectives."
    )
    return [table(changes, "What the discriminator changes", columns, note=note, optional=["status"])]
