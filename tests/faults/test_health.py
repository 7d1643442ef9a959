"""A step whose numbers are not finite changes nothing, is named, and can be shown again."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from small import metrics_of, train_in

from sensorium_jax import models, parallel
from sensorium_jax.data import pipeline
from sensorium_jax.data.format import Session
from sensorium_jax.errors import Diverged, UserError
from sensorium_jax.experiment import override
from sensorium_jax.models import losses
from sensorium_jax.runs.checkpoint import Checkpoints
from sensorium_jax.training import health, reproduce
from sensorium_jax.types import TrainState

pytestmark = pytest.mark.slow


@pytest.fixture
def sick(recordings, monkeypatch):
    """A function that makes the responses of a train trial of the second mouse NaN."""
    read = Session.read

    def infect(number):
        def read_sick(self, row, start, stop):
            trial = read(self, row, start, stop)
            if self.name == recordings.session_names[1] and self.trials.number[row] == number:
                return trial._replace(response=trial.response * np.nan)
            return trial

        monkeypatch.setattr(Session, "read", read_sick)

    yield infect


def trials_of(recordings, step):
    """File numbers of the second mouse's trials in the batch of a step."""
    data = small.experiment().data
    rows = pipeline.train_rows(recordings, step - 1, trials=data.trials, seed=0)
    return recordings.trials(1).number[rows[1]].tolist()


@pytest.mark.parametrize("field, mice", [("response", [False, True]), ("video", [False, False])])
def test_a_step_that_is_not_finite_leaves_the_state_as_it_was(field, mice, monkeypatch):
    """Of a mouse's own numbers it says which mouse; in the film they spoil what all share."""
    monkeypatch.setattr(small, "NEURONS", (5, 8))
    mesh = parallel.make_mesh(8, neuron_devices=2)
    optimizer = optax.adamw(1e-3)
    batch = small.batch()
    x = np.array(getattr(batch, field), np.float32)
    healthy = parallel.shard_batch(batch._replace(**{field: x.copy()}), mesh)
    x[1, 3, -1, ..., 0] = np.nan
    params = models.init(small.MODEL, jax.random.key(0), batch, small.neurons())
    state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params.weights))
    step = parallel.make_train_step(small.MODEL, losses.Scaling(), optimizer, mesh)
    rest = small.neurons(), small.statistics(), jax.random.key(1), jnp.float32(1)
    rest = parallel.replicate(rest, mesh)

    def advance(batch):
        placed = parallel.place_state(state, small.MODEL, optimizer, mesh)
        new, metrics = jax.device_get(step(jax.tree.map(jnp.copy, placed), batch, *rest))
        return new, metrics

    after, metrics = advance(parallel.shard_batch(batch._replace(**{field: x}), mesh))
    assert not metrics["finite"]
    jax.tree.map(np.testing.assert_array_equal, after, jax.device_get(state))
    if any(mice):
        np.testing.assert_array_equal(np.isfinite(metrics["mouse_loss"]), ~np.array(mice))
    after, metrics = advance(healthy)
    assert metrics["finite"] and after.step == 1
    assert np.isfinite(metrics["mouse_loss"]).all() and (metrics["mouse_grad_norm"] > 0).all()


def test_training_stops_names_the_trials_and_goes_on_once_they_are_mended(
    sick, recordings, whole, tmp_path, monkeypatch
):
    run, step = tmp_path / "run", 5
    earlier = {n for s in range(1, step) for n in trials_of(recordings, s)}
    (number, *_) = [n for n in trials_of(recordings, step) if n not in earlier]
    with monkeypatch.context():
        sick(number)
        words = f"loss of nan .* at step {step} \\({recordings.session_names[1]}, trials .*{number}"
        for _ in range(2):  # a resumed run stops at the same step
            with pytest.raises(Diverged, match=words) as stop:
                train_in(recordings, run)
        bundle = run / f"not-finite-{step}"
        assert f"reproduce({str(bundle)!r})" in str(stop.value)
        assert "\n" not in str(stop.value)
        metrics = reproduce(bundle)
        assert not metrics["finite"] and np.isnan(metrics["mouse_loss"]).all()
        assert Checkpoints(run).last_step == step - 1
    monkeypatch.undo()
    params, shown = train_in(recordings, run)
    assert f"Resuming at step {step - 1} of 6" in shown
    jax.tree.map(np.testing.assert_array_equal, params, whole[1])
    assert metrics_of(run) == metrics_of(whole[0])


def test_steps_that_are_not_finite_can_be_skipped(sick, recordings, tmp_path):
    number = trials_of(recordings, 2)[0]
    sick(number)
    expected = [s for s in range(1, 7) if number in trials_of(recordings, s)]
    params, shown = train_in(recordings, tmp_path / "run", on_nan="skip")
    assert 0 < len(expected) < 6 and shown.count("Skipped: a loss of nan") == len(expected)
    skipped = [r["step"] for r in metrics_of(tmp_path / "run") if "skipped" in r]
    assert skipped == expected
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))


def test_too_many_skipped_steps_end_a_training(recordings, tmp_path):
    wild = small.experiment(epoch_steps=20, max_epochs=1)
    wild = override(wild, "optimizer.learning_rate=1e30")
    words = f"beyond the range of float32 .*: {health.MOST_SKIPPED} in succession"
    with pytest.raises(Diverged, match=words.replace(": ", ".*")):
        train_in(recordings, tmp_path / "run", wild, on_nan="skip")
    assert len([r for r in metrics_of(tmp_path / "run") if "skipped" in r]) == 9
    assert not reproduce(next((tmp_path / "run").glob("not-finite-*")))["finite"]


def test_a_damaged_bundle_is_one_line(tmp_path):
    (tmp_path / health.RECORD).write_text("{}")
    with pytest.raises(UserError, match="expected experiment in .*step.json"):
        reproduce(tmp_path)
