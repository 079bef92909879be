"""The mathematics of SMaRt: exact laws, exact scores, claims that can fail. Nothing is trained here."""

__version__ = "0.1.0"
