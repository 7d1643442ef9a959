"""Ensembles: the mean prediction of several runs on the same recording."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sensorium_jax.data.format import Session
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import Experiment
from sensorium_jax.runs.predictions import make_evaluate, make_predictions
from sensorium_jax.runs.run import Run, load_run, load_weights_run, open_recordings
from sensorium_jax.runs.weights import CONFIG
from sensorium_jax.runs.workdir import RECORD, TIERS, read_record
from sensorium_jax.scores.evaluate import Evaluate, Predictions, evaluate_tiers
from sensorium_jax.scores.report import Report
from sensorium_jax.types import OnProgress, Params


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
    def recordings(self) -> Recordings:
        """The sessions, in the order of the weights' session axis."""
        return self.runs[0].recordings

    @functools.cached_property
    def evaluate(self) -> Evaluate:
        """``evaluate(params, split) -> Report`` of the mean prediction."""
        return self._make(make_evaluate)

    @functools.cached_property
    def predictions(self) -> Predictions:
        """``predictions(params, split)`` of the mean prediction, trial by trial."""
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

    def evaluate_all(self, *, on_progress: OnProgress = lambda label, done, total: None) -> Report:
        """Score on every evaluation tier that has public responses."""
        return evaluate_tiers(self.evaluate, self.params, self.recordings, on_progress=on_progress)

    def session(self, name: str | None = None) -> Session:
        """A session by name; None: the only session."""
        return self.runs[0].session(name)

    def predict(
        self, video: np.ndarray, behavior: np.ndarray, pupil_center: np.ndarray, *, session: str
    ) -> np.ndarray:
        """``Run.predict``, averaged over the members: [T' N], T' for the longest warm-up."""
        rates = [run.predict(video, behavior, pupil_center, session=session) for run in self.runs]
        frames = min(map(len, rates))
        return np.mean([rate[-frames:] for rate in rates], axis=0)


def ensemble(
    *workdirs: str | Path,
    data: str | Path | Recordings | None = None,
    devices: int = 1,
) -> Ensemble:
    """Open finished runs as one model, whose prediction is the mean of theirs.

    Runs on the same store and tier table share one ``Recordings``.

    Args:
        *workdirs: workdirs of runs or of ensembles (all of their members), or folders of weights.
        data: the store, if it has moved since training; or the open recordings.
        devices: number of devices that ``evaluate`` uses.

    Raises:
        UserError: no workdir is given, a workdir holds no run, or the runs differ in their neurons
            or statistics.

    Examples:
        >>> ensemble()
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected the workdir of at least one run, got none
    """
    folders = [folder for workdir in workdirs for folder in _members(Path(workdir))]
    if not folders:
        raise UserError("expected the workdir of at least one run, got none")
    cache: dict[tuple, Recordings] = {}
    runs = []
    for folder in folders:
        if not (folder / RECORD).exists():
            runs.append(_open_weights(folder, data, devices))
            continue
        recordings = data if isinstance(data, Recordings) else _open_cached(folder, data, cache)
        runs.append(load_run(folder, data=recordings, devices=devices))
    for run, folder in zip(runs, folders, strict=True):
        _check_same(run, folder, runs[0], folders[0])
    return Ensemble(tuple(runs))


def member_workdirs(workdir: Path, experiment: Experiment) -> list[Path]:
    """The folders of an ensemble's members.

    Examples:
        >>> from sensorium_jax.configs import load_config
        >>> folders = member_workdirs(Path("runs/e"), load_config("ensemble_baseline"))
        >>> folders[0].as_posix()
        'runs/e/member00'
    """
    return [workdir / f"member{i:02d}" for i in range(experiment.members)]


def _members(workdir: Path) -> Sequence[Path]:
    """The workdirs of an ensemble's members, or the workdir or folder of weights itself."""
    if (workdir / CONFIG).exists() and not (workdir / RECORD).exists():
        return [workdir]
    experiment, _ = read_record(workdir)
    return [workdir] if experiment.members == 1 else member_workdirs(workdir, experiment)


def _open_weights(folder: Path, data: str | Path | Recordings | None, devices: int) -> Run:
    if data is None:
        raise UserError(
            f"expected the store of the mice of {folder}, which holds weights alone; name it as "
            "data= (--data)"
        )
    return load_weights_run(folder, data=data, devices=devices)


def _open_cached(
    workdir: Path, data: str | Path | None, cache: dict[tuple, Recordings]
) -> Recordings:
    """The recordings of a run, shared by runs with the same store, tiers and padding."""
    experiment, record = read_record(workdir)
    tiers = workdir / TIERS
    table = tiers.read_text() if tiers.exists() else None
    left_out = json.dumps(record["left_out"], sort_keys=True)
    key = str(data or record["data"]), table, left_out, experiment.neuron_devices
    if key not in cache:
        cache[key] = open_recordings(workdir, data=data)
    return cache[key]


def _check_same(run: Run, folder: Path, first: Run, first_folder: Path) -> None:
    """Raise ``UserError`` unless two runs can be averaged."""
    a, b = run.recordings, first.recordings
    for label, value, reference in (
        ("sessions", a.session_names, b.session_names),
        ("neurons (digests of their ids)", a.neuron_digests, b.neuron_digests),
        ("statistics", run.experiment.data.statistics, first.experiment.data.statistics),
    ):
        if value != reference:
            raise UserError(
                f"expected runs of the same {label} to average, found {value} in {folder} and "
                f"{reference} in {first_folder}"
            )
