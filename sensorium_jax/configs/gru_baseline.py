"""The GRU baseline of the benchmark.

Source: the starter kit's notebooks/benchmarks_training.ipynb (ecker-lab/sensorium_2023), which
trains a rotation-equivariant 2D core with a ConvGRU, a full Gaussian readout and a gaze shifter.

    sensorium-jax train --config=gru_baseline                  demo size, simulated mice
    sensorium-jax train --config=gru_baseline --data STORE     published size, recordings

Reached at demo size, on simulated mice and two cores of an AMD EPYC CPU: single-trial correlation
on the oracle tier 0.439 in raw units (0.435 to 0.444 over three seeds), share 0.76; 0.457 in
official ones, whose floor is 0.141; commit 2126c85.
"""

from sensorium_jax.experiment import Data, Experiment, optim
from sensorium_jax.models import Model, cores, losses, readouts, shifters
from sensorium_jax.models.nn.recurrent import ConvGRU

published = Experiment(
    model=Model(
        core=cores.RotationEquivariant(
            channels=8,
            rotations=8,
            layers=4,
            kernel=(9, 7),
            momentum=0.9,
            gamma_input=500.0,
            gamma_hidden=500_000.0,
            recurrence=ConvGRU(kernel=9),
        ),
        readout=readouts.Gaussian(hidden=30, init_sigma=1.0),
        shifter=shifters.MLP(layers=3, hidden=5),
    ),
    data=Data(frames=80, trials=8, statistics="released"),
    scaling=losses.Scaling("reference"),
    optimizer=optim.AdamW(learning_rate=0.005, weight_decay=0.01),
    plateau=optim.Plateau(patience=5, factor=0.3, rounds=4),
    epoch_steps=45,
    max_epochs=200,
    units="official",  # as the benchmark publishes
)

# The same architecture, cut down to train in about two minutes on two cores: stride 5, fewer
# layers, a recurrence with kernels of one pixel; the mean loss, which does not grow with the data,
# and penalty weights for it; a learning rate that falls to zero at the last step.
demo = Experiment(
    model=Model(
        core=cores.RotationEquivariant(
            channels=8,
            rotations=4,
            layers=2,
            kernel=(11, 3),
            stride=(5, 1),
            gamma_input=1e-3,
            gamma_hidden=1e-3,
            recurrence=ConvGRU(kernel=1),
        ),
        readout=readouts.Gaussian(hidden=30, init_sigma=0.4),
        shifter=shifters.MLP(layers=3, hidden=5),
    ),
    data=Data(frames=60, trials=4, statistics="pooled"),
    scaling=losses.Scaling("mean"),
    optimizer=optim.AdamW(learning_rate=0.02, weight_decay=0.2, schedule="cosine"),
    epoch_steps=60,
    max_epochs=6,
)
