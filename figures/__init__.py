"""Every figure of the repository, a jupytext script each, drawn from tidy results: `python -m figures`."""

from theory import __version__ as __version__
