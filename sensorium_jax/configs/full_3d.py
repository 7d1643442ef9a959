"""Three-dimensional convolutions, over frames, rows and columns.

Source: the 3D model of the starter kit's notebooks/models_demo.ipynb (ecker-lab/sensorium_2023),
trained as the benchmark's baselines are.

    sensorium-jax train --config=full_3d                demo size, simulated mice
    sensorium-jax train --config=full_3d --data STORE   published size, recordings

Not trained to its end yet: the tests train it for two steps.
"""

from sensorium_jax.configs import factorized_baseline, gru_baseline
from sensorium_jax.experiment.variants import with_model
from sensorium_jax.models import cores
from sensorium_jax.models.nn.penalties import PUBLISHED_CENTER

published = with_model(
    gru_baseline.published,
    core=cores.Full3D(
        channels=64,
        layers=2,
        kernel=(9, 7),
        frames=9,
        padding="same",
        momentum=0.7,
        gamma_space=0.0,
        gamma_time=0.0,
        time_center=PUBLISHED_CENTER,
    ),
)

demo = with_model(
    factorized_baseline.demo,
    core=cores.Full3D(
        channels=16,
        layers=2,
        kernel=(11, 3),
        stride=(5, 1),
        padding=("valid", "same"),
        frames=(5, 11),
        basis="hermite",
        gamma_space=1e-3,
        gamma_time=1e-4,
    ),
)
