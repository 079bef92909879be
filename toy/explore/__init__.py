"""An interactive page: the gradients at one generated sample."""
