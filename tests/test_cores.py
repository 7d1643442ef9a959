"""What every core promises: shapes, causality, independence, gradients, a scalar penalty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import cores
from sensorium_jax.nn.recurrent import ConvGRU

B, T, H, W = 3, 9, 13, 17
SMALL = {"channels": 2, "rotations": 4, "layers": 2, "input_kernel": 5, "hidden_kernel": 3}
CORES = {
    "static": cores.RotationEquivariant(**SMALL),
    "recurrent": cores.RotationEquivariant(**SMALL, recurrence=ConvGRU(kernel=3)),
    "strided": cores.RotationEquivariant(**SMALL, stride=3, recurrence=ConvGRU(kernel=1)),
    "one layer": cores.RotationEquivariant(**SMALL | {"layers": 1}, behavior=False),
    "wide state": cores.RotationEquivariant(**SMALL, recurrence=ConvGRU(kernel=3, channels=5)),
}


@pytest.fixture(params=CORES)
def core(request):
    return CORES[request.param]


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    shapes = (B, T, H, W), (B, T, 2), (B, T, 2)
    return [rng.normal(size=s).astype(np.float32) for s in shapes]


def prepared(core):
    variables = core.init(jax.random.key(1), *inputs(), train=False)
    return variables, jax.jit(lambda *x: core.apply(variables, *x, train=False))


def test_shapes(core):
    variables, features = prepared(core)
    maps = (core.recurrence and core.recurrence.channels) or core.channels * core.rotations
    rows, columns = ((n - core.input_kernel) // core.stride + 1 for n in (H, W))
    assert features(*inputs()).shape == (B, T - core.warmup_frames, rows, columns, maps)
    penalty = core.penalty(variables["params"])
    assert penalty.shape == () and penalty > 0


def test_the_future_changes_nothing_and_the_present_does(core):
    _, features = prepared(core)
    video, behavior, pupil = inputs()
    before = features(video, behavior, pupil)
    video, behavior = video.copy(), behavior.copy()
    video[:, 5:] += 1
    behavior[:, 5:] += 1
    after = features(video, behavior, pupil)
    np.testing.assert_allclose(after[:, :5], before[:, :5], atol=1e-6)
    assert np.abs(after[:, 5] - before[:, 5]).max() > 1e-3


def test_memory_is_what_recurrence_adds(core):
    _, features = prepared(core)
    video, behavior, pupil = inputs()
    before = features(video, behavior, pupil)
    video = video.copy()
    video[:, 4] += 1
    later = np.abs(features(video, behavior, pupil) - before)[:, 5:].max()
    assert later > 1e-4 if core.recurrence else later < 1e-6


def test_trials_are_independent_in_evaluation(core):
    _, features = prepared(core)
    together = features(*inputs())
    alone = features(*(x[1:2] for x in inputs()))
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)


def test_behavior_matters_where_it_is_an_input(core):
    _, features = prepared(core)
    video, behavior, pupil = inputs()
    change = np.abs(features(video, behavior + 1, pupil) - features(video, behavior, pupil)).max()
    assert change > 1e-3 if core.behavior else change == 0


def test_every_weight_has_a_finite_gradient(core):
    variables, _ = prepared(core)

    def loss(weights):
        x, _ = core.apply(variables | {"params": weights}, *inputs(), train=False, mutable=[])
        return jnp.sum(x**2) + core.penalty(weights)

    for path, g in jax.tree_util.tree_leaves_with_path(jax.grad(loss)(variables["params"])):
        assert np.isfinite(g).all() and np.abs(g).max() > 0, jax.tree_util.keystr(path)
