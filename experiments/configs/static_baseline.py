"""The control without memory: the GRU baseline's core frame by frame, all else the same.

What it lacks against ``gru_baseline``, at equal training, is what the past of a film adds.

    python experiments/run.py --config=static_baseline               demo size, simulated mice
    python experiments/run.py --config=static_baseline --data STORE  published size, recordings
"""

import dataclasses

from experiments.configs import gru_baseline
from sensorium_jax.experiment import Experiment


def without_recurrence(experiment: Experiment) -> Experiment:
    """The same experiment, its core looking at one frame at a time."""
    core = dataclasses.replace(experiment.model.core, recurrence=None)
    return dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, core=core))


published = without_recurrence(gru_baseline.published)
demo = without_recurrence(gru_baseline.demo)
