"""What every core promises: shapes, causality, independence, gradients, a scalar penalty."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.models import cores
from sensorium_jax.models.nn.penalties import Laplace
from sensorium_jax.models.nn.recurrent import ConvGRU

B, T, H, W = 3, 9, 13, 17
ROTATED = {"channels": 2, "rotations": 4, "layers": 2, "kernel": (5, 3)}
PLAIN = {"channels": (2, 3), "layers": 2, "kernel": (5, 3)}
FILM = PLAIN | {"frames": (4, 2)}  # takes 4 frames away
# name: (core, shape of its features)
CORES = {
    "static": (cores.RotationEquivariant(**ROTATED), (B, T, 9, 13, 8)),
    "recurrent": (cores.RotationEquivariant(**ROTATED, recurrence=ConvGRU(3)), (B, T, 9, 13, 8)),
    "strided": (
        cores.RotationEquivariant(**ROTATED, stride=(3, 1), recurrence=ConvGRU(1)),
        (B, T, 3, 5, 8),
    ),
    "one layer": (
        cores.RotationEquivariant(**ROTATED | {"layers": 1, "kernel": 5}, behavior=False),
        (B, T, 9, 13, 8),
    ),
    "wide state": (
        cores.RotationEquivariant(**ROTATED, recurrence=ConvGRU(kernel=3, channels=5)),
        (B, T, 9, 13, 5),
    ),
    "plain": (cores.Stacked2D(**PLAIN), (B, T, 9, 13, 3)),
    "plain, recurrent": (
        cores.Stacked2D(**PLAIN, recurrence=ConvGRU(3, input_kernel=5, pad_input=False)),
        (B, T, 5, 9, 3),
    ),
    "plain, every option": (
        cores.Stacked2D(
            channels=(2, 3),
            layers=3,
            kernel=((5, 4), (3, 2)),
            stride=(2, 1),
            dilation=(1, 2),
            padding=((2, 1), "same"),
            batch_norm=(True, False),
            nonlinearity="softplus",
            elu_shift=(0.1, 0.2),
            final_nonlinearity=True,
            gaze=True,
            smoothness=Laplace("l2", surround=True),
        ),
        (B, T, 7, 8, 3),
    ),
    "factorised": (cores.Factorized3D(**FILM), (B, 5, 7, 11, 3)),
    "factorised, every option": (
        cores.Factorized3D(
            **FILM | {"kernel": ((5, 4), (3, 2))},
            frame_dilation=(1, 2),
            dilation=(1, 2),
            padding="same",
            stride=(2, 1),
            bias=False,
            batch_norm=False,
            gaze=True,
            elu_shift=(0.0, 1.0),
        ),
        (B, 4, 7, 9, 3),
    ),
    "factorised, linear": (
        cores.Factorized3D(**FILM | {"layers": 1, "channels": 3}, final_nonlinearity=False),
        (B, 6, 9, 13, 3),
    ),
    "factorised, smooth": (cores.Factorized3D(**FILM, basis="hermite"), (B, 5, 7, 11, 3)),
    "three-dimensional, smooth": (cores.Full3D(**FILM, basis="hermite"), (B, 5, 7, 11, 3)),
    "plain, smooth": (cores.Stacked2D(**PLAIN, basis="hermite"), (B, T, 9, 13, 3)),
    "three-dimensional": (cores.Full3D(**FILM), (B, 5, 7, 11, 3)),
    "three-dimensional, every option": (
        cores.Full3D(
            **FILM | {"kernel": ((5, 4), (3, 2))},
            frame_dilation=(1, 2),
            dilation=(1, 2),
            padding="same",
            stride=(2, 1),
            gaze=True,
            nonlinearity="relu",
        ),
        (B, 4, 7, 9, 3),
    ),
}


@pytest.fixture(params=CORES)
def core(request):
    return CORES[request.param][0]


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    shapes = (B, T, H, W), (B, T, 2), (B, T, 2)
    return [rng.normal(size=s).astype(np.float32) for s in shapes]


@functools.cache
def prepared(core):
    """The core's variables, and its compiled features of (variables, video, behavior, pupil)."""
    init = jax.jit(lambda key: core.init(key, *inputs(), train=False))
    apply = jax.jit(lambda variables, *x: core.apply(variables, *x, train=False))
    variables = init(jax.random.key(1))
    return variables, functools.partial(apply, variables)


