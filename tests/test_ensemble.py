"""Ensembles: members trained together or one after the other, and their mean prediction."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from rich.console import Console

from sensorium_jax import ensemble, load_run, models, parallel
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import members_of, optim, override
from sensorium_jax.experiment.experiment import SEEDS
from sensorium_jax.models import cores
from sensorium_jax.runs.workdir import claim
from sensorium_jax.training import loop as train
from sensorium_jax.training import programs
from sensorium_jax.training.ensemble import train_ensemble as train_ensemble_of
from sensorium_jax.types import TrainState

pytestmark = pytest.mark.slow

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def recordings(store):
    return load_recordings(store)


def train_ensemble(recordings, workdir, *, together, **changes):
    """As the driver does; the members' best weights."""
    experiment = small.experiment(members=2, **changes)
    claim(workdir, experiment, recordings)
    mesh = parallel.make_mesh(1)
    train_ensemble_of(experiment, workdir, recordings, mesh=mesh, console=QUIET, together=together)
    return ensemble(workdir).params


@pytest.fixture(scope="module")
def one_by_one(recordings, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("ensemble") / "run"
    return workdir, train_ensemble(recordings, workdir, together=False)


def assert_close(a, b, tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=tolerance * max(np.abs(y).max(), 1e-3))


def test_seeds_are_shared_by_no_two_ensembles():
    first, second = (
        {e.seed for e in members_of(small.experiment(members=3, seed=s))} for s in (0, 1)
    )
    assert first == {0, 1, 2} and second == {SEEDS, SEEDS + 1, SEEDS + 2}


def test_together_is_one_after_the_other(recordings, one_by_one, tmp_path):
    _, alone = one_by_one
    together = train_ensemble(recordings, tmp_path / "run", together=True)
    assert (
        np.abs(alone[0].weights["core"]["kernel0"] - alone[1].weights["core"]["kernel0"]).max()
        > 0.01
    )
    for a, b in zip(together, alone, strict=True):
        assert_close(a, b, 2e-3)  # six steps of Adam, which divides rounding by itself


def test_one_step_together_is_the_members_own():
    """Without the optimiser's amplification of rounding."""
    optimizer = optim.AdamW(learning_rate=0.01).make(1)
    mesh = parallel.make_mesh(1)
    parts = small.MODEL, small.experiment().scaling, optimizer, mesh
    one, several = parallel.make_train_step(*parts), parallel.make_ensemble_step(*parts)
    data = small.neurons(), small.statistics()
    batches = tuple(parallel.shard_batch(small.batch(seed=s), mesh) for s in range(3))
    keys = tuple(jax.random.key(s) for s in range(3))
    rates = tuple(jnp.float32(r) for r in (1, 1, 0))

    def states():
        params = [models.init(small.MODEL, k, batches[0], data[0]) for k in keys]
        return tuple(TrainState(jnp.int32(0), p, optimizer.init(p.weights)) for p in params)

    together, metrics = several(states(), batches, *data, keys, rates)
    for i, (state, batch, key, rate) in enumerate(zip(states(), batches, keys, rates, strict=True)):
        alone, own = one(state, batch, *data, key, rate)
        np.testing.assert_allclose(metrics[i]["loss"], own["loss"], rtol=1e-5)
        np.testing.assert_allclose(metrics[i]["grad_norm"], own["grad_norm"], rtol=1e-4)
        assert_close(together[i].params.stats, alone.params.stats, 1e-4)
    start = states()[2].params.weights
    assert_close(together[2].params.weights, start, 0)  # a rate of zero changes nothing


def test_groups_shrink_to_what_memory_holds(recordings, monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "fits", lambda program: False)
    sizes = []
    advance = programs.Programs.advance

    def watch(self, states, *inputs):
        sizes.append(len(states))
        return advance(self, states, *inputs)

    monkeypatch.setattr(programs.Programs, "advance", watch)
    train_ensemble(recordings, tmp_path / "run", together=True, max_epochs=1, epoch_steps=1)
    assert sizes == [1, 1]


def test_members_go_on_from_where_each_stands(recordings, one_by_one, tmp_path):
    """One member is ahead by an epoch: the other catches up, and both end as they would have."""
    _, expected = one_by_one
    experiment = small.experiment(members=2)
    second = members_of(experiment)[1]
    workdir = tmp_path / "run/member01"
    claim(tmp_path / "run", experiment, recordings)
    claim(workdir, second, recordings)
    shared = programs.Programs(second, recordings, parallel.make_mesh(1))
    ahead = train.Member(second, workdir, recordings, shared, QUIET)
    ahead.batch, ahead.position = ahead.next_batch()
    bar = train.TrainingBar(QUIET, total=6, completed=0, frames=1)
    with train.StopSignals() as stop, bar:
        train._run_epoch([ahead], shared, bar, stop, lambda epoch, score: None)
    found = train_ensemble(recordings, tmp_path / "run", together=False)
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, 0)


