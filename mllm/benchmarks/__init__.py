"""Readers of published benchmarks of multimodal LLMs: each lists items, whatever its files look like."""
