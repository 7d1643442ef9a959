"""Trained models: the workdir of a run, its checkpoints, exported weights and predictions."""
