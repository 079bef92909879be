"""Mutants of theory/: small changes of its code, each of which a test should notice."""
