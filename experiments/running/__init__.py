"""Executing a plan: workers, progress, provenance."""
