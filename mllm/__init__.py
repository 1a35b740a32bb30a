"""Multimodal LLMs as scorers of images: prompts and scales, backends, benchmarks and their metrics."""
