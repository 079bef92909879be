"""Benchmarks of images/, and the published networks they are measured against."""
