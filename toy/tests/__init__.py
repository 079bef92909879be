"""Tests of toy/."""
