"""Layers that generators and denoisers share."""
