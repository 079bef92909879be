"""What training by a recipe costs in time and memory, computed without training."""
