"""The GRU baseline without its GRU: rates depend on the current frame only.

Control: its difference from ``gru_baseline``, with equal training, is the contribution of past
frames.

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
