"""The factorised baseline of the benchmark.

Source: the starter kit's notebooks/benchmarks_training.ipynb (ecker-lab/sensorium_2023), which
trains a core of convolutions in space and over frames in turn; all else as in ``gru_baseline``.

    sensorium-jax train --config=factorized_baseline                demo size, simulated mice
    sensorium-jax train --config=factorized_baseline --data STORE   published size, recordings

Reached at demo size, on simulated mice and two cores of an AMD EPYC CPU: single-trial correlation
on the oracle tier 0.428 in raw units (0.426 to 0.431 over three seeds), share 0.75; 0.447 in
official ones, whose floor is 0.141; commit 2126c85.
"""

import dataclasses

from sensorium_jax.configs import gru_baseline
from sensorium_jax.experiment import optim
from sensorium_jax.experiment.variants import with_model
from sensorium_jax.models import cores
from sensorium_jax.models.nn.penalties import PUBLISHED_CENTER

published = with_model(
    gru_baseline.published,
    core=cores.Factorized3D(
        channels=(32, 64, 128),
        layers=3,
        kernel=(11, 5),
        frames=(11, 5),
        momentum=0.7,
        gamma_space=10.0,
        gamma_time=0.01,
        time_center=PUBLISHED_CENTER,
    ),
)

# Cut down like the demo of the GRU baseline. Kernels in smooth bases, which need a fraction of the
# steps; more epochs than that demo, with a lower learning rate.
demo = dataclasses.replace(
    with_model(
        gru_baseline.demo,
        core=cores.Factorized3D(
            channels=24,
            layers=2,
            kernel=(11, 3),
            stride=(5, 1),
            padding=("valid", "same"),
            frames=(5, 11),
            basis="hermite",
            gamma_space=1e-3,
            gamma_time=1e-3,
        ),
    ),
    optimizer=optim.AdamW(learning_rate=0.012, weight_decay=0.2, schedule="cosine"),
    max_epochs=8,
)
