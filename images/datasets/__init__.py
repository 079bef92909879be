"""Image archives, and the files that images are read from."""
