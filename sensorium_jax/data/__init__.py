"""Stores of recordings, and batches read from them, with NumPy, tensorstore and grain: no JAX.

``format`` describes and reads a store, ``writer`` writes one; ``tiers`` assigns trials to tiers,
``recordings`` stacks the sessions of a store, ``pipeline`` reads batches of trials.
"""
