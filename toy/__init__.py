"""Small generators trained on the laws of `theory`."""

from theory import __version__ as __version__
