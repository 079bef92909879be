"""The score term on images: diffusion scores, generators, data, training and evaluation."""

from theory import __version__ as __version__
