"""``complete(experiment, workdir)``: train, score, and write the files of a run."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
from jax.sharding import Mesh

from sensorium_jax import parallel, protocol
from sensorium_jax.data.recordings import Recordings, load_recordings
from sensorium_jax.data.verify import damaged_trials
from sensorium_jax.experiment import Experiment
from sensorium_jax.models.check import check_model
from sensorium_jax.pages import run as run_page
from sensorium_jax.pages.terminal import Console, bars, make_console
from sensorium_jax.runs.ensembles import Ensemble, ensemble
from sensorium_jax.runs.workdir import RECORD, claim, read_record
from sensorium_jax.scores import Report, results
from sensorium_jax.scores.evaluate import public_rows
from sensorium_jax.simulate.demo import demo_store
from sensorium_jax.training.ensemble import train_ensemble
from sensorium_jax.training.health import OnNan
from sensorium_jax.training.loop import OnScore, train
from sensorium_jax.types import OnProgress


def complete(
    experiment: Experiment,
    workdir: str | Path,
    *,
    store: str | Path | None = None,
    tiers: str | Path | None = None,
    devices: int | None = None,
    console: Console | None = None,
    on_score: OnScore = lambda epoch, score: None,
    on_nan: OnNan = "stop",
    skip_damaged: bool = False,
) -> Report:
    """Train an experiment to its end, score it on every tier, and write the files of a run.

    The same call resumes a run that was stopped. The workdir gets the record ``run.json``,
    checkpoints, ``metrics.jsonl``, ``report.json``, ``scores.npz`` and the page ``report.html``.

    Args:
        experiment: model and training; with more than one member, an ensemble.
        workdir: a new folder, or the workdir of this run.
        store: the store to train on; None: the embedded default, three simulated mice.
        tiers: a tier table (``data.tiers``) in place of the store's tiers.
        devices: number of devices that share each batch; None: as many as divide it evenly.
        console: where to print and draw progress bars.
        on_score: called after every epoch with its number and its score on the oracle tier.
        on_nan: "stop" at a step whose numbers are not finite, or "skip" it.
        skip_damaged: read all trials first, and go on without those that are damaged.

    Returns:
        The scores of the best weights on every tier that has public responses.

    Raises:
        Interrupted: a signal asked to stop; the state is saved.
        UserError: there is no such store, the workdir holds other files, or training diverged.
    """
    console, workdir = console or make_console(), Path(workdir)
    check_model(experiment.model)
    parallel.check_core(experiment.model.core)
    recordings = load_recordings(
        store or default_store(console), tiers=tiers, multiple=experiment.neuron_devices
    )
    recordings = _leave_out(recordings, workdir, damaged=skip_damaged, console=console)
    public_rows(recordings, protocol.ORACLE)  # the tier that chooses the best weights
    mesh = _mesh(experiment, devices)
    console.print(_describe(recordings, mesh))
    parallel.first_process_first(functools.partial(claim, workdir, experiment, recordings))
    console.print(f"Results go to {workdir}")
    run_training = train if experiment.members == 1 else train_ensemble
    options = {"mesh": mesh, "console": console, "on_score": on_score, "on_nan": on_nan}
    run_training(experiment, workdir, recordings, **options)
    trained = ensemble(workdir, data=recordings, devices=mesh.size)
    return score_and_write(workdir, trained, console)


def _leave_out(
    recordings: Recordings, workdir: Path, *, damaged: bool, console: Console
) -> Recordings:
    """The recordings without the trials that this run left out before, and without damaged ones."""
    if (workdir / RECORD).exists():
        recordings = recordings.without(read_record(workdir)[1]["left_out"])
    if not damaged:
        return recordings
    found: dict[str, list[int]] = {}
    with bars(console, transient=True) as on_progress:
        for session in recordings.sessions:
            on_trial = functools.partial(_on_trial, on_progress)
            for row, reason in damaged_trials(session, on_trial=on_trial).items():
                found.setdefault(session.name, []).append(int(session.trials.number[row]))
                console.print(f"Left out: {reason}", highlight=False, soft_wrap=True)
    return recordings.without(found) if found else recordings


def _on_trial(on_progress: OnProgress, session: str, done: int, total: int) -> None:
    on_progress(f"reading {protocol.short_name(session)}", done, total)


def score_and_write(workdir: Path, trained: Ensemble, console: Console) -> Report:
    """Score on every tier that has public responses, and write the scores and the page of a run."""
    with bars(console, transient=True) as on_progress:
        report = trained.evaluate_all(on_progress=on_progress)
    if jax.process_index() == 0:
        logs = sorted(workdir.glob("**/metrics.jsonl"))
        with console.status("drawing intervals, writing the page"):
            results.write(workdir, report)
            run_page.write(workdir / run_page.NAME, trained, report, logs=logs)
    return report


def default_store(console: Console, *, modulated: bool = True) -> Path:
    """The embedded default (``demo_store``), made by the first process, with a progress bar."""
    with bars(console, transient=True) as on_progress:
        say = functools.partial(console.print, highlight=False)
        make = functools.partial(demo_store, modulated=modulated, on_progress=on_progress, say=say)
        return parallel.first_process_first(make)


def _mesh(experiment: Experiment, devices: int | None) -> Mesh:
    shared = experiment.neuron_devices
    devices = devices or parallel.devices_for(experiment.data.trials, neuron_devices=shared)
    return parallel.make_mesh(devices, neuron_devices=shared)


def _describe(recordings: Recordings, mesh: Mesh) -> str:
    """The mice and devices of a training, in one line."""
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return (
        f"{len(recordings.session_names)} mice from {recordings.store.path}; "
        f"{mesh.size} of {jax.device_count()} {jax.default_backend()} devices{processes}"
    )
