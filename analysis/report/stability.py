"""The report's section on training: its curves, and how stable it was."""

from __future__ import annotations

from .. import figures
from ..figures.style import pretty
from ..figures.training_curves import TERMS
from ..figures.training_curves import caption as training_curves_caption
from ..statistics.frames import grouped, where
from ..study import Study
from .blocks import Block, Section, name, number, picture, setting, table, text, with_range


def section(study: Study) -> Section:
    """Return the training curves of every generator that was fine-tuned, and how stable the trainings were."""
    rows = where(study.tables.training, stage="finetune")
    rows = rows.loc[rows["term"].isin(list(TERMS))]
    blocks: list[Block] = [
        picture(
            figures.training_curves(of_generator),
            f"Training curves, {pretty(generator)}.",
            f"{pretty(generator)}. {training_curves_caption(of_generator)}",
        )
        for generator, of_generator in grouped(rows, "generator")
    ]
    steadiness = study.parts["stability"]
    if len(steadiness):
        several = steadiness["generator"].nunique() > 1
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
            "Mean over runs (least–largest). Skipped: steps left out because a loss or gradient was not finite."
            " Saturated, blind: the share of the windows of steps in which the discriminator D is right at least 99 %"
            " of the time or separates the two by 0.9, and in which it is right 50 ± 2 % of the time. Oscillates:"
            " largest autocorrelation of D(real) − D(restored), about 0.3 for noise; “–”: too few windows. Pixel loss:"
            " final over best, 1 means no collapse. Gradient: largest norm over the median, of the generator's weights."
            " Adversarial: share of that term's gradient on the image. The first three columns on D assume the logits"
            " of a probability, not those of Wasserstein or relativistic objectives."
        )
        blocks.append(table(steadiness, "Stability of adversarial training", columns, note=note))
    pulled = study.parts["gradients"]
    if len(pulled):
        columns = {
            "generator": name("generator"),
            "trained with": name("fidelity"),
            "adversarial setting": setting,
            "runs": text("trainings"),
            "fidelity over pixel": with_range("fidelity_ratio"),
            "adversarial share": with_range("adversarial_share", 3),
        }
        note = (
            "Norms of the gradients of the weighted terms on the restored image, mean over a training, then over runs"
            " (least–largest). Fidelity over pixel: 1 if the fidelity term pulls as hard as the pixel loss. Adversarial"
            " share: of the sum of all terms. They are covariates: where they differ, gains may differ for that reason."
        )
        blocks.append(table(pulled, "How hard each term of the loss pulled", columns, note=note, folded=True))
    return Section("training", "Training", blocks)
