"""The jobs of a run, over processes: training, progress, interruption, the files they leave."""
