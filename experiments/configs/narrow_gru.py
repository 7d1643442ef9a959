"""An experiment of one's own: the GRU baseline with half of its channels.

Copy this file and change it; what it does not name stays as in the baseline.

    sensorium-jax train --config=experiments/configs/narrow_gru.py
"""

from sensorium_jax.configs import gru_baseline
from sensorium_jax.experiment.variants import with_core

published = with_core(gru_baseline.published, channels=4)
demo = with_core(gru_baseline.demo, channels=4)
