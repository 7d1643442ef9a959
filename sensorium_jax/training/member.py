"""The state of one model in the training loop."""

from __future__ import annotations

import math
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
from sensorium_jax.training.metric_log import MetricLog
from sensorium_jax.training.programs import Metrics, Programs
from sensorium_jax.types import Batch, TrainState


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
    ):
        """A member before its first step; ``label`` is the prefix of its printed lines."""
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

        self.label = label
        self.step = 0
        self.done = False
        self.plateau = PlateauState()
        self.batch: Batch | None = None
        self.position = self.batches.get_state()
        self.checkpoints = Checkpoints(workdir)
        self.log = MetricLog(workdir)

    def resume(self) -> None:
        """Continue from the last checkpoint, if there is one."""
        if self.checkpoints.last_step is None:
            self.log.forget_after(0)  # of a run that was killed before its first checkpoint
            return
        self.state, loop = self.checkpoints.restore_last(self.state)
        self.step, self.done = loop["step"], loop["done"]
        self.plateau = PlateauState.from_record(loop["plateau"])
        self.position = loop["position"]
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
        }
        self.checkpoints.save_last(self.state, loop, step=self.step)

    @property
    def lr_scale(self) -> jax.Array:
        """Factor of the learning rate: []."""
        return jnp.float32(self.plateau.lr_scale)

    def next_batch(self) -> Batch:
        """The next batch, on the devices; stores the iterator's position before it."""
        self.position = self.batches.get_state()
        return parallel.shard_batch(next(self.batches), self.programs.mesh, process_local=True)

    def end_epoch(self, metrics: Metrics) -> Epoch:
        """Score the oracle tier, save the state, and lower the learning rate or stop if due."""
        e = self.experiment
        loss = self.write_log(metrics)
        start = time.monotonic()
        score = self.programs.score(self.state.params, protocol.ORACLE, units=e.units)
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
            {"oracle": score, "best": self.plateau.best, "lr_scale": self.plateau.lr_scale},
        )
        epoch = self.step // e.epoch_steps
        note = {"better": "best so far", "wait": "", "decay": "learning rate lowered", "stop": ""}
        self.console.print(
            f"{self.label}epoch {epoch:3d}/{e.max_epochs}  loss {loss:.4f}  "
            f"oracle {score:.4f}  {note[verdict]}"
        )
        return Epoch(epoch, loss, score, time.monotonic() - start)

    def write_log(self, metrics: Metrics) -> float:
        """Log the metrics of the last step, and return its loss."""
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not math.isfinite(values["loss"]):
            raise Diverged(
                f"{self.label}expected a finite loss, got {values['loss']} at step {self.step}: "
                "training diverged; lower optimizer.learning_rate and start in a new --workdir"
            )
        self.log.write(self.step, values)
        return values["loss"]
