"""One figure per file: tables in, the matplotlib ``Axes`` out (an array of them for several panels).

Every function takes ``ax=`` to draw on Axes of yours; without it there is a new figure of pyplot, so that a notebook
shows it. ``figure_of(drawn).savefig("name.svg")`` writes it as PNG, SVG or PDF. A table with nothing to show gives Axes
that say why. What a figure shows in full is in the ``caption`` of its module.
"""

# Not lazily: a function and its module share their name, and the module would come first.
from .alignment_curves import alignment_curves
from .assessment_forest import assessment_forest
from .canvas import axes_of, figure_of
from .claim_table import claim_table
from .comparison_forest import comparison_forest
from .critical_difference import critical_difference
from .diagnostics_panels import diagnostics_panels
from .gain_forest import gain_forest
from .gallery import GalleryRow, gallery
from .gan_weight_curves import gan_weight_curves
from .initialisation_ladder import initialisation_ladder
from .inversion_matrix import inversion_matrix
from .judge_heatmap import judge_heatmap
from .judge_scatter import judge_scatter
from .leaderboard_forest import leaderboard_forest
from .no_reference_forest import no_reference_forest
from .probe_curves import probe_curves
from .raters_forest import raters_forest
from .rating_calibration import rating_calibration
from .rating_residuals import rating_residuals
from .recovery_strips import recovery_strips
from .scatter import scatter
from .slope_chart import slope_chart
from .status_bars import status_bars
from .style import pretty, setting_name, settings_of
from .training_curves import training_curves
from .validation_curves import validation_curves
from .variance_components import variance_components

__all__ = [
    "GalleryRow",
    "alignment_curves",
    "assessment_forest",
    "axes_of",
    "claim_table",
    "comparison_forest",
    "critical_difference",
    "diagnostics_panels",
    "figure_of",
    "gain_forest",
    "gallery",
    "gan_weight_curves",
    "initialisation_ladder",
    "inversion_matrix",
    "judge_heatmap",
    "judge_scatter",
    "leaderboard_forest",
    "no_reference_forest",
    "pretty",
    "probe_curves",
    "raters_forest",
    "rating_calibration",
    "rating_residuals",
    "recovery_strips",
    "scatter",
    "setting_name",
    "settings_of",
    "slope_chart",
    "status_bars",
    "training_curves",
    "validation_curves",
    "variance_components",
]
