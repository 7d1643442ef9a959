"""``train(experiment, workdir, recordings)``: the loop, no maths."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sensorium_jax import model as models
from sensorium_jax import parallel, protocol
from sensorium_jax.checkpoint import Checkpoints
from sensorium_jax.data import pipeline
from sensorium_jax.errors import UserError
from sensorium_jax.evaluate import make_evaluate
from sensorium_jax.experiment import Experiment
from sensorium_jax.metric_log import MetricLog
from sensorium_jax.optim import PlateauState
from sensorium_jax.types import Batch, Params, TrainState

LOG_EVERY_STEPS = 10
MEMORY_SHARE = 0.8  # of what is free, that one program may take


class Interrupted(Exception):
    """Training was asked to stop, and saved its state first."""


def train(
    experiment: Experiment,
    workdir: Path,
    recordings: pipeline.Recordings,
    *,
    mesh: Mesh,
    console: Console | None = None,
    on_score: Callable[[int, float], None] = lambda epoch, score: None,
) -> Params:
    """Train to the end, from the last checkpoint if there is one, and return the best weights.

    Scores, losses and checkpoints go to ``workdir``. The best weights are those with the highest
    single-trial correlation on full-length oracle trials. ``on_score`` is told of every epoch
    and its score; what it raises ends the training, after the state was saved.

    Raises:
        Interrupted: Ctrl-C or a termination signal arrived; the state is saved.
        UserError: the loss is no longer finite, or no space is left.
    """
    one = [experiment], [workdir], recordings
    return train_members(*one, mesh=mesh, console=console, on_score=on_score)[0]


def train_members(
    experiments: Sequence[Experiment],
    workdirs: Sequence[Path],
    recordings: pipeline.Recordings,
    *,
    mesh: Mesh,
    console: Console | None = None,
    together: bool | None = None,
    on_score: Callable[[int, float], None] = lambda epoch, score: None,
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
    console = console or Console()
    if together is None:
        together = jax.default_backend() != "cpu"
    programs = _Programs(experiments[0], recordings, mesh)
    members = [
        _Member(e, workdir, recordings, programs, console)
        for e, workdir in zip(experiments, workdirs, strict=True)
    ]
    for member in members:
        member.name = f"{member.workdir.name}: " if len(members) > 1 else ""
        member.on_score = on_score
        member.resume()
    with _Stop() as stop, _progress(console) as progress:
        bar = _Bar(progress, members, frames=programs.frames)
        while active := [m for m in members if not m.done]:
            step = min(m.step for m in active)
            group = [m for m in active if m.step == step]
            group = group[: programs.at_once(group)] if together else group[:1]
            _run_epoch(group, programs, bar, stop)
    return [m.checkpoints.restore_best(m.state.params) for m in members]


def _run_epoch(group: list[_Member], programs: _Programs, bar: _Bar, stop: _Stop) -> None:
    """Step members that stand at the same step to the end of their epoch."""
    for member in group:
        member.batch = member.batch or member.next_batch()
    due = None  # metrics to be logged once the device has the next step to do
    while True:
        metrics = programs.advance(group)
        _log(group, due, bar)
        for member in group:
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
                member.end_epoch(values, bar)
        bar.advance(len(group))
        if stopping and not all(m.done for m in group):
            _log(group, due, bar)
            for member in group:
                member.save()
            raise Interrupted(f"saved at step {step} of {programs.total_steps}")
        if ended:
            return


def _log(group: list[_Member], metrics: tuple[dict[str, jax.Array], ...] | None, bar: _Bar) -> None:
    """Write the metrics of the step at which members stand, if there are any."""
    if metrics is not None:
        values = [member.write_log(m) for member, m in zip(group, metrics, strict=True)]
        bar.show(loss=sum(values) / len(values))


class _Programs:
    """What members share: compiled programs, neurons and statistics on the devices."""

    def __init__(self, experiment: Experiment, recordings: pipeline.Recordings, mesh: Mesh):
        e = self.experiment = experiment
        self.mesh = mesh
        self.total_steps = e.epoch_steps * e.max_epochs
        self.frames = len(recordings.session_names) * e.data.trials * e.data.frames
        self.optimizer = e.optimizer.make(self.total_steps)
        self.evaluate = make_evaluate(
            e.model,
            recordings,
            mesh=mesh,
            statistics=e.data.statistics,
            trials=e.evaluation_trials,
        )
        self.data = parallel.replicate(
            (recordings.neurons, recordings.statistics(e.data.statistics)), mesh
        )
        parts = e.model, e.scaling, self.optimizer, mesh
        self._step = parallel.make_train_step(*parts)
        self._together = parallel.make_ensemble_step(*parts)
        self._compiled: dict[int, Callable] = {}  # by number of members

    def advance(self, group: list[_Member]) -> tuple[dict[str, jax.Array], ...]:
        """One step of every member of a group; their metrics."""
        if len(group) == 1:
            (member,) = group
            member.state, metrics = self._step(
                member.state, member.batch, *self.data, member.key, member.rate
            )
            return (metrics,)
        states, metrics = self._compiled[len(group)](*self._inputs(group))
        for member, state in zip(group, states, strict=True):
            member.state = state
        return metrics

    def at_once(self, group: list[_Member]) -> int:
        """How many members of a group one program can advance in the memory that is free."""
        for member in group:
            member.batch = member.batch or member.next_batch()
        size = len(group)
        while size > 1 and size not in self._compiled:
            program = self._together.lower(*self._inputs(group[:size])).compile()
            if _needed_bytes(program) <= MEMORY_SHARE * _free_bytes():
                self._compiled[size] = program
            else:
                size = -(-size // 2)
        return size

    def _inputs(self, group: list[_Member]) -> tuple:
        """Arguments of the program of a group."""
        states, batches, keys, rates = (
            tuple(getattr(m, name) for m in group) for name in ("state", "batch", "key", "rate")
        )
        return states, batches, *self.data, keys, rates


class _Member:
    """What the loop holds of one model between steps."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: Path,
        recordings: pipeline.Recordings,
        programs: _Programs,
        console: Console,
    ):
        e = self.experiment = experiment
        self.workdir, self.programs, self.console = workdir, programs, console
        self.batches = iter(
            pipeline.train_iterator(
                recordings,
                frames=e.data.frames,
                trials=e.data.trials,
                seed=e.seed,
                part=jax.process_index(),
                parts=jax.process_count(),
            )
        )
        mesh = programs.mesh
        init_key, step_key = jax.random.split(jax.random.key(e.seed))
        example = pipeline.example_batch(recordings, frames=e.data.frames)
        params = models.init(e.model, init_key, example, recordings.neurons)
        opt = programs.optimizer.init(params.weights)
        self.key = parallel.replicate(step_key, mesh)
        state = TrainState(jnp.zeros((), jnp.int32), params, opt)
        self.state = parallel.place_state(state, e.model, programs.optimizer, mesh)

        self.name = ""
        self.on_score: Callable[[int, float], None] = lambda epoch, score: None
        self.step = 0
        self.done = False
        self.plateau = PlateauState()
        self.batch: Batch | None = None
        self.position = self.batches.get_state()
        self.checkpoints = Checkpoints(workdir)
        self.log = MetricLog(workdir)

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        if self.checkpoints.last_step is None:
            return
        self.state, loop = self.checkpoints.restore_last(self.state)
        self.step, self.done = loop["step"], loop["done"]
        self.plateau = PlateauState(**loop["plateau"])
        self.position = loop["position"]
        self.batches.set_state(self.position)
        self.log.forget_after(self.step)
        at = f"step {self.step} of {self.programs.total_steps}"
        said = f"Already trained ({at})." if self.done else f"Resuming at {at}."
        self.console.print(self.name + said)

    def save(self) -> None:
        """Keep all that ``resume`` needs."""
        loop = {
            "step": self.step,
            "done": self.done,
            "plateau": self.plateau._asdict(),
            "position": self.position,
        }
        self.checkpoints.save_last(self.state, loop, step=self.step)

    @property
    def rate(self) -> jax.Array:
        """What multiplies the learning rate: []."""
        return jnp.float32(self.plateau.rate)

    def next_batch(self) -> Batch:
        """The next batch on the devices; remembers where it stood before."""
        self.position = self.batches.get_state()
        return parallel.shard_batch(next(self.batches), self.programs.mesh, own=True)

    def end_epoch(self, metrics: dict, bar: _Bar) -> None:
        """Score the oracle tier, keep what is best, and decide how to go on."""
        e = self.experiment
        loss = self.write_log(metrics)
        began = time.monotonic()
        report = self.programs.evaluate(self.state.params, protocol.ORACLE)
        score = report.by_neuron(protocol.ORACLE)
        self.plateau, verdict = e.plateau.update(self.plateau, score, step=self.step)
        if verdict == "better":
            self.checkpoints.save_best(self.state.params, step=self.step)
        if verdict == "decay":
            best = self.checkpoints.restore_best(self.state.params)
            self.state = self.state._replace(params=best)
        self.done = verdict == "stop" or self.step >= self.programs.total_steps
        self.save()
        self.log.write(
            self.step,
            {"oracle": score, "best": self.plateau.best, "rate": self.plateau.rate},
        )
        note = {"better": "best so far", "wait": "", "decay": "learning rate lowered", "stop": ""}
        self.console.print(
            f"{self.name}epoch {self.step // e.epoch_steps:3d}/{e.max_epochs}  loss {loss:.4f}  "
            f"oracle {score:.4f}  {note[verdict]}"
        )
        bar.show(loss=loss, score=score, paused_s=time.monotonic() - began)
        self.on_score(self.step // e.epoch_steps, score)

    def write_log(self, metrics: dict) -> float:
        """Log the metrics of the last step, and return its loss."""
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not math.isfinite(values["loss"]):
            raise UserError(
                f"{self.name}expected a finite loss, got {values['loss']} at step {self.step}: "
                "training diverged; lower optimizer.learning_rate and start in a new --workdir"
            )
        self.log.write(self.step, values)
        return values["loss"]


def _needed_bytes(program: Any) -> int:
    """Memory that a compiled program takes beside its donated inputs."""
    memory = program.memory_analysis()
    return memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes


def _free_bytes() -> int:
    """Memory that is free on the first device."""
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class _Bar:
    """One line of progress: loss, score, frames per second, time left."""

    def __init__(self, progress: Progress, members: Sequence[_Member], *, frames: int):
        self._progress, self._frames = progress, frames
        self._since, self._steps = None, 0  # the first step compiles: it does not count
        self._task = progress.add_task(
            "compiling",
            total=sum(m.programs.total_steps for m in members),
            completed=sum(m.step for m in members),
            loss="",
            score="",
            speed="",
        )

    def advance(self, members: int) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        else:
            self._steps += members
            speed = self._frames * self._steps / (now - self._since)
            self._progress.update(self._task, speed=f"{speed:,.0f} frames/s")
        self._progress.update(self._task, advance=members, description="training")

    def show(self, *, loss: float, score: float | None = None, paused_s: float = 0.0) -> None:
        self._progress.update(self._task, loss=f"loss {loss:.3f}")
        if score is not None:
            self._progress.update(self._task, score=f"oracle {score:.3f}")
        if self._since is not None:
            self._since += paused_s


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[score]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


class _Stop:
    """While open, Ctrl-C and SIGTERM ask for a stop; a second Ctrl-C stops at once."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stop:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._request) for s in self._SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: object) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
