"""One self-contained HTML report of a study: opening it needs no network."""

from __future__ import annotations

import base64
import io
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd
import scipy
from matplotlib.figure import Figure

from ..common.files import write_text
from . import figures
from .asymmetry import WHERE
from .figures.assessment_forest import caption as assessment_forest_caption
from .figures.gain_forest import caption as gain_forest_caption
from .figures.gallery import GalleryRow
from .figures.gallery import caption as gallery_caption
from .figures.judge_heatmap import caption as judge_heatmap_caption
from .figures.no_reference_forest import arm_name, model_name, source_names
from .figures.no_reference_forest import caption as no_reference_forest_caption
from .figures.scatter import caption as scatter_caption
from .figures.slope_chart import caption as slope_chart_caption
from .figures.style import WIDTH, count, interval, minus, pretty, setting_name
from .figures.training_curves import TERMS
from .figures.training_curves import caption as training_curves_caption
from .headline import headline
from .limitations import limitations
from .no_reference import CHANCE, DISCRIMINATOR, SOURCE
from .scorers import AS_MEAN
from .study import Study
from .tables import UNTRAINED, Row, grouped, records, where

DPI = 200  # twice the 100 px an inch at which figures are shown

Cell = Callable[[Row], str]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A figure as a PNG in the page; ``width`` is its share of the column, so that all figures share one font size."""

    png: str
    alt: str
    caption: str
    width: float


@dataclass(frozen=True)
class Table:
    """A table of ready-made strings; a folded one opens on a click."""

    title: str
    note: str
    header: list[str]
    rows: list[list[str]]
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    key: str
    title: str
    blocks: list[Text | Picture | Table]


def write_report(
    study: Study,
    path: Path,
    *,
    title: str,
    description: str = "",
    gallery_rows: Sequence[GalleryRow] = (),
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write the report of a study as one HTML file.

    Args:
        study: Result of ``analyse``.
        path: The file to write; replaced if there.
        title: Heading of the report.
        description: What was studied and why, plain text.
        gallery_rows: Crops to show, see ``GalleryRow``; none leaves the gallery out.
        facts: Name → value of what the run should be known by: versions, machine, commit, hashes, hours.

    Raises:
        AnalysisError: A gallery row that cannot be drawn.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [
        Section("glance", "At a glance", at_a_glance(study)),
        Section("asymmetry", "The asymmetry", asymmetry_blocks(study)),
        Section("objectives", "Measures as objectives", gain_blocks(study)),
        Section("metrics", "Measures as metrics", assessment_blocks(study)),
        Section("no-reference", "No-reference models", no_reference_blocks(study)),
        Section("scorers", "Multimodal LLMs as measures", scorer_blocks(study)),
        Section("training", "Training", training_blocks(study)),
        Section("gallery", "Gallery", gallery_blocks(gallery_rows)),
        Section("data", "Data and judges", data_blocks(study)),
        Section("counts", "What went in, what came out", count_blocks(study)),
        Section("limitations", "Limitations", [Text(text) for text in limitations(study)]),
        Section("facts", "Run facts", [fact_table(study, facts or {})]),
    ]
    page = environment.get_template("report.html.j2").render(
        title=title,
        description=description,
        headline=headline(study),
        sections=[section for section in sections if section.blocks],
        n_boot=study.n_boot,
        seed=study.seed,
    )
    write_text(Path(path), page)


def method(study: Study, what: str) -> str:
    """Say how intervals were made, for captions: ``what`` was resampled."""
    return f"{study.level:.0%} percentile intervals from {study.n_boot:,} bootstrap resamples of {what}"


def picture(figure: Figure, alt: str, caption: str) -> Picture:
    """Draw a figure into a PNG at twice its shown size."""
    buffer = io.BytesIO()
    # No software stamp: the same study gives the same bytes.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    width = min(1.0, figure.get_size_inches()[0] / WIDTH)
    return Picture(base64.b64encode(buffer.getvalue()).decode(), alt, caption, 100 * width)


def table(
    frame: pd.DataFrame, title: str, columns: Mapping[str, Cell], *, note: str = "", folded: bool = False
) -> Table:
    """Format a data frame: one row each, one column per entry of ``columns`` (heading → text of a row)."""
    rows = [[cell(row) for cell in columns.values()] for row in records(frame)]
    return Table(title, note, list(columns), rows, folded)


def text(column: str) -> Cell:
    """Show a column as it is, "–" if empty."""
    return lambda row: "–" if pd.isna(row[column]) or row[column] == "" else str(row[column])


def name(column: str) -> Cell:
    """Show a key as people write it."""
    return lambda row: pretty(str(row[column]))


def named_list(column: str) -> Cell:
    """Show a ";"-joined list of keys as people write them, "–" if empty."""
    return lambda row: ", ".join(pretty(key) for key in str(row[column]).split(";") if key) or "–"


def setting(row: Row) -> str:
    """Show the adversarial setting of a row."""
    return setting_name(row["discriminator"], row["gan_weight"])


def number(column: str, digits: int = 2) -> Cell:
    """Show a number, "–" if undefined."""
    return lambda row: "–" if pd.isna(row[column]) else minus(float(row[column]), digits)


def with_interval(column: str, digits: int = 2) -> Cell:
    """Show a value with its interval."""
    return lambda row: interval(row[column], row[f"{column}_low"], row[f"{column}_high"], digits)


def with_range(column: str, digits: int = 2) -> Cell:
    """Show a mean with the least and the largest value, "–" if there is none."""

    def cell(row: Row) -> str:
        if pd.isna(row[column]):
            return "–"
        low, high = (minus(float(row[f"{column}_{end}"]), digits) for end in ("low", "high"))
        return f"{minus(float(row[column]), digits)} ({low}–{high})"

    return cell


def p_value(column: str) -> Cell:
    """Show a p-value."""
    return lambda row: "–" if pd.isna(row[column]) else "< 0.001" if row[column] < 0.0005 else f"{row[column]:.3f}"


def yes(column: str) -> Cell:
    """Show a flag."""
    return lambda row: "yes" if row[column] else "no"


def at_a_glance(study: Study) -> list[Text | Picture | Table]:
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
        "ρ is Spearman's: +1, the better metric is the better objective; −1, the reverse. “Beyond noise”: the"
        " intervals of the difference in SRCC and of that in gain both exclude 0. “–”: no |ρ| reaches p < 0.05 with so"
        " few measures. p: exact permutation test up to 8 measures, t approximation above."
    )
    return [table(settings, "Agreement of the two rankings", columns, note=note)]


def asymmetry_blocks(study: Study) -> list[Text | Picture | Table]:
    """Return slope chart, scatter and tables of the asymmetry."""
    blocks: list[Text | Picture | Table] = []
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


def gain_blocks(study: Study) -> list[Text | Picture | Table]:
    """Return forest, heatmap and tables of the gains."""
    gains = study.gains
    if gains.table.empty:
        return []
    blocks: list[Text | Picture | Table] = [
        Text(
            "Gain: per image, seed and judge, the score minus that of the same generator trained with the pixel loss"
            " alone, signed so that positive is better, divided by the judge's SD of such differences, and averaged"
            " over the judges that share nothing with the measure. 1 judge SD is as much as a difference varies from"
            " image to image."
        )
    ]
    for generator, rows in grouped(gains.table, "generator"):
        of = pretty(generator)
        forest = gain_forest_caption(rows, method(study, "seeds and images"))
        blocks.append(
            picture(figures.gain_forest(rows), f"Forest plot of gains, {of}: values as below.", f"{of}. {forest}")
        )
        by_judge = where(gains.by_judge, generator=generator)
        heat = picture(
            figures.judge_heatmap(by_judge),
            f"Heat map of gains, trained with by judged by, {of}.",
            f"{of}. {judge_heatmap_caption(by_judge)}",
        )
        blocks.append(heat)
    columns = {
        "generator": name("generator"),
        "trained with": name("fidelity"),
        "adversarial setting": setting,
        "gain (judge SDs)": with_interval("gain"),
        "seeds": text("n_seeds"),
        "images": text("n_images"),
        "judges": text("n_judges"),
        "left out, related": named_list("judges_related"),
        "left out, no spread": named_list("judges_no_spread"),
        "not ok": text("n_not_ok"),
        "missing": text("n_missing"),
        "status": text("status"),
    }
    ordered = gains.table.sort_values(["generator", "gain"], ascending=[True, False])
    blocks.append(table(ordered, "Gains, largest first", columns, folded=True))
    blocks.append(means_table(gains.means))
    spread = study.asymmetry.spread
    if len(spread):
        columns = {
            "generator": name("generator"),
            "over": text("scope"),
            "measures": text("n_fidelities"),
            "settings": text("n_settings"),
            "SD across measures": with_interval("sd_fidelity"),
            "SD across settings": with_interval("sd_setting"),
            "ratio": with_interval("ratio"),
            "share of resamples with ratio > 1": number("probability"),
            "status": text("status"),
        }
        note = (
            "Spread of the gain (judge SDs) when only the measure changes and when only the adversarial setting does."
            " A ratio above 1: the adversarial part matters more than the choice of measure. Noise adds to both."
        )
        blocks.append(table(spread, "What matters more, the measure or the discriminator?", columns, note=note))
    return blocks


def means_table(means: pd.DataFrame) -> Table:
    """Return mean scores in the judges' own units, untrained and pixel-only included, a column per judge."""
    direction = dict(zip(means["judge"], means["higher_is_better"], strict=True))
    wide = means.pivot(index=["generator", "discriminator", "gan_weight", "fidelity"], columns="judge", values="mean")
    wide = wide.reset_index()
    # Untrained, then pixel-only, then the rest.
    first = {**dict.fromkeys(UNTRAINED, 0), "none": 1}
    wide = wide.sort_values(
        ["generator", "fidelity", "discriminator", "gan_weight"],
        key=lambda column: column.map(lambda key: (first.get(key, 2), key)) if column.name == "fidelity" else column,
    )
    columns: dict[str, Cell] = {
        "generator": name("generator"),
        "trained with": name("fidelity"),
        "adversarial setting": lambda row: "–" if row["fidelity"] in UNTRAINED else setting(row),
    }
    for judge, higher in direction.items():
        columns[f"{pretty(str(judge))} {'↑' if higher else '↓'}"] = significant(judge)
    note = "Means over seeds and images, in the judge's unit; ↑ higher is better, ↓ lower; “–”: a score is not ok."
    return table(wide, "Mean scores", columns, note=note, folded=True)


