"""The health of training: what is not a finite number, and a bundle that shows it again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax import models, parallel
from sensorium_jax.data import pipeline
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import Experiment
from sensorium_jax.experiment.records import from_record, to_record
from sensorium_jax.files import read_arrays, read_json, write_json
from sensorium_jax.runs.weights import flatten, unflatten
from sensorium_jax.types import Batch, Moments, Neurons, Params, Statistics, TrainState

OnNan = Literal["stop", "skip"]
ON_NAN = "stop", "skip"
MOST_SKIPPED = 10  # steps in succession, after which training stops
ARRAYS, RECORD = "step.npz", "step.json"
_SHOWN = 8  # trials of a mouse that a message names


class Fault(NamedTuple):
    """A step whose numbers are not all finite.

    Attributes:
        step: number of the step, from 1.
        loss: its loss.
        grad_norm: the norm of its gradient.
        mice: positions of the mice whose own loss or gradient is not finite; all of them where the
            fault lies in what they share.
        trials: by session name, the file numbers of these mice's trials in the batch.
    """

    step: int
    loss: float
    grad_norm: float
    mice: tuple[int, ...]
    trials: dict[str, list[int]]

    def __str__(self) -> str:
        if self.grad_norm == self.grad_norm and self.loss == self.loss:
            what = f"weights beyond the range of float32 (gradient of {self.grad_norm:.3g})"
        else:
            what = f"a loss of {self.loss:.6g} and a gradient of {self.grad_norm:.6g}"
        mice = (f"{name}, trials {_enumerate(numbers)}" for name, numbers in self.trials.items())
        return f"{what} at step {self.step} ({'; '.join(mice)})"


def find_fault(
    metrics: dict[str, np.ndarray], experiment: Experiment, recordings: Recordings, *, step: int
) -> Fault | None:
    """What is not finite in the metrics of a step (``parallel.make_train_step``); None: nothing."""
    if metrics["finite"]:
        return None
    own = np.stack([metrics["mouse_loss"], metrics["mouse_grad_norm"]])
    wrong = ~np.isfinite(own).all(0)
    mice = np.flatnonzero(wrong if wrong.any() else ~wrong)
    trials_each, seed = experiment.data.trials, experiment.seed
    rows = pipeline.train_rows(recordings, step - 1, trials=trials_each, seed=seed)
    trials = {}
    for s in mice.tolist():
        trials[recordings.session_names[s]] = recordings.trials(s).number[rows[s]].tolist()
    loss, grad_norm = (float(metrics[name]) for name in ("loss", "grad_norm"))
    return Fault(step, loss, grad_norm, tuple(mice.tolist()), trials)


def write_bundle(
    folder: Path,
    fault: Fault,
    experiment: Experiment,
    recordings: Recordings,
    state: TrainState,
    *,
    key: jax.Array,
    lr_scale: jax.Array,
) -> None:
    """Write what ``reproduce`` needs to compute a step again, for the mice that are at fault.

    Where all mice are, one of them shows it. ``step.npz`` holds weights, batch, neurons and
    statistics of these mice; ``step.json`` the experiment, the trials and what was seen.
    """
    mice = list(fault.mice)
    mice = mice[:1] if len(mice) == len(recordings.sessions) else mice
    options, seed = experiment.data, experiment.seed
    batch = pipeline.train_batch(
        recordings, fault.step - 1, frames=options.frames, trials=options.trials, seed=seed
    )
    data = batch, recordings.neurons, recordings.statistics(experiment.data.statistics)
    batch, neurons, statistics = jax.tree.map(lambda x: x[mice], data)
    params = jax.tree.map(parallel.fetch, state.params)  # every process takes part
    if jax.process_index() > 0:
        return
    arrays = {
        "params": _as_dict(models.select_sessions(params, mice)),
        "batch": _as_dict(batch),
        "neurons": _as_dict(neurons),
        "statistics": _as_dict(statistics),
        "key": np.asarray(jax.random.key_data(key)),
        "lr_scale": np.asarray(lr_scale),
        "step": np.asarray(state.step),
    }
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir(parents=True)
    packed: dict[str, Any] = flatten(arrays)
    np.savez_compressed(partial / ARRAYS, **packed)
    names = [recordings.session_names[s] for s in mice]
    record = {"experiment": to_record(experiment), "sessions": names, **fault._asdict()}
    write_json(partial / RECORD, record, sealed=True)
    if folder.exists():  # the same step, resumed: the same bundle
        shutil.rmtree(partial)
    else:
        partial.rename(folder)


def reproduce(folder: str | Path) -> dict[str, Any]:
    """Compute the step of a bundle again, on one device, with an optimiser that starts anew.

    Args:
        folder: what training wrote when a number was not finite, ``WORKDIR/not-finite-STEP``.

    Returns:
        The metrics of the step, as NumPy; "finite" is False where the fault shows again.

    Raises:
        UserError: the folder holds no bundle, or a damaged one.

    Examples:
        >>> reproduce("nowhere")
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected nowhere/step.json, which is missing; name the ...
    """
    folder = Path(folder)
    advice = "name the folder that training wrote"
    record = read_json(folder / RECORD, advice=advice, keys=("experiment",))
    experiment = from_record(record["experiment"])
    try:
        arrays = unflatten(read_arrays(folder / ARRAYS))
    except (OSError, ValueError) as error:
        raise UserError(
            f"expected the arrays of a step in {folder / ARRAYS}, which is damaged ({error})"
        ) from None
    mesh = parallel.make_mesh(1)
    optimizer = experiment.optimizer.make(experiment.epoch_steps * experiment.max_epochs)
    params = Params(**{"stats": {}} | arrays["params"])
    state = TrainState(jnp.asarray(arrays["step"]), params, optimizer.init(params.weights))
    state = parallel.place_state(state, experiment.model, optimizer, mesh)
    moments = {k: Moments(**v) if k != "trials" else v for k, v in arrays["statistics"].items()}
    batch = parallel.shard_batch(Batch(**arrays["batch"]), mesh)
    data = Neurons(**arrays["neurons"]), Statistics(**moments)
    step = parallel.make_train_step(experiment.model, experiment.scaling, optimizer, mesh)
    key = jax.random.wrap_key_data(jnp.asarray(arrays["key"]))
    _, metrics = step(state, batch, *parallel.replicate((*data, key, arrays["lr_scale"]), mesh))
    return jax.device_get(metrics)


def _as_dict(tree: Any) -> Any:
    """A tree of named tuples as one of dictionaries."""
    if not hasattr(tree, "_asdict"):
        return tree
    return {name: _as_dict(branch) for name, branch in tree._asdict().items()}


def _enumerate(numbers: list[int]) -> str:
    """Numbers, the first few of many."""
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    return shown if len(numbers) <= _SHOWN else f"{shown} and {len(numbers) - _SHOWN} more"
