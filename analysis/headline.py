"""The study in words, written from its numbers: what they show, what they cannot show, and with what power."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .figures.style import count, gain_sample, interval, minus, pretty, setting_name
from .statistics.frames import Row, grouped, records, where
from .study import Study

ALPHA = 0.05


def headline(study: Study) -> list[str]:
    """Return the headline paragraphs, per generator and data set: the verdict, then its evidence, then its power."""
    settings = study.asymmetry.settings
    if settings.empty:
        return [nothing_to_compare(study)]
    paragraphs = []
    several = settings.groupby(["generator", "dataset"]).ngroups > 1
    for (generator, dataset), rows in grouped(settings, "generator", "dataset"):
        prefix = f"{pretty(generator)}, {pretty(dataset)}. " if several else ""
        pairs, changes = (
            where(table, generator=generator, dataset=dataset)
            for table in (study.asymmetry.pairs, study.asymmetry.changes)
        )
        paragraphs += [prefix + inversions(pairs), adversarial(changes)]
        paragraphs.append(" ".join((assessed(study, dataset), agreement(rows), optimized(study, generator))))
        paragraphs.append(power(rows, study, generator))
    return [paragraph.strip() for paragraph in paragraphs if paragraph.strip()]


def nothing_to_compare(study: Study) -> str:
    """Say which side of the comparison is missing."""
    sides = []
    if study.assessment.table.empty:
        sides.append("no measure was assessed on a labelled data set")
    if study.gains.table.empty:
        sides.append("no cell but the pixel-only one was trained and judged")
    elif not sides:
        sides.append("no cell was trained with a fidelity measure")
    return f"The two abilities cannot be compared: {' and '.join(sides)}."


def inversions(pairs: pd.DataFrame) -> str:
    """Say whether any better metric is the worse objective, beyond noise."""
    if pairs.empty:
        return "Fewer than two measures have both a correlation and a gain, so nothing can be compared."
    significant = records(where(pairs, significant=True))
    n, discordant = len(pairs), int(pairs["discordant"].sum())
    tally = f"{discordant} of {n} comparisons (pairs of measures × adversarial settings) are in opposite order"
    if not significant:
        return (
            "No measure is shown to be a better metric and a worse objective than another."
            f" {tally}, but none of them has intervals of both differences that exclude 0: the data cannot tell."
        )
    worst = min(significant, key=lambda pair: pair["gain_difference"] * pair["srcc_difference"])
    return (
        "A better metric can be the worse objective."
        f" {tally}, {len(significant)} of them with intervals of both differences that exclude 0 (not corrected for the"
        f" number of pairs); the clearest is {pretty(worst['better_metric'])} against {pretty(worst['worse_metric'])}"
        f" with {setting_name(worst['discriminator'], worst['gan_weight'])}: {difference(worst, 'srcc')} in SRCC but"
        f" {difference(worst, 'gain')} judge SDs in gain."
    )


def adversarial(changes: pd.DataFrame) -> str:
    """Say whether the rankings differ more once a discriminator is added."""
    known = records(where(changes, status="ok"))
    if not known:
        return (
            "Whether adversarial training matters was not tested."
            if changes.empty
            else (
                "The data cannot tell whether adversarial training matters: "
                + "; ".join(sorted(set(changes["status"])))
                + "."
            )
        )
    less, more = [row for row in known if row["drop_low"] > 0], [row for row in known if row["drop_high"] < 0]
    n = count(len(known), "adversarial setting")
    if not less and not more:
        widest = max(known, key=lambda row: abs(row["drop"]))
        return (
            "The data cannot tell whether adversarial training changes that: the interval of the change in ρ excludes 0"
            f" in none of the {n} (largest: {minus(-widest['drop'])}, interval"
            f" {bounds(-widest['drop_high'], -widest['drop_low'])},"
            f" {setting_name(widest['discriminator'], widest['gan_weight'])})."
        )
    parts = []
    for rows, what in ((less, "less"), (more, "more")):
        if rows:
            listed = "; ".join(
                f"{setting_name(row['discriminator'], row['gan_weight'])}: ρ {minus(row['rho_without'])} →"
                f" {minus(row['rho_with'])}, change interval {bounds(-row['drop_high'], -row['drop_low'])}"
                for row in rows
            )
            parts.append(
                f"The two rankings agree {what} once a discriminator is added, in {len(rows)} of {n}: {listed}."
            )
    return " ".join(parts)


def assessed(study: Study, dataset: str) -> str:
    """Name the best and the worst metric of a data set, and say whether the lead is more than noise."""
    rows = records(where(study.assessment.table, dataset=dataset, status="ok"))
    rows.sort(key=lambda row: -row["srcc"])
    if not rows:
        return ""
    best, worst = rows[0], rows[-1]
    text = (
        f"As metrics on {pretty(dataset)} ({count(best['n'], 'image')} of {count(best['n_references'], 'reference')},"
        f" labelled by {str(best['label_kind']).replace('_', ' ')}), {pretty(best['measure'])} ranks best, SRCC"
        f" {interval(best['srcc'], best['srcc_low'], best['srcc_high'])}"
    )
    if len(rows) == 1:
        return text + "."
    text += f", and {pretty(worst['measure'])} worst, {interval(worst['srcc'], worst['srcc_low'], worst['srcc_high'])}"
    second = rows[1]["measure"]
    pairs = where(study.assessment.differences, dataset=dataset, measure_a=best["measure"], measure_b=second)
    row = records(pairs)[0]
    sure = "more than" if row["p_holm"] < ALPHA else "within"
    shown = interval(row["difference"], row["difference_low"], row["difference_high"])
    return (
        text + f"; the lead over {pretty(second)}, {shown}, is {sure} noise (Holm-corrected p = {row['p_holm']:.2g})."
    )


def agreement(rows: pd.DataFrame) -> str:
    """Give Spearman's rho between the two rankings in every setting."""
    parts = []
    for row in records(rows):
        name = setting_name(row["discriminator"], row["gan_weight"])
        if row["status"] != "ok":
            parts.append(f"undefined with {name} ({row['status']}, n = {row['n']})")
            continue
        p = f"p = {row['p']:.3f}" if row["p"] >= 0.0005 else "p < 0.001"
        parts.append(f"{interval(row['rho'], row['rho_low'], row['rho_high'])} with {name} ({p})")
    return "Spearman's ρ between the rankings by SRCC and by gain is " + ", ".join(parts) + "."


