"""A run: an experiment, its recordings and the workdir with its checkpoints."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sensorium_jax import models, parallel
from sensorium_jax.data import pipeline
from sensorium_jax.data.format import Session
from sensorium_jax.data.recordings import Recordings, load_recordings
from sensorium_jax.errors import UserError, hint
from sensorium_jax.experiment import Experiment
from sensorium_jax.experiment.records import from_record, to_record
from sensorium_jax.files import read_json
from sensorium_jax.models.check import check_model, check_streaming
from sensorium_jax.models.streaming import Stream, check_film
from sensorium_jax.runs.checkpoint import Checkpoints
from sensorium_jax.runs.predictions import make_evaluate, make_predictions
from sensorium_jax.runs.weights import CONFIG, TrainedModel, load_weights
from sensorium_jax.runs.workdir import check_neurons, own_tiers, read_record
from sensorium_jax.scores.evaluate import Evaluate, Predictions, evaluate_tiers
from sensorium_jax.scores.report import Report
from sensorium_jax.types import OnProgress, Params

PIECE_FRAMES = 300  # frames of a film that are predicted at a time: a clip of the benchmark


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model with the recordings of its mice.

    Attributes:
        experiment: model and training.
        recordings: the sessions, in the order of the weights' session axis.
        params: the best weights.
        mesh: devices that ``evaluate`` uses.
    """

    experiment: Experiment
    recordings: Recordings
    params: Params
    mesh: Mesh

    def export(self, folder: str | Path) -> None:
        """Write the best weights as ``weights.safetensors`` and ``config.json``.

        ``load_weights`` opens them without orbax and without the recordings.

        Raises:
            UserError: the folder is not empty.
        """
        params, neurons = jax.tree.map(np.asarray, (self.params, self.recordings.neurons))
        sessions = self.recordings.session_names
        trained = TrainedModel(self.experiment.model, params, neurons, sessions)
        trained.save(folder, experiment=to_record(self.experiment))

    @functools.cached_property
    def evaluate(self) -> Evaluate:
        """``evaluate(params, split) -> Report`` on these recordings."""
        return self._make(make_evaluate)

    @functools.cached_property
    def predictions(self) -> Predictions:
        """``predictions(params, split)``, trial by trial."""
        return self._make(make_predictions)

    def _make(self, function: Callable) -> Any:
        e = self.experiment
        options = {"statistics": e.data.statistics, "trials": e.evaluation_trials}
        return function(e.model, self.recordings, mesh=self.mesh, **options)

    def evaluate_all(self, *, on_progress: OnProgress = lambda what, done, total: None) -> Report:
        """Score the best weights on every evaluation tier that has public responses."""
        return evaluate_tiers(self.evaluate, self.params, self.recordings, on_progress=on_progress)

    def session(self, name: str | None = None) -> Session:
        """A session by name; None: the only session.

        Raises:
            UserError: there is no session of that name, or several and no name is given.
        """
        names = self.recordings.session_names
        if name is None and len(names) == 1:
            return self.recordings.sessions[0]
        if name not in names:
            raise UserError(f"expected one of the run's mice, got {name}; {hint(str(name), names)}")
        return self.recordings.sessions[names.index(name)]

    def predict(
        self, video: np.ndarray, behavior: np.ndarray, pupil_center: np.ndarray, *, session: str
    ) -> np.ndarray:
        """Predict responses of one mouse to a film of any length, in bounded memory.

        Args:
            video: [T H W] grey levels 0..255 at 30 Hz.
            behavior: [T 2] pupil size and running speed, as recorded.
            pupil_center: [T 2] x and y, as recorded.
            session: session name of the mouse.

        Returns:
            [T' N] expected responses, in the recording's units, for the last T' frames.

        Raises:
            UserError: an unknown session, or arrays of other shapes.
        """
        stream = self._stream(session)
        check_film(video, behavior, pupil_center)
        starts = range(0, max(1, len(video)), PIECE_FRAMES)
        film = video, behavior, pupil_center
        return np.concatenate(
            [stream.predict(*(x[start : start + PIECE_FRAMES] for x in film)) for start in starts]
        )

    def stream(self, session: str) -> Stream:
        """Predict one mouse's responses to a film that arrives frame by frame.

        Raises:
            UserError: an unknown session, or a core that cannot predict a film in pieces.
        """
        check_streaming(self.experiment.model.core)
        return self._stream(session)

    def _stream(self, session: str) -> Stream:
        index = [self.recordings.sessions.index(self.session(session))]
        kind = self.experiment.data.statistics
        neurons, statistics = jax.tree.map(
            lambda x: x[index], (self.recordings.neurons, self.recordings.statistics(kind))
        )
        params = models.select_sessions(self.params, index)
        return Stream(self.experiment.model, params, neurons, statistics)


