"""Networks of many seeds at once, with the backward pass written out."""
