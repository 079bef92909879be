"""Diffusion networks, their preconditioning, and readers of their files."""

from images.denoisers.own import eps_model

__all__ = ["eps_model"]
