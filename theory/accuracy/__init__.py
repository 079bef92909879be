"""Digits of the exact distributions against what a user would otherwise write."""
