"""Small generators trained on the laws of `theory`."""
