"""Small generators trained on the distributions of `theory`."""

from theory import __version__ as __version__
