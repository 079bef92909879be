"""Training of a generator on images with and without the score term."""
