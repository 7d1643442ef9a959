"""The ensemble of the benchmark: 14 factorised models that differ in their seed, averaged.

Source: the retrospective's ensembled baseline (arXiv 2407.09100), as quoted in
neural-trajectory-evaluation; each member is the factorised baseline. Members are runs of their own
in WORKDIR/member00 and so on, and ``sensorium_jax.ensemble(WORKDIR, ...)`` opens them as one model.

    python experiments/run.py --config=ensemble_baseline                demo size, simulated mice
    python experiments/run.py --config=ensemble_baseline --data STORE   published size, recordings
"""

import dataclasses

from experiments.configs import factorized_baseline

published = dataclasses.replace(factorized_baseline.published, members=14)
demo = dataclasses.replace(factorized_baseline.demo, members=3)
