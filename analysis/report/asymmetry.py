"""The report's sections on the asymmetry: at a glance, and in full."""

from __future__ import annotations

from .. import figures
from ..asymmetry import WHERE
from ..figures.scatter import caption as scatter_caption
from ..figures.slope_chart import caption as slope_chart_caption
from ..figures.style import pretty
from ..statistics.frames import Row, grouped, records, where
from ..study import Study
from .blocks import Block, Cell, method, name, number, p_value, picture, setting, table, text, with_interval, yes


def at_a_glance(study: Study) -> list[Block]:
    """Return one line per generator, data set and adversarial setting."""
    settings = study.asymmetry.settings
    if settings.empty:
        return []
    found = study.asymmetry.points

    def best(column: str) -> Cell:
        def cell(row: Row) -> str:
            points = records(where(found, **{key: row[key] for key in WHERE}))
            return pretty(max(points, key=lambda point: point[column])["measure"]) if points else "–"

        return cell

    columns = {
        "generator": name("generator"),
        "data set": name("dataset"),
        "adversarial setting": setting,
        "measures": text("n"),
        "best metric": best("srcc"),
        "best objective": best("gain"),
        "ρ(SRCC, gain)": with_interval("rho"),
        "p": p_value("p"),
        "|ρ| needed for p < 0.05": number("critical_rho", 3),
        "pairs in opposite order": lambda row: f"{row['n_discordant']} of {row['n_pairs']}",
        "beyond noise": text("n_significant"),
        "status": text("status"),
    }
    note = (
        "ρ is Spearman's: at +1 the better metric is always the better objective, at −1 always the worse one. “Beyond"
        " noise”: the intervals of the difference in SRCC and of the one in gain both exclude 0. “–”: with so few"
        " measures no |ρ| reaches p < 0.05. p: exact permutation test up to 8 measures, t approximation above."
    )
    return [table(settings, "Agreement of the two rankings", columns, note=note)]


def asymmetry_blocks(study: Study) -> list[Block]:
    """Return slope chart, scatter and tables of the asymmetry."""
    blocks: list[Block] = []
    how = method(study, "references (SRCC; widened for their number) and of seeds and images (gain)")
    several = study.asymmetry.settings.groupby(["generator", "dataset"]).ngroups > 1
    for (generator, dataset), points in grouped(study.asymmetry.points, "generator", "dataset"):
        settings = where(study.asymmetry.settings, generator=generator, dataset=dataset)
        of = f"{pretty(generator)} on {pretty(dataset)}"
        prefix = f"{of}. " if several else ""
        chart = figures.slope_chart(points, settings)
        blocks.append(
            picture(
                chart, f"Slope chart, {of}: ranks as in the tables below.", prefix + slope_chart_caption(points, how)
            )
        )
        cross = figures.scatter(points, settings)
        blocks.append(
            picture(
                cross, f"Scatter of gain against SRCC, {of}: values as below.", prefix + scatter_caption(points, how)
            )
        )
    changes = study.asymmetry.changes
    if len(changes):
        columns = {
            "generator": name("generator"),
            "data set": name("dataset"),
            "adversarial setting": setting,
            "measures": text("n"),
            "ρ without": number("rho_without"),
            "ρ with": number("rho_with"),
            "fall of ρ": with_interval("drop"),
            "share of resamples in which ρ falls": number("probability"),
            "status": text("status"),
        }
        note = "Over the measures with a gain in both; positive: the rankings agree less once a discriminator is added."
        blocks.append(table(changes, "What the discriminator changes", columns, note=note))
    pairs = study.asymmetry.pairs
    discordant = where(pairs, discordant=True).sort_values(by="significant", ascending=False, kind="stable")
    if len(discordant):
        columns = {
            "generator": name("generator"),
            "data set": name("dataset"),
            "adversarial setting": setting,
            "better metric": name("better_metric"),
            "better objective": name("worse_metric"),
            "SRCC difference": with_interval("srcc_difference"),
            "gain difference (judge SDs)": with_interval("gain_difference"),
            "beyond noise": yes("significant"),
        }
        note = "Better metric minus better objective; intervals are not corrected for the number of pairs."
        blocks.append(table(discordant, "Pairs in opposite order", columns, note=note, folded=True))
    return blocks
