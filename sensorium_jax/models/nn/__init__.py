"""Layers and penalties of the cores and readouts."""
