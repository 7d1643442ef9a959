"""``train(experiment, workdir, recordings)``: the loop, no maths."""

from __future__ import annotations

import math
import signal
import threading
import time
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


class Interrupted(Exception):
    """Training was asked to stop, and saved its state first."""


def train(
    experiment: Experiment,
    workdir: Path,
    recordings: pipeline.Recordings,
    *,
    mesh: Mesh,
    console: Console | None = None,
) -> Params:
    """Train to the end, from the last checkpoint if there is one, and return the best weights.

    Scores, losses and checkpoints go to ``workdir``. The best weights are those with the highest
    single-trial correlation on full-length oracle trials.

    Raises:
        Interrupted: Ctrl-C or a termination signal arrived; the state is saved.
        UserError: the loss is no longer finite, or no space is left.
    """
    run = _Training(experiment, workdir, recordings, mesh=mesh, console=console or Console())
    run.resume()
    if not run.done:
        run.loop()
    return run.checkpoints.restore_best(run.state.params)


class _Training:
    """What the loop holds between steps."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: Path,
        recordings: pipeline.Recordings,
        *,
        mesh: Mesh,
        console: Console,
    ):
        e = self.experiment = experiment
        self.mesh, self.console = mesh, console
        self.total_steps = e.epoch_steps * e.max_epochs
        self.batches = iter(
            pipeline.train_iterator(
                recordings, frames=e.data.frames, trials=e.data.trials, seed=e.seed
            )
        )
        self.sessions = len(recordings.session_names)
        optimizer = e.optimizer.make(self.total_steps)
        self.train_step = parallel.make_train_step(e.model, e.scaling, optimizer, mesh)
        self.evaluate = make_evaluate(
            e.model,
            recordings,
            mesh=mesh,
            statistics=e.data.statistics,
            trials=e.evaluation_trials,
        )
        init_key, step_key = jax.random.split(jax.random.key(e.seed))
        self.inputs = parallel.replicate(
            (recordings.neurons, recordings.statistics(e.data.statistics), step_key), mesh
        )
        example = pipeline.example_batch(recordings, frames=e.data.frames)
        params = models.init(e.model, init_key, example, recordings.neurons)
        opt = optimizer.init(params.weights)
        self.state = parallel.replicate(TrainState(jnp.zeros((), jnp.int32), params, opt), mesh)

        self.step = 0
        self.done = False
        self.plateau = PlateauState()
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
        at = f"step {self.step} of {self.total_steps}"
        self.console.print(f"Already trained ({at})." if self.done else f"Resuming at {at}.")

    def save(self) -> None:
        """Keep all that ``resume`` needs."""
        loop = {
            "step": self.step,
            "done": self.done,
            "plateau": self.plateau._asdict(),
            "position": self.position,
        }
        self.checkpoints.save_last(self.state, loop, step=self.step)

    def next_batch(self) -> Batch:
        """The next batch on the devices; remembers where it stood before."""
        self.position = self.batches.get_state()
        return parallel.shard_batch(next(self.batches), self.mesh)

    def loop(self) -> None:
        """Step until the plateau or the last epoch ends the run."""
        e = self.experiment
        frames = self.sessions * e.data.trials * e.data.frames
        with _Stop() as stop, _progress(self.console) as progress:
            bar = _Bar(progress, total=self.total_steps, done=self.step, frames=frames)
            batch = self.next_batch()
            while not self.done:
                self.state, metrics = self.train_step(
                    self.state, batch, *self.inputs, jnp.float32(self.plateau.rate)
                )
                self.step += 1
                batch = self.next_batch()  # read and sent while the step runs
                if self.step % LOG_EVERY_STEPS == 0 or self.step == 1:
                    bar.show(loss=self._log(metrics))
                if self.step % e.epoch_steps == 0:
                    self._end_epoch(metrics, bar)
                bar.advance()
                if stop.requested and not self.done:
                    self.save()
                    raise Interrupted(f"saved at step {self.step} of {self.total_steps}")

    def _end_epoch(self, metrics: dict, bar: _Bar) -> None:
        """Score the oracle tier, keep what is best, and decide how to go on."""
        e = self.experiment
        loss = self._log(metrics)
        began = time.monotonic()
        report = self.evaluate(self.state.params, protocol.ORACLE)
        score = report.by_neuron(protocol.ORACLE)
        self.plateau, verdict = e.plateau.update(self.plateau, score, step=self.step)
        if verdict == "better":
            self.checkpoints.save_best(self.state.params, step=self.step)
        if verdict == "decay":
            best = self.checkpoints.restore_best(self.state.params)
            self.state = self.state._replace(params=best)
        self.done = verdict == "stop" or self.step >= self.total_steps
        self.save()
        self.log.write(
            self.step,
            {"oracle": score, "best": self.plateau.best, "rate": self.plateau.rate},
        )
        note = {"better": "best so far", "wait": "", "decay": "learning rate lowered", "stop": ""}
        self.console.print(
            f"epoch {self.step // e.epoch_steps:3d}/{e.max_epochs}  loss {loss:.4f}  "
            f"oracle {score:.4f}  {note[verdict]}"
        )
        bar.show(loss=loss, score=score, paused_s=time.monotonic() - began)

    def _log(self, metrics: dict) -> float:
        values = {name: float(value) for name, value in metrics.items()}
        if not math.isfinite(values["loss"]):
            raise UserError(
                f"expected a finite loss, got {values['loss']} at step {self.step}: training "
                "diverged; lower optimizer.learning_rate and start in a new --workdir"
            )
        self.log.write(self.step, values)
        return values["loss"]


class _Bar:
    """One line of progress: loss, score, frames per second, time left."""

    def __init__(self, progress: Progress, *, total: int, done: int, frames: int):
        self._progress, self._frames = progress, frames
        self._since, self._steps = None, 0  # the first step compiles: it does not count
        self._task = progress.add_task(
            "compiling", total=total, completed=done, loss="", score="", speed=""
        )

    def advance(self) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        else:
            self._steps += 1
            speed = self._frames * self._steps / (now - self._since)
            self._progress.update(self._task, speed=f"{speed:,.0f} frames/s")
        self._progress.update(self._task, advance=1, description="training")

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
