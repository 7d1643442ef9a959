"""The linear-nonlinear control: one spatiotemporal filter per neuron, then ELU + 1.

    rate_n = ELU(b_n + sum_c w_nc (kernel_c * inputs)(p_n)) + 1

One layer of the factorised core without nonlinearity: a neuron reads a weighted sum of filters
in space and time at its position p_n. Its difference from ``factorized_baseline`` is the
contribution of further layers. The classic model of a V1 simple cell (e.g. Carandini et al. 2005,
"Do we know what the early visual system does?", J. Neurosci.).

    sensorium-jax train --config=linear_nonlinear                demo size, simulated mice
    sensorium-jax train --config=linear_nonlinear --data STORE   published size, recordings

Reached at demo size, on simulated mice and two cores of an AMD EPYC CPU: single-trial correlation
on the oracle tier 0.167 in raw units (one seed), share 0.29; 0.219 in official ones, whose
floor is 0.141; commit 2126c85.
"""

from sensorium_jax.configs import factorized_baseline
from sensorium_jax.experiment.variants import with_core

published = with_core(
    factorized_baseline.published,
    channels=128,
    layers=1,
    kernel=19,
    frames=15,
    final_nonlinearity=False,
)

demo = with_core(
    factorized_baseline.demo,
    channels=32,
    layers=1,
    kernel=21,
    padding="valid",
    frames=15,
    final_nonlinearity=False,
)
