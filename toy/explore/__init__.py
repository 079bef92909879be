"""An interactive page: the gradients on one generated sample."""
