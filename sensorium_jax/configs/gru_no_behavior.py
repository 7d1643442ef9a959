"""The GRU baseline from the film alone: no pupil size, no running speed, no gaze.

What it lacks against ``gru_baseline``, at equal training, is what knowing the animal's state adds.

    sensorium-jax train --config=gru_no_behavior                demo size, simulated mice
    sensorium-jax train --config=gru_no_behavior --data STORE   published size, recordings

Reached at demo size, on simulated mice and two cores of an AMD EPYC CPU: single-trial correlation
on the oracle tier 0.422 (one seed), 72 % of the ceiling, in 213 s; commit 094869d.
"""

from sensorium_jax.configs import gru_baseline
from sensorium_jax.experiment.variants import without_behavior

published = without_behavior(gru_baseline.published)
demo = without_behavior(gru_baseline.demo)
