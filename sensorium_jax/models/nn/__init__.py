"""Layers and penalties that several cores and readouts share."""
