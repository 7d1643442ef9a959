"""The factorised baseline from the film alone: no pupil size, no running speed, no gaze.

What it lacks against ``factorized_baseline``, at equal training, is what knowing the state of the
animal adds.

    sensorium-jax train --config=factorized_no_behavior               demo size
    sensorium-jax train --config=factorized_no_behavior --data STORE  published size

Not trained to its end yet: the tests train it for two steps.
"""

from sensorium_jax.configs import factorized_baseline
from sensorium_jax.experiment.variants import without_behavior

published = without_behavior(factorized_baseline.published)
demo = without_behavior(factorized_baseline.demo)
