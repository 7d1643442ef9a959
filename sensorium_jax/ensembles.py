"""Ensembles: the mean prediction of several runs on the same recording."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from sensorium_jax import parallel
from sensorium_jax.data import pipeline
from sensorium_jax.errors import UserError
from sensorium_jax.evaluate import Evaluate, Predictions, make_evaluate, make_predictions
from sensorium_jax.experiment import Experiment, members_of
from sensorium_jax.report import Report
from sensorium_jax.run import Run, claim, load_run, read_record, score_all
from sensorium_jax.train import train_members
from sensorium_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Trained models whose predictions are averaged.

    Attributes:
        runs: the members.
    """

    runs: tuple[Run, ...]

    @property
    def params(self) -> tuple[Params, ...]:
        """The members' best weights."""
        return tuple(run.params for run in self.runs)

    @property
    def recordings(self) -> pipeline.Recordings:
        """The sessions, in the order of the readouts."""
        return self.runs[0].recordings

    @functools.cached_property
    def evaluate(self) -> Evaluate:
        """``evaluate(params, split) -> Report``, as in ``sensorium_jax.evaluate``."""
        return self._make(make_evaluate)

    @functools.cached_property
    def predictions(self) -> Predictions:
        """``predictions(params, split, ...)``, trial by trial, as there."""
        return self._make(make_predictions)

    def _make(self, function: Callable) -> Callable:
        first = self.runs[0]
        return function(
            tuple(run.experiment.model for run in self.runs),
            first.recordings,
            mesh=first.mesh,
            statistics=first.experiment.data.statistics,
            trials=min(run.experiment.evaluation_trials for run in self.runs),
        )

    def evaluate_all(self, console: Console | None = None) -> Report:
        """Score on every evaluation tier that has public responses."""
        return score_all(self.evaluate, self.params, self.recordings, console or Console())

    def predict(
        self, video: np.ndarray, behavior: np.ndarray, pupil_center: np.ndarray, *, session: str
    ) -> np.ndarray:
        """``Run.predict``, averaged over the members: [T' N], T' of the longest warm-up."""
        rates = [run.predict(video, behavior, pupil_center, session=session) for run in self.runs]
        frames = min(map(len, rates))
        return np.mean([rate[-frames:] for rate in rates], axis=0)


def ensemble(*workdirs: str | Path, data: str | Path | None = None, devices: int = 1) -> Ensemble:
    """Open finished runs as one model.

    Args:
        *workdirs: of runs, or of ensembles, whose members are taken.
        data: the store, if it is no longer where the runs found it.
        devices: how many devices ``evaluate`` uses.

    Raises:
        UserError: no workdir, one that is no run, or runs of different neurons or statistics.
    """
    folders = [folder for workdir in workdirs for folder in _members(Path(workdir))]
    if not folders:
        raise UserError("expected the workdir of at least one run, got none")
    runs = tuple(load_run(folder, data=data, devices=devices) for folder in folders)
    for run, folder in zip(runs, folders, strict=True):
        for what, here, first in (
            ("sessions", run.recordings.session_names, runs[0].recordings.session_names),
            ("neurons (digests of their ids)", run.recordings.units, runs[0].recordings.units),
            ("statistics", *(r.experiment.data.statistics for r in (run, runs[0]))),
        ):
            if here != first:
                raise UserError(
                    f"expected runs of the same {what} to average, found {here} in {folder} and "
                    f"{first} in {folders[0]}"
                )
    return Ensemble(runs)


def train_ensemble(
    experiment: Experiment,
    workdir: Path,
    recordings: pipeline.Recordings,
    *,
    mesh: Mesh,
    console: Console | None = None,
    together: bool | None = None,
) -> None:
    """Train the members of an experiment, each a run in a folder of ``workdir``.

    The same call goes on where it stopped. ``together`` as in ``train_members``.
    """
    members, workdirs = members_of(experiment), _member_workdirs(workdir, experiment)
    for member, folder in zip(members, workdirs, strict=True):
        parallel.in_turn(functools.partial(claim, folder, member, recordings))
    train_members(members, workdirs, recordings, mesh=mesh, console=console, together=together)


def _members(workdir: Path) -> Sequence[Path]:
    experiment, _ = read_record(workdir)
    return [workdir] if experiment.members == 1 else _member_workdirs(workdir, experiment)


def _member_workdirs(workdir: Path, experiment: Experiment) -> list[Path]:
    return [workdir / f"member{i:02d}" for i in range(experiment.members)]
