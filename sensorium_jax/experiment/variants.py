"""Variants of an experiment that differ in one part."""

import dataclasses

from sensorium_jax.experiment.experiment import Experiment


def with_model(experiment: Experiment, **changes) -> Experiment:
    """The experiment with other fields of its model.

    Examples:
        >>> from sensorium_jax.configs import load_config
        >>> with_model(load_config("gru_baseline"), shifter=None).model.shifter is None
        True
    """
    return dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, **changes))


def with_core(experiment: Experiment, **changes) -> Experiment:
    """The experiment with other fields of its core.

    Examples:
        >>> from sensorium_jax.configs import load_config
        >>> with_core(load_config("gru_baseline"), channels=4).model.core.maps  # 4 rotations
        16
    """
    return with_model(experiment, core=dataclasses.replace(experiment.model.core, **changes))


def without_behavior(experiment: Experiment) -> Experiment:
    """The experiment with a core whose only input is the video, and without a shifter."""
    return with_model(with_core(experiment, behavior=False, gaze=False), shifter=None)
