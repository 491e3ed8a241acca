"""Scores with intervals, report pages and model cards."""
