"""A run: an experiment, its recording and a workdir that holds what came of it."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console
from rich.progress import Progress

from sensorium_jax import model as models
from sensorium_jax import parallel, protocol
from sensorium_jax._version import __version__
from sensorium_jax.checkpoint import Checkpoints
from sensorium_jax.data import pipeline
from sensorium_jax.errors import UserError
from sensorium_jax.evaluate import Evaluate, make_evaluate
from sensorium_jax.experiment import Experiment, differences, from_record, to_record
from sensorium_jax.files import read_json, whole_file, write_json
from sensorium_jax.report import Report
from sensorium_jax.streaming import Stream, check_film
from sensorium_jax.types import Params
from sensorium_jax.weights import TrainedModel

RECORD, TIERS = "run.json", "tiers.csv"
PIECE_FRAMES = 300  # of a film, predicted at a time: a benchmark's clip


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model together with the recording it belongs to.

    Attributes:
        experiment: what was trained.
        recordings: the sessions, in the order of the readouts.
        params: the best weights.
        mesh: devices that ``evaluate`` uses.
    """

    experiment: Experiment
    recordings: pipeline.Recordings
    params: Params
    mesh: Mesh

    def export(self, folder: str | Path) -> None:
        """Write the best weights as ``weights.safetensors`` and ``config.json``.

        ``load_weights`` opens them with neither orbax nor the recording.

        Raises:
            UserError: the folder holds files already.
        """
        host = jax.tree.map(np.asarray, (self.params, self.recordings.neurons))
        sessions = self.recordings.session_names
        trained = TrainedModel(self.experiment.model, *host, sessions)
        trained.save(folder, experiment=to_record(self.experiment))

    @functools.cached_property
    def evaluate(self) -> Evaluate:
        """``evaluate(params, split) -> Report``, as in ``sensorium_jax.evaluate``."""
        return make_evaluate(
            self.experiment.model,
            self.recordings,
            mesh=self.mesh,
            statistics=self.experiment.data.statistics,
            trials=self.experiment.evaluation_trials,
        )

    def evaluate_all(self, console: Console | None = None) -> Report:
        """Score the best weights on every evaluation tier that has public responses."""
        return score_all(self.evaluate, self.params, self.recordings, console or Console())

    def predict(
        self, video: np.ndarray, behavior: np.ndarray, pupil_center: np.ndarray, *, session: str
    ) -> np.ndarray:
        """Predict responses of one mouse to a film of any length, in bounded memory.

        Args:
            video: [T H W] grey levels 0..255.
            behavior: [T 2] pupil size and running speed, as recorded.
            pupil_center: [T 2] x and y, as recorded.
            session: which mouse, by session name.

        Returns:
            [T' N] expected responses, in the recording's own unit, for the last T' frames.

        Raises:
            UserError: an unknown session, or arrays of another shape.
        """
        stream = self.stream(session)
        check_film(video, behavior, pupil_center)
        pieces = range(0, max(1, len(video)), PIECE_FRAMES)
        film = video, behavior, pupil_center
        return np.concatenate(
            [stream.predict(*(x[at : at + PIECE_FRAMES] for x in film)) for at in pieces]
        )

    def stream(self, session: str) -> Stream:
        """One mouse that watches a film whose frames come one after the other.

        Raises:
            UserError: an unknown session.
        """
        names = self.recordings.session_names
        if session not in names:
            raise UserError(f"no session {session!r} in this run; it has {', '.join(names)}")
        index = [names.index(session)]
        kind = self.experiment.data.statistics
        neurons, statistics = jax.tree.map(
            lambda x: x[index], (self.recordings.neurons, self.recordings.statistics(kind))
        )
        params = models.of_sessions(self.params, index)
        return Stream(self.experiment.model, params, neurons, statistics)


def score_all(
    evaluate: Evaluate, params: Any, recordings: pipeline.Recordings, console: Console
) -> Report:
    """Score on every evaluation tier that has public responses, with a progress bar."""
    tables = [recordings.trials(s) for s in range(len(recordings.session_names))]
    report = Report(())
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        for tier in protocol.EVALUATION_TIERS:
            here = [table.tier == tier for table in tables]
            public = sum((h & t.labelled).sum() for h, t in zip(here, tables, strict=True))
            if not public:
                report += Report((), (tier,) if any(h.any() for h in here) else ())
                continue
            task = progress.add_task(f"scoring {tier}", total=int(public))
            report += evaluate(
                params, tier, on_trials=lambda n, task=task: progress.advance(task, n)
            )
    return report


