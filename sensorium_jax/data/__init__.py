"""From raw recordings to batches. NumPy, tensorstore and grain only: no file here imports JAX."""
