"""Benchmarks of images/ against the networks of diffusers."""
