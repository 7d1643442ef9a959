"""The GRU baseline without its GRU: rates depend on the current frame only.

Control: its difference from ``gru_baseline``, with equal training, is the contribution of past
frames.

    sensorium-jax train --config=static_baseline               demo size, simulated mice
    sensorium-jax train --config=static_baseline --data STORE  published size, recordings

Reached at demo size, on simulated mice and two cores of an AMD EPYC CPU: single-trial correlation
on the oracle tier 0.298 in raw units (0.294 to 0.301 over three seeds), share 0.52; 0.328 in
official ones, whose floor is 0.141; commit 2126c85.
"""

from sensorium_jax.configs import gru_baseline
from sensorium_jax.experiment.variants import with_core

published = with_core(gru_baseline.published, recurrence=None)
demo = with_core(gru_baseline.demo, recurrence=None)
