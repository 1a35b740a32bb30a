"""The study in words, chosen by what survived: established, suggested or undecided, each with its numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .figures.style import count, gain_sample, interval, label_name, minus, pretty, setting_name
from .power import detectable, needed_seeds
from .robustness import judged
from .statistics.contrast import Estimate
from .statistics.frames import Row, grouped, records, where
from .statistics.multiplicity import ALPHA
from .statistics.rated import AS_MEAN
from .study import Study
from .verdicts import AGREE_LESS, AGREE_MORE, ESTABLISHED, MIN_RANKED, MIN_SEEDS, SUGGESTED, weakened

# The difference, in judge SDs, and the number of images that the needed sample is computed for.
EFFECT, IMAGES = 0.5, 100


def headline(study: Study) -> list[list[str]]:
    """Return the paragraphs of each generator and data set: the verdict, its evidence, its power.

    The family of tests is everything that the first sentence could have picked: trends and pairs share the level, and
    the interval has the level 1 − .05/number of tests, because what is picked looks larger than it is.
    """
    settings = study.asymmetry.settings
    if not study.trains and (ranked := rankings(study)):
        return [[text] for text in ranked]
    if settings.empty:
        return [[nothing_to_compare(study)]]
    found = []
    several = settings.groupby(["generator", "dataset"]).ngroups > 1
    for (generator, dataset), rows in grouped(settings, "generator", "dataset"):
        prefix = f"{pretty(generator)}, {pretty(dataset)}. " if several else ""
        pairs, changes = (
            where(table, generator=generator, dataset=dataset)
            for table in (study.asymmetry.pairs, study.asymmetry.changes)
        )
        if several and rows["n"].max() < MIN_RANKED:  # a pair has no ranking to speak of
            found.append([prefix + verdict_of(study, rows, pairs), *filter(None, [assessed(study, dataset)])])
            continue
        evidence = (
            rests_on(study, rows),
            exception(study, rows, pairs),
            told_by(study, pairs),
            assessed(study, dataset),
            optimized(study, generator),
            agreement(rows),
            adversarial(changes),
        )
        found.append([prefix + verdict_of(study, rows, pairs), *filter(None, evidence), power(rows, study, generator)])
    return found


def rankings(study: Study) -> list[str]:
    """Return, of a study without training, who agrees best with the labels of each data set."""
    raters = study.parts["raters"]
    compared = set(raters["dataset"])
    found = [assessed(study, str(name)) for name in study.assessment.table["dataset"].unique() if name not in compared]
    for dataset, rows in grouped(raters, "dataset"):
        found.append(leading(rows, where(study.parts["rater_differences"], dataset=dataset)))
    for row in records(where(study.parts["mllm_assessment"], reading=AS_MEAN)):
        if row["benchmark"] not in compared:
            srcc = interval(row["srcc"], row["srcc_low"], row["srcc_high"])
            of = f"{count(row['n'], 'item')} of {count(row['n_references'], 'reference')}"
            found.append(f"{pretty(row['scorer'])} on {row['benchmark']}, {row['dimension']} ({of}): SRCC {srcc}.")
    return list(filter(None, found))


def leading(raters: pd.DataFrame, differences: pd.DataFrame) -> str:
    """Name the rater that agrees best with people on one data set, and say whether its lead is more than noise."""
    known = records(where(raters, status="ok"))
    if not known:
        return ""
    best = known[0]
    text = (
        f"On {pretty(best['dataset'])} ({count(best['n'], 'image')} of {count(best['n_references'], 'reference')}),"
        f" {pretty(best['rater'])} ranks first of {count(len(known), 'rater')}, SRCC"
        f" {interval(best['srcc'], best['srcc_low'], best['srcc_high'])}"
    )
    if len(known) == 1:
        return text + "."
    second = records(where(differences, rater_a=best["rater"], rater_b=known[1]["rater"]))[0]
    sure = "more than" if second["p_holm"] < ALPHA else "within"
    return (
        f"{text}; the lead over {pretty(second['rater_b'])}, {minus(second['difference'])}, is {sure} noise (Holm p ="
        f" {second['p_holm']:.2g} over {count(len(differences), 'pair')})."
    )


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


def verdict_of(study: Study, settings: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Say what is established or suggested: the trend first, which is few tests, then pairs; else what is undecided."""
    for word, intro in ((ESTABLISHED, "Established"), (SUGGESTED, "Suggested, not established")):
        if best := clearest_trend(settings, word):
            return f"{intro}: {trend_text(best, len(study.asymmetry.settings), study.looks)}{few_seeds(best)}"
        if best := clearest_inversion(pairs, word):
            return f"{intro}: {inversion_text(best, study.asymmetry.pairs, study.looks)}{few_seeds(best)}"
    return undecided(study, settings, pairs)


