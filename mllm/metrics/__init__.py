"""Metrics of ratings and answers."""
