"""Generators, discriminators, and augmentations of the images that discriminators see; made by `families`."""
