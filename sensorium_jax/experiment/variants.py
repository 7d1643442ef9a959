"""Experiments made of others: the same but for one thing."""

import dataclasses

from sensorium_jax.experiment.experiment import Experiment


def with_model(experiment: Experiment, **changes) -> Experiment:
    """The same experiment with other parts of its model."""
    return dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, **changes))


def with_core(experiment: Experiment, **changes) -> Experiment:
    """The same experiment with other fields of its core."""
    return with_model(experiment, core=dataclasses.replace(experiment.model.core, **changes))


def without_behavior(experiment: Experiment) -> Experiment:
    """Its core sees the film alone, and gaze shifts nothing."""
    return with_model(with_core(experiment, behavior=False, gaze=False), shifter=None)