def significant(column: str) -> Cell:
    """Show a number with four significant digits, "–" if undefined."""
    return lambda row: "–" if pd.isna(row[column]) else f"{row[column]:#.4g}".rstrip(".").replace("-", "−")


def assessment_blocks(study: Study) -> list[Text | Picture | Table]:
    """Return forest and tables of the assessment."""
    assessed = study.assessment.table
    if assessed.empty:
        return []
    how = assessment_forest_caption(assessed, method(study, "references (clustered; widened for their number)"))
    columns = {
        "data set": name("dataset"),
        "measure": name("measure"),
        "id": text("measure_id"),
        "labels": lambda row: row["label_kind"].replace("_", " "),
        "images": text("n"),
        "references": text("n_references"),
        "SRCC": with_interval("srcc"),
        "KRCC (τ-b)": with_interval("krcc"),
        "PLCC (raw)": with_interval("plcc"),
        "PLCC (logistic 4)": number("plcc_logistic4", 3),
        "PLCC (logistic 5)": number("plcc_logistic5", 3),
        "RMSE": number("rmse", 3),
        "outlier ratio": number("outlier_ratio", 3),
        "concordance": number("concordance", 3),
        "not ok": text("n_not_ok"),
        "missing": text("n_missing"),
        "status": text("status"),
    }
    ordered = assessed.sort_values(["dataset", "srcc"], ascending=[True, False])
    blocks: list[Text | Picture | Table] = [
        picture(
            figures.assessment_forest(assessed), "Forest plot of correlations with the labels: values as below.", how
        ),
        table(
            ordered,
            "Agreement with the labels, best first",
            columns,
            note="Logistic 4, 5: PLCC after VQEG's fits with 4 and 5 parameters; RMSE, in the labels' unit, and outlier"
            " ratio after the first. Concordance: share of pairs of images with significantly different labels"
            " that the measure orders as they do. “–”: the fit or the labels do not allow it.",
            folded=True,
        ),
    ]
    differences = study.assessment.differences
    if len(differences):
        columns = {
            "data set": name("dataset"),
            "measure a": name("measure_a"),
            "measure b": name("measure_b"),
            "SRCC of a − b": with_interval("difference"),
            "win probability of a": number("win_probability"),
            "p": p_value("p"),
            "p, Holm": p_value("p_holm"),
        }
        note = "Over the same resamples of references. p: t test, difference over its bootstrap SE, references − 1 df."
        blocks.append(table(differences, "Paired differences", columns, note=note, folded=True))
    ranks = study.assessment.ranks
    if len(ranks):
        columns = {
            "data set": lambda row: pretty(row["dataset"]) if row["dataset"] else "all",
            "ranked within each": lambda row: row["over"].removesuffix("s"),
            "blocks": text("n_blocks"),
            "left out": text("n_left_out"),
            "measure": name("measure"),
            "mean rank": number("mean_rank"),
            "Friedman χ²": number("friedman_chi2"),
            "p": p_value("friedman_p"),
            "critical difference": number("critical_difference"),
        }
        ordered = ranks.sort_values(["over", "dataset", "mean_rank"], ascending=[False, True, True], kind="stable")
        note = (
            "Measures ranked by SRCC within each reference or data set, 1 is best. p: Friedman's test that all are"
            f" alike. Two measures differ (Nemenyi, {study.level:.0%}, corrected for all pairs) if their mean ranks are"
            " further apart than the critical difference. Left out: blocks in which a measure has no SRCC."
        )
        blocks.append(table(ordered, "Mean ranks", columns, note=note, folded=True))
    return blocks


