"""What every figure shares: colours safe for colour-blind readers, font sizes, names as people write them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from ..result_tables import SHARE
from ..statistics.correlation import Floats
from ..statistics.frames import grouped, where

# Okabe & Ito (2008): distinguishable under every common colour-vision deficiency.
INK, GREY, PALE = "#1a1a1a", "#767676", "#d9d9d9"
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7"
COLOURS = [BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY]
# Beyond six, colour repeats with another dash, so that eighteen lines all look different.
DASHES = ["-", (0, (5, 1.5)), (0, (1.2, 1.2))]
MARKERS = ["o", "s", "D", "^", "v", "P", "X"]
WIDTH = 7.2  # inches: the text of an A4 page, so that a printed figure keeps its size of type
SMALL = 7.5  # points

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "text.parse_math": False,  # names are shown as they are, those with a $ too
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.linewidth": 0.7,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.dpi": 100,
}

NAMES = {
    "vgg16": "VGG-16",
    "vgg19": "VGG-19",
    "vgg19_blocks3": "VGG-19 (blocks 1–3)",
    "vgg": "VGG",
    "alex": "AlexNet",
    "alexnet": "AlexNet",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "convnext_tiny": "ConvNeXt-T",
    "swin_t": "Swin-T",
    "clip_vit_b32": "CLIP ViT-B/32",
    "clip_vit_b16": "CLIP ViT-B/16",
    "dinov2_vits14": "DINOv2 ViT-S/14",
    "squeezenet1_1": "SqueezeNet 1.1",
    "squeeze": "SqueezeNet",
    "googlenet_bvlc": "GoogLeNet (BVLC)",
    "dists": "DISTS",
    "lpips": "LPIPS",
    "lpips+": "LPIPS+",
    "lpips-vgg+": "LPIPS+ VGG",
    "psnr": "PSNR",
    "psnr_y": "PSNR-Y",
    "ssim": "SSIM",
    "ssim_y": "SSIM-Y",
    "ms_ssim": "MS-SSIM",
    "gmsd": "GMSD",
    "fsim": "FSIM",
    "vif": "VIF",
    "vsi": "VSI",
    "nlpd": "NLPD",
    "artefact": "Artefact",
    "mad": "MAD",
    "cw_ssim": "CW-SSIM",
    "mse": "MSE",
    "l1": "L1",
    "l2": "L2",
    "charbonnier": "Charbonnier",
    "mae": "MAE",
    "niqe": "NIQE",
    "brisque": "BRISQUE",
    "musiq": "MUSIQ",
    "maniqa": "MANIQA",
    "clipiqa": "CLIP-IQA",
    "clipiqa+": "CLIP-IQA+",
    "nima": "NIMA",
    "dbcnn": "DBCNN",
    "hyperiqa": "HyperIQA",
    "topiq_nr": "TOPIQ-NR",
    "topiq_fr": "TOPIQ-FR",
    "swinir": "SwinIR",
    "rrdb": "RRDB",
    "edsr": "EDSR",
    "rcan": "RCAN",
    "srresnet": "SRResNet",
    "hat": "HAT",
    "realworld": "real-world",
    "jpeg": "JPEG",
    "unet": "U-Net",
    "srgan": "SRGAN",
    "patchgan": "PatchGAN",
    **{f"patchgan{field}": f"PatchGAN {field} px" for field in (16, 34, 142, 286)},
    "r": "R",
    "y": "Y",
    "kadid10k": "KADID-10k",
    "tid2013": "TID2013",
    "pipal": "PIPAL",
    "tqd": "TQD",
    "bicubic": "bicubic",
    "input": "input",
}

# Seven families at most: colours and marks have to be told apart.
FAMILIES = {"dists": "DISTS", "lpips": "LPIPS", "topiq": "learnt", "contextual": "contextual"}
HAND_CRAFTED, OTHER = "hand-crafted", "other"
# A mark of the definition, at the end of the key of a measure with options.
MARK = re.compile(r"(?:\+|@)([^+@]+)$")  # what sets a definition apart from the plain one of its name
DRAWS = re.compile(r"^(\d+)draws$")


def pretty(key: str) -> str:
    """Return a key as people write it: "DISTS VGG-16-R" for ``dists-vgg16-r``, "pixel loss" for ``none``.

    Examples:
        >>> pretty("dists-vgg16-r"), pretty("none"), pretty("dists-vgg16-r+f6ff"), pretty("dists-vgg16-r@seed2")
        ('DISTS VGG-16-R', 'pixel loss', 'DISTS VGG-16-R (f6ff)', 'DISTS VGG-16-R (draw 2)')
        >>> pretty("dists-vgg16@vgg16"), pretty("tid2013 (imported)"), pretty("dists-vgg16-r@3draws")
        ('DISTS VGG-16', 'TID2013 (imported)', 'DISTS VGG-16-R (3 draws)')
    """
    if key == "none":
        return "pixel loss"
    if "/" in key:  # a multimodal LLM and its preset: shown as they are
        return key
    if key.endswith(")") and " (" in key:  # what tables add to the name of a data set
        name, _, added = key.partition(" (")
        return f"{pretty(name)} ({added}"
    if found := MARK.search(key):
        plain = key[: found.start()]
        backbone = NAMES.get(plain.split("-")[-1])
        if backbone and NAMES.get(found[1], "").startswith(backbone):  # weights of the backbone that the key names
            return pretty(plain)
        mark = DRAWS.sub(r"\1 draws", found[1]).replace("seed", "draw ")
        return f"{pretty(plain)} ({mark})"
    name, random = (key[:-2], True) if key.endswith("-r") else (key, False)
    words = [name] if name in NAMES else name.split("-")
    return " ".join(
        NAMES.get(word) or " ".join(NAMES.get(part, part) for part in word.split("_")) for word in words
    ) + ("-R" if random else "")


def label_name(kind: str) -> str:
    """Return a kind of label as people write it.

    Examples:
        >>> label_name("dmos"), label_name("severity_grade")
        ('DMOS', 'severity grade')
    """
    return kind.upper() if kind in ("mos", "dmos") else kind.replace("_", " ")


def setting_name(discriminator: str, gan_weight: float) -> str:
    """Return an adversarial setting as people write it: "no discriminator", "patch VGG-16 (weight 0.1)".

    Examples:
        >>> setting_name("patch-vgg16", 0.1), setting_name("patch@share", 0.06)
        ('patch VGG-16 (weight 0.1)', 'patch (share 0.06)')
    """
    if discriminator == "none":
        return "no discriminator"
    return f"{pretty(discriminator.removesuffix(SHARE))} ({strength(discriminator)} {gan_weight:g})"


def strength(*discriminators: str) -> str:
    """Return what ``gan_weight`` is for these discriminators: "weight", "share", or "weight or share" for a mixture."""
    held = {name.endswith(SHARE) for name in discriminators if name != "none"}
    return "weight or share" if len(held) > 1 else "share" if True in held else "weight"


def setting_title(setting: tuple[str, float]) -> str:
    """Return ``setting_name`` on two lines, for narrow panels."""
    return setting_name(*setting).replace(" (", "\n(")


def settings_of(table: pd.DataFrame) -> list[tuple[str, float]]:
    """Return the distinct (discriminator, gan_weight) of a table, the one without a discriminator first."""
    found = {(str(d), float(w)) for d, w in zip(table["discriminator"], table["gan_weight"], strict=True)}
    return sorted(found, key=lambda setting: (setting[0] != "none", setting))


def of_setting(table: pd.DataFrame, setting: tuple[str, float]) -> pd.DataFrame:
    """Return the rows of one (discriminator, gan_weight)."""
    return where(table, discriminator=setting[0], gan_weight=setting[1])


def most_rows(table: pd.DataFrame, *keys: str) -> int:
    """Return the size of the largest group, for figures whose panels share one height."""
    return max(len(rows) for _, rows in grouped(table, *keys))


def line_style(index: int) -> dict:
    """Return the colour and dash of line ``index``."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}


