"""The couplings of the score term by name, with the one label and the one colour that each has in every room.

Colours that the common kinds of colour blindness tell apart: Okabe and Ito, "Color universal design", 2008.
"""

from __future__ import annotations

COUPLINGS = ("gan", "summed", "own-step", "two-adams", "decoupled", "bounded")
ARM_LABELS = {
    "gan": "GAN",
    "summed": "GAN + score, summed",
    "own-step": "GAN + score, own step",
    "two-adams": "GAN + score, two Adams",
    "decoupled": "GAN + score, decoupled",
    "bounded": "GAN + score, bounded",
}
ARM_COLOURS = {
    "gan": "#D55E00",
    "summed": "#0072B2",
    "own-step": "#56B4E9",
    "two-adams": "#E69F00",
    "decoupled": "#009E73",
    "bounded": "#CC79A7",
}