def open_recordings(workdir: Path, *, data: str | Path | None = None) -> Recordings:
    """The recordings of a run, with the tiers that it was trained with.

    Args:
        workdir: the workdir of the run.
        data: the store, if it has moved since training.

    Raises:
        UserError: the workdir holds no run, or there is no store.
    """
    experiment, record = read_record(workdir)
    recordings = load_recordings(
        Path(data or record["data"]),
        tiers=own_tiers(workdir, record),
        multiple=experiment.neuron_devices,
    )
    return recordings.without(record["left_out"]) if record["left_out"] else recordings


def load_run(
    workdir: str | Path,
    *,
    data: str | Path | Recordings | None = None,
    devices: int = 1,
) -> Run:
    """Open a finished or unfinished run with its best weights.

    Args:
        workdir: the workdir of the run (``--workdir``).
        data: the store, if it has moved since training; or the open recordings.
        devices: number of devices that ``evaluate`` uses.

    Raises:
        UserError: the workdir holds no run or no checkpoint, or the store has other sessions.

    Examples:
        >>> load_run("nowhere")
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected nowhere/run.json, which is missing; ...
    """
    workdir = Path(workdir)
    experiment, record = read_record(workdir)
    if experiment.members > 1:
        raise UserError(
            f"expected one run in {workdir}, found an ensemble of {experiment.members}; "
            f"open it with ensemble({str(workdir)!r})"
        )
    recordings = data if isinstance(data, Recordings) else open_recordings(workdir, data=data)
    check_neurons(record, recordings, advice="name the run's own store as data=")
    mesh = parallel.make_mesh(devices)
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=parallel.replicated_sharding(mesh)
        ),
        _shapes(experiment, recordings),
    )
    return Run(experiment, recordings, Checkpoints(workdir).restore_best(like), mesh)


def load_weights_run(folder: str | Path, *, data: str | Path | Recordings, devices: int = 1) -> Run:
    """Open exported or imported weights with the recordings of their mice, as a run.

    Mice are matched by name, in any order; further mice of the store are left out. Weights without
    a record of their training are assumed to be trained with the released statistics, as those of
    the starter kit are.

    Args:
        folder: the folder of ``weights.safetensors`` and ``config.json``.
        data: the store, or the open recordings.
        devices: number of devices that ``evaluate`` uses.

    Raises:
        UserError: the folder holds no weights, or the store lacks a mouse or has other neurons.
    """
    trained = load_weights(folder)
    experiment = _experiment(Path(folder), trained.model)
    recordings = (
        data
        if isinstance(data, Recordings)
        else load_recordings(data, multiple=experiment.neuron_devices)
    )
    recordings = recordings.only(trained.sessions)
    order = [trained.sessions.index(name) for name in recordings.session_names]
    for s, row in enumerate(order):
        expected, actual = int(trained.neurons.mask[row].sum()), recordings.sessions[s].neurons
        if expected != actual:
            raise UserError(
                f"expected {expected} neurons of {trained.sessions[row]}, as {folder} has, in "
                f"{recordings.store.path}, found {actual}; name the store that they were trained on"
            )
    _check_fit(trained.params, _shapes(experiment, recordings), folder)
    mesh = parallel.make_mesh(devices)
    params = models.select_sessions(trained.params, order)
    params = parallel.replicate(jax.tree.map(jnp.asarray, params), mesh)
    return Run(experiment, recordings, params, mesh)


def _experiment(folder: Path, model: models.Model) -> Experiment:
    """What a folder of weights says of their training; the defaults where it says nothing."""
    config = read_json(folder / CONFIG, advice="export the weights again")
    if "experiment" not in config:
        return Experiment(model=model)
    try:
        experiment = from_record(config["experiment"])
        if not isinstance(experiment, Experiment) or experiment.model != model:
            raise UserError("its experiment is none of its model")
    except UserError as error:
        raise UserError(
            f"expected the training of these weights in {folder / CONFIG}, which is damaged "
            f"({error}); export the weights again"
        ) from None
    return experiment


def _shapes(experiment: Experiment, recordings: Recordings) -> Params:
    """The shapes and dtypes of the weights of an experiment on these recordings."""
    batch = pipeline.example_batch(recordings, frames=experiment.data.frames)
    try:
        return jax.eval_shape(
            lambda key: models.init(experiment.model, key, batch, recordings.neurons),
            jax.random.key(0),
        )
    except Exception:
        check_model(experiment.model)  # tells in one line which part fails
        raise


def _check_fit(params: Params, like: Params, folder: str | Path) -> None:
    """Raise ``UserError`` for weights of other names or shapes than a model's."""
    expected, found = (
        {jax.tree_util.keystr(path): np.shape(x) for path, x in jax.tree.leaves_with_path(tree)}
        for tree in (like._asdict(), params._asdict())
    )
    for name in expected | found:
        if expected.get(name) != found.get(name):
            raise UserError(
                f"expected weights {name} of shape {expected.get(name, 'none')} in {folder}, as "
                f"its model has for these mice, found {found.get(name, 'none')}; export them again"
            )
