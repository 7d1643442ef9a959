"""The ensemble of the benchmark: the mean prediction of 14 factorised models with different seeds.

Source: the retrospective's ensembled baseline (arXiv 2407.09100), as quoted in
neural-trajectory-evaluation; each member is the factorised baseline. Each member has its run in
WORKDIR/member00 and so on, and ``sensorium_jax.ensemble(WORKDIR, ...)`` opens them as one model.

    sensorium-jax train --config=ensemble_baseline                demo size, simulated mice
    sensorium-jax train --config=ensemble_baseline --data STORE   published size, recordings

Reached at demo size, on simulated mice and two cores of an AMD EPYC CPU: single-trial correlation
on the oracle tier 0.437 in raw units (0.455 in official ones, whose floor is 0.141), share
0.76, where its members reach 0.428 on average; commit 2126c85.
"""

import dataclasses

from sensorium_jax.configs import factorized_baseline

published = dataclasses.replace(factorized_baseline.published, members=14)
demo = dataclasses.replace(factorized_baseline.demo, members=3)