@pytest.mark.parametrize("name", CORES)
def test_shapes(name):
    core, shape = CORES[name]
    variables, features = prepared(core)
    assert features(*inputs()).shape == shape and shape[1] == T - core.warmup_frames
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
    now = 5 - core.warmup_frames
    np.testing.assert_allclose(after[:, :now], before[:, :now], atol=1e-6)
    assert np.abs(after[:, now] - before[:, now]).max() > 1e-3


def test_memory_is_what_recurrence_or_kernels_over_time_add(core):
    _, features = prepared(core)
    video, behavior, pupil = inputs()
    before = features(video, behavior, pupil)
    video = video.copy()
    video[:, 5] += 1
    change = np.abs(features(video, behavior, pupil) - before)
    later = change[:, 6 - core.warmup_frames :].max()
    assert later > 1e-4 if core.recurrence or core.warmup_frames else later < 1e-6


def test_trials_are_independent_in_evaluation(core):
    _, features = prepared(core)
    together = features(*inputs())
    alone = features(*(x[1:2] for x in inputs()))
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)


def test_behavior_matters_where_it_is_an_input(core):
    _, features = prepared(core)
    video, behavior, pupil = inputs()
    before = features(video, behavior, pupil)
    for used, after in (
        (core.behavior, features(video, behavior + 1, pupil)),
        (core.gaze, features(video, behavior, pupil + 1)),
    ):
        change = np.abs(after - before).max()
        assert change > 1e-3 if used else change == 0


def test_no_retrace(core):
    _, features = prepared(core.clone(momentum=0.2))  # a program that nothing else has called
    features(*inputs(0))
    features(*inputs(1))
    assert features.func._cache_size() == 1


def test_bfloat16_is_a_rounding(core):
    variables, features = prepared(core)
    small = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (variables, inputs()))
    rounded = features.func(small[0], *small[1])
    full = features(*inputs())
    assert rounded.dtype == jnp.bfloat16
    error = jnp.sqrt(jnp.mean((rounded.astype(jnp.float32) - full) ** 2))
    assert error < 0.05 * jnp.std(full)


def test_every_weight_has_a_finite_gradient(core):
    variables, _ = prepared(core)

    def loss(weights):
        x, _ = core.apply(variables | {"params": weights}, *inputs(), train=False, mutable=[])
        return jnp.sum(x**2) + core.penalty(weights)

    gradient = jax.jit(jax.grad(loss))(variables["params"])
    for path, g in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(g).all() and np.abs(g).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": 0}, "expected layers from 1"),
        ({"nonlinearity": "tan"}, "expected a nonlinearity of elu"),
        ({"padding": "around"}, "expected a padding"),
        ({"stride": ()}, "at least one value of stride"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        cores.Stacked2D(**options)


@pytest.mark.parametrize("options", [{"kernel": 4}, {"kernel": 3, "input_kernel": 2}])
def test_recurrent_kernels_are_odd(options):
    with pytest.raises(ValueError, match="expected odd kernels"):
        ConvGRU(**options)
    assert ConvGRU(kernel=3, input_kernel=2, pad_input=False)


def test_hermite_filters_are_square():
    with pytest.raises(ValueError, match="square kernels"):
        cores.RotationEquivariant(kernel=((5, 4), 3))
    with pytest.raises(ValueError, match="a basis of pixels or hermite"):
        cores.Stacked2D(basis="fourier")


def test_a_film_with_planes_is_a_film_with_channels():
    """Behaviour beside the video equals behaviour as constant channels of it."""
    for core in (
        cores.Factorized3D(**FILM, padding="same"),
        cores.Full3D(**FILM),
        cores.Stacked2D(**PLAIN),
    ):
        core = core.clone(gaze=True)
        variables, features = prepared(core)
        video, behavior, pupil = inputs()
        planes = np.concatenate([behavior, pupil], -1)[:, :, None, None]
        planes = np.broadcast_to(planes, (B, T, H, W, 4))
        film = np.concatenate([video[..., None], planes], -1)
        _, alone = prepared(core.clone(behavior=False, gaze=False))
        found = alone.func(variables, film, behavior, pupil)
        np.testing.assert_allclose(found, features(video, behavior, pupil), atol=2e-5)