def no_reference_blocks(study: Study) -> list[Text | Picture | Table]:
    """Return forest and tables of the no-reference models."""
    found = study.no_reference
    if found.table.empty:
        return []
    sources = source_names(found.table)
    blocks: list[Text | Picture | Table] = [Text(said) for said in discriminators_as_starts(found.differences)]
    whole, probes = (found.table.loc[chosen] for chosen in (found.table["stage"].isna(), found.table["stage"].notna()))
    if len(whole):
        blocks.append(
            picture(
                figures.no_reference_forest(found.table, found.splits),
                "Forest plot of no-reference models by initialisation: values as below.",
                no_reference_forest_caption(whole, study.level),
            )
        )
    several = found.table["dataset"].nunique() > 1
    model: dict[str, Cell] = {
        **({"data set": name("dataset")} if several else {}),
        "model": lambda row: model_name(row["model"]),
    }
    unpaired = bool(found.differences["n_unpaired_seeds"].any())
    columns: dict[str, Cell] = {
        "a": lambda row: arm_name({**row, "initialisation": row["a"]}, sources),
        "b": lambda row: f"{CHANCE} (0)" if row["b"] == CHANCE else arm_name({**row, "initialisation": row["b"]}, {}),
        "SRCC of a − b": with_interval("difference"),
        "p": p_value("p"),
        "p, Holm": p_value("p_holm"),
        "splits": text("n_splits"),
        "seeds": text("n_seeds"),
        **({"unpaired": text("n_unpaired_seeds")} if unpaired else {}),
        **({"status": text("status")} if found.differences["status"].ne("ok").any() else {}),
    }
    note = (
        "Means over splits and seeds; a and b saw the same splits and images, and where both have seeds, a seed is"
        " paired with itself: a discriminator with the random weights it began with. p: t test whose variance allows"
        " for the images that splits share, or over resampled references for a single split; the spread over seeds is"
        " added where there are several. Holm: over all comparisons of a data set."
        + (" Unpaired: seeds that only one of the two has." if unpaired else "")
    )
    of_whole = found.differences.loc[found.differences["stage"].isna()]
    if len(of_whole):
        ordered = of_whole.sort_values(["dataset", "model", "a", "discriminator", "b"], kind="stable")
        blocks.append(table(ordered, "What the initialisation is worth", {**model, **columns}, note=note))
    values: dict[str, Cell] = {
        "initialisation": lambda row: arm_name(row, sources),
        "SRCC": with_interval("srcc"),
        "KRCC (τ-b)": with_interval("krcc"),
        "PLCC (raw)": with_interval("plcc"),
        "splits": text("n_splits"),
        "seeds": text("n_seeds"),
        **({"status": text("status")} if found.table["status"].ne("ok").any() else {}),
    }
    note = "Medians over splits of means over seeds, with intervals."
    if len(whole):
        ordered = whole.sort_values(["dataset", "model", "srcc"], ascending=[True, True, False], kind="stable")
        blocks.append(table(ordered, "Agreement with the labels", {**model, **values}, note=note, folded=True))
    if len(probes):
        ordered = probes.sort_values(["dataset", "model", "initialisation", *SOURCE, "stage"], kind="stable")
        blocks.append(
            table(
                ordered,
                "Layer by layer",
                {**model, "layer": text("stage"), **values},
                note="Models that see one layer each, counted from 0, the finest. " + note,
                folded=True,
            )
        )
        of_probes = found.differences.loc[found.differences["stage"].notna()]
        note = "As above; Holm's correction is over all layers of a data set."
        shown = {**model, "layer": text("stage"), **columns}
        blocks.append(table(of_probes, "Differences, layer by layer", shown, note=note, folded=True))
    return blocks


