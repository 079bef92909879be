"""Generators, discriminators, and augmentations of what discriminators see.

g = make_generator("r3gan", resolution=32, channels=3, classes=10, width=768)
d = make_discriminator("r3gan", resolution=32, channels=3, classes=10, width=768)
d(g(z, labels), labels)    # z [b, g.config.latent], labels [b] or None -> logits [b]
"""

from images.generators.augment import make_augment
from images.generators.registry import make_discriminator, make_generator

__all__ = ["make_augment", "make_discriminator", "make_generator"]
