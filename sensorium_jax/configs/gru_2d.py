"""A 2D core with a ConvGRU: the GRU baseline without rotation equivariance.

Source: the GRU model of the starter kit's notebooks/models_demo.ipynb (ecker-lab/sensorium_2023),
trained as the benchmark's baselines are.

    sensorium-jax train --config=gru_2d                demo size, simulated mice
    sensorium-jax train --config=gru_2d --data STORE   published size, recordings

Reached at demo size, on simulated mice and two cores of an AMD EPYC CPU: single-trial correlation
on the oracle tier 0.437 in raw units (one seed), share 0.76; 0.456 in official ones, whose
floor is 0.141; commit 2126c85.
"""

from sensorium_jax.configs import gru_baseline
from sensorium_jax.experiment.variants import with_model
from sensorium_jax.models import cores
from sensorium_jax.models.nn.recurrent import ConvGRU

published = with_model(
    gru_baseline.published,
    core=cores.Stacked2D(
        channels=64,
        layers=4,
        kernel=(9, 7),
        momentum=0.9,
        gamma_input=500.0,
        gamma_hidden=500_000.0,
        recurrence=ConvGRU(kernel=7),
    ),
)

demo = with_model(
    gru_baseline.demo,
    core=cores.Stacked2D(
        channels=32,
        layers=2,
        kernel=(11, 3),
        stride=(5, 1),
        basis="hermite",
        gamma_input=1e-3,
        gamma_hidden=1e-3,
        recurrence=ConvGRU(kernel=1),
    ),
)
