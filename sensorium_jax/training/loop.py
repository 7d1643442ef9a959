"""``train(experiment, workdir, recordings)``: the loop, no maths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from jax.sharding import Mesh

from sensorium_jax import parallel
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import Interrupted
from sensorium_jax.experiment import Experiment
from sensorium_jax.pages.terminal import Console, TrainingBar, make_console
from sensorium_jax.training.member import Member
from sensorium_jax.training.programs import Metrics, Programs
from sensorium_jax.training.signals import StopSignals
from sensorium_jax.types import Params

LOG_EVERY_STEPS = 10
OnScore = Callable[[int, float], None]  # epoch, score on the oracle tier


def train(
    experiment: Experiment,
    workdir: Path,
    recordings: Recordings,
    *,
    mesh: Mesh,
    console: Console | None = None,
    on_score: OnScore = lambda epoch, score: None,
) -> Params:
    """Train to the end, from the last checkpoint if there is one, and return the best weights.

    Scores, losses and checkpoints go to ``workdir``. The best weights are those with the highest
    single-trial correlation on full-length oracle trials. ``on_score`` is told of every epoch
    and its score; what it raises ends the training, after the state was saved.

    Raises:
        Interrupted: Ctrl-C or a termination signal arrived; the state is saved.
        Diverged: the loss is no longer finite.
        UserError: no space is left.
    """
    one = [experiment], [workdir], recordings
    return train_members(*one, mesh=mesh, console=console, on_score=on_score)[0]


def train_members(
    experiments: Sequence[Experiment],
    workdirs: Sequence[Path],
    recordings: Recordings,
    *,
    mesh: Mesh,
    console: Console | None = None,
    together: bool | None = None,
    on_score: OnScore = lambda epoch, score: None,
) -> list[Params]:
    """``train`` for experiments that differ in their seed alone, each with a workdir of its own.

    Args:
        experiments: one for each member.
        workdirs: where each keeps its scores and checkpoints.
        recordings: what all are trained on.
        mesh: devices that share each batch.
        console: where to print.
        together: advance all members by one program that maps over them (as many as memory
            holds), else one after the other; the results agree to float32 rounding. None:
            together where there is an accelerator. The cores of a CPU are busy with one member
            (``benchmarks/ensemble.py``).
        on_score: as in ``train``, for every member.
    """
    console = console or make_console()
    if together is None:
        together = jax.default_backend() != "cpu"
    programs = Programs(experiments[0], recordings, mesh)
    members = [
        Member(
            experiment,
            workdir,
            recordings,
            programs,
            console,
            label=f"{workdir.name}: " if len(experiments) > 1 else "",
        )
        for experiment, workdir in zip(experiments, workdirs, strict=True)
    ]
    for member in members:
        member.resume()
    total, completed = len(members) * programs.total_steps, sum(m.step for m in members)
    bar = TrainingBar(console, total=total, completed=completed, frames=programs.frames)
    with StopSignals() as stop, bar:
        while active := [m for m in members if not m.done]:
            step = min(m.step for m in active)
            group = [m for m in active if m.step == step]
            for member in group:
                member.batch = member.batch or member.next_batch()
            group = group[: programs.at_once(*_inputs(group)) if together else 1]
            _run_epoch(group, programs, bar, stop, on_score)
    return [m.checkpoints.restore_best(m.state.params) for m in members]


def _run_epoch(
    group: list[Member],
    programs: Programs,
    bar: TrainingBar,
    stop: StopSignals,
    on_score: OnScore,
) -> None:
    """Step members that stand at the same step to the end of their epoch."""
    due = None  # metrics to be logged once the device has the next step to do
    while True:
        states, metrics = programs.advance(*_inputs(group))
        _log(group, due, bar)
        for member, state in zip(group, states, strict=True):
            member.state = state
            member.step += 1
            member.batch = member.next_batch()  # read and sent while the step runs
        step = group[0].step
        ended = step % programs.experiment.epoch_steps == 0
        due = metrics if (step % LOG_EVERY_STEPS == 0 or step == 1) and not ended else None
        # Processes must agree to stop, which takes time: they ask each other now and then.
        asked = ended or step % LOG_EVERY_STEPS == 0 or jax.process_count() == 1
        stopping = asked and parallel.any_process(stop.requested)
        if ended:
            for member, values in zip(group, metrics, strict=True):
                _end_epoch(member, values, bar, on_score)
        bar.advance(len(group))
        if stopping and not all(m.done for m in group):
            _log(group, due, bar)
            for member in group:
                member.save()
            raise Interrupted(f"saved at step {step} of {programs.total_steps}")
        if ended:
            return


def _inputs(group: list[Member]) -> tuple[list, list, list, list]:
    """What ``Programs.advance`` takes of some members."""
    return (
        [m.state for m in group],
        [m.batch for m in group],
        [m.key for m in group],
        [m.lr_scale for m in group],
    )


def _end_epoch(member: Member, metrics: Metrics, bar: TrainingBar, on_score: OnScore) -> None:
    result = member.end_epoch(metrics)
    bar.show(loss=result.loss, score=result.score, paused_s=result.seconds)
    on_score(result.epoch, result.score)


def _log(group: list[Member], metrics: tuple[Metrics, ...] | None, bar: TrainingBar) -> None:
    """Write the metrics of the step at which members stand, if there are any."""
    if metrics is not None:
        values = [member.write_log(m) for member, m in zip(group, metrics, strict=True)]
        bar.show(loss=sum(values) / len(values))
