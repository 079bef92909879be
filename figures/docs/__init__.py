"""The site of the repository, made from what exists: `python -m figures.docs`."""