def scorer_blocks(study: Study) -> list[Text | Picture | Table]:
    """Return forest and table of the multimodal LLMs' ratings."""
    if study.scorers.empty:
        return []
    shown = where(study.scorers, reading=AS_MEAN)
    shown = shown.assign(measure=shown["scorer"], dataset=shown["benchmark"] + ", " + shown["dimension"])
    forest = figures.assessment_forest(shown)
    caption = (
        "Agreement of each scorer's ratings with people's, signed so that + is agreement; replies that failed count as"
        f" the scorer's mean. PLCC is raw (no logistic fit). Lines: {method(study, 'references')}."
    )
    failed = study.scorers["n_valid"].lt(study.scorers["n"]).any()
    columns: dict[str, Cell] = {
        "benchmark": text("benchmark"),
        "dimension": text("dimension"),
        "scorer": name("scorer"),
        **({"failed replies": text("reading")} if failed else {}),
        "SRCC": with_interval("srcc"),
        "KRCC (τ-b)": with_interval("krcc"),
        "PLCC (raw)": with_interval("plcc"),
        "items": text("n"),
        "valid": text("n_valid"),
        "references": text("n_references"),
        **({"failures": text("failures"), "status": text("status")} if failed else {}),
    }
    readings = study.scorers if failed else where(study.scorers, reading=AS_MEAN)
    ordered = readings.sort_values(["benchmark", "dimension", "srcc"], ascending=[True, True, False], kind="stable")
    note = (
        "Valid only leaves failed replies out, as published numbers do, and flatters a scorer that keeps silent where"
        " it is hard; failures as mean gives them the scorer's own mean, no opinion."
    )
    return [
        picture(forest, "Forest plot of multimodal LLMs' ratings: values as below.", caption),
        table(ordered, "Agreement with people", columns, note=note if failed else "", folded=True),
    ]


