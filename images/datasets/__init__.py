"""Image archives, and readers of image data sets."""