def clearest_trend(settings: pd.DataFrame, word: str) -> Row | None:
    """Return the clearest trend with a verdict, if there is one."""
    trends = [row for row in records(settings) if row["trend_verdict"] == word]
    return min(trends, key=lambda row: row["trend_p_holm"], default=None)


def clearest_inversion(pairs: pd.DataFrame, word: str) -> Row | None:
    """Return the clearest inversion with a verdict, if there is one."""
    inverted = [row for row in records(pairs) if row["verdict"] == word]
    return min(inverted, key=lambda row: row["p_corrected"], default=None)


def rests_on(study: Study, settings: pd.DataFrame) -> str:
    """Name the single measures and judges without which the trend of the verdict would not be there."""
    best = clearest_trend(settings, ESTABLISHED)
    if best is None:
        return ""
    place = {name: best[name] for name in ("generator", "dataset", "discriminator", "gan_weight")}
    without = records(where(study.parts["influence"], **place))
    needed = [row for row in without if row["turns"] or not row["trend_p"] < ALPHA]
    if not needed:
        return "No single measure or judge carries the trend: without any one of them p is below 0.05 (uncorrected)."
    named = [
        f"the {row['of']} {pretty(row['left_out'])} it is {minus(row['trend'])} (p = {row['trend_p']:.2g}, uncorrected)"
        for row in sorted(needed, key=lambda row: -row["trend_p"])
    ]
    return f"The trend rests on {count(len(named), 'part')} of the study: without {'; without '.join(named)}."


