"""What a sweep and the training on images hold of the machine, over many minutes."""
