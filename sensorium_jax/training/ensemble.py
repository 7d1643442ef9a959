"""Training the members of an ensemble."""

from __future__ import annotations

import functools
from pathlib import Path

from jax.sharding import Mesh

from sensorium_jax import parallel
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.experiment import Experiment, members_of
from sensorium_jax.pages.terminal import Console
from sensorium_jax.runs.ensembles import member_workdirs
from sensorium_jax.runs.workdir import claim
from sensorium_jax.training.health import OnNan
from sensorium_jax.training.loop import OnScore, train_members


def train_ensemble(
    experiment: Experiment,
    workdir: Path,
    recordings: Recordings,
    *,
    mesh: Mesh,
    console: Console | None = None,
    together: bool | None = None,
    on_score: OnScore = lambda epoch, score: None,
    on_nan: OnNan = "stop",
) -> None:
    """Train the members of an experiment, each a run in a folder of ``workdir``.

    The same call resumes. ``together``, ``on_score`` and ``on_nan`` are those of
    ``train_members``.
    """
    members, workdirs = members_of(experiment), member_workdirs(workdir, experiment)
    for member, folder in zip(members, workdirs, strict=True):
        parallel.first_process_first(functools.partial(claim, folder, member, recordings))
    train_members(
        members,
        workdirs,
        recordings,
        mesh=mesh,
        console=console,
        together=together,
        on_score=on_score,
        on_nan=on_nan,
    )
