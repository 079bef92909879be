"""The score matching regularity on images: diffusion scores, generators, data, training and evaluation."""