def mark_style(index: int) -> dict[str, Any]:
    """Return colour, dash and mark of line ``index``: marks tell 42 apart, also without lines and in a grey print."""
    return {**line_style(index), "marker": MARKERS[index % len(MARKERS)]}


def family(measure: str) -> str:
    """Return the family of a measure for its colour, from its key, such as "DISTS" or "hand-crafted".

    Examples:
        >>> family("dists-vgg16-r"), family("ms_ssim"), family("pixel+dists-vgg16")
        ('DISTS', 'hand-crafted', 'other')
    """
    first = re.split(r"[-_+]", measure)[0]
    return FAMILIES.get(first, HAND_CRAFTED if "-" not in measure else OTHER)


def family_style(name: str) -> dict[str, Any]:
    """Return colour and mark of a family: both differ, so that a grey print still tells families apart."""
    number = [*dict.fromkeys(FAMILIES.values()), HAND_CRAFTED, OTHER].index(name)
    return {"color": COLOURS[number], "marker": MARKERS[number]}


def spread_labels(wanted: Floats, gap: float, low: float, high: float) -> Floats:
    """Return positions as near as possible to ``wanted`` (ascending), at least ``gap`` apart and within [low, high].

    Where the labels do not fit, they are spaced evenly over the whole range.
    """
    n = len(wanted)
    gap = min(gap, (high - low) / max(n - 1, 1))
    offsets = gap * np.arange(n)
    # With offsets subtracted, positions need only be non-decreasing: the nearest ones are an isotonic regression.
    placed = isotonic_regression(wanted - offsets).x
    return np.clip(placed, low, high - offsets[-1]) + offsets


def interval(value: float, low: float, high: float, digits: int = 2) -> str:
    """Return "0.72 [0.60, 0.80]"; an undefined interval is shown as "no interval"."""
    if np.isnan(value):
        return "–"
    bounds = "no interval" if np.isnan(low) else f"{minus(low, digits)}, {minus(high, digits)}"
    return f"{minus(value, digits)} [{bounds}]"


def minus(value: float, digits: int = 2) -> str:
    """Return a number with a typographic minus sign and no negative zero."""
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def p_text(p: float) -> str:
    """Return a p-value as text, such as "p = 0.020", or "p < 0.001" for less."""
    return "p < 0.001" if p < 0.0005 else f"p = {p:.3f}"


def count(n: int, noun: str) -> str:
    """Return "1 seed", "2 seeds"."""
    return f"{n} {noun}" + ("" if n == 1 else "s")


def gain_sample(gains: pd.DataFrame) -> str:
    """Say what gains rest on, from the rows of ``gains.table``: "2 seeds × 6 images, 6–7 judges"."""
    gains = gains.loc[gains["gain"].notna()]
    if gains.empty:
        return "no cell has a gain"

    def several(column: str, noun: str) -> str:
        low, high = int(gains[column].min()), int(gains[column].max())
        return count(low, noun) if low == high else f"{low}–{high} {noun}s"

    return f"{several('n_seeds', 'seed')} × {several('n_images', 'image')}, {several('n_judges', 'judge')}"
