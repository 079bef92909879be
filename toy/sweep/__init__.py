"""Experiments over many cells: tuning, running, comparing."""