def discriminators_as_starts(differences: pd.DataFrame) -> list[str]:
    """Say how often a discriminator was the better or the worse start, beyond noise."""
    whole = where(differences.loc[differences["stage"].isna()], a=DISCRIMINATOR, status="ok")
    said = []
    for b, rows in grouped(whole, "b"):
        sure = rows.loc[rows["p_holm"] < 0.05]
        better, worse = int((sure["difference"] > 0).sum()), int((sure["difference"] < 0).sum())
        said.append(
            f"Of {count(len(rows), 'comparison')} of a discriminator's weights with {b} ones as a start, {better} are"
            f" in favour of the discriminator's and {worse} of the {b} ones (p < 0.05, Holm);"
            f" {len(rows) - better - worse} cannot tell."
        )
    return said


def training_blocks(study: Study) -> list[Text | Picture | Table]:
    """Return the training curves of every generator that was fine-tuned, and how stable the trainings were."""
    training = study.tables.training
    rows = where(training, stage="finetune")
    rows = rows.loc[rows["term"].isin(list(TERMS))]
    blocks: list[Text | Picture | Table] = [
        picture(
            figures.training_curves(of_generator),
            f"Training curves, {pretty(generator)}.",
            f"{pretty(generator)}. {training_curves_caption(of_generator)}",
        )
        for generator, of_generator in grouped(rows, "generator")
    ]
    if len(study.stability):
        several = study.stability["generator"].nunique() > 1
        columns = {
            **({"generator": name("generator")} if several else {}),
            "adversarial setting": setting,
            "runs": text("trainings"),
            "diverged": text("diverged"),
            "skipped": text("skipped_steps"),
            "D saturated": with_range("discriminator_saturation"),
            "D blind": with_range("discriminator_blindness"),
            "D oscillates": with_range("discriminator_oscillation"),
            "pixel loss": with_range("pixel_final_over_best"),
            "gradient": with_range("generator_gradient_spike"),
            "adversarial": number("adversarial_gradient_share", 3),
        }
        note = (
            "Mean over runs (least–largest). Skipped: steps, because a loss or gradient was not finite. Saturated,"
            " blind: share of the windows of steps in which the discriminator D is right at least 99 % of the time or"
            " separates the two by 0.9, and in which it is right 50 ± 2 % of the time. Oscillates: largest"
            " autocorrelation of D(real) − D(restored), some 0.3 for noise; “–”: too few windows. Pixel loss: final"
            " over best, 1 is no collapse. Gradient: largest norm over the median, of the generator's weights."
            " Adversarial: share of that term's gradient on the image. The first three columns on D suppose the logits"
            " of a probability, not those of Wasserstein or relativistic objectives."
        )
        blocks.append(table(study.stability, "Stability of adversarial training", columns, note=note))
    return blocks