def test_the_mean_of_the_members(recordings, one_by_one):
    workdir, params = one_by_one
    both = ensemble(workdir)
    members = [load_run(workdir / f"member0{i}") for i in range(2)]
    assert_close(both.params, tuple(params), 0)
    report = both.evaluate(both.params, "oracle")
    assert np.isfinite(report.by_neuron("oracle"))
    assert ensemble(*(workdir / f"member0{i}" for i in range(2))).evaluate_all().scores
    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, (20, 36, 64)).astype(np.uint8)
    behavior, pupil = rng.uniform(10, 50, (2, 20, 2)).astype(np.float32)
    session = recordings.session_names[1]
    each = [m.predict(film, behavior, pupil, session=session) for m in members]
    np.testing.assert_allclose(
        both.predict(film, behavior, pupil, session=session), np.mean(each, 0), rtol=1e-5
    )


def test_rates_are_aligned_at_the_end():
    """The mean of models with and without a warm-up is that of their last frames."""
    longer = dataclasses.replace(
        small.MODEL,
        core=cores.Factorized3D(channels=2, layers=1, kernel=5, frames=3),
    )
    both, mesh = (small.MODEL, longer), parallel.make_mesh(1)
    batch, data = small.batch(), (small.neurons(), small.statistics())
    params = tuple(models.init(m, jax.random.key(0), batch, data[0]) for m in both)
    mean = parallel.make_ensemble_predict_step(both, mesh)(params, batch, *data)
    rates = [
        parallel.make_predict_step(m, mesh)(p, batch, *data)
        for m, p in zip(both, params, strict=True)
    ]
    assert [r.shape[2] for r in rates] == [small.T, small.T - 2] and mean.shape[2] == small.T - 2
    np.testing.assert_allclose(mean, (rates[0][:, :, 2:] + rates[1]) / 2, rtol=1e-5)


def test_an_ensemble_is_no_run_and_runs_must_match(recordings, one_by_one, tmp_path):
    workdir, _ = one_by_one
    with pytest.raises(UserError, match="found an ensemble of 2; open it with ensemble"):
        load_run(workdir)
    with pytest.raises(UserError, match="at least one run"):
        ensemble()
    with pytest.raises(UserError, match="which is missing"):
        ensemble(tmp_path)
    other = override(small.experiment(), "data.statistics=released")
    other = dataclasses.replace(other, max_epochs=1, epoch_steps=1)
    claim(tmp_path / "other", other, recordings)
    train.train(other, tmp_path / "other", recordings, mesh=parallel.make_mesh(1), console=QUIET)
    with pytest.raises(UserError, match="runs of the same statistics"):
        ensemble(workdir, tmp_path / "other")


def test_neurons_of_an_ensemble_are_the_same(one_by_one, monkeypatch):
    """Two stores may hold other neurons of mice of the same names."""
    workdir, _ = one_by_one
    runs = [load_run(workdir / f"member0{i}") for i in (0, 1)]
    monkeypatch.setitem(runs[1].recordings.__dict__, "neuron_digests", {"mouse": "others"})
    monkeypatch.setattr("sensorium_jax.runs.ensembles.load_run", lambda *_, **__: runs.pop(0))
    with pytest.raises(UserError, match="runs of the same neurons"):
        ensemble(workdir)


def test_runs_on_one_store_open_it_once(one_by_one):
    workdir, _ = one_by_one
    both = ensemble(workdir)
    assert both.runs[0].recordings is both.runs[1].recordings


def test_on_score_is_told_of_every_member(recordings, tmp_path):
    told = []
    experiment = small.experiment(members=2, max_epochs=1, epoch_steps=1)
    claim(tmp_path / "run", experiment, recordings)
    options = {"mesh": parallel.make_mesh(1), "console": QUIET}
    train_ensemble_of(
        experiment, tmp_path / "run", recordings, **options, on_score=lambda *x: told.append(x)
    )
    assert [epoch for epoch, _ in told] == [1, 1]


def test_members_are_counted():
    with pytest.raises(UserError, match="expected members from 1 .*got 0"):
        override(small.experiment(), "members=0")