def exception(study: Study, settings: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Tell the clearest established inversion where the verdict is a trend."""
    best = clearest_inversion(pairs, ESTABLISHED)
    if best is None or clearest_trend(settings, ESTABLISHED) is None:
        return ""
    return f"Established as well: {inversion_text(best, study.asymmetry.pairs, study.looks)}"


def told_by(study: Study, pairs: pd.DataFrame) -> str:
    """Say which judges alone tell the clearest established inversion, and whether it hangs on those of one backbone."""
    best = clearest_inversion(pairs, ESTABLISHED)
    if best is None:
        return ""
    found = judged(study.asymmetry, study.tables.sr_scores, best)
    ends = {judge: estimate.interval(study.level) for judge, estimate in found.alone.items()}
    sides = {
        "say so": [judge for judge, (_, high) in ends.items() if high < 0],
        "say the opposite": [judge for judge, (low, _) in ends.items() if low > 0],
    }
    names = {verb: ", ".join(map(pretty, judges)) for verb, judges in sides.items()}
    told = [f"{len(judges)} {verb}" + (f" ({names[verb]})" if judges else "") for verb, judges in sides.items()]
    rest = len(ends) - sum(map(len, sides.values()))
    without = [
        f" Without the {n} judges on {pretty(backbone)} it is"
        f" {interval(estimate.value, *estimate.interval(study.level))} judge SDs."
        for backbone, (n, estimate) in found.without.items()
    ]
    return (
        f"Of the {count(len(ends), 'judge')} of {pretty(best['better_metric'])} against {pretty(best['worse_metric'])},"
        f" asked one by one, {told[0]}, {told[1]}, and {rest} cannot tell ({study.level:.0%} intervals, not corrected)."
        f"{''.join(without)}"
    )


def few_seeds(row: Row) -> str:
    """Say that two seeds are too few for more than a suggestion."""
    return (
        f" With {count(row['n_seeds'], 'seed')}, nothing counts as established." if row["n_seeds"] < MIN_SEEDS else ""
    )


def trend_text(row: Row, n_tests: int, looks: int) -> str:
    """Describe the clearest trend with its interval at 1 − .05/number of trends."""
    low, high = Estimate.of(row, "trend", "trend", looks).interval(1 - ALPHA / n_tests)
    what = "better" if row["trend"] > 0 else "worse"
    return (
        f"the better one of these measures is as a metric, the {what} it is as an objective with"
        f" {setting_name(row['discriminator'], row['gan_weight'])}. From the worst to the best metric, the gain changes"
        f" by {interval(row['trend'], low, high)} judge SDs (line through {count(row['n'], 'measure')}, Holm p ="
        f" {row['trend_p_holm']:.2g} over {count(n_tests, 'setting')}; interval at {1 - ALPHA / n_tests:.1%})."
    )


def inversion_text(row: Row, pairs: pd.DataFrame, looks: int) -> str:
    """Describe the clearest inversion with the interval of its gain at 1 − .05/number of pairs."""
    n_tests = int(pairs["p"].notna().sum())
    better, worse = row["better_metric"], row["worse_metric"]
    found = Estimate.of(row, "gain_difference", "gain", looks)
    low, high = found.interval(1 - ALPHA / n_tests)
    srcc = interval(row["srcc_difference"], row["srcc_difference_low"], row["srcc_difference_high"])
    return (
        f"a better metric can be the worse objective. {pretty(better)} against {pretty(worse)} with"
        f" {setting_name(row['discriminator'], row['gan_weight'])}: {srcc} in SRCC, but"
        f" {interval(found.value, low, high)} judge SDs in gain (both at once:"
        f" {row['correction']} p = {row['p_corrected']:.2g} over {count(n_tests, 'comparison')};"
        f" interval of the gain at {1 - ALPHA / n_tests:.2%})."
    )


def undecided(study: Study, settings: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Say that the data do not tell, why, and what would."""
    known = records(settings.loc[settings["trend_p"].notna()])
    tested = pairs.loc[pairs["p"].notna()]
    if not known and tested.empty:
        why = "; ".join(sorted({str(row["status"]) for row in records(settings)} - {"ok"})) or "one seed or one image"
        return f"Undecided: whether a better metric is the better or the worse objective could not be tested ({why})."
    parts = ["Undecided: these data do not tell whether a better metric is the better or the worse objective."]
    if known:
        best = min(known, key=lambda row: row["trend_p"])
        parts.append(
            f"The clearest trend, with {setting_name(best['discriminator'], best['gan_weight'])}, is"
            f" {interval(best['trend'], best['trend_low'], best['trend_high'])} judge SDs from the worst to the best"
            f" metric, Holm p = {best['trend_p_holm']:.2g}."
        )
    if len(tested):
        parts.append(
            f"{int(tested['discordant'].sum())} of {count(len(tested), 'comparison')} (pairs of measures × settings)"
            f" are in opposite order; the smallest corrected p is {tested['p_corrected'].min():.2g}."
        )
    return " ".join([*parts, what_would_decide(study, tested)]).strip()


def what_would_decide(study: Study, tested: pd.DataFrame) -> str:
    """Say how small a difference this sample finds, and which sample would find half a judge SD."""
    if tested.empty:
        return ""
    n_tests = int(study.asymmetry.pairs["p"].notna().sum())
    ordered = records(tested.loc[tested["gain_se"].notna()].sort_values("gain_se", kind="stable"))
    if not ordered:
        return ""
    typical = Estimate.of(ordered[len(ordered) // 2], "gain_difference", "gain", study.looks)
    images = max(IMAGES, typical.n_images)
    n_cells = max(len(trained.keys) for trained in study.gains.trained.values())
    seeds = needed_seeds(typical, EFFECT, images, n_tests, n_cells)
    sample = f"{f'about {seeds}' if seeds else 'more than 50'} seeds × {images} images"
    return (
        f"A typical pair would have to differ by {detectable(typical, n_tests):.2g} judge SDs to be told apart in four"
        f" studies of five; a difference of {EFFECT:g} takes {sample}."
    )


def adversarial(changes: pd.DataFrame) -> str:
    """Say whether the rankings differ more once a discriminator is added."""
    known = records(where(changes, status="ok"))
    if not known:
        if changes.empty:
            return "Whether adversarial training matters was not tested."
        return f"Whether adversarial training matters could not be tested: {'; '.join(sorted(set(changes['status'])))}."
    n = count(len(known), "adversarial setting")
    parts = []
    few = "Suggested, not established, by two seeds: the"
    for start, word, found in [
        (start, word, weakened(word, n_seeds))
        for word in (AGREE_LESS, AGREE_MORE)
        for start, n_seeds in (("The", MIN_SEEDS), (few, 2))
    ]:
        if of := [row for row in known if row["verdict"] == found]:
            listed = "; ".join(
                f"{setting_name(row['discriminator'], row['gan_weight'])}: ρ"
                f" {interval(row['rho_without'], row['rho_without_low'], row['rho_without_high'])} →"
                f" {interval(row['rho_with'], row['rho_with_low'], row['rho_with_high'])}"
                for row in of
            )
            parts.append(f"{start} rankings {word} once a discriminator is added, in {len(of)} of {n}: {listed}.")
    if parts:
        return " ".join(parts) + " Intervals are of the ρ without noise and do not overlap."
    if len(known) == 1:
        where_ = f"in the {setting_name(known[0]['discriminator'], known[0]['gan_weight'])} setting"
    else:
        where_ = f"in each of the {n}"
    return (
        "Undecided: whether a discriminator makes the rankings agree less. The intervals of the noise-free ρ without"
        f" and with it overlap {where_}."
    )


def assessed(study: Study, dataset: str) -> str:
    """Name the best and the worst metric of a data set, and say whether the lead is more than noise."""
    rows = records(where(study.assessment.table, dataset=dataset, status="ok"))
    rows.sort(key=lambda row: -row["srcc"])
    if not rows:
        return ""
    best, worst = rows[0], rows[-1]
    text = (
        f"As metrics on {pretty(dataset)} ({count(best['n'], 'image')} of {count(best['n_references'], 'reference')},"
        f" labelled by {label_name(best['label_kind'])}), {pretty(best['measure'])} ranks first, SRCC"
        f" {interval(best['srcc'], best['srcc_low'], best['srcc_high'])}"
    )
    if len(rows) == 1:
        return text + "."
    text += f", and {pretty(worst['measure'])} last, {interval(worst['srcc'], worst['srcc_low'], worst['srcc_high'])}"
    second = rows[1]["measure"]
    row = records(where(study.assessment.differences, dataset=dataset, measure_a=best["measure"], measure_b=second))[0]
    if np.isnan(row["p_holm"]):
        return text + "; whether the lead is more than noise cannot be tested with so few references."
    sure = "more than" if row["p_holm"] < ALPHA else "within"
    return (
        f"{text}; the lead over {pretty(second)}, {minus(row['difference'])}, is {sure} noise (Holm p ="
        f" {row['p_holm']:.2g} over {count(len(where(study.assessment.differences, dataset=dataset)), 'pair')})."
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
    return (
        "Spearman's ρ between the rankings by SRCC and by gain is "
        + ", ".join(parts)
        + " (brackets: the ρ without noise)."
    )


def optimized(study: Study, generator: str) -> str:
    """Say how many trained cells are better or worse than the pixel-only one, and name the first."""
    rows = [row for row in records(where(study.gains.table, generator=generator)) if np.isfinite(row["gain"])]
    if not rows:
        return ""
    best = max(rows, key=lambda row: row["gain"])
    sure = [row for row in rows if row["p_holm"] < ALPHA]
    better, worse = sum(row["gain"] > 0 for row in sure), sum(row["gain"] < 0 for row in sure)
    return (
        f"As objectives, {better} of {count(len(rows), 'trained cell')} are better than pixel-only training and {worse}"
        f" worse (Holm p < 0.05), the others cannot be told from it; the largest gain is that of"
        f" {pretty(best['fidelity'])} with {setting_name(best['discriminator'], best['gan_weight'])},"
        f" {interval(best['gain'], best['gain_low'], best['gain_high'])} judge SDs (Holm p = {best['p_holm']:.2g})."
        if np.isfinite(best["p_holm"])
        else f"As objectives, no gain has an interval ({best['status']}); the largest is that of"
        f" {pretty(best['fidelity'])}, {minus(best['gain'])} judge SDs."
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
        f"Power: {'; '.join(parts)} (exact permutation test of “measures are ranked at random”), so a smaller ρ is no"
        f" evidence that the rankings are unrelated. Gains rest on {sample}; their intervals hold for new seeds and"
        " images, by these judges."
    )