def gallery_blocks(rows: Sequence[GalleryRow]) -> list[Text | Picture | Table]:
    """Return the gallery, if there is anything to show."""
    if not rows:
        return []
    titles = ", ".join(rows[0]["crops"])
    return [picture(figures.gallery(rows), f"Crops of {len(rows)} images: {titles}.", gallery_caption(rows))]


def data_blocks(study: Study) -> list[Text | Picture | Table]:
    """Return what was judged and by whom."""
    blocks: list[Text | Picture | Table] = []
    fr, sr = study.tables.fr_scores, study.tables.sr_scores
    if len(fr):
        keys = ["dataset", "dataset_id", "label_kind", "label_higher_is_better"]
        counted = fr.groupby(keys, sort=True).agg(
            references=("reference", "nunique"), distortions=("distortion", "nunique"), measures=("measure", "nunique")
        )
        counted["images"] = (
            fr.drop_duplicates([*keys, "reference", "image", "distortion", "level"]).groupby(keys).size()
        )
        columns = {
            "data set": name("dataset"),
            "id": text("dataset_id"),
            "images": text("images"),
            "references": text("references"),
            "distortions": text("distortions"),
            "labels": lambda row: row["label_kind"].replace("_", " "),
            "higher label is better": yes("label_higher_is_better"),
            "measures": text("measures"),
        }
        blocks.append(table(counted.reset_index(), "Labelled data sets", columns))
    nr = study.tables.nr_scores
    if len(nr):
        counted = study.no_reference.table.groupby("dataset", sort=True).agg(
            n=("n", "max"),
            n_references=("n_references", "max"),
            n_splits=("n_splits", "max"),
            models=("model", "nunique"),
        )
        keys = ["dataset", "dataset_id", "label_kind", "label_higher_is_better"]
        columns = {
            "data set": name("dataset"),
            "id": text("dataset_id"),
            "test images": text("n"),
            "references": text("n_references"),
            "splits": text("n_splits"),
            "labels": lambda row: row["label_kind"].replace("_", " "),
            "higher label is better": yes("label_higher_is_better"),
            "models": text("models"),
        }
        known = nr.loc[:, keys].drop_duplicates().merge(counted.reset_index(), on="dataset").sort_values("dataset")
        note = "Test images of all splits together; an image without a reference is its own."
        blocks.append(table(known, "Labelled data sets of the no-reference models", columns, note=note))
    if len(sr):
        counted = (
            sr.groupby("test_set", sort=True).agg(images=("image", "nunique"), seeds=("seed", "nunique")).reset_index()
        )
        columns = {"test set": name("test_set"), "images": text("images"), "seeds": text("seeds")}
        blocks.append(table(counted, "Super-resolution test sets", columns))
        columns = {
            "judge": name("judge"),
            "id": text("judge_id"),
            "families": named_list("families"),
            "direction": lambda row: "higher is better" if row["higher_is_better"] else "lower is better",
            "1 judge SD": significant("sd"),
            "scores": text("n_scores"),
            "not ok": text("n_not_ok"),
            "status": text("status"),
        }
        note = (
            "A judge is left out of the gain of any measure that it is, or that it shares a family with. 1 judge SD is"
            " in the judge's own unit: the within-cell SD of paired differences to the pixel-only cell, pooled over"
            " all trained cells."
        )
        blocks.append(table(study.gains.judges, "Judges", columns, note=note))
    return blocks


