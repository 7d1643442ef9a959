"""The state of one model in the training loop."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sensorium_jax import models, parallel, protocol
from sensorium_jax.data import pipeline
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import Diverged
from sensorium_jax.experiment import Experiment
from sensorium_jax.experiment.optim import PlateauState
from sensorium_jax.pages.terminal import Console
from sensorium_jax.runs.checkpoint import Checkpoints
from sensorium_jax.training import health
from sensorium_jax.training.metric_log import MetricLog
from sensorium_jax.training.programs import Metrics, Programs
from sensorium_jax.types import Batch, TrainState

LOGGED = "loss", "poisson", "penalty", "grad_norm"


class Epoch(NamedTuple):
    """The result of an epoch."""

    epoch: int  # its number, from 1
    loss: float  # of the last step
    score: float  # single-trial correlation on the oracle tier, in the experiment's units
    seconds: float  # duration of scoring and saving


class Member:
    """The state of one model in the training loop: weights, batches, checkpoints and log."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: Path,
        recordings: Recordings,
        programs: Programs,
        console: Console,
        *,
        label: str = "",
        on_nan: health.OnNan = "stop",
    ):
        """A member before its first step; ``label`` is the prefix of its printed lines."""
        e = self.experiment = experiment
        self.workdir, self.programs, self.console = workdir, programs, console
        self.recordings, self.on_nan = recordings, on_nan
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

        self.label = label
        self.step = 0
        self.done = False
        self.skipped = 0  # steps in succession whose numbers were not finite
        self.plateau = PlateauState()
        self.batch: Batch | None = None
        self.position = self.batches.get_state()  # before ``batch``
        self.checkpoints = Checkpoints(workdir)
        self.log = MetricLog(workdir)

    def resume(self) -> None:
        """Continue from the last checkpoint, if there is one."""
        if self.checkpoints.last_step is None:
            self.log.forget_after(0)  # of a run that was killed before its first checkpoint
            return
        self.checkpoints.tidy()
        self.state, loop = self.checkpoints.restore_last(self.state)
        self.step, self.done = loop["step"], loop["done"]
        self.plateau = PlateauState.from_record(loop["plateau"])
        self.position, self.skipped = loop["position"], loop.get("skipped", 0)
        self.batches.set_state(self.position)
        self.log.forget_after(self.step)
        progress = f"step {self.step} of {self.programs.total_steps}"
        message = f"Already trained ({progress})." if self.done else f"Resuming at {progress}."
        self.console.print(self.label + message)

    def save(self) -> None:
        """Save everything that ``resume`` needs."""
        loop = {
            "step": self.step,
            "done": self.done,
            "plateau": self.plateau._asdict(),
            "position": self.position,
            "skipped": self.skipped,
        }
        self.checkpoints.save_last(self.state, loop, step=self.step)

    @property
    def lr_scale(self) -> jax.Array:
        """Factor of the learning rate: []."""
        return jnp.float32(self.plateau.lr_scale)

    def next_batch(self) -> tuple[Batch, dict]:
        """The next batch, on the devices, and the iterator's position before it."""
        position = self.batches.get_state()
        batch = parallel.shard_batch(next(self.batches), self.programs.mesh, process_local=True)
        return batch, position

    def end_step(self, metrics: Metrics, upcoming: tuple[Batch, dict], *, log: bool) -> float:
        """Take a step as done, once its numbers are known to be finite, and return its loss.

        Args:
            metrics: of the step, still on the devices; ``state`` is what it returned.
            upcoming: what ``next_batch`` returned.
            log: write the metrics to the log.

        Raises:
            Diverged: they are not finite, and ``on_nan`` is "stop" or too many were skipped.
        """
        values = jax.device_get(metrics)
        fault = health.find_fault(values, self.experiment, self.recordings, step=self.step + 1)
        if fault is not None:
            self._handle(fault)
        self.skipped = 0 if fault is None else self.skipped + 1
        self.step += 1
        self.batch, self.position = upcoming
        if log and fault is None:
            self.log.write(self.step, {k: float(x) for k, x in values.items() if k in LOGGED})
        return float(values["loss"])

    def _handle(self, fault: health.Fault) -> None:
        """Skip a step, or save the state before it and a bundle that shows it, and stop."""
        if self.on_nan == "skip" and self.skipped + 1 < health.MOST_SKIPPED:
            self.console.print(f"{self.label}Skipped: {fault}.")
            self.log.write(fault.step, {"skipped": 1.0})
            return
        folder = self.workdir / f"not-finite-{fault.step}"
        parts = fault, self.experiment, self.recordings, self.state
        health.write_bundle(folder, *parts, key=self.key, lr_scale=self.lr_scale)
        self.save()
        advice = "go on without such steps (--on-nan=skip)"
        if self.on_nan == "skip":
            advice = f"{health.MOST_SKIPPED} in succession are too many to skip"
        raise Diverged(
            f"{self.label}expected finite numbers, got {fault}: training diverged, the state "
            f"before that step is saved; lower optimizer.learning_rate in a new --workdir, or "
            f"{advice}; sensorium_jax.training.reproduce({str(folder)!r}) shows it again"
        )

    def end_epoch(self, loss: float) -> Epoch:
        """Score the oracle tier, save the state, and lower the learning rate or stop if due."""
        e = self.experiment
        start = time.monotonic()
        score = self.programs.score(self.state.params, protocol.ORACLE, units=e.units)
        self.plateau, verdict = e.plateau.update(self.plateau, score, step=self.step)
        if verdict == "better":
            self.checkpoints.save_best(self.state.params, step=self.step)
        if verdict == "decay":
            best = self.checkpoints.restore_best(self.state.params)
            self.state = self.state._replace(params=best)
        self.done = verdict == "stop" or self.step >= self.programs.total_steps
        # Before the state is saved: of a line that was written twice the resumed run keeps one.
        self.log.write(
            self.step,
            {"oracle": score, "best": self.plateau.best, "lr_scale": self.plateau.lr_scale},
        )
        self.save()
        epoch = self.step // e.epoch_steps
        note = {"better": "best so far", "wait": "", "decay": "learning rate lowered", "stop": ""}
        self.console.print(
            f"{self.label}epoch {epoch:3d}/{e.max_epochs}  loss {loss:.4f}  "
            f"oracle {score:.4f}  {note[verdict]}"
        )
        return Epoch(epoch, loss, score, time.monotonic() - start)
