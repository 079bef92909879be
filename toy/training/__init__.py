"""One training step: games, regularisers, the score term, the update."""
