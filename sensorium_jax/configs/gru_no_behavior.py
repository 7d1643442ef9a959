"""The GRU baseline on the video only: no pupil size, no running speed, no gaze.

Control: its difference from ``gru_baseline``, with equal training, is the contribution of
behaviour.

    sensorium-jax train --config=gru_no_behavior                demo size, simulated mice
    sensorium-jax train --config=gru_no_behavior --data STORE   published size, recordings

Reached at demo size, on simulated mice and two cores of an AMD EPYC CPU: single-trial correlation
on the oracle tier 0.400 in raw units (one seed), share 0.70; 0.422 in official ones, whose
floor is 0.141; commit 2126c85.
"""

from sensorium_jax.configs import gru_baseline
from sensorium_jax.experiment.variants import without_behavior

published = without_behavior(gru_baseline.published)
demo = without_behavior(gru_baseline.demo)