def claim(workdir: Path, experiment: Experiment, recordings: pipeline.Recordings) -> None:
    """Make ``workdir`` the place of this run, or check that it already is.

    A table of tiers is copied there, so that later changes of it do not reach the run.

    Raises:
        UserError: it holds a run of another experiment, recording or table, or other files.
    """
    table = None if recordings.tiers is None else Path(recordings.tiers).read_text()
    record = {
        "experiment": to_record(experiment),
        "data": str(recordings.store.path),
        "units": recordings.units,
        "version": __version__,
    }
    path = workdir / RECORD
    if path.exists():
        known, there = read_record(workdir)
        other = differences(to_record(known), record["experiment"])
        if other:
            more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
            raise UserError(
                f"{workdir} holds a run of another experiment: {other[0]}{more}; "
                "name another --workdir, or remove that one"
            )
        _check_units(there, recordings, advice="name another --workdir")
        if table != (kept.read_text() if (kept := workdir / TIERS).exists() else None):
            raise UserError(
                f"{workdir} holds a run with other tiers; name another --workdir, or the run's "
                f"own table ({kept}) as --tiers"
                if kept.exists()
                else f"{workdir} holds a run with the store's own tiers; name another --workdir"
            )
        return
    if workdir.exists() and any(workdir.iterdir()):
        raise UserError(
            f"expected a run or an empty folder in {workdir}, found other files; "
            "name another --workdir"
        )
    workdir.mkdir(parents=True, exist_ok=True)
    if table is not None:
        with whole_file(workdir / TIERS) as beside:
            beside.write_text(table)
    write_json(path, record)


def _check_units(record: dict[str, Any], recordings: pipeline.Recordings, *, advice: str) -> None:
    """Raise ``UserError`` unless the readouts of a run belong to these neurons, in this order."""
    there, here = record["units"], recordings.units
    if list(there) != list(here):
        raise UserError(
            f"expected the sessions of the run, {', '.join(there)}, in {recordings.store.path}, "
            f"found {', '.join(here)}; {advice}"
        )
    other = [name for name in here if here[name] != there[name]]
    if other:
        raise UserError(
            f"expected the neurons of the run in {recordings.store.path}, found others, or in "
            f"another order, in {', '.join(other)}; {advice}"
        )


def read_record(workdir: Path) -> tuple[Experiment, dict[str, Any]]:
    """The experiment of a workdir, and the rest of its record.

    Raises:
        UserError: no run there, or one of another version.
    """
    record = read_json(workdir / RECORD, advice="name the --workdir of a run")
    try:
        experiment = from_record(record["experiment"])
    except (UserError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"expected an experiment of sensorium_jax {__version__} in {workdir / RECORD}, "
            f"written by {record.get('version')}: {error}; train it again, or install that version"
        ) from None
    if "units" not in record:
        raise UserError(
            f"expected the ids of a run's neurons in {workdir / RECORD}, found none: it is older "
            "than their record; train it again"
        )
    return experiment, record


def load_run(workdir: str | Path, *, data: str | Path | None = None, devices: int = 1) -> Run:
    """Open a finished or half-finished run with its best weights.

    Args:
        workdir: what ``--workdir`` named.
        data: the store, if it is no longer where the run found it.
        devices: how many devices ``evaluate`` uses.

    Raises:
        UserError: no run there, no checkpoint yet, or a store of other sessions.
    """
    workdir = Path(workdir)
    experiment, record = read_record(workdir)
    if experiment.members > 1:
        raise UserError(
            f"expected one run in {workdir}, found an ensemble of {experiment.members}; "
            f"open it with ensemble({str(workdir)!r})"
        )
    tiers = workdir / TIERS
    recordings = pipeline.load_recordings(
        Path(data or record["data"]),
        tiers=tiers if tiers.exists() else None,
        multiple=experiment.neuron_devices,
    )
    _check_units(record, recordings, advice="name the run's own store as data=")
    mesh = parallel.make_mesh(devices)
    batch = pipeline.example_batch(recordings, frames=experiment.data.frames)
    like = jax.eval_shape(
        lambda key: models.init(experiment.model, key, batch, recordings.neurons),
        jax.random.key(0),
    )
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=parallel.replicated(mesh)),
        like,
    )
    return Run(experiment, recordings, Checkpoints(workdir).restore_best(like), mesh)
