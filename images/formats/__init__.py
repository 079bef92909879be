"""Readers of checkpoint files that execute nothing."""
