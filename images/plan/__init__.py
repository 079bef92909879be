"""Time and memory of training by a recipe, computed without training."""
