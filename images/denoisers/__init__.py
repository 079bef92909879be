"""Diffusion networks, their preconditioning, and the files that they come in."""
