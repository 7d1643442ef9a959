"""The factorised baseline on the video only: no pupil size, no running speed, no gaze.

Control: its difference from ``factorized_baseline``, with equal training, is the contribution of
behaviour.

    sensorium-jax train --config=factorized_no_behavior               demo size
    sensorium-jax train --config=factorized_no_behavior --data STORE  published size

Not trained to its end yet: the tests train it for two steps.
"""

from sensorium_jax.configs import factorized_baseline
from sensorium_jax.experiment.variants import without_behavior

published = without_behavior(factorized_baseline.published)
demo = without_behavior(factorized_baseline.demo)
