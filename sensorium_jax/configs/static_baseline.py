"""The control without memory: the GRU baseline's core frame by frame, all else the same.

What it lacks against ``gru_baseline``, at equal training, is what the past of a film adds.

    sensorium-jax train --config=static_baseline               demo size, simulated mice
    sensorium-jax train --config=static_baseline --data STORE  published size, recordings

Reached at demo size, on simulated mice and two cores of an AMD EPYC CPU: single-trial correlation
on the oracle tier 0.332 (0.321 to 0.346 over three seeds), 57 % of the ceiling, in 187 s;
commit e172bf4.
"""

from sensorium_jax.configs import gru_baseline
from sensorium_jax.experiment.variants import with_core

published = with_core(gru_baseline.published, recurrence=None)
demo = with_core(gru_baseline.demo, recurrence=None)
