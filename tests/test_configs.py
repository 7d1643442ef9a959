"""Every config, at both sizes: it compiles for eight devices, and the small one runs to its end."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from test_experiment import CONFIGS

from sensorium_jax import ensemble, models, parallel
from sensorium_jax.data import pipeline
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.experiment import override
from sensorium_jax.runs.workdir import claim
from sensorium_jax.training.ensemble import train_ensemble
from sensorium_jax.training.loop import train
from sensorium_jax.types import TrainState


@pytest.mark.parametrize("config", CONFIGS)
def test_demo_size_trains_on_eight_devices_and_reopens(config, store, tmp_path):
    plan = importlib.import_module(f"sensorium_jax.configs.{config}").demo
    for change in (
        "data.trials=8",
        f"data.frames={plan.model.core.warmup_frames + 8}",
        "evaluation_trials=8",
        "epoch_steps=2",
        "max_epochs=1",
        f"members={min(plan.members, 2)}",
    ):
        plan = override(plan, change)
    recordings = load_recordings(store)
    claim(tmp_path / "run", plan, recordings)
    quiet = Console(quiet=True)
    run_training = train if plan.members == 1 else train_ensemble
    run_training(plan, tmp_path / "run", recordings, mesh=parallel.make_mesh(8), console=quiet)
    run = ensemble(tmp_path / "run", devices=8)
    report = run.evaluate(run.params, "oracle")
    assert np.isfinite(report.by_neuron("oracle")) and len(report.scores) == 2


@pytest.mark.parametrize("config", CONFIGS)
def test_published_size_can_be_traced(config, store):
    e = importlib.import_module(f"sensorium_jax.configs.{config}").published
    recordings = load_recordings(store)
    batch = pipeline.example_batch(recordings, frames=e.data.frames)
    batch = jax.tree.map(lambda x: np.repeat(x, e.data.trials, axis=1), batch)
    optimizer = e.optimizer.make(e.epoch_steps * e.max_epochs)
    key = jax.random.key(0)

    def start(key):
        params = models.init(e.model, key, batch, recordings.neurons)
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params.weights))

    state = jax.eval_shape(start, key)
    step = parallel.make_train_step(e.model, e.scaling, optimizer, parallel.make_mesh(8))
    statistics = recordings.statistics(e.data.statistics)
    new, metrics = jax.eval_shape(
        step, state, batch, recordings.neurons, statistics, key, jnp.float32(1)
    )
    assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
    assert metrics["loss"].shape == ()


def test_the_gru_baseline_has_the_published_size():
    """Parameters of the core: starter kit, benchmarks_training.ipynb."""
    core = importlib.import_module("sensorium_jax.configs.gru_baseline").published.model.core
    video = jax.ShapeDtypeStruct((1, 2, 36, 64), jnp.float32)
    two = jax.ShapeDtypeStruct((1, 2, 2), jnp.float32)
    variables = jax.eval_shape(
        lambda v, b: core.init(jax.random.key(0), v, b, b, train=False), video, two
    )
    features = jax.eval_shape(
        lambda v, x, b: core.apply(v, x, b, b, train=False), variables, video, two
    )
    assert features.shape == (1, 2, 28, 56, 64)
