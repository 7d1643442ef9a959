"""A trained model and what it belongs to: its record, weights, checkpoints, predictions."""
