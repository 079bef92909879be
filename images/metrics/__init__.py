"""Distances between sets of images, in the features of a given network."""
