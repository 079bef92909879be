"""What every room uses and no theorem needs: command lines, files, errors, provenance, statistics, seeds."""
