"""Training multimodal LLMs to rate as people do, and using them as rewards.

::

    from lopsided.mllm.align import align, load_alignment, plan_alignment

    plan = plan_alignment(load_alignment("cogip.yaml"))  # checks data, prompts and answers; loads no model
    align(plan, "out/cogip")  # trl trains; the same call continues after a kill

Training needs the extra ``align`` (trl, peft, datasets); rewards, splits, calibration and the use of a model as a
reward do not. Names are imported when they are first used.
"""

from typing import TYPE_CHECKING

from ...common.doors import door

if TYPE_CHECKING:
    from .calibration import Calibration, fit_isotonic, fit_temperature
    from .cheating import Limits, Probe, pixel_distance, probe, read_checkpoints, shows_prompt
    from .config import Alignment, load_alignment
    from .evaluation import load_calibration
    from .logs import read_log
    from .reinforced_flow import FlowGrpo, draw, flow_grpo
    from .reward_model import RewardModel
    from .rewards import ParsedReply, Rewards
    from .selection import BestOf, best_of, expected_best
    from .service import RewardService
    from .splits import Split, split_items
    from .text_encoder import check_text_encoder, drop_index, side_by_side, swap_text_encoder
    from .training import Aligned, Plan, align, plan_alignment, require_libraries

__all__ = [
    "Aligned",
    "Alignment",
    "BestOf",
    "Calibration",
    "FlowGrpo",
    "Limits",
    "ParsedReply",
    "Plan",
    "Probe",
    "RewardModel",
    "RewardService",
    "Rewards",
    "Split",
    "align",
    "best_of",
    "check_text_encoder",
    "draw",
    "drop_index",
    "expected_best",
    "fit_isotonic",
    "fit_temperature",
    "flow_grpo",
    "load_alignment",
    "load_calibration",
    "pixel_distance",
    "plan_alignment",
    "probe",
    "read_checkpoints",
    "read_log",
    "require_libraries",
    "shows_prompt",
    "side_by_side",
    "split_items",
    "swap_text_encoder",
]

__getattr__, __dir__ = door(
    __name__,
    {
        ".selection": ["BestOf", "best_of", "expected_best"],
        ".calibration": ["Calibration", "fit_isotonic", "fit_temperature"],
        ".config": ["Alignment", "load_alignment"],
        ".evaluation": ["load_calibration"],
        ".cheating": ["Limits", "Probe", "pixel_distance", "probe", "read_checkpoints", "shows_prompt"],
        ".logs": ["read_log"],
        ".reinforced_flow": ["FlowGrpo", "draw", "flow_grpo"],
        ".reward_model": ["RewardModel"],
        ".rewards": ["ParsedReply", "Rewards"],
        ".service": ["RewardService"],
        ".splits": ["Split", "split_items"],
        ".text_encoder": ["check_text_encoder", "drop_index", "side_by_side", "swap_text_encoder"],
        ".training": ["Aligned", "Plan", "align", "plan_alignment", "require_libraries"],
    },
)
