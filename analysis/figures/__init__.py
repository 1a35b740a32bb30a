"""One figure per file: data frames in, a matplotlib ``Figure`` out, its ``caption`` next to it; nothing is shown."""

from .assessment_forest import assessment_forest
from .diagnostics_panels import diagnostics_panels
from .gain_forest import gain_forest
from .gallery import GalleryRow, gallery
from .inversion_matrix import inversion_matrix
from .judge_heatmap import judge_heatmap
from .judge_scatter import judge_scatter
from .no_reference_forest import no_reference_forest
from .scatter import scatter
from .slope_chart import slope_chart
from .style import pretty, setting_name, settings_of
from .training_curves import training_curves

__all__ = [
    "GalleryRow",
    "assessment_forest",
    "diagnostics_panels",
    "gain_forest",
    "gallery",
    "inversion_matrix",
    "judge_heatmap",
    "judge_scatter",
    "no_reference_forest",
    "pretty",
    "scatter",
    "setting_name",
    "settings_of",
    "slope_chart",
    "training_curves",
]
