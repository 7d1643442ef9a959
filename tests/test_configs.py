"""Every config, at both sizes: it compiles for eight devices, and the small one runs to its end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from test_experiment import CONFIGS

from sensorium_jax import ensemble, models, parallel
from sensorium_jax.configs import load_config
from sensorium_jax.data import pipeline
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.experiment import override
from sensorium_jax.models.check import core_variables, features_shape
from sensorium_jax.pages import run as run_page
from sensorium_jax.runs.workdir import claim
from sensorium_jax.training.ensemble import train_ensemble
from sensorium_jax.training.loop import train
from sensorium_jax.types import TrainState

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("config", CONFIGS)
def test_demo_size_trains_on_eight_devices_and_reopens(config, store, tmp_path):
    plan = load_config(config, "demo")
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
    run = ensemble(tmp_path / "run", data=recordings, devices=8)
    report = run.evaluate(run.params, "oracle")
    assert np.isfinite(report.by_neuron("oracle")) and len(report.select("oracle")) == 2
    run_page.write(tmp_path / "report.html", run, report, logs=[])
    assert "Model card" in (tmp_path / "report.html").read_text()

    one = run.runs[0]
    one.export(tmp_path / "weights")
    again = ensemble(tmp_path / "weights", data=recordings)
    assert np.isclose(
        again.evaluate(again.params, "oracle").by_neuron("oracle"),
        one.evaluate(one.params, "oracle").by_neuron("oracle"),
        atol=1e-5,
    )
    session, frames = recordings.session_names[0], plan.model.core.warmup_frames + 6
    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, (frames, 36, 64)).astype(np.uint8)
    signals = rng.uniform(0, 30, (frames, 2)), rng.normal(150, 5, (frames, 2))
    expected = one.predict(film, *signals, session=session)
    stream = one.stream(session)
    cuts = (0, frames - 4), (frames - 4, frames)
    pieces = [stream.predict(*(x[i:j] for x in (film, *signals))) for i, j in cuts]
    np.testing.assert_allclose(np.concatenate(pieces), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
def test_published_size_can_be_traced(config, store):
    e = load_config(config, "published")
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


def parameters(config):
    """Number of the core's parameters at the published size, and shape of its features."""
    core = load_config(config, "published").model.core
    weights = core_variables(core, frames=core.warmup_frames + 1)["params"]
    return weights, features_shape(core, frames=core.warmup_frames + 1)[2:]


def count(weights):
    return sum(x.size for x in jax.tree.leaves(weights))


def test_the_gru_baseline_has_the_published_size():
    """Layers and maps: starter kit, benchmarks_training.ipynb."""
    weights, features = parameters("gru_baseline")
    assert features == (28, 56, 64)
    # Six convolutions of 64 maps by 9 x 9; the offsets of input and state are one.
    assert count(weights["recurrence"]) == 6 * 81 * 64 * 64 + 3 * 64
    layers = {k: v for k, v in weights.items() if k != "recurrence"}
    modes = {9: 45, 7: 28}  # Hermite functions of a total order below the size: size (size + 1) / 2
    expected = modes[9] * 3 * 8 + 3 * modes[7] * 64 * 8 + 4 * 2 * 8  # kernels; scale and offset
    assert count(layers) == expected


def test_the_factorized_baseline_has_the_published_size():
    """382,176 in neural-trajectory-evaluation, of which 448 offsets stand before a batch norm."""
    weights, features = parameters("factorized_baseline")
    assert features == (18, 46, 128)
    assert count(weights) == 382_176 - 2 * (32 + 64 + 128)
