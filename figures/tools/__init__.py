"""What every figure uses: where its numbers come from, how it looks, how its script is run."""
