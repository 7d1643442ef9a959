"""Compiled programs, and neurons and statistics on the devices, which all members share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jax.sharding import Mesh

from sensorium_jax import parallel
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.experiment import Experiment
from sensorium_jax.models.check import check_model
from sensorium_jax.runs.predictions import make_predictions, place_recordings
from sensorium_jax.scores.evaluate import make_score
from sensorium_jax.training.plan import Plan, first_that_fits, fits, plans
from sensorium_jax.types import Array, Batch, TrainState

Metrics = dict[str, Array]  # of one step of one member; see ``parallel.make_train_step``


class Programs:
    """The training step and the evaluation of an experiment, compiled once for all members."""

    def __init__(self, experiment: Experiment, recordings: Recordings, mesh: Mesh):
        e = self.experiment = experiment
        check_model(e.model)
        parallel.check_core(e.model.core)
        self.mesh = mesh
        self.total_steps = e.epoch_steps * e.max_epochs
        self.frames = len(recordings.session_names) * e.data.trials * e.data.frames
        self.optimizer = e.optimizer.make(self.total_steps)
        predictions = make_predictions(
            e.model,
            recordings,
            mesh=mesh,
            statistics=e.data.statistics,
            trials=e.evaluation_trials,
        )
        self.score = make_score(predictions, recordings)
        self._data = place_recordings(recordings, e.data.statistics, mesh)
        self._parts = e.model, e.scaling, self.optimizer, mesh
        mice = len(recordings.session_names)
        self._plans = list(plans(e, mice=mice, devices=mesh.size))
        self.plan: Plan | None = None  # of the step of one member, once it is compiled
        self._ensemble_step = parallel.make_ensemble_step(*self._parts, **self._plans[0]._asdict())
        self._compiled: dict[int, Callable] = {}  # by number of members

    def advance(
        self,
        states: Sequence[TrainState],
        batches: Sequence[Batch],
        keys: Sequence[Array],
        lr_scales: Sequence[Array],
    ) -> tuple[tuple[TrainState, ...], tuple[Metrics, ...]]:
        """One step of every member: new states, and metrics.

        Several members are advanced by one program, at most as many as ``largest_group`` returned.
        """
        if len(states) == 1:
            inputs = states[0], batches[0], *self._data, keys[0], lr_scales[0]
            state, metrics = self._step(inputs)(*inputs)
            return (state,), (metrics,)
        inputs = self._inputs(states, batches, keys, lr_scales)
        return self._compiled[len(states)](*inputs)

    def _step(self, inputs: tuple) -> Callable:
        """The step of one member, compiled at the first call by the first plan that fits.

        Raises:
            UserError: none fits into the free memory.
        """
        if self.plan is None:

            def compile_step(plan: Plan) -> Any:
                step = parallel.make_train_step(*self._parts, **plan._asdict())
                return step.lower(*inputs).compile()

            data = self.experiment.data
            self.plan, program = first_that_fits(self._plans, compile_step, data)
            self._compiled[1] = program
        return self._compiled[1]

    def largest_group(
        self,
        states: Sequence[TrainState],
        batches: Sequence[Batch],
        keys: Sequence[Array],
        lr_scales: Sequence[Array],
    ) -> int:
        """Number of these members that one program can advance in the free memory."""
        size = len(states)
        while size > 1 and size not in self._compiled:
            inputs = self._inputs(*(x[:size] for x in (states, batches, keys, lr_scales)))
            program = self._ensemble_step.lower(*inputs).compile()
            if fits(program):
                self._compiled[size] = program
            else:
                size = -(-size // 2)
        return size

    def _inputs(self, states, batches, keys, lr_scales) -> tuple:
        """Arguments of the program that advances several members."""
        return tuple(states), tuple(batches), *self._data, tuple(keys), tuple(lr_scales)