def contamination_blocks(found: pd.DataFrame) -> list[Text | Picture | Table]:
    """Return the matrix of subjects by data sets, and in words what stands in it."""
    if found.empty:
        return []

    def shown(dataset: str) -> Cell:
        def cell(row: Row) -> str:
            of = records(where(found, subject=row["subject"], dataset=dataset))
            if not of:
                return "–"
            shared = of[0]["n_shared"]
            return of[0]["finding"] + ("" if pd.isna(shared) or not shared else f" ({shared} of {of[0]['n']})")

        return cell

    columns: dict[str, Cell] = {"subject": name("subject"), "role": text("role")}
    columns |= {pretty(dataset): shown(dataset) for dataset in found["dataset"].unique()}
    note = (
        "Trained on it: its weights were learnt from the labels of that data set, so its SRCC there is no test. Shares"
        " references, shares files: pictures of equal pixels or bytes are in both; crops of one photograph are not"
        " recognised. None known: what it was trained on is known, and not this. Backbones’ pretraining does not count."
    )
    blocks: list[Text | Picture | Table] = [
        table(found.drop_duplicates("subject"), "Contamination", columns, note=note)
    ]
    graver = found.query("finding != 'none known' and detail != ''")
    if len(graver):
        columns = {
            "subject": name("subject"),
            "data set": name("dataset"),
            "finding": text("finding"),
            "in words": text("detail"),
        }
        blocks.append(table(graver, "Contamination, in words", columns, folded=True))
    return blocks


def count_blocks(study: Study) -> list[Text | Picture | Table]:
    """Return rows by status and everything that was lost on the way."""
    columns = {
        "table": text("table"),
        "stage, judge or measure": text("group"),
        "status": text("status"),
        "rows": lambda row: f"{row['count']:,}",
    }
    totals = "; ".join(
        f"{table_name}: {status} {rows['count'].sum():,}"
        for (table_name, status), rows in grouped(study.counts, "table", "status")
    )
    blocks: list[Text | Picture | Table] = []
    if totals:
        blocks.append(Text(f"Rows by status. {totals}."))
    cells = study.tables.cells
    lost = cells.loc[cells["status"] != "done"]
    if len(lost):
        columns_lost = {column: text(column) for column in ("cell", "stage", "status", "reason")}
        blocks.append(table(lost, "Cells that are not done", columns_lost))
    undone = (
        [
            ("gain", f"{pretty(row['fidelity'])}, {setting(row)}", row["status"])
            for row in records(study.gains.table)
            if row["status"] != "ok"
        ]
        + [
            (
                "gain by judge",
                f"{pretty(row['fidelity'])}, {setting(row)}, judged by {pretty(row['judge'])}",
                row["status"],
            )
            for row in records(study.gains.by_judge)
            if row["status"] != "ok"
        ]
        + [
            ("assessment", f"{pretty(row['measure'])} on {pretty(row['dataset'])}", row["status"])
            for row in records(study.assessment.table)
            if row["status"] != "ok"
        ]
    )
    undone += [
        (
            "no-reference",
            f"{model_name(row['model'])} from {row['initialisation']} on {pretty(row['dataset'])}",
            row["status"],
        )
        for row in records(study.no_reference.table)
        if row["status"] != "ok"
    ]
    if undone:
        frame = pd.DataFrame(undone, columns=["of", "what", "status"])
        shown = {"of": text("of"), "what": text("what"), "why it has no value": text("status")}
        blocks.append(table(frame, "Values that could not be computed", shown))
    left_out = study.asymmetry.settings
    left_out = left_out.loc[left_out["excluded"] != ""]
    if len(left_out):
        shown = {
            "generator": name("generator"),
            "data set": name("dataset"),
            "adversarial setting": setting,
            "measure and reason": text("excluded"),
        }
        blocks.append(table(left_out, "Measures left out of the comparison", shown))
    blocks.append(table(study.counts, "All counts", columns, folded=True))
    return blocks


def fact_table(study: Study, facts: Mapping[str, object]) -> Table:
    """Return what the run and the analysis should be known by."""
    cells = study.tables.cells
    known: dict[str, object] = dict(facts)
    if cells["seconds"].notna().any():
        known["Compute, all cells"] = (
            f"{cells['seconds'].sum() / 3600:,.2f} h ({int(cells['seconds'].notna().sum())} cells)"
        )
    if cells["peak_memory_mb"].notna().any():
        known["Peak memory of a cell"] = f"{cells['peak_memory_mb'].max():,.0f} MB"
    known["Intervals"] = f"{method(study, 'references, or seeds and images')}, seed {study.seed}"
    known["Analysis"] = (
        f"Python {platform.python_version()}, numpy {np.__version__}, pandas {pd.__version__}, scipy"
        f" {scipy.__version__}, matplotlib {mpl.__version__}"
    )
    return Table("", "", ["fact", "value"], [[str(key), str(value)] for key, value in known.items()])
