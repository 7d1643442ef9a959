"""``train(experiment, workdir, recordings)``: the training loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from jax.sharding import Mesh

from sensorium_jax import parallel
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import Interrupted
from sensorium_jax.experiment import Experiment
from sensorium_jax.files import lock
from sensorium_jax.pages.terminal import Console, TrainingBar, make_console
from sensorium_jax.training.health import OnNan
from sensorium_jax.training.member import Member
from sensorium_jax.training.programs import Programs
from sensorium_jax.training.signals import StopSignals
from sensorium_jax.types import Params

LOG_EVERY_STEPS = 10
LOCK = ".train.lock"  # held by the process that trains in a workdir
OnScore = Callable[[int, float], None]  # epoch, score on the oracle tier


def train(
    experiment: Experiment,
    workdir: Path,
    recordings: Recordings,
    *,
    mesh: Mesh,
    console: Console | None = None,
    on_score: OnScore = lambda epoch, score: None,
    on_nan: OnNan = "stop",
) -> Params:
    """Train to the end, from the last checkpoint if there is one, and return the best weights.

    Scores, losses and checkpoints are written to ``workdir``. The best weights are those with the
    highest single-trial correlation on full-length oracle trials. ``on_score`` is called after
    every epoch with its number and score; an exception that it raises ends the training, after the
    state is saved. A step whose loss, gradient or new weights are not finite changes nothing;
    ``on_nan`` says what follows: "stop", with a bundle that shows it again, or "skip".

    Raises:
        Interrupted: Ctrl-C or a termination signal arrived; the state is saved.
        Diverged: a step's numbers are not finite; the state before it is saved.
        UserError: there is no space left for a checkpoint.
    """
    options = {"mesh": mesh, "console": console, "on_score": on_score, "on_nan": on_nan}
    return train_members([experiment], [workdir], recordings, **options)[0]


def train_members(
    experiments: Sequence[Experiment],
    workdirs: Sequence[Path],
    recordings: Recordings,
    *,
    mesh: Mesh,
    console: Console | None = None,
    together: bool | None = None,
    on_score: OnScore = lambda epoch, score: None,
    on_nan: OnNan = "stop",
) -> list[Params]:
    """``train`` for experiments that differ in their seed only, each with its own workdir.

    Args:
        experiments: one for each member.
        workdirs: one for each member, for its scores and checkpoints.
        recordings: the sessions that all members are trained on.
        mesh: devices that share each batch.
        console: where to print.
        together: advance all members by one program that maps over them (as many as fit into
            memory), else one after the other; the results agree to float32 rounding. None: True on
            accelerators, False on CPUs, whose cores one member keeps busy
            (``benchmarks/ensemble.py``).
        on_score: as for ``train``, for every member.
        on_nan: as for ``train``.
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
            on_nan=on_nan,
        )
        for experiment, workdir in zip(experiments, workdirs, strict=True)
    ]
    with contextlib.ExitStack() as locks:
        if jax.process_index() == 0:
            for workdir in workdirs:
                locks.enter_context(lock(workdir / LOCK))
        return _train(members, programs, console, together, on_score)


def _train(
    members: list[Member],
    programs: Programs,
    console: Console,
    together: bool,
    on_score: OnScore,
) -> list[Params]:
    """Advance all members, from where each stands, to the end."""
    for member in members:
        member.resume()
    total, completed = len(members) * programs.total_steps, sum(m.step for m in members)
    bar = TrainingBar(console, total=total, completed=completed, frames=programs.frames)
    with StopSignals() as stop, bar:
        while active := [m for m in members if not m.done]:
            step = min(m.step for m in active)
            group = [m for m in active if m.step == step]
            for member in group:
                if member.batch is None:
                    member.batch, member.position = member.next_batch()
            group = group[: programs.largest_group(*_inputs(group)) if together else 1]
            _run_epoch(group, programs, bar, stop, on_score)
    return [m.checkpoints.restore_best(m.state.params) for m in members]


def _run_epoch(
    group: list[Member],
    programs: Programs,
    bar: TrainingBar,
    stop: StopSignals,
    on_score: OnScore,
) -> None:
    """Advance members at the same step to the end of their epoch."""
    total = programs.total_steps
    while True:
        states, metrics = programs.advance(*_inputs(group))
        upcoming = []
        for member, state in zip(group, states, strict=True):
            member.state = state
            upcoming.append(member.next_batch())  # read and transferred while the step runs
        step = group[0].step + 1
        epoch_end = step % programs.experiment.epoch_steps == 0
        log = epoch_end or step % LOG_EVERY_STEPS == 0 or step == 1
        ends = zip(group, metrics, upcoming, strict=True)
        losses = [member.end_step(values, batch, log=log) for member, values, batch in ends]
        if log:
            bar.show(loss=sum(losses) / len(losses))
        # Processes must agree to stop. Since that takes time, they communicate at some steps only.
        poll = log or jax.process_count() == 1
        interrupt = poll and parallel.any_process(stop.requested)
        if epoch_end:
            for member, loss in zip(group, losses, strict=True):
                _end_epoch(member, loss, bar, on_score)
        bar.advance(len(group))
        if interrupt and not all(m.done for m in group):
            for member in group:
                member.save()
            raise Interrupted(f"saved at step {step} of {total}")
        if epoch_end:
            return


def _inputs(group: list[Member]) -> tuple[list, list, list, list]:
    """The arguments of ``Programs.advance`` for these members."""
    return (
        [m.state for m in group],
        [m.batch for m in group],
        [m.key for m in group],
        [m.lr_scale for m in group],
    )


def _end_epoch(member: Member, loss: float, bar: TrainingBar, on_score: OnScore) -> None:
    result = member.end_epoch(loss)
    bar.show(loss=result.loss, score=result.score, paused_s=result.seconds)
    on_score(result.epoch, result.score)
