"""One figure per file: data frame(s) in, a matplotlib ``Figure`` out, ``caption`` beside it; nothing shown or saved."""

from .assessment_forest import assessment_forest
from .gain_forest import gain_forest
from .gallery import GalleryRow, gallery
from .judge_heatmap import judge_heatmap
from .no_reference_forest import no_reference_forest
from .scatter import scatter
from .slope_chart import slope_chart
from .training_curves import training_curves

__all__ = [
    "GalleryRow",
    "assessment_forest",
    "gain_forest",
    "gallery",
    "judge_heatmap",
    "no_reference_forest",
    "scatter",
    "slope_chart",
    "training_curves",
]
