"""One figure per file: data frames in, a matplotlib ``Figure`` out, its ``caption`` next to it; nothing is shown."""

from .assessment_forest import assessment_forest
from .diagnostics_panels import diagnostics_panels
from .gain_forest import gain_forest
from .gallery import GalleryRow, gallery
from .judge_heatmap import judge_heatmap
from .no_reference_forest import no_reference_forest
from .scatter import scatter
from .slope_chart import slope_chart
from .style import pretty, setting_name
from .training_curves import training_curves

__all__ = [
    "GalleryRow",
    "assessment_forest",
    "diagnostics_panels",
    "gain_forest",
    "gallery",
    "judge_heatmap",
    "no_reference_forest",
    "pretty",
    "scatter",
    "setting_name",
    "slope_chart",
    "training_curves",
]
