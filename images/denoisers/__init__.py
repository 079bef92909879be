"""Diffusion networks, their preconditioning, and readers of their files."""