def optimized(study: Study, generator: str) -> str:
    """Name the trained cell with the largest gain."""
    rows = records(where(study.gains.table, generator=generator, status="ok"))
    if not rows:
        return ""
    best = max(rows, key=lambda row: row["gain"])
    better, worse = sum(row["gain_low"] > 0 for row in rows), sum(row["gain_high"] < 0 for row in rows)
    return (
        f"As objectives, {better} of {count(len(rows), 'trained cell')} are better than pixel-only training, {worse}"
        f" worse, the others not distinguishable from it; the largest gain is that of {pretty(best['fidelity'])} with"
        f" {setting_name(best['discriminator'], best['gan_weight'])},"
        f" {interval(best['gain'], best['gain_low'], best['gain_high'])} judge SDs."
    )


def power(rows: pd.DataFrame, study: Study, generator: str) -> str:
    """Say how large rho must be for these data to show that it is more than chance."""
    parts = []
    for n, critical in sorted({row["n"]: row["critical_rho"] for row in records(rows)}.items()):
        reach = (
            "no ρ at all" if np.isnan(critical) else f"only |ρ| ≥ {critical:.3f}" if critical < 1 else "only |ρ| = 1"
        )
        parts.append(f"with {count(n, 'measure')}, {reach} has p < 0.05")
    sample = gain_sample(where(study.gains.table, generator=generator))
    return (
        f"Power: {'; '.join(parts)} (two-sided permutation test of “measures are ranked at random”), so a smaller"
        " ρ is no evidence that the rankings are unrelated. Intervals in brackets answer another question: how values"
        f" of these same measures vary with new images, references and seeds (percentiles); gains rest on {sample}."
    )


def bounds(low: float, high: float) -> str:
    """Return "[−0.30, 0.12]"."""
    return f"[{minus(low)}, {minus(high)}]"


def difference(row: Row, name: str) -> str:
    """Return the signed difference of a pair with its interval, "+0.09 [0.01, 0.17]"."""
    value = row[f"{name}_difference"]
    shown = interval(value, row[f"{name}_difference_low"], row[f"{name}_difference_high"])
    return ("+" if value > 0 else "") + shown
