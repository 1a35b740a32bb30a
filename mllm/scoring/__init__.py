"""From prompts to scores: presets, scales, parsers, outcomes."""
